//! Upstreams: groups of servers, and who of them gets the next request.
//!
//! **Owns** the servers and what is known of them (in flight, and to come: health, breaker), balancing,
//! discovery, and the peer: everything that Pingora must know to connect.
//!
//! **Offers** [`Upstream::pick`], which returns a server that counts as busy for as long as the returned
//! [`InFlight`] lives, and [`InFlight::peer`]; [`Tries`], what a request remembers of its tries.
//!
//! **Knows nothing** of routes and middlewares. What a choice may depend on comes as a [`Selection`].
//!
//! Lessons 16 to 34 are about what happens here.

mod balance;
mod schedule;
mod server;
mod tries;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use pingora::http::RequestHeader;

use crate::config::{self, Name};
use balance::Tier;
pub use server::{InFlight, Server};
pub use tries::{TimeIsOver, Tries};

/// A group of servers that do the same work.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Name,
    /// What it was made from: a reload keeps an upstream for which this has not changed.
    pub config: config::Upstream,
    /// Those that can be asked: the backups are the second tier. Swapped as a whole when that changes, so a
    /// choice takes no lock.
    ready: ArcSwap<[Tier; 2]>,
    /// How many choices there have been.
    turns: AtomicUsize,
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
        let servers: Vec<_> =
            config.servers.iter().map(|server| Arc::new(Server::new(server, &config))).collect();
        let ready = ArcSwap::from_pointee(tiers(&servers, &config));
        Upstream { name, config, ready, turns: AtomicUsize::new(0) }
    }

    /// The server that gets this request. `None` if no server is left that could.
    pub fn pick(&self, selection: &Selection<'_>) -> Option<InFlight> {
        let ready = self.ready.load();
        let server = ready.iter().find_map(|tier| tier.pick(&self.turns, selection))?;
        Some(InFlight::new(server.clone()))
    }

    /// Whether somebody is left who has not been asked.
    pub fn has_more(&self, tried: &[Arc<Server>]) -> bool {
        let ready = self.ready.load();
        ready.iter().flat_map(Tier::servers).any(|server| server.can_take(tried))
    }
}

/// Those that can be asked, and those that are asked if none of them can take a request.
fn tiers(servers: &[Arc<Server>], config: &config::Upstream) -> [Tier; 2] {
    [false, true].map(|backup| {
        let servers = servers.iter().filter(|server| server.backup == backup);
        Tier::new(servers.cloned().collect(), &config.balance)
    })
}
