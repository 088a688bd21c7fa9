//! Upstreams: groups of servers, and who of them gets the next request.
//!
//! **Owns** the servers and what is known of them (in flight, and to come: health, breaker), balancing,
//! discovery, and the peer: everything that Pingora must know to connect.
//!
//! **Offers** [`Upstream::pick`], which returns a server that counts as busy for as long as the returned
//! [`InFlight`] lives, and [`InFlight::peer`].
//!
//! **Knows nothing** of routes and middlewares. What a choice may depend on comes as a [`Selection`].
//!
//! Lessons 16 to 34 are about what happens here.

mod balance;
mod server;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::http::RequestHeader;

use crate::config::{self, Name};
use balance::Balancer;
pub use server::{InFlight, Server};

/// A group of servers that do the same work.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Name,
    /// What it was made from: a reload keeps an upstream for which this has not changed.
    pub config: config::Upstream,
    /// Swapped as a whole when discovery finds others.
    servers: ArcSwap<Vec<Arc<Server>>>,
    balancer: Balancer,
}

/// What the choice of a server may depend on.
pub struct Selection<'a> {
    /// The request.
    pub request: &'a RequestHeader,
    /// Who sent it; `None` for clients on a Unix socket.
    pub client: Option<IpAddr>,
    /// Servers that have failed this request already, and do not get it again.
    pub tried: &'a [Arc<Server>],
}

impl Upstream {
    /// Makes it, with servers that nobody has asked yet.
    pub fn new(name: Name, config: config::Upstream) -> Upstream {
        let servers = config.servers.iter().map(|server| Arc::new(Server::new(server))).collect();
        let balancer = Balancer::new(config.balance);
        Upstream { name, config, servers: ArcSwap::from_pointee(servers), balancer }
    }

    /// The server that gets this request. `None` if no server is left that could.
    pub fn pick(&self, selection: &Selection<'_>) -> Option<InFlight> {
        self.balancer.pick(&self.servers.load(), selection).map(InFlight::new)
    }

    /// Whether somebody is left who has not been asked.
    pub fn has_more(&self, tried: &[Arc<Server>]) -> bool {
        self.servers.load().iter().any(|server| server.can_take(tried))
    }
}
