//! `upstreams`: groups of servers.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

pub use super::raw::Balance;
use super::{At, Name, all, raw};

/// A group of servers that do the same work. Two that are equal can share connections and counters, so a
/// reload keeps those of an upstream that did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its servers; at least one.
    pub servers: Vec<UpstreamServer>,
    /// Who gets the next request.
    pub balance: Balance,
}

/// One server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it listens.
    pub address: SocketAddr,
}

pub(super) fn validate(
    raw: &BTreeMap<String, raw::Upstream>,
    at: &At<'_>,
) -> Option<BTreeMap<Name, Upstream>> {
    all(raw.iter().map(|(name, upstream)| {
        let at = at.key(name);
        let servers = servers(&upstream.servers, &at.key("servers"));
        Some((Name::from(&**name), Upstream { servers: servers?, balance: upstream.balance }))
    }))
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
        Some(UpstreamServer { address })
    }))
}
