//! `services`: the short form, which becomes a listener, an upstream and a route like any other.

use std::collections::HashMap;
use std::time::Duration;

use super::actions::{Action, Proxy, Rewrite};
use super::listeners::{self, Listener, Taken};
use super::matches::Match;
use super::routes::{Retry, Route};
use super::servers::{self, UpstreamServer};
use super::upstreams::{CheckKind, HealthCheck, Thresholds, Upstream};
use super::{At, Name, ServerSettings, all, raw, upstream_tls};
use crate::tls::PeerTls;

/// What an entry stands for.
pub(super) struct Service {
    pub name: Name,
    pub listener: Listener,
    pub upstream: Upstream,
    pub route: Route,
}

pub(super) fn validate<'c>(
    file: &raw::File,
    server: &ServerSettings,
    taken: &mut Taken<'c>,
    root: &At<'c>,
) -> Option<Vec<Service>> {
    enough(file, root);
    let mut names = HashMap::new();
    all(file.services.iter().enumerate().map(|(index, raw)| {
        let at = root.key("services").index(index);
        unique(raw, index, file, &mut names, root);
        let address = listeners::address(&raw.bind_address, &server.process, &at.key("bind_address"));
        if let Some(address) = &address {
            listeners::take(taken, format!("service {}", index + 1), address, &at.key("bind_address"));
        }
        let servers = listed(&raw.upstreams, &at.key("upstreams"));
        let tls = tls(raw, &at);
        let (name, address) = (Name::from(&*raw.name), address?);
        let place = at.key("bind_address").place();
        Some(Service {
            listener: Listener { is_service: true, ..Listener::plain(address.clone(), place) },
            upstream: Upstream {
                tls: tls?,
                health_check: raw.health_check.as_ref().map(health_check),
                ..Upstream::plain(servers?, server)
            },
            route: Route {
                name: name.clone(),
                matches: Match { listeners: vec![address], ..Match::all() },
                action: Action::Proxy(Proxy { upstream: name.clone(), rewrite: Rewrite::default() }),
                websocket: false,
                timeout: server.upstream_timeout,
                retry: Retry::default(),
                middlewares: Vec::new(),
            },
            name,
        })
    }))
}

/// A file serves somebody, by one of the two forms.
fn enough(file: &raw::File, root: &At<'_>) {
    let by_services = !file.services.is_empty() || root.key("services").is_doubtful();
    if by_services && file.listeners.is_empty() && file.routes.is_empty() {
        return;
    }
    if file.listeners.is_empty() {
        root.key("listeners").error_at_key(
            "there are no `listeners`: no client could connect",
            "add `listeners: [{ address: 0.0.0.0:8080 }]`",
        );
    }
    if file.routes.is_empty() {
        root.key("routes").error_at_key(
            "there are no `routes`: no request would go anywhere",
            "add `routes: [{ name: all, upstream: … }]` with the name of one of `upstreams`",
        );
    }
}

/// Its upstream and its route are called by its name, and so nothing else may be.
fn unique<'f>(
    raw: &'f raw::Service,
    index: usize,
    file: &raw::File,
    names: &mut HashMap<&'f str, usize>,
    root: &At<'_>,
) {
    let at = root.key("services").index(index).key("name");
    let item = |what: &str, list: &str, index: usize| {
        format!("{what} {}{}", index + 1, root.key(list).index(index).seen_from(&at))
    };
    let other = match names.insert(&raw.name, index) {
        Some(first) => Some(item("service", "services", first)),
        None if file.upstreams.contains_key(&raw.name) => Some("an upstream".to_string()),
        None => {
            let route = file.routes.iter().position(|route| route.name == raw.name);
            route.map(|index| item("route", "routes", index))
        }
    };
    if let Some(other) = other {
        let fix = "choose another: logs and metrics tell them apart by it";
        at.error(format!("{other} has this name already"), fix);
    }
}

fn listed(raw: &[String], at: &At<'_>) -> Option<Vec<UpstreamServer>> {
    let mut seen = HashMap::new();
    all(raw.iter().enumerate().map(|(index, written)| {
        let address = servers::address(written, index, &mut seen, &at.index(index))?;
        Some(UpstreamServer { address, weight: 1, backup: false })
    }))
}

/// TLS towards its servers. `None` if something was reported.
fn tls(raw: &raw::Service, at: &At<'_>) -> Option<Option<PeerTls>> {
    match (&raw.sni, raw.tls) {
        (None, false) => Some(None),
        (Some(sni), true) => {
            let name = upstream_tls::name(sni, &at.key("sni"))?;
            Some(Some(PeerTls::new(name, true).sealed(&[])))
        }
        (None, true) => {
            at.key("tls").error_at_key(
                "without a name, nothing of the servers' certificate would be verified",
                "add the DNS name that it is for: `sni: users.internal`",
            );
            None
        }
        (Some(_), false) => {
            at.key("sni").error_at_key(
                "a name is asked for in TLS, and this service has none",
                "add `tls: true`, or remove `sni`",
            );
            None
        }
    }
}

fn health_check(raw: &raw::ServiceCheck) -> HealthCheck {
    HealthCheck {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(raw.frequency_secs.unwrap_or(5).into()),
        timeout: Duration::from_millis(raw.timeout_ms.unwrap_or(1000).into()),
        thresholds: Thresholds { healthy: 1, unhealthy: 1 },
    }
}
