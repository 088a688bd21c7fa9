//! Who gets the next request.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora::http::RequestHeader;
use pingora_ketama::{Bucket, Continuum};

use super::{Selection, Server, schedule, sticky};
use crate::config::{Balance, HashKey};

/// Servers of equal standing that can be asked now, ready to be chosen from.
pub struct Tier {
    servers: Box<[Arc<Server>]>,
    /// Numbers of servers, each as often as its weight says.
    round: Box<[u32]>,
    balance: Balance,
    /// Points on a circle, for [`Balance::Consistent`]. A server's points depend on nothing but its address and
    /// weight: who comes or goes moves no request between the others.
    circle: Option<Continuum>,
}

impl Tier {
    pub fn new(servers: Vec<Arc<Server>>, balance: &Balance) -> Tier {
        let weights: Vec<u32> = servers.iter().map(|server| server.weight).collect();
        let circle = matches!(balance, Balance::Consistent(_)).then(|| {
            // A weight of zero would be a panic; the configuration has none.
            let bucket = |server: &Arc<Server>| Bucket::new(server.address, server.weight.max(1));
            Continuum::new(&servers.iter().map(bucket).collect::<Vec<_>>())
        });
        Tier { servers: servers.into(), round: schedule::round(&weights), balance: balance.clone(), circle }
    }

    /// All of them.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// One that has not failed this request yet. `turns` counts choices.
    pub fn pick(&self, turns: &AtomicUsize, selection: &Selection<'_>) -> Option<&Arc<Server>> {
        let next = || turns.fetch_add(1, Ordering::Relaxed);
        match &self.balance {
            Balance::RoundRobin => self.in_turn(next(), selection),
            Balance::Random => self.in_turn(fastrand::usize(..), selection),
            Balance::LeastConnections => self.least_busy(next(), selection),
            Balance::P2c => self.less_busy_of_two(selection),
            Balance::Consistent(key) => match key_of(key, selection) {
                Some(bytes) => self.on_circle(&bytes, selection),
                // Without a key there is nothing to be consistent about.
                None => self.in_turn(next(), selection),
            },
            Balance::Sticky(sticky) => sticky::token(selection.request, &sticky.cookie)
                .and_then(|token| {
                    let mut servers = self.servers.iter();
                    servers.find(|server| server.token.as_deref() == Some(&*token))
                })
                .filter(|server| server.can_take(selection.tried))
                .or_else(|| self.in_turn(next(), selection)),
        }
    }

    /// The one whose turn this is, or the next that can take the request.
    fn in_turn(&self, turn: usize, selection: &Selection<'_>) -> Option<&Arc<Server>> {
        let from = turn.checked_rem(self.round.len())?;
        let (before, after) = self.round.split_at(from);
        let numbers = after.iter().chain(before);
        numbers.map(|number| &self.servers[*number as usize]).find(|server| server.can_take(selection.tried))
    }

    /// The one with the fewest requests for its weight. Of equals, the one whose turn it is.
    fn least_busy(&self, turn: usize, selection: &Selection<'_>) -> Option<&Arc<Server>> {
        let mut best = self.in_turn(turn, selection)?;
        for server in &self.servers {
            if server.can_take(selection.tried) && server.is_less_busy_than(best) {
                best = server;
            }
        }
        Some(best)
    }

    /// Of two by chance, the one with fewer requests for its weight: nearly as good as the least busy of all,
    /// and several gateways do not all run to the same one.
    fn less_busy_of_two(&self, selection: &Selection<'_>) -> Option<&Arc<Server>> {
        let one = self.in_turn(fastrand::usize(..), selection)?;
        // Another one, if there is: by its own chance, and by its weight.
        let other = (0..4)
            .filter_map(|_| self.in_turn(fastrand::usize(..), selection))
            .find(|other| !Arc::ptr_eq(one, other));
        Some(match other {
            Some(other) if other.is_less_busy_than(one) => other,
            _ => one,
        })
    }

