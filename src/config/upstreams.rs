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
    /// How long they may take.
    pub timeouts: Timeouts,
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
        Some((Name::from(&**name), Upstream { servers: servers?, balance: upstream.balance, timeouts }))
    }))
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
