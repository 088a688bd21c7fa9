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
