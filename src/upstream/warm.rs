//! What is found out about upstreams before the gateway opens its door, or takes over that of the one before it:
//! which servers there are, and who of them is well. Without it, the first clients would be told that there is
//! nobody, or meet a server that is known to be ill.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::Upstream;
use super::check::Connectors;
use crate::config::ServerSource;

/// How long a start waits for that. Less than the five seconds for which a gateway that is to hand over its
/// listeners looks for its successor.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks once, everybody at the same time, and returns when all have answered or [`PATIENCE`] is over. Who has not
/// answered by then serves anyway, as it did before: [`super::Watch`] asks again.
///
/// Nothing of it lives on. A gateway that goes into the background would leave behind whatever runs, or waits for
/// a socket, in a runtime that was made before.
pub fn warm_up<'a>(upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>) {
    let upstreams: Vec<_> =
        upstreams.into_iter().filter(|upstream| has_questions(upstream)).cloned().collect();
    if upstreams.is_empty() {
        return;
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            // Whoever turns logs over need not know that a gateway is about to start. What listens to these signals
            // later is not there yet, and they would end the process; once caught, they never do.
            let _caught = [SignalKind::hangup(), SignalKind::user_defined1()].map(signal);
            ask(upstreams, PATIENCE).await;
        }),
        Err(error) => log::warn!("nothing is known about upstreams before the first request: {error}"),
    }
}

/// What stands in a file was read when the upstream was made.
fn has_questions(upstream: &Upstream) -> bool {
    let discovery = upstream.config.discovery.as_ref();
    upstream.config.health_check.is_some()
        || discovery.is_some_and(|discovery| !matches!(discovery.source, ServerSource::File(_)))
}

async fn ask(upstreams: Vec<Arc<Upstream>>, patience: Duration) {
    let connectors = Arc::new(Connectors::new());
    let mut tasks = JoinSet::new();
    let mut waiting = HashMap::new();
    for upstream in upstreams {
        let task = tasks.spawn(upstream.clone().prepare(connectors.clone()));
        waiting.insert(task.id(), upstream);
    }
    let all = async {
        while let Some(ended) = tasks.join_next_with_id().await {
            waiting.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
        }
    };
    if tokio::time::timeout(patience, all).await.is_ok() {
        return;
    }
    for upstream in waiting.values() {
        let name = &upstream.name;
        log::warn!(
            "upstream {name}: not all is known about its servers after {patience:?}, and it serves anyway"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::upstream::server::tests::group;

    fn upstream(settings: &str) -> Arc<Upstream> {
        Arc::new(Upstream::new("u".into(), group(settings)))
    }

    #[test]
    fn only_those_with_questions_are_asked() {
        assert!(!has_questions(&upstream("{ servers: [{ address: 127.0.0.1:1 }] }")));
        assert!(has_questions(&upstream(
            "{ servers: [{ address: 127.0.0.1:1 }], health_check: { tcp: {} } }"
        )));
        assert!(has_questions(&upstream("{ discovery: { dns: { name: a.internal, port: 1 } } }")));
    }

    #[test]
    fn verdicts_are_there_when_it_returns_and_nothing_else_is_left() {
        let upstream =
            upstream("{ servers: [{ address: 127.0.0.1:1 }], health_check: { tcp: {}, unhealthy: 9 } }");
        warm_up([&upstream]);
        assert!(!upstream.servers()[0].health.is_well());
        assert_eq!(Arc::strong_count(&upstream), 1);
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for() {
        // Its queue takes the connection, and nobody answers.
        let deaf = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = deaf.local_addr().expect("it is bound");
        let check = "health_check: { http: {}, timeout: 1h }";
        let upstream = upstream(&format!("{{ servers: [{{ address: \"{address}\" }}], {check} }}"));
        ask(vec![upstream.clone()], Duration::from_millis(50)).await;
        assert!(upstream.servers()[0].health.is_well() && !upstream.servers()[0].health.is_known());
    }
}
