//! Who gets the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Selection, Server};
use crate::config::Balance;

/// A way to choose, with what it has to remember between requests.
pub enum Balancer {
    /// Each in its turn. The number of requests so far.
    RoundRobin(AtomicUsize),
}

impl Balancer {
    pub fn new(balance: Balance) -> Balancer {
        match balance {
            Balance::RoundRobin => Balancer::RoundRobin(AtomicUsize::new(0)),
        }
    }

    /// One of those that can take the request.
    pub fn pick(&self, servers: &[Arc<Server>], selection: &Selection<'_>) -> Option<Arc<Server>> {
        match self {
            Balancer::RoundRobin(turns) => {
                let turn = turns.fetch_add(1, Ordering::Relaxed);
                // From the one whose turn it is, all around once.
                let from = turn.checked_rem(servers.len())?;
                let (after, before) = (&servers[from..], &servers[..from]);
                after.iter().chain(before).find(|server| server.can_take(selection.tried)).cloned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::*;
    use crate::config::UpstreamServer;

    fn servers(count: u8) -> Vec<Arc<Server>> {
        let server = |n| UpstreamServer { address: ([127, 0, 0, n], 80).into() };
        (0..count).map(|n| Arc::new(Server::new(&server(n)))).collect()
    }

    /// The last bytes of the addresses of those who are picked, one request each.
    fn picked(
        balancer: &Balancer,
        servers: &[Arc<Server>],
        tried: &[Arc<Server>],
        requests: usize,
    ) -> Vec<u8> {
        let request = RequestHeader::build("GET", b"/", None).expect("it is a request");
        let selection = Selection { request: &request, client: None, tried };
        let pick = |_| balancer.pick(servers, &selection);
        (0..requests)
            .map_while(pick)
            .map(|server| match server.address.ip() {
                std::net::IpAddr::V4(ip) => ip.octets()[3],
                std::net::IpAddr::V6(_) => unreachable!("all are IPv4"),
            })
            .collect()
    }

    #[test]
    fn round_robin_is_strict() {
        let balancer = Balancer::new(Balance::RoundRobin);
        assert_eq!(picked(&balancer, &servers(3), &[], 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn who_has_failed_this_request_does_not_get_it_again() {
        let balancer = Balancer::new(Balance::RoundRobin);
        let servers = servers(2);
        assert_eq!(picked(&balancer, &servers, &servers[..1], 3), [1, 1, 1]);
        assert!(picked(&balancer, &servers, &servers, 3).is_empty());
        assert!(picked(&balancer, &[], &[], 3).is_empty());
    }
}
