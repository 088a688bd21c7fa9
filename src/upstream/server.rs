use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use crate::config;

/// How long a connection may take to be made. A host that is gone answers nothing at all.
const CONNECT: Duration = Duration::from_secs(3);

/// One server of a group, and what is known of it.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// How to connect to it, made once.
    peer: HttpPeer,
    in_flight: AtomicUsize,
}

impl Server {
    /// A server that nobody has asked yet.
    pub fn new(config: &config::UpstreamServer) -> Server {
        let mut peer = HttpPeer::new(config.address, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        Server { address: config.address, peer, in_flight: AtomicUsize::new(0) }
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

    /// For Pingora: where and how to connect.
    pub fn peer(&self) -> Box<HttpPeer> {
        Box::new(self.0.peer.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_until_its_guard_is_dropped() {
        let address = ([127, 0, 0, 1], 80).into();
        let server = Arc::new(Server::new(&config::UpstreamServer { address }));
        let first = InFlight::new(server.clone());
        let second = InFlight::new(server.clone());
        assert_eq!(server.in_flight(), 2);
        drop(first);
        assert_eq!(server.in_flight(), 1);
        drop(second);
        assert_eq!(server.in_flight(), 0);
    }
}
