//! `upstreams`: groups of servers.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

pub use super::raw::Balance;
use super::{At, Name, ServerSettings, all, raw};

/// A group of servers that do the same work. Two that are equal can share connections and counters, so a
/// reload keeps those of an upstream that did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its servers; at least one.
    pub servers: Vec<UpstreamServer>,
    /// Who gets the next request.
    pub balance: Balance,
    /// How to find out whether they are well.
    pub health_check: Option<HealthCheck>,
    /// How long they may take.
    pub timeouts: Timeouts,
}

/// How to find out whether a server is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub kind: CheckKind,
    /// From one check to the next.
    pub interval: Duration,
    /// How long a check may take as a whole.
    pub timeout: Duration,
    /// How many checks change a verdict.
    pub thresholds: Thresholds,
}

/// How many checks in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// To be well again.
    pub healthy: u32,
    /// Not to be well any more.
    pub unhealthy: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection.
    Tcp,
    /// A request.
    Http(HttpCheck),
    /// The gRPC health service.
    Grpc {
        /// About this service; all of them if it is empty.
        service: String,
    },
}

/// A request, and what is expected in answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Path and query.
    pub path: String,
    /// What to ask for, if not for the server's own name.
    pub host: Option<String>,
    /// One of these.
    pub expect_status: Vec<u16>,
    /// This text.
    pub expect_body: Option<String>,
}

/// One server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests; at least 1.
    pub weight: u32,
    /// Whether it gets requests only when no other server can take them.
    pub backup: bool,
}

/// How long servers may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For making a connection, TLS included.
    pub connect: Duration,
    /// From one piece of an answer to the next.
    pub read: Duration,
    /// For taking a piece of a request.
    pub write: Duration,
    /// How long a connection is kept that nobody uses.
    pub idle: Duration,
}

pub(super) fn validate(
    raw: &BTreeMap<String, raw::Upstream>,
    server: &ServerSettings,
    at: &At<'_>,
) -> Option<BTreeMap<Name, Upstream>> {
    all(raw.iter().map(|(name, upstream)| {
        let at = at.key(name);
        let servers = servers(&upstream.servers, &at.key("servers"));
        let timeouts = timeouts(&upstream.timeouts, server);
        let check = upstream.health_check.as_ref();
        let health_check = optional(check.map(|check| health_check(check, &at.key("health_check"))));
        let upstream =
            Upstream { servers: servers?, balance: upstream.balance, health_check: health_check?, timeouts };
        Some((Name::from(&**name), upstream))
    }))
}

/// What is not written is nothing, and nothing is wrong with it.
fn optional<T>(validated: Option<Option<T>>) -> Option<Option<T>> {
    match validated {
        None => Some(None),
        Some(validated) => validated.map(Some),
    }
}

fn health_check(raw: &raw::HealthCheck, at: &At<'_>) -> Option<HealthCheck> {
    let or = |written: Option<raw::Duration>, default| {
        written.map_or(Duration::from_secs(default), |raw::Duration(time)| time)
    };
    let kind = match (&raw.tcp, &raw.http, &raw.grpc) {
        (Some(raw::TcpCheck {}), None, None) => CheckKind::Tcp,
        (None, Some(http), None) => CheckKind::Http(http_check(http, &at.key("http"))?),
        (None, None, Some(grpc)) => CheckKind::Grpc { service: grpc.service.clone() },
        _ => {
            at.error_at_key(
                "a health check is of exactly one kind",
                "keep one of `tcp: {}`, `http: { path: /health }` and `grpc: {}`",
            );
            return None;
        }
    };
    Some(HealthCheck {
        kind,
        interval: or(raw.interval, 5),
        timeout: or(raw.timeout, 1),
        thresholds: Thresholds { healthy: raw.healthy.unwrap_or(1), unhealthy: raw.unhealthy.unwrap_or(1) },
    })
}

fn http_check(raw: &raw::HttpCheck, at: &At<'_>) -> Option<HttpCheck> {
    let path = raw.path.as_deref().unwrap_or("/");
    let good_path = path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
    if !good_path {
        at.key("path").error("this is not a path", "begin with `/`, as in `/health?deep=1`");
    }
    let good_host = raw.host.as_ref().is_none_or(|host| host.parse::<http::uri::Authority>().is_ok());
    if !good_host {
        at.key("host").error("this is not a host", "write a name, with a port if need be: `users.internal`");
    }
    (good_path && good_host).then(|| HttpCheck {
        path: path.to_string(),
        host: raw.host.clone(),
        expect_status: raw.expect_status.clone().unwrap_or_else(|| vec![200]),
        expect_body: raw.expect_body.clone(),
    })
}

fn timeouts(raw: &raw::Timeouts, server: &ServerSettings) -> Timeouts {
    let or = |written: Option<raw::Duration>, default| written.map_or(default, |raw::Duration(time)| time);
    let minute = Duration::from_secs(60);
    Timeouts {
        connect: or(raw.connect, server.connection_pool.connect_timeout),
        read: or(raw.read, minute),
        write: or(raw.write, minute),
        idle: or(raw.idle, server.connection_pool.idle_timeout),
    }
}

fn servers(raw: &[raw::UpstreamServer], at: &At<'_>) -> Option<Vec<UpstreamServer>> {
    let mut seen = HashMap::new();
    all(raw.iter().enumerate().map(|(index, server)| {
        let at = at.index(index).key("address");
        let Ok(address) = server.address.parse::<SocketAddr>() else {
            at.error("this is not an IP address with a port", "write it like `172.28.0.20:8080`");
            return None;
        };
        if let Some(first) = seen.insert(address, index) {
            at.error(
                format!("server {} of this group has this address already", first + 1),
                "remove one of the two",
            );
            return None;
        }
        Some(UpstreamServer { address, weight: server.weight.unwrap_or(1), backup: server.backup })
    }))
}