    /// The first on the circle behind the key that can take the request.
    fn on_circle(&self, key: &[u8], selection: &Selection<'_>) -> Option<&Arc<Server>> {
        let circle = self.circle.as_ref()?;
        // The way around the circle has no end: first be sure that somebody is on it.
        if !self.servers.iter().any(|server| server.can_take(selection.tried)) {
            return None;
        }
        let at = |address| self.servers.iter().find(|server| server.address == address);
        let first = circle.node(key).and_then(at).filter(|server| server.can_take(selection.tried));
        // The first nearly always can.
        first.or_else(|| {
            circle
                .node_iter(key)
                .filter_map(|address| at(*address))
                .find(|server| server.can_take(selection.tried))
        })
    }
}

/// What decides about the server of a request.
fn key_of<'r>(key: &HashKey, selection: &Selection<'r>) -> Option<Cow<'r, [u8]>> {
    let request: &'r RequestHeader = selection.request;
    match key {
        HashKey::Path => Some(Cow::Borrowed(request.uri.path().as_bytes())),
        HashKey::Header(name) => request.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes())),
        HashKey::Cookie(name) => {
            sticky::token(request, name).map(|value| Cow::Owned(value.into_owned().into_bytes()))
        }
        HashKey::ClientIp => selection.client.map(|ip| Cow::Owned(ip.to_string().into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::IpAddr;

    use super::*;
    use crate::upstream::Upstream;
    use crate::upstream::server::InFlight;
    use crate::upstream::server::tests::{group, server};

    /// Servers with these weights, at 127.0.0.0, 127.0.0.1 and so on.
    fn servers(weights: &[u32]) -> Vec<Arc<Server>> {
        (0..).zip(weights).map(|(n, weight)| Arc::new(server([127, 0, 0, n], *weight))).collect()
    }

    fn request(path: &str) -> RequestHeader {
        RequestHeader::build("GET", path.as_bytes(), None).expect("it is a request")
    }

    /// The last bytes of the addresses of those who are picked, one request each.
    fn picked(balance: &Balance, servers: &[Arc<Server>], tried: &[Arc<Server>], requests: usize) -> Vec<u8> {
        let request = request("/");
        let selection = Selection { request: &request, client: None, tried };
        let (tier, turns) = (Tier::new(servers.to_vec(), balance), AtomicUsize::new(0));
        (0..requests).map_while(|_| tier.pick(&turns, &selection)).map(|server| last_byte(server)).collect()
    }

    fn last_byte(server: &Server) -> u8 {
        match server.address.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => unreachable!("all are IPv4"),
        }
    }

    fn counts(picked: &[u8]) -> HashMap<u8, usize> {
        picked.iter().fold(HashMap::new(), |mut counts, server| {
            *counts.entry(*server).or_default() += 1;
            counts
        })
    }

    /// Makes a server busy for as long as the result lives.
    fn busy(server: &Arc<Server>, requests: usize) -> Vec<InFlight> {
        let upstream = Arc::new(Upstream::new("u".into(), group("{ servers: [{ address: 127.0.0.1:1 }] }")));
        (0..requests).map(|_| InFlight::new(server.clone(), &upstream, false)).collect()
    }

    const ALL: [Balance; 5] = [
        Balance::RoundRobin,
        Balance::Random,
        Balance::LeastConnections,
        Balance::P2c,
        Balance::Consistent(HashKey::Path),
    ];

    #[test]
    fn round_robin_is_strict_and_weighted() {
        assert_eq!(picked(&Balance::RoundRobin, &servers(&[1, 1, 1]), &[], 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(picked(&Balance::RoundRobin, &servers(&[3, 1]), &[], 8), [0, 1, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn who_has_failed_this_request_does_not_get_it_again() {
        let servers = servers(&[1, 1]);
        for balance in &ALL {
            assert_eq!(picked(balance, &servers, &servers[..1], 3), [1, 1, 1], "{balance:?}");
            assert!(picked(balance, &servers, &servers, 3).is_empty(), "{balance:?}");
            assert!(picked(balance, &[], &[], 3).is_empty(), "{balance:?}");
        }
    }

    #[test]
    fn chance_follows_the_weights() {
        let counts = counts(&picked(&Balance::Random, &servers(&[3, 1]), &[], 8000));
        // A thousand times the standard deviation's fraction: 39 requests; five of them are far enough.
        assert!((5800..6200).contains(&counts[&0]), "{counts:?}");
    }

    #[test]
    fn the_least_busy_is_the_one_with_the_fewest_requests_for_its_weight() {
        let group = servers(&[1, 1, 2]);
        let balance = Balance::LeastConnections;
        // Idle ones have their turns, by weight.
        assert_eq!(counts(&picked(&balance, &group, &[], 8)), HashMap::from([(0, 2), (1, 2), (2, 4)]));
        let _first = busy(&group[0], 2);
        let _second = busy(&group[1], 1);
        let _third = busy(&group[2], 3);
        assert_eq!(picked(&balance, &group, &[], 3), [1, 1, 1]);
        let _more = busy(&group[1], 1);
        assert_eq!(picked(&balance, &group, &[], 3), [2, 2, 2], "3 of 2 are less than 2 of 1");
    }

    #[test]
    fn of_two_the_less_busy_one_is_chosen() {
        let group = servers(&[1, 1]);
        let _busy = busy(&group[0], 1);
        let counts = counts(&picked(&Balance::P2c, &group, &[], 1000));
        // Only where chance names the busy one five times.
        assert!(counts[&1] > 900, "{counts:?}");
        // The busiest of three is chosen hardly ever, the idlest most often.
        let group = servers(&[1, 1, 1]);
        let (_one, _two) = (busy(&group[1], 1), busy(&group[2], 2));
        let counts = self::counts(&picked(&Balance::P2c, &group, &[], 3000));
        let of = |server| counts.get(&server).copied().unwrap_or(0);
        assert!(of(0) > of(1) && of(1) > of(2), "{counts:?}");
    }

    fn places(servers: &[Arc<Server>], keys: usize) -> Vec<u8> {
        let (tier, turns) =
            (Tier::new(servers.to_vec(), &Balance::Consistent(HashKey::Path)), AtomicUsize::new(0));
        (0..keys)
            .filter_map(|key| {
                let request = request(&format!("/users/{key}"));
                let selection = Selection { request: &request, client: None, tried: &[] };
                tier.pick(&turns, &selection).map(|server| last_byte(server))
            })
            .collect()
    }

    #[test]
    fn on_the_circle_nobody_moves_but_those_who_must() {
        let all = servers(&[1, 2, 1, 1, 3]);
        let before = places(&all, 2000);
        assert_eq!(before, places(&all, 2000), "the same path has the same server");
        for gone in 0..5 {
            let mut rest = all.clone();
            rest.remove(gone.into());
            for (was, is) in before.iter().zip(places(&rest, 2000)) {
                assert!(*was == gone || *was == is, "{was} moved to {is} when {gone} left");
            }
        }
        let counts = counts(&before);
        // 250 for each unit of weight, and ketama's unevenness.
        for (server, weight) in (0u8..).zip([1usize, 2, 1, 1, 3]) {
            assert!((150 * weight..350 * weight).contains(&counts[&server]), "{counts:?}");
        }
    }

    #[test]
    fn a_key_is_what_the_configuration_says() {
        let mut request = request("/users?page=1");
        request.insert_header("X-Tenant", "blue").expect("a header");
        request.insert_header("Cookie", "a=b; user=7").expect("a header");
        let client = Some(IpAddr::from([10, 0, 0, 1]));
        let selection = Selection { request: &request, client, tried: &[] };
        for (key, value) in [
            (HashKey::Path, Some("/users")),
            (HashKey::Header(http::HeaderName::from_static("x-tenant")), Some("blue")),
            (HashKey::Header(http::HeaderName::from_static("x-other")), None),
            (HashKey::Cookie("user".to_string()), Some("7")),
            (HashKey::Cookie("b".to_string()), None),
            (HashKey::ClientIp, Some("10.0.0.1")),
        ] {
            assert_eq!(key_of(&key, &selection).as_deref(), value.map(str::as_bytes), "{key:?}");
        }
    }
}
