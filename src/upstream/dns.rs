//! Discovery by DNS: addresses of a name (A, AAAA), or of those that a service record names (SRV, RFC 2782).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::discover::{Failure, Found};
use crate::config::UpstreamServer;

/// The greatest weight that a server can have.
const HEAVIEST: u32 = 256;

/// Asks these name servers, or those of the system.
pub fn resolver(name_servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if name_servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let configs = name_servers.iter().map(|address| {
            let mut config = NameServerConfig::udp_and_tcp(address.ip());
            config.connections.iter_mut().for_each(|connection| connection.port = address.port());
            config
        });
        let config = ResolverConfig::from_name_servers(configs.collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never; // a line in a file has no TTL
        builder
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0; // who asks here wants to know what holds now, and asks when the TTL is over
    options.timeout = Duration::from_secs(1);
    options.attempts = 1;
    builder.build()
}

/// All addresses of a name, with this port.
pub async fn addresses(resolver: &TokioResolver, name: &str, port: u16) -> Result<Found, Failure> {
    let found = resolver.lookup_ip(absolute(name)).await?;
    let mut servers: Vec<_> = found
        .iter()
        .map(|ip| UpstreamServer { address: SocketAddr::new(ip, port), weight: 1, backup: false })
        .collect();
    // In one order, whichever the answer has: it often changes with every answer.
    servers.sort_by_key(|server| server.address);
    servers.dedup();
    settle(servers, found.valid_until())
}

/// All addresses of those that a service record names. Who has the best priority is asked first, all others are
/// backups.
pub async fn services(resolver: &TokioResolver, name: &str) -> Result<Found, Failure> {
    let found = resolver.srv_lookup(absolute(name)).await?;
    let mut valid_until = found.valid_until();
    let records: Vec<_> = found
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv),
            _ => None,
        })
        .collect();
    let best = records.iter().map(|srv| srv.priority).min();
    let heaviest = records.iter().map(|srv| u32::from(srv.weight)).max().unwrap_or(0);
    let mut servers: Vec<UpstreamServer> = Vec::new();
    for srv in records {
        let ips = resolver.lookup_ip(srv.target.clone()).await?;
        valid_until = valid_until.min(ips.valid_until());
        for ip in ips.iter() {
            let address = SocketAddr::new(ip, srv.port);
            if servers.iter().all(|server| server.address != address) {
                let weight = scaled(srv.weight.into(), heaviest);
                servers.push(UpstreamServer { address, weight, backup: Some(srv.priority) != best });
            }
        }
    }
    servers.sort_by_key(|server| (server.backup, server.address));
    settle(servers, valid_until)
}

/// At least 1, as a weight of 0 means a very small chance, and not none (RFC 2782).
fn scaled(weight: u32, heaviest: u32) -> u32 {
    if heaviest <= HEAVIEST { weight.max(1) } else { (weight * HEAVIEST / heaviest).max(1) }
}

fn settle(servers: Vec<UpstreamServer>, valid_until: Instant) -> Result<Found, Failure> {
    if servers.is_empty() {
        return Err(Failure::Nobody);
    }
    let fresh_for = valid_until.saturating_duration_since(Instant::now());
    Ok(Found { servers, fresh_for: Some(fresh_for) })
}

/// With the dot at its end, so that no search domain is tried.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_proportions() {
        assert_eq!([0, 1, 100].map(|weight| scaled(weight, 100)), [1, 1, 100]);
        assert_eq!([0, 100, 65535].map(|weight| scaled(weight, 65535)), [1, 1, 256]);
        assert_eq!([20000, 10000].map(|weight| scaled(weight, 20000)), [256, 128]);
    }

    #[test]
    fn names_are_absolute() {
        assert_eq!([absolute("a.b"), absolute("a.b.")], ["a.b.", "a.b."]);
    }
}
