//! Who gets the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Selection, Server, schedule};
use crate::config::Balance;

/// Servers of equal standing that can be asked now, ready to be chosen from.
pub struct Tier {
    servers: Box<[Arc<Server>]>,
    /// Numbers of servers, each as often as its weight says.
    round: Box<[u32]>,
    balance: Balance,
}

impl Tier {
    pub fn new(servers: Vec<Arc<Server>>, balance: &Balance) -> Tier {
        let weights: Vec<u32> = servers.iter().map(|server| server.weight).collect();
        Tier { servers: servers.into(), round: schedule::round(&weights), balance: *balance }
    }

    /// All of them.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// One that has not failed this request yet. `turns` counts choices.
    pub fn pick(&self, turns: &AtomicUsize, selection: &Selection<'_>) -> Option<&Arc<Server>> {
        match self.balance {
            Balance::RoundRobin => self.in_turn(turns.fetch_add(1, Ordering::Relaxed), selection),
        }
    }

    /// The one whose turn this is, or the next that can take the request.
    fn in_turn(&self, turn: usize, selection: &Selection<'_>) -> Option<&Arc<Server>> {
        let from = turn.checked_rem(self.round.len())?;
        let (before, after) = self.round.split_at(from);
        let numbers = after.iter().chain(before);
        numbers.map(|number| &self.servers[*number as usize]).find(|server| server.can_take(selection.tried))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use pingora::http::RequestHeader;

    use super::*;

    /// Servers with these weights, at 127.0.0.0, 127.0.0.1 and so on.
    fn servers(weights: &[u32]) -> Vec<Arc<Server>> {
        let server = |(n, weight): (u8, &u32)| {
            Arc::new(crate::upstream::server::tests::server([127, 0, 0, n], *weight))
        };
        (0..).zip(weights).map(server).collect()
    }

    /// The last bytes of the addresses of those who are picked, one request each.
    fn picked(balance: Balance, servers: &[Arc<Server>], tried: &[Arc<Server>], requests: usize) -> Vec<u8> {
        let request = RequestHeader::build("GET", b"/", None).expect("it is a request");
        let selection = Selection { request: &request, client: None, tried };
        let (tier, turns) = (Tier::new(servers.to_vec(), &balance), AtomicUsize::new(0));
        (0..requests).map_while(|_| tier.pick(&turns, &selection)).map(|server| last_byte(server)).collect()
    }

    fn last_byte(server: &Server) -> u8 {
        match server.address.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => unreachable!("all are IPv4"),
        }
    }

    #[test]
    fn round_robin_is_strict_and_weighted() {
        assert_eq!(picked(Balance::RoundRobin, &servers(&[1, 1, 1]), &[], 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(picked(Balance::RoundRobin, &servers(&[3, 1]), &[], 8), [0, 0, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn who_has_failed_this_request_does_not_get_it_again() {
        let servers = servers(&[1, 1]);
        assert_eq!(picked(Balance::RoundRobin, &servers, &servers[..1], 3), [1, 1, 1]);
        assert!(picked(Balance::RoundRobin, &servers, &servers, 3).is_empty());
        assert!(picked(Balance::RoundRobin, &[], &[], 3).is_empty());
    }
}
