//! Steady requests from one host, and what came back.
//!
//! `client` asks, `tally` counts, and this decides when. There are two ways. At a *rate* (an open loop),
//! requests are due at fixed moments whatever becomes of those before, as those of many people are. With a
//! number of *clients* (a closed loop), each asks again when it has its answer, as a benchmark does.
//!
//! At a rate, latency is counted from the moment at which a request was due. A server that stops for a second
//! then shows in every request of that second, also in those that could only be sent after it.

pub mod client;
pub mod tally;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use client::{Client, Outcome, Target};

/// So many requests may be under way at once; the ones after wait, and their latency grows.
const MOST_AT_ONCE: usize = 500;
/// How long a client waits after a failure: refusals cost nothing, and would come by the million.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many a second.
    Rate(u32),
    /// One after the other, by so many clients.
    Clients(u32),
}

/// When, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// When requests are made.
    pub pace: Pace,
    /// For how long; none: without an end.
    pub lasting: Option<Duration>,
    /// How many in all; none: any number.
    pub requests: Option<u64>,
}

/// One request that is over: how long it took, and what came of it.
pub type Done = (Duration, Outcome);

/// Makes the requests of a plan and tells of each when it is over. Told to stop, it makes no new ones. When
/// the channel is closed, all are over.
pub async fn drive(
    target: Arc<Target>,
    plan: Plan,
    done: UnboundedSender<Done>,
    stop: watch::Receiver<bool>,
) {
    match plan.pace {
        Pace::Rate(rate) => at_rate(target, rate, plan, done, stop).await,
        Pace::Clients(clients) => (0..clients).for_each(with_clients(target, plan, done, stop)),
    }
}

