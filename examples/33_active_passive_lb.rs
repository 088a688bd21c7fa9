//! 33 · Active and passive: one serves, the other waits for the day on which it is needed.
//!
//! Idea  Two pools in an order. The second gets nothing until the first has nobody left.
//! New   A backup that is asked when the pool has nobody left, and an alert when it takes over (in lesson 30 all
//!       servers were of one pool; the checks and the retries are much the same).
//! Run   cargo run --example 33_active_passive_lb
//! Try   curl -i http://172.28.0.10:6177             from a client; the rest is in lessons/33_active_passive_lb.md

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use log::{info, warn};
use pingora::http::ResponseHeader;
use pingora::lb::Backend;
use pingora::prelude::*;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::FailToProxy;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::Peer;

const LISTEN: &str = "0.0.0.0:6177";

const BLUE: &str = "172.28.0.20:8080"; // the primary pool: one server here, it could be many
const GREEN: &str = "172.28.0.21:8080"; // the backup

/// How long nobody may answer the door, and how long an answer may take, before somebody else is asked.
const CONNECT: Duration = Duration::from_millis(300);
/// The backup is given longer: there is nobody else to ask.
const CONNECT_BACKUP: Duration = Duration::from_millis(1500);
const READ: Duration = Duration::from_secs(1);
const CHECK_EVERY: Duration = Duration::from_secs(1);
const STEPS: usize = 256;

struct ActivePassive {
    primary: Arc<LoadBalancer<RoundRobin>>,
    backup: Backend,
    /// Whether the last to answer was the backup.
    failed_over: AtomicBool,
}

/// What one request remembers.
#[derive(Default)]
struct Attempt {
    failed: Vec<SocketAddr>,
    on_backup: bool,
}

#[async_trait]
impl ProxyHttp for ActivePassive {
    type CTX = Attempt;
    fn new_ctx(&self) -> Attempt {
        Attempt::default()
    }

    // ANCHOR: peer
    async fn upstream_peer(&self, _session: &mut Session, attempt: &mut Attempt) -> Result<Box<HttpPeer>> {
        let untried = |server: &Backend| !attempt.failed.contains(&server.addr);
        let primary = self.primary.select_with(b"", STEPS, |server, well| well && untried(server));
        let backup = || Some(self.backup.clone()).filter(untried);

        attempt.on_backup = primary.is_none();
        let server = primary.or_else(backup).or_err(HTTPStatus(503), "primary and backup are down")?;
        if attempt.on_backup && !self.failed_over.swap(true, Ordering::Relaxed) {
            warn!("FAILOVER ALERT: nobody in the primary pool answers, {} takes over", server.addr);
        }

        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(if attempt.on_backup { CONNECT_BACKUP } else { CONNECT });
        peer.options.read_timeout = Some(READ);
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer

    // ANCHOR: retry
    /// No connection, so nothing was sent: anything may be tried again.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        attempt: &mut Attempt,
        mut error: Box<Error>,
    ) -> Box<Error> {
        attempt.failed.push(peer.address().clone());
        error.set_retry(true);
        error
    }

    /// The request was under way. It may be asked again if the fault was the upstream's, if doing it twice is
    /// the same as once, if we still have all of it, and if the client has seen no part of an answer.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        attempt: &mut Attempt,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        let again = *error.esource() == ErrorSource::Upstream
            && session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none();
        // That a kept connection was closed says nothing about the server: a new one may be answered.
        if !reused || *error.etype() == ReadTimedout {
            attempt.failed.push(peer.address().clone());
        }
        error.set_retry(again);
        error
    }
    // ANCHOR_END: retry

    // ANCHOR: back
    async fn response_filter(
        &self,
        _session: &mut Session,
        _response: &mut ResponseHeader,
        attempt: &mut Attempt,
    ) -> Result<()> {
        if !attempt.on_backup && self.failed_over.swap(false, Ordering::Relaxed) {
            info!("the primary pool answers again");
        }
        Ok(())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut Attempt) -> FailToProxy {
        let (error_code, reason) = match error.etype() {
            HTTPStatus(code) => (*code, "primary and backup are down, try again later\n"),
            _ => (502, "the upstream gave no proper answer\n"),
        };
        // It writes nothing if an answer has begun. If the client has gone, nobody is left to be told.
        let _ = session.respond_error_with_body(error_code, Bytes::from(reason)).await;
        FailToProxy { error_code, can_reuse_downstream: false }
    }
    // ANCHOR_END: back
}

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let pools = LoadBalancer::try_from_iter([BLUE]).ok().zip(Backend::new(GREEN).ok());
    let Some((mut primary, backup)) = pools else {
        eprintln!("{BLUE} or {GREEN} is no address");
        exit(1)
    };
    let mut check = TcpHealthCheck::new();
    check.peer_template.options.connection_timeout = Some(CONNECT);
    primary.set_health_check(check);
    primary.health_check_frequency = Some(CHECK_EVERY);
    let checks = background_service("primary's health", primary);

    let primary = checks.task();
    server.add_service(checks); // without it nobody checks, and Blue counts as healthy for ever
    let proxy = ActivePassive { primary, backup, failed_over: AtomicBool::new(false) };
    let mut proxy = http_proxy_service(&server.configuration, proxy);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Active/Passive running on {LISTEN}");
    server.run_forever()
}
// ANCHOR_END: main

/// A server configured by the file given with `-c`, or by Pingora's defaults with a shorter farewell: a
/// second for what is under way, where Pingora would wait five minutes (lesson 03 tells why).
fn new_server(options: Opt) -> Server {
    let Some(file) = options.conf.clone() else {
        let conf = ServerConf {
            grace_period_seconds: Some(1),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        };
        return Server::new_with_opt_and_conf(options, conf);
    };
    Server::new(options).unwrap_or_else(|error| {
        eprintln!("cannot use the configuration {file}: {}", error.root_cause());
        exit(1)
    })
}
