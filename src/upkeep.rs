//! What a process does beside requests: it starts the access log's writer, listens to signals that would end it, and
//! leaves when there is nothing left to do.
//!
//! **Knows nothing** of what requests and connections do: it counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};

use crate::observe;
use crate::observe::access::AccessLog;

/// How often the end is looked for, once it is near.
const LOOK: Duration = Duration::from_millis(20);
/// How many looks in a row must find no request, while clients of HTTP/2 keep their connections: their last answers
/// may still be on their way.
const CALM: u32 = 15;
/// How long clients that have just connected are waited for: what they ask is on its way, by a path of some length.
pub const ARRIVAL: Duration = Duration::from_secs(1);

/// Counts what is under way.
#[derive(Debug, Default)]
pub struct Busy(AtomicUsize);

impl Busy {
    /// One more, until the guard is dropped.
    pub fn begin(self: &Arc<Busy>) -> BusyGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        BusyGuard(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Waits until nothing is under way, but no longer than this.
    pub async fn settle(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.is_idle() && Instant::now() < end {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// One that is under way.
#[derive(Debug)]
pub struct BusyGuard(Arc<Busy>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All counts, and whether they are to come to an end.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Connections of clients.
    pub connections: Arc<Busy>,
    /// Those of them that have not asked for anything yet.
    pub arrivals: Arc<Busy>,
    /// Requests.
    pub requests: Arc<Busy>,
    ends: Arc<AtomicBool>,
}

impl Work {
    /// Whether the process is on its way out: a client is better told so than left to find its connection closed.
    pub fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }
}

/// The service.
pub struct Upkeep {
    /// What is under way.
    pub work: Work,
    /// The access log, if there is one.
    pub access: Option<Arc<AccessLog>>,
}

/// A hangup ends a process that does not listen to it. Those who send one mean a reload, or nothing at all: a script
/// that turns logs over, a terminal that closes.
async fn stay() {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        log::warn!(
            "SIGHUP changes nothing: a new configuration needs a new process, see `gateway --upgrade`"
        );
    }
}

/// Those who turn logs over send this when the access log's file has another name, as they do for nginx.
async fn turn_over(access: Option<Arc<AccessLog>>) {
    let Ok(mut turned) = signal(SignalKind::user_defined1()) else { return };
    while turned.recv().await.is_some() {
        let Some(access) = access.clone() else {
            log::warn!("SIGUSR1 changes nothing: there is no access log");
            continue;
        };
        // It waits for the disk, and for room. A panic there is no reason not to listen any more.
        let _ = tokio::task::spawn_blocking(move || access.reopen()).await;
    }
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if let Some(access) = &self.access {
            access.start();
        }
        tokio::spawn(stay());
        tokio::spawn(turn_over(self.access.clone()));
        while !*shutdown.borrow() {
            if shutdown.changed().await.is_err() {
                return;
            }
        }
        self.work.ends.store(true, Ordering::Relaxed);
        // Pingora waits for the whole grace period, also when nobody is left. Listeners close and connections that
        // wait for a request are dropped as soon as it begins.
        self.work.arrivals.settle(ARRIVAL).await;
        let mut calm = 0;
        while calm < CALM && !(calm > 1 && self.work.connections.is_idle()) {
            tokio::time::sleep(LOOK).await;
            calm = if self.work.requests.is_idle() { calm + 1 } else { 0 };
        }
        log::info!("nothing is left to do");
        observe::flush(self.access.as_deref());
        std::process::exit(0);
    }
}