async fn at_rate(
    target: Arc<Target>,
    rate: u32,
    plan: Plan,
    done: UnboundedSender<Done>,
    mut stop: watch::Receiver<bool>,
) {
    // Those that have a connection to spare; the last one used is the first to be used again.
    let idle = Arc::new(Mutex::new(Vec::new()));
    let slots = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let start = Instant::now();
    for number in 0..plan.requests.unwrap_or(u64::MAX) {
        let after = Duration::from_secs_f64(number as f64 / f64::from(rate));
        if plan.lasting.is_some_and(|lasting| after >= lasting) {
            return;
        }
        let due = start + after;
        let ready = async {
            sleep_until(due).await;
            Arc::clone(&slots).acquire_owned().await
        };
        let slot = tokio::select! {
            slot = ready => slot,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (target, idle, done) = (Arc::clone(&target), Arc::clone(&idle), done.clone());
        tokio::spawn(async move {
            let clients = || idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = clients().pop();
            let mut client = kept.unwrap_or_else(|| Client::new(target));
            let outcome = client.ask().await;
            // Nobody listens any more when a second Ctrl-C has ended it.
            let _ = done.send((due.elapsed(), outcome));
            clients().push(client);
            drop(slot);
        });
    }
}

/// Starts one client, each time it is called.
fn with_clients(
    target: Arc<Target>,
    plan: Plan,
    done: UnboundedSender<Done>,
    stop: watch::Receiver<bool>,
) -> impl FnMut(u32) {
    let left = Arc::new(AtomicU64::new(plan.requests.unwrap_or(u64::MAX)));
    let end = plan.lasting.map(|lasting| Instant::now() + lasting);
    move |_| {
        let (mut client, left) = (Client::new(Arc::clone(&target)), Arc::clone(&left));
        let (done, mut stop) = (done.clone(), stop.clone());
        tokio::spawn(async move {
            let over =
                |stop: &watch::Receiver<bool>| *stop.borrow() || end.is_some_and(|end| end <= Instant::now());
            let one_less =
                || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            while !over(&stop) && one_less().is_ok() {
                let start = Instant::now();
                let outcome = client.ask().await;
                let failed = outcome.is_err();
                let _ = done.send((start.elapsed(), outcome));
                if failed {
                    tokio::select! {
                        () = sleep(AFTER_FAILURE) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::client::Failure;
    use super::*;
    use crate::clients::dial::TlsArgs;

    /// Answers with its count of connections, and not at all in the given time after its first request.
    async fn server(frozen: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let thaw = Arc::new(std::sync::OnceLock::new());
        tokio::spawn(async move {
            let mut count = 0;
            while let Ok((stream, _)) = listener.accept().await {
                count += 1;
                let thaw = Arc::clone(&thaw);
                let service = service_fn(move |_: Request<Incoming>| {
                    let thaw = *thaw.get_or_init(|| Instant::now() + frozen);
                    async move {
                        sleep_until(thaw).await;
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!(
                            "Response from {count}\n"
                        )))))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }

    async fn drive_all(address: SocketAddr, plan: Plan, timeout: Duration) -> Vec<Done> {
        let tls = TlsArgs { ca: "".into(), sni: None, cert: None, key: None };
        let target =
            Target::new(&format!("http://{address}/").parse().unwrap(), vec![], tls, timeout).unwrap();
        let (done, mut results) = mpsc::unbounded_channel();
        let (_stop, stopped) = watch::channel(false);
        drive(Arc::new(target), plan, done, stopped).await;
        let mut all = Vec::new();
        while let Some(one) = results.recv().await {
            all.push(one);
        }
        all
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn each_client_keeps_its_connection() {
        let address = server(Duration::ZERO).await;
        let plan = Plan { pace: Pace::Clients(3), lasting: None, requests: Some(60) };
        let all = drive_all(address, plan, LONG).await;
        let mut servers: Vec<_> =
            all.iter().map(|(_, outcome)| outcome.as_ref().unwrap().server.clone()).collect();
        assert_eq!(servers.len(), 60);
        servers.sort();
        servers.dedup();
        assert!(servers.len() <= 3, "{servers:?}");
    }

    #[tokio::test]
    async fn a_rate_makes_as_many_as_are_due() {
        let address = server(Duration::ZERO).await;
        let plan = Plan { pace: Pace::Rate(100), lasting: Some(Duration::from_millis(300)), requests: None };
        let all = drive_all(address, plan, LONG).await;
        assert_eq!(all.len(), 30);
        assert!(all.iter().all(|(_, outcome)| outcome.is_ok()));
    }

    #[tokio::test]
    async fn at_a_rate_every_request_of_a_stop_shows_it() {
        let address = server(Duration::from_millis(500)).await;
        let plan = Plan { pace: Pace::Rate(100), lasting: Some(Duration::from_millis(600)), requests: None };
        let all = drive_all(address, plan, LONG).await;
        // Due in the first 400 ms: each waited at least 100.
        let waited = all.iter().filter(|(latency, _)| *latency >= Duration::from_millis(100)).count();
        assert!(waited >= 40, "{waited}");
        // A client that asks one after the other sees it once.
        let address = server(Duration::from_millis(500)).await;
        let plan = Plan { pace: Pace::Clients(1), lasting: None, requests: Some(40) };
        let all = drive_all(address, plan, LONG).await;
        assert_eq!(all.iter().filter(|(latency, _)| *latency >= Duration::from_millis(400)).count(), 1);
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let one = Plan { pace: Pace::Clients(1), lasting: None, requests: Some(1) };
        assert_eq!(drive_all(closed, one, LONG).await[0].1, Err(Failure::Refused));
        let frozen = server(LONG).await;
        let short = Duration::from_millis(50);
        assert_eq!(drive_all(frozen, one, short).await[0].1, Err(Failure::Late(short)));

        let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = rude.local_addr().unwrap();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let answers: [&[u8]; 3] =
                [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"no http\r\n\r\n"];
            for answer in answers {
                let (mut stream, _) = rude.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        });
        for expected in [Failure::Closed, Failure::Closed, Failure::NoHttp] {
            assert_eq!(drive_all(address, one, LONG).await[0].1, Err(expected));
        }
    }

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_is_no_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            // Promises to keep the connection, and does not.
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        });
        let plan = Plan { pace: Pace::Clients(1), lasting: None, requests: Some(5) };
        let all = drive_all(address, plan, LONG).await;
        assert!(all.iter().all(|(_, outcome)| outcome.is_ok()), "{all:?}");
    }
}
