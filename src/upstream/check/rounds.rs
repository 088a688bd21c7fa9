//! Rounds: each server of a group is checked on a schedule of its own, so that one that hangs keeps no other
//! waiting.
//!
//! **Knows nothing** of what a check is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::super::{Server, Upstream};

/// Has every server of the group checked, again and again, for as long as this is polled: never twice at a time,
/// and those that nobody has checked yet at once. Servers that join have their rounds from then on, those that
/// leave have none. A panic costs its server one interval, and the others nothing.
pub async fn follow<F, C>(upstream: &Upstream, every: Duration, check: F)
where
    F: Fn(Arc<Server>) -> C + Clone + Send + Sync + 'static,
    C: Future<Output = ()> + Send,
{
    let mut rounds = Rounds { every, check, tasks: JoinSet::new(), running: HashMap::new() };
    loop {
        rounds.adjust(&upstream.servers());
        tokio::select! {
            () = upstream.changed.notified() => {}
            Some(ended) = rounds.tasks.join_next_with_id() => {
                if let Err(error) = ended
                    && error.is_panic()
                    && let Some(server) = rounds.forget(error.id())
                {
                    log::error!("upstream {}: the check of {} panicked", upstream.name, server.address);
                    rounds.begin(server, every);
                }
            }
        }
    }
}

struct Rounds<F> {
    every: Duration,
    check: F,
    tasks: JoinSet<()>,
    /// By what is known of their health: that stays the same when a server's weight changes, and is new for one
    /// that comes back.
    running: HashMap<usize, (Arc<Server>, AbortHandle)>,
}

fn key(server: &Server) -> usize {
    Arc::as_ptr(&server.health).addr()
}

impl<F, C> Rounds<F>
where
    F: Fn(Arc<Server>) -> C + Clone + Send + Sync + 'static,
    C: Future<Output = ()> + Send,
{
    /// These are the servers from now on.
    fn adjust(&mut self, servers: &[Arc<Server>]) {
        let present: HashSet<_> = servers.iter().map(|server| key(server)).collect();
        self.running.retain(|key, (_, task)| {
            let stays = present.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for server in servers {
            if !self.running.contains_key(&key(server)) {
                self.begin(server.clone(), Duration::ZERO);
            }
        }
    }

    fn begin(&mut self, server: Arc<Server>, after: Duration) {
        let (check, every) = (self.check.clone(), self.every);
        let checked = server.clone();
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            if !checked.health.is_known() {
                check(checked.clone()).await;
            }
            // The next one at any moment of an interval: not all servers of a group in the same instant.
            let mut ticks = interval_at(Instant::now() + every.mul_f64(fastrand::f64()), every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                check(checked.clone()).await;
            }
        });
        self.running.insert(key(&server), (server, task));
    }

    /// The server whose task this was.
    fn forget(&mut self, task: tokio::task::Id) -> Option<Arc<Server>> {
        let key = *self.running.iter().find(|(_, (_, running))| running.id() == task)?.0;
        self.running.remove(&key).map(|(server, _)| server)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::UpstreamServer;
    use crate::upstream::server::tests::group;
    use crate::upstream::watch::tests::until;

    const EVERY: Duration = Duration::from_millis(5);

    fn three() -> Arc<Upstream> {
        let servers = [1, 2, 3].map(|port| format!("{{ address: 127.0.0.1:{port} }}")).join(", ");
        Arc::new(Upstream::new("u".into(), group(&format!("{{ servers: [{servers}] }}"))))
    }

    /// How often each port was asked, and what happens to whoever asks.
    #[derive(Clone, Default)]
    struct Journal(Arc<Mutex<HashMap<u16, usize>>>);

    impl Journal {
        fn count(&self, server: &Server) -> usize {
            let mut counts = self.0.lock().expect("nobody panics with it");
            let count = counts.entry(server.address.port()).or_default();
            *count += 1;
            *count
        }

        fn asked(&self, port: u16) -> usize {
            self.0.lock().expect("nobody panics with it").get(&port).copied().unwrap_or(0)
        }
    }

    /// Rounds in which servers at port 1 hang, and those at port 2 make the first check panic.
    fn rounds(upstream: &Arc<Upstream>, journal: &Journal) -> tokio::task::JoinHandle<()> {
        let (upstream, journal) = (upstream.clone(), journal.clone());
        tokio::spawn(async move {
            let check = move |server: Arc<Server>| {
                let count = journal.count(&server);
                async move {
                    match server.address.port() {
                        1 => std::future::pending().await,
                        2 if count == 1 => panic!("a check panics, as the test wants it"),
                        _ => {}
                    }
                }
            };
            follow(&upstream, EVERY, check).await;
        })
    }

    #[tokio::test]
    async fn who_hangs_or_panics_takes_nothing_from_the_others() {
        let (upstream, journal) = (three(), Journal::default());
        let running = rounds(&upstream, &journal);
        until(|| journal.asked(2) > 5 && journal.asked(3) > 5).await;
        assert_eq!(journal.asked(1), 1, "one check at a time");
        running.abort();
        drop(running);
        until(|| Arc::strong_count(&upstream) == 1).await;
        until(|| upstream.servers().iter().all(|server| Arc::strong_count(server) <= 3)).await;
    }

    #[tokio::test]
    async fn servers_come_and_go() {
        let (upstream, journal) = (three(), Journal::default());
        let running = rounds(&upstream, &journal);
        until(|| journal.asked(1) == 1 && journal.asked(3) > 1).await;
        let found = |port: u16, weight| UpstreamServer {
            address: ([127, 0, 0, 1], port).into(),
            weight,
            backup: false,
        };
        // One goes, one comes, and one that hangs has another weight, which is no reason to ask it twice.
        upstream.replace(&[found(1, 7), found(4, 1)]);
        until(|| journal.asked(4) > 1).await;
        let asked = journal.asked(3);
        let more = journal.asked(4) + 10;
        until(|| journal.asked(4) > more).await;
        assert_eq!((journal.asked(1), journal.asked(3)), (1, asked));
        // Who comes back is somebody new.
        upstream.replace(&[found(4, 1)]);
        until(|| journal.asked(4) > more + 10).await;
        upstream.replace(&[found(1, 1), found(4, 1)]);
        until(|| journal.asked(1) == 2).await;
        running.abort();
    }
}
