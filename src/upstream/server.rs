use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use super::health::Health;
use crate::config;

/// One server of a group, and what is known of it.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests.
    pub weight: u32,
    /// Whether it is asked only when no other can be.
    pub backup: bool,
    /// How to connect to it, made once.
    peer: HttpPeer,
    in_flight: AtomicUsize,
    /// What checks have found out.
    pub(super) health: Health,
}

impl Server {
    /// A server that nobody has asked yet, of a group with these settings.
    pub fn new(config: &config::UpstreamServer, group: &config::Upstream) -> Server {
        let mut peer = HttpPeer::new(config.address, false, String::new());
        let options = &mut peer.options;
        // The first is for TCP and TLS each, the second for both together.
        options.connection_timeout = Some(group.timeouts.connect);
        options.total_connection_timeout = Some(group.timeouts.connect);
        options.read_timeout = Some(group.timeouts.read);
        options.write_timeout = Some(group.timeouts.write);
        options.idle_timeout = Some(group.timeouts.idle);
        Server {
            address: config.address,
            weight: config.weight,
            backup: config.backup,
            peer,
            in_flight: AtomicUsize::new(0),
            health: Health::new(),
        }
    }

    /// How to connect to it.
    pub(super) fn peer(&self) -> &HttpPeer {
        &self.peer
    }

    /// Whether requests may be sent to it.
    pub(super) fn is_ready(&self) -> bool {
        self.health.is_well()
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

/// A server at work on a request, counted until this is dropped.
pub struct InFlight(Arc<Server>);

impl InFlight {
    pub(super) fn new(server: Arc<Server>) -> InFlight {
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(server)
    }

    /// Which server.
    pub fn server(&self) -> &Arc<Server> {
        &self.0
    }

    /// For Pingora: where and how to connect, and to wait for no longer than is left of the request's time.
    pub fn peer(&self, left: Option<Duration>) -> Box<HttpPeer> {
        let mut peer = Box::new(self.0.peer.clone());
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
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
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
        let server = Arc::new(server([127, 0, 0, 1], 1));
        let first = InFlight::new(server.clone());
        let second = InFlight::new(server.clone());
        assert_eq!(server.in_flight(), 2);
        drop(first);
        assert_eq!(server.in_flight(), 1);
        drop(second);
        assert_eq!(server.in_flight(), 0);
    }

    #[test]
    fn no_step_may_take_longer_than_what_is_left_of_the_request() {
        let server = InFlight::new(Arc::new(server([127, 0, 0, 1], 1)));
        let all = server.peer(None).options;
        assert_eq!(all.read_timeout, Some(Duration::from_secs(60)));
        assert_eq!(all.connection_timeout, Some(Duration::from_secs(3)));
        let capped = server.peer(Some(Duration::from_secs(5))).options;
        assert_eq!(capped.read_timeout, Some(Duration::from_secs(5)));
        assert_eq!(capped.connection_timeout, Some(Duration::from_secs(3)));
    }
}
