//! `upstreams`: groups of servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderName;

use super::servers::{Discovery, UpstreamServer, source};
use super::upstream_tls::{self, Protocol};
use super::{At, Name, Secret, ServerSettings, all, raw};
use crate::tls::PeerTls;

/// A group of servers that do the same work. Two that are equal can share connections and counters, so a
/// reload keeps those of an upstream that did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its servers; at least one where nobody finds others.
    pub servers: Vec<UpstreamServer>,
    /// Who says which servers there are.
    pub discovery: Option<Discovery>,
    /// Who gets the next request.
    pub balance: Balance,
    /// How to find out whether they are well.
    pub health_check: Option<HealthCheck>,
    /// When to leave one of them alone.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// TLS towards them.
    pub tls: Option<PeerTls>,
    /// The forward proxy that leads to them.
    pub via: Option<SocketAddr>,
    /// Which HTTP they speak.
    pub protocol: Protocol,
    /// How long they may take.
    pub timeouts: Timeouts,
}

/// When to leave a server alone that fails requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// After so many errors in a row; at least 1.
    pub consecutive_errors: u32,
    /// For so long.
    pub open_for: Duration,
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

/// How a server is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in its turn.
    RoundRobin,
    /// By chance.
    Random,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// Of two by chance, the one with fewer requests under way.
    P2c,
    /// The same key, the same server.
    Consistent(HashKey),
    /// The same client, the same server.
    Sticky(Sticky),
}

/// What of a request decides about its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// Its path, without the query.
    Path,
    /// This header.
    Header(HeaderName),
    /// This cookie.
    Cookie(String),
    /// The client's address.
    ClientIp,
}

/// A cookie by which a client comes back to its server.
#[derive(Clone, Debug)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// What it is made from. `None`: a key that lasts as long as the process.
    pub key: Option<Secret>,
}

impl PartialEq for Sticky {
    fn eq(&self, other: &Sticky) -> bool {
        let keys = [self, other].map(|sticky| sticky.key.as_ref().map(Secret::expose));
        self.cookie == other.cookie && keys[0] == keys[1]
    }
}

impl Eq for Sticky {}

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

impl Upstream {
    /// With everything but its servers as it is unless set.
    pub(super) fn plain(servers: Vec<UpstreamServer>, server: &ServerSettings) -> Upstream {
        Upstream {
            servers,
            discovery: None,
            balance: Balance::RoundRobin,
            health_check: None,
            circuit_breaker: None,
            tls: None,
            via: None,
            protocol: Protocol::H1,
            timeouts: timeouts(&raw::Timeouts::default(), server),
        }
    }
}

pub(super) fn validate(
    raw: &BTreeMap<String, raw::Upstream>,
    server: &ServerSettings,
    at: &At<'_>,
) -> Option<BTreeMap<Name, Upstream>> {
    all(raw.iter().map(|(name, upstream)| {
        let at = at.key(name);
        let (servers, discovery) = match source(upstream, server.process.daemon, &at) {
            Some((servers, discovery)) => (Some(servers), discovery),
            None => (None, None),
        };
        let balance = balance(&upstream.balance, &at.key("balance"));
        let tls = optional(upstream.tls.as_ref().map(|tls| upstream_tls::tls(tls, &at.key("tls"))));
        let via = optional(upstream.via.as_ref().map(|via| connect_proxy(via, &at.key("via"))));
        let protocol = upstream_tls::protocol(upstream, &at);
        let timeouts = timeouts(&upstream.timeouts, server);
        let check = upstream.health_check.as_ref();
        let health_check = optional(check.map(|check| health_check(check, &at.key("health_check"))));
        let upstream = Upstream {
            servers: servers?,
            discovery,
            balance: balance?,
            health_check: health_check?,
            circuit_breaker: upstream.circuit_breaker.as_ref().map(circuit_breaker),
            tls: tls?,
            via: via?,
            protocol: protocol?,
            timeouts,
        };
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

fn balance(raw: &raw::Balance, at: &At<'_>) -> Option<Balance> {
    Some(match raw {
        raw::Balance::RoundRobin => Balance::RoundRobin,
        raw::Balance::Random => Balance::Random,
        raw::Balance::LeastConnections => Balance::LeastConnections,
        raw::Balance::P2c => Balance::P2c,
        raw::Balance::Consistent(raw) => Balance::Consistent(hash_key(raw, &at.key("consistent"))?),
        raw::Balance::Sticky(raw) => {
            let cookie = cookie_name(&raw.cookie, &at.key("sticky").key("cookie"))?;
            Balance::Sticky(Sticky { cookie, key: raw.key.clone() })
        }
    })
}

fn hash_key(raw: &raw::Consistent, at: &At<'_>) -> Option<HashKey> {
    let name_at = at.key("name");
    match (raw.by, &raw.name) {
        (raw::By::Path, None) => Some(HashKey::Path),
        (raw::By::ClientIp, None) => Some(HashKey::ClientIp),
        (raw::By::Path | raw::By::ClientIp, Some(_)) => {
            name_at.error_at_key(
                "there is only one of these, which has no name",
                "remove `name`, or choose by `header` or `cookie`",
            );
            None
        }
        (raw::By::Header, Some(name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Some(HashKey::Header(name)),
            Err(_) => {
                name_at.error("this is not a header's name", "use letters, digits and `-`");
                None
            }
        },
        (raw::By::Cookie, Some(name)) => Some(HashKey::Cookie(cookie_name(name, &name_at)?)),
        (raw::By::Header | raw::By::Cookie, None) => {
            at.key("by")
                .error("by which one is not said", "add its `name`: `{ by: header, name: X-Tenant }`");
            None
        }
    }
}

/// Names of cookies are made of the same characters as those of headers (RFC 6265 section 4.1.1).
fn cookie_name(name: &str, at: &At<'_>) -> Option<String> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        at.error("this is not a cookie's name", "use letters, digits, `-` and `_`");
        return None;
    }
    Some(name.to_string())
}

fn circuit_breaker(raw: &raw::CircuitBreaker) -> CircuitBreaker {
    CircuitBreaker {
        consecutive_errors: raw.consecutive_errors.unwrap_or(5),
        open_for: raw.open_for.map_or(Duration::from_secs(10), |raw::Duration(time)| time),
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
        _ if !["tcp", "http", "grpc"].iter().all(|kind| at.key(kind).is_sound()) => return None,
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

fn connect_proxy(raw: &raw::Via, at: &At<'_>) -> Option<SocketAddr> {
    let address = raw.connect_proxy.parse().ok();
    if address.is_none() {
        let fix = "write it like `127.0.0.1:3128`";
        at.key("connect_proxy").error("this is not an IP address with a port", fix);
    }
    address
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
