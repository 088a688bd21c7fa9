use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use super::Upstream;
use super::breaker::Breaker;
use super::health::Health;
use super::peer::Way;
use super::sticky;
use crate::config;

/// One server of a group, and what is known of it.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests.
    pub weight: u32,
    /// Whether it is asked only when no other can be.
    pub backup: bool,
    /// How to connect to it.
    way: Arc<Way>,
    in_flight: Arc<AtomicUsize>,
    /// What stands for it in the cookie of a sticky session.
    pub(super) token: Option<Box<str>>,
    /// What checks have found out.
    pub(super) health: Arc<Health>,
    /// What requests have found out, where that counts.
    pub(super) breaker: Option<Arc<Breaker>>,
}

impl Server {
    /// A server that nobody has asked yet, of a group with these settings.
    pub fn new(config: &config::UpstreamServer, group: &config::Upstream) -> Server {
        Server {
            address: config.address,
            weight: config.weight,
            backup: config.backup,
            way: Arc::new(Way::new(config.address, group)),
            in_flight: Arc::default(),
            token: token(config.address, group),
            health: Arc::new(Health::new()),
            breaker: group.circuit_breaker.as_ref().map(|breaker| Arc::new(Breaker::new(breaker))),
        }
    }

    /// Whether it has fewer requests than another one, both for their weights.
    pub(super) fn is_less_busy_than(&self, other: &Server) -> bool {
        self.in_flight() * (other.weight as usize) < other.in_flight() * (self.weight as usize)
    }

    /// How to connect to it.
    pub(super) fn peer(&self) -> Box<HttpPeer> {
        self.way.copy()
    }

    /// Whether requests may be sent to it.
    pub(super) fn is_ready(&self) -> bool {
        self.health.is_well() && self.breaker.as_ref().is_none_or(|breaker| breaker.is_closed())
    }

    /// The same server with another weight or standing: what is known of it remains.
    pub(super) fn changed(&self, config: &config::UpstreamServer) -> Server {
        Server {
            address: self.address,
            weight: config.weight,
            backup: config.backup,
            way: self.way.clone(),
            in_flight: self.in_flight.clone(),
            token: self.token.clone(),
            health: self.health.clone(),
            breaker: self.breaker.clone(),
        }
    }

    /// How many requests it is working on, for us.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it may get a request that these servers have failed.
    pub(super) fn can_take(&self, tried: &[Arc<Server>]) -> bool {
        !tried.iter().any(|server| std::ptr::eq(&**server, self))
    }
}

fn token(address: SocketAddr, group: &config::Upstream) -> Option<Box<str>> {
    let config::Balance::Sticky(sticky) = &group.balance else { return None };
    match sticky::token_of(address, sticky) {
        Ok(token) => Some(token),
        Err(error) => {
            log::error!("{address} can be nobody's sticky server: {error}");
            None
        }
    }
}

/// A server at work on a request, counted until this is dropped.
pub struct InFlight {
    server: Arc<Server>,
    /// Whether the verdict on the server depends on this request.
    probe: bool,
    /// How it has gone so far.
    well: Option<bool>,
    /// Who wants to know; only where there is a breaker.
    upstream: Option<Arc<Upstream>>,
}

impl InFlight {
    pub(super) fn new(server: Arc<Server>, upstream: &Arc<Upstream>, probe: bool) -> InFlight {
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        let upstream = server.breaker.as_ref().map(|_| upstream.clone());
        InFlight { server, probe, well: None, upstream }
    }

    /// Which server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// For Pingora: where and how to connect, and to wait for no longer than is left of the request's time.
    /// A fresh one is not taken from the connections that are kept, and not kept either.
    pub fn peer(&self, left: Option<Duration>, fresh: bool) -> Box<HttpPeer> {
        let mut peer = self.server.peer();
        if fresh {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            // A group of its own, in which nothing is kept.
            peer.group_key = peer.group_key.wrapping_add(1 + NEXT.fetch_add(1, Ordering::Relaxed));
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        if let Some(left) = left {
            let options = &mut peer.options;
            for timeout in [
                &mut options.connection_timeout,
                &mut options.total_connection_timeout,
                &mut options.read_timeout,
                &mut options.write_timeout,
            ] {
                *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
            }
        }
        peer
    }

    /// The server has answered with this status.
    pub fn answered(&mut self, status: u16) {
        // These two are about the request: to others it answers as it should (RFC 9110, sections 15.6.2 and 15.6.6).
        self.well = Some(status < 500 || matches!(status, 501 | 505));
        // What a probe has found out is worth knowing before the end of a long answer.
        if self.probe {
            self.tell();
        }
    }

    /// It has failed the request.
    pub fn failed(&mut self) {
        self.well = Some(false);
    }

    fn tell(&mut self) {
        if let Some(upstream) = &self.upstream {
            upstream.learn(&self.server, self.well, self.probe);
            self.probe = false;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.server.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.tell();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A group as the configuration makes it from these lines.
    pub fn group(yaml: &str) -> config::Upstream {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:80 }}]\nroutes: [{{ name: r, upstream: u }}]\n\
             upstreams:\n  u: {yaml}\n"
        );
        let config = config::Config::parse("test", &text, &crate::middleware::Registry::default());
        config.unwrap_or_else(|report| panic!("{report}")).upstreams["u"].clone()
    }

    pub fn server(ip: [u8; 4], weight: u32) -> Server {
        let config = config::UpstreamServer { address: (ip, 80).into(), weight, backup: false };
        Server::new(&config, &group("{ servers: [{ address: 127.0.0.1:1 }] }"))
    }

    #[test]
    fn a_request_counts_until_its_guard_is_dropped() {
        let upstream = Arc::new(Upstream::new("u".into(), group("{ servers: [{ address: 127.0.0.1:1 }] }")));
        let server = Arc::new(server([127, 0, 0, 1], 1));
        let first = InFlight::new(server.clone(), &upstream, false);
        let second = InFlight::new(server.clone(), &upstream, false);
        assert_eq!(server.in_flight(), 2);
        drop(first);
        assert_eq!(server.in_flight(), 1);
        drop(second);
        assert_eq!(server.in_flight(), 0);
    }

    #[test]
    fn no_step_may_take_longer_than_what_is_left_of_the_request() {
        let upstream = Arc::new(Upstream::new("u".into(), group("{ servers: [{ address: 127.0.0.1:1 }] }")));
        let server = InFlight::new(Arc::new(server([127, 0, 0, 1], 1)), &upstream, false);
        let all = server.peer(None, false).options;
        assert_eq!(all.read_timeout, Some(Duration::from_secs(60)));
        assert_eq!(all.connection_timeout, Some(Duration::from_secs(3)));
        let capped = server.peer(Some(Duration::from_secs(5)), false).options;
        assert_eq!(capped.read_timeout, Some(Duration::from_secs(5)));
        assert_eq!(capped.connection_timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_fresh_connection_is_nobody_elses() {
        use pingora::upstreams::peer::Peer;
        let upstream = Arc::new(Upstream::new("u".into(), group("{ servers: [{ address: 127.0.0.1:1 }] }")));
        let server = InFlight::new(Arc::new(server([127, 0, 0, 1], 1)), &upstream, false);
        let kept = server.peer(None, false).reuse_hash();
        assert_eq!(server.peer(None, false).reuse_hash(), kept);
        let fresh = server.peer(None, true).reuse_hash();
        assert!(fresh != kept && fresh != server.peer(None, true).reuse_hash());
    }
}
