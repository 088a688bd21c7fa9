//! Upstreams: groups of servers, and who of them gets the next request.
//!
//! **Owns** the servers and what is known of them (in flight, health, breaker),
//! balancing, retries, discovery, and the peer: everything that Pingora must know to connect.
//!
//! **Offers** [`Upstream::pick`], which returns a server that counts as busy for as long as the returned
//! [`InFlight`] lives, and [`InFlight::peer`]; [`Tries`], what a request remembers of its tries; [`warm_up`], for
//! what is better known before the first request; [`Watch`], the background service for all of them.
//!
//! **Knows nothing** of routes and middlewares. What a choice may depend on comes as a [`Selection`].
//!
//! What is made when the servers change, and not when a request comes: turns, circles, tokens, peers. A choice
//! takes no lock, and pays for nothing that its group does not use. Lessons 16 to 34 are about what happens here.

mod balance;
mod breaker;
mod check;
mod discover;
mod dns;
mod health;
mod peer;
mod retry;
mod schedule;
mod server;
mod sticky;
mod tries;
mod via;
mod warm;
mod watch;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pingora::http::RequestHeader;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::config::{self, Name};
use balance::Tier;
use breaker::Change;
use check::{Checker, Connectors};
use discover::Found;
pub use retry::{Failure, Replay, Retry};
pub use server::{InFlight, Server};
pub use tries::{TimeIsOver, Tries};
pub use warm::warm_up;
pub use watch::Watch;

/// A group of servers that do the same work.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Name,
    /// What it was made from: a reload keeps an upstream for which this has not changed.
    pub config: config::Upstream,
    /// All of them. Whoever changes something about them holds this until the change is seen.
    servers: Mutex<Vec<Arc<Server>>>,
    /// Tells who checks them that there are others.
    changed: Notify,
    /// What DNS has said of their addresses, for the time when it says nothing.
    known: ArcSwap<dns::Known>,
    /// Those that can be asked: the backups are the second tier. Swapped as a whole when that changes, so a
    /// choice takes no lock.
    ready: ArcSwap<[Tier; 2]>,
    /// How many choices there have been, of each tier: one that nobody can be chosen from must not take turns away
    /// from the other.
    turns: [AtomicUsize; 2],
    /// When the first of the breakers that are open lets a request through; [`NEVER`] if none is.
    probe_due: AtomicU64,
}

