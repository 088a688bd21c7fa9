//! Upstreams: groups of servers, and who of them gets the next request.
//!
//! **Owns** the servers and what is known of them (in flight, health, and to come: breaker),
//! balancing, discovery, and the peer: everything that Pingora must know to connect.
//!
//! **Offers** [`Upstream::pick`], which returns a server that counts as busy for as long as the returned
//! [`InFlight`] lives, and [`InFlight::peer`]; [`Tries`], what a request remembers of its tries; [`Watch`], the
//! background service for all of them.
//!
//! **Knows nothing** of routes and middlewares. What a choice may depend on comes as a [`Selection`].
//!
//! Lessons 16 to 34 are about what happens here.

mod balance;
mod check;
mod health;
mod schedule;
mod server;
mod tries;
mod watch;

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pingora::http::RequestHeader;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{self, Name};
use balance::Tier;
use check::Checker;
pub use server::{InFlight, Server};
pub use tries::{TimeIsOver, Tries};
pub use watch::Watch;

/// A group of servers that do the same work.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Name,
    /// What it was made from: a reload keeps an upstream for which this has not changed.
    pub config: config::Upstream,
    /// All of them. Whoever changes something about them holds this until the change is seen.
    servers: Mutex<Vec<Arc<Server>>>,
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
        Upstream { name, config, servers: Mutex::new(servers), ready, turns: AtomicUsize::new(0) }
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

impl Upstream {
    /// All of its servers, well or not.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something has changed about who can be asked.
    fn refresh(&self) {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        self.ready.store(Arc::new(tiers(&servers, &self.config)));
    }

    /// Whether there is something to do for it beside its requests.
    fn has_background(&self) -> bool {
        self.config.health_check.is_some()
    }

    /// What there is to do for it beside its requests, until it is no more.
    async fn background(self: Arc<Self>) {
        if let Some(check) = &self.config.health_check {
            self.check_forever(check).await;
        }
    }

    async fn check_forever(self: &Arc<Self>, check: &config::HealthCheck) {
        let checker = Arc::new(Checker::new(check.clone()));
        let mut ticks = interval(check.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut checks = JoinSet::new();
            for server in self.servers() {
                checks.spawn(self.clone().check(server, checker.clone()));
            }
            // Whether one of them panicked or not: the next tick asks again.
            while checks.join_next().await.is_some() {}
        }
    }

    async fn check(self: Arc<Self>, server: Arc<Server>, checker: Arc<Checker>) {
        let result = checker.check(&server).await;
        let Some(check) = &self.config.health_check else { return };
        if !server.health.record(result.is_ok(), &check.thresholds) {
            return;
        }
        match result {
            Ok(()) => log::info!("upstream {}: {} is well again", self.name, server.address),
            Err(failure) => log::warn!("upstream {}: {} is not well: {failure}", self.name, server.address),
        }
        self.refresh();
    }
}

/// Those that can be asked, and those that are asked if none of them can take a request.
fn tiers(servers: &[Arc<Server>], config: &config::Upstream) -> [Tier; 2] {
    [false, true].map(|backup| {
        let servers = servers.iter().filter(|server| server.backup == backup && server.is_ready());
        Tier::new(servers.cloned().collect(), &config.balance)
    })
}
