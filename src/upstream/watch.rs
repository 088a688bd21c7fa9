//! The one background service for everything that upstreams need beside their requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::Upstream;

/// How often it is asked which upstreams there are, and how soon a task that ended in a panic is started again.
const LOOK: Duration = Duration::from_millis(250);

/// Runs a task for each upstream that there is at the moment: it begins with the upstream, and ends with it. A
/// panic ends one task, not the service, and that task is started again.
pub struct Watch<F>(pub F);

#[async_trait]
impl<F> BackgroundService for Watch<F>
where
    F: Fn() -> Vec<Arc<Upstream>> + Send + Sync + 'static,
{
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut tasks = JoinSet::new();
        let mut running: HashMap<Id, (Arc<Upstream>, tokio::task::AbortHandle)> = HashMap::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = shutdown.changed() => break,
                Some(ended) = tasks.join_next_with_id() => {
                    let (id, panicked) = match ended {
                        Ok((id, ())) => (id, false),
                        Err(error) => (error.id(), error.is_panic()),
                    };
                    if let Some((upstream, _)) = running.remove(&id)
                        && panicked
                    {
                        log::error!("upstream {}: its background work panicked, and begins again", upstream.name);
                    }
                }
                _ = look.tick() => {
                    let wanted = (self.0)();
                    // Of an upstream that is no more, the task goes too.
                    for (upstream, task) in running.values() {
                        if !wanted.iter().any(|wanted| Arc::ptr_eq(wanted, upstream)) {
                            task.abort();
                        }
                    }
                    for upstream in wanted {
                        let runs = |(running, _): &(Arc<Upstream>, _)| Arc::ptr_eq(running, &upstream);
                        if upstream.has_background() && !running.values().any(runs) {
                            let task = tasks.spawn(upstream.clone().background());
                            running.insert(task.id(), (upstream, task));
                        }
                    }
                }
            }
        }
        tasks.shutdown().await;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use tokio::sync::watch;

    use super::*;
    use crate::upstream::server::tests::group;

    /// An upstream whose only server is not there, and that is asked all the time.
    fn checked() -> Arc<Upstream> {
        let check = "health_check: { tcp: {}, interval: 5ms }";
        Arc::new(Upstream::new(
            "u".into(),
            group(&format!("{{ servers: [{{ address: 127.0.0.1:1 }}], {check} }}")),
        ))
    }

    /// Asks again until it is so.
    pub async fn until(mut so: impl FnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is not so");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn tasks_begin_and_end_with_their_upstreams() {
        let (first, second) = (checked(), checked());
        let wanted = Arc::new(Mutex::new(vec![first.clone()]));
        let list = wanted.clone();
        let service = Watch(move || list.lock().expect("nobody panicked").clone());
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(async move { service.start(stopped).await });
        let is_well = |upstream: &Upstream| upstream.servers()[0].health.is_well();
        until(|| !is_well(&first)).await;
        assert!(is_well(&second), "nobody has asked for that one");

        *wanted.lock().expect("nobody panicked") = vec![second.clone()];
        until(|| !is_well(&second)).await;
        until(|| Arc::strong_count(&first) == 1).await;

        stop.send(true).expect("the service listens");
        running.await.expect("it ends");
        wanted.lock().expect("nobody panicked").clear();
        // And leaves nothing behind, once a check that was under way has been dropped.
        until(|| Arc::strong_count(&second) == 1).await;
    }
}