const NEVER: u64 = u64::MAX;

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
        let found = match &config.discovery {
            // It was read a moment ago, when the configuration was validated.
            Some(config::Discovery { source: config::ServerSource::File(path), .. }) => {
                discover::file(path).ok()
            }
            _ => None,
        };
        let servers: Vec<_> = found
            .as_ref()
            .unwrap_or(&config.servers)
            .iter()
            .map(|server| Arc::new(Server::new(server, &config)))
            .collect();
        let ready = ArcSwap::from_pointee(tiers(&servers, &config));
        Upstream {
            name,
            config,
            servers: Mutex::new(servers),
            changed: Notify::new(),
            known: ArcSwap::default(),
            ready,
            turns: Default::default(),
            probe_due: AtomicU64::new(NEVER),
        }
    }

    /// The server that gets this request. `None` if no server is left that could.
    pub fn pick(self: &Arc<Self>, selection: &Selection<'_>) -> Option<InFlight> {
        if self.probe_due.load(Ordering::Relaxed) != NEVER
            && let Some(server) = self.probe(selection)
        {
            return Some(InFlight::new(server, self, true));
        }
        let ready = self.ready.load();
        let server = ready.iter().zip(&self.turns).find_map(|(tier, turns)| tier.pick(turns, selection))?;
        Some(InFlight::new(server.clone(), self, false))
    }

    /// Whether clients come back to their servers.
    pub fn is_sticky(&self) -> bool {
        matches!(self.config.balance, config::Balance::Sticky(_))
    }

    /// The cookie that leads the client back to this server, if it is wanted and not there yet.
    pub fn cookie_for(&self, server: &Server, request: &RequestHeader, secure: bool) -> Option<String> {
        let config::Balance::Sticky(sticky) = &self.config.balance else { return None };
        let token = server.token.as_deref()?;
        let known = sticky::token(request, &sticky.cookie).is_some_and(|known| known == token);
        (!known).then(|| sticky::set_cookie(&sticky.cookie, token, secure))
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

    /// A server whose breaker is open, and lets this request through to find out.
    fn probe(&self, selection: &Selection<'_>) -> Option<Arc<Server>> {
        let now = breaker::now();
        if self.probe_due.load(Ordering::Relaxed) > now {
            return None;
        }
        // From here on, whoever opens a breaker sets it again.
        self.probe_due.store(NEVER, Ordering::Relaxed);
        let alone = self.ready.load()[0].servers().is_empty();
        let mut found = None;
        for server in self.servers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Some(breaker) = &server.breaker else { continue };
            // A backup has its turn when nobody else can be asked.
            let may = found.is_none()
                && server.health.is_well()
                && server.can_take(selection.tried)
                && (alone || !server.backup);
            if may && breaker.probe(now) {
                found = Some(server.clone());
            } else if let Some(due) = breaker.due() {
                self.probe_due.fetch_min(due, Ordering::Relaxed);
            }
        }
        found
    }

    /// How a request has ended that a server with a breaker had: `None` if nobody knows.
    fn learn(&self, server: &Server, well: Option<bool>, probe: bool) {
        let Some(breaker) = &server.breaker else { return };
        let now = breaker::now();
        let Some(well) = well else {
            if probe {
                breaker.abandon(now);
                self.probe_due.fetch_min(now, Ordering::Relaxed);
            }
            return;
        };
        let Some(change) = breaker.record(well, probe, now) else { return };
        if let Change::Opened(until) = change {
            self.probe_due.fetch_min(until, Ordering::Relaxed);
        }
        self.refresh();
        match change {
            Change::Closed => log::info!("upstream {}: {} works again", self.name, server.address),
            Change::Opened(_) => {
                log::warn!("upstream {}: {} fails too often, and gets a rest", self.name, server.address);
            }
        }
    }

    /// These are its servers from now on. What is known of those that remain is kept; requests that others have
    /// are finished there.
    fn replace(&self, found: &[config::UpstreamServer]) {
        {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            let same = |server: &Server, found: &config::UpstreamServer| {
                (server.address, server.weight, server.backup) == (found.address, found.weight, found.backup)
            };
            if servers.len() == found.len()
                && servers.iter().zip(found).all(|(server, found)| same(server, found))
            {
                return;
            }
            let made = found.iter().map(|found| {
                match servers.iter().find(|server| server.address == found.address) {
                    Some(known) if same(known, found) => known.clone(),
                    Some(known) => Arc::new(known.changed(found)),
                    None => Arc::new(Server::new(found, &self.config)),
                }
            });
            *servers = made.collect();
        }
        self.refresh();
        self.changed.notify_one();
        log::info!("upstream {}: it has {} servers now", self.name, found.len());
    }

    /// Something has changed about who can be asked.
    fn refresh(&self) {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        self.ready.store(Arc::new(tiers(&servers, &self.config)));
    }

    /// Whether there is something to do for it beside its requests.
    fn has_background(&self) -> bool {
        self.config.health_check.is_some() || self.config.discovery.is_some()
    }

    /// What there is to do for it beside its requests, until it is no more.
    async fn background(self: Arc<Self>) {
        let check = async {
            if let Some(check) = &self.config.health_check {
                self.check_forever(check).await;
            }
        };
        let follow = async {
            if let Some(discovery) = &self.config.discovery {
                discover::follow(&self, discovery).await;
            }
        };
        tokio::join!(check, follow);
    }

    /// What is better known before the first request: who its servers are, and who of them is well.
    async fn prepare(self: Arc<Self>, connectors: Arc<Connectors>) {
        if let Some(discovery) = &self.config.discovery {
            discover::once(&self, discovery).await;
        }
        let Some(check) = &self.config.health_check else { return };
        let checker = Arc::new(Checker::new(check.clone(), connectors));
        let mut checks = JoinSet::new();
        for server in self.servers() {
            checks.spawn(self.clone().check(server, checker.clone()));
        }
        // A panic leaves a server unknown, as nobody's answer would.
        while checks.join_next().await.is_some() {}
    }

    async fn check_forever(self: &Arc<Self>, check: &config::HealthCheck) {
        let checker = Arc::new(Checker::new(check.clone(), Arc::new(Connectors::new())));
        let upstream = self.clone();
        let ask = move |server| upstream.clone().check(server, checker.clone());
        check::rounds::follow(self, check.interval, ask).await;
    }

    async fn check(self: Arc<Self>, server: Arc<Server>, checker: Arc<Checker>) {
        let result = checker.check(&server).await;
        let Some(check) = &self.config.health_check else { return };
        if !server.health.record(result.is_ok(), &check.thresholds) {
            return;
        }
        // First, so that what is said holds.
        self.refresh();
        match result {
            Ok(()) => log::info!("upstream {}: {} is well again", self.name, server.address),
            Err(failure) => log::warn!("upstream {}: {} is not well: {failure}", self.name, server.address),
        }
    }

    /// This was found, and holds.
    fn adopt(&self, found: Found) {
        self.replace(&found.servers);
        self.known.store(Arc::new(found.known));
    }
}

/// Those that can be asked, and those that are asked if none of them can take a request.
fn tiers(servers: &[Arc<Server>], config: &config::Upstream) -> [Tier; 2] {
    [false, true].map(|backup| {
        let servers = servers.iter().filter(|server| server.backup == backup && server.is_ready());
        Tier::new(servers.cloned().collect(), &config.balance)
    })
}
