//! 31 · HTTP health checks: a question that only a working server can answer.
//!
//! Idea  A program that hangs still has its port open. So ask it for a page, with a deadline, and want a 200.
//! New   `HttpHealthCheck`: a request of our own, its timeouts, and log lines a person can read (lesson 30
//!       only knocked; the proxy itself is the same).
//! Run   cargo run --example 31_health_check_http
//! Try   curl -i http://172.28.0.10:6175             from a client; the rest is in lessons/31_health_check_http.md

use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::Uri;
use log::info;
use pingora::lb::health_check::HttpHealthCheck;
use pingora::prelude::*;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6175";

const BLUE: &str = "172.28.0.20:8080";
const GREEN: &str = "172.28.0.21:8080";
const HOST: &str = "city.pingora.local"; // the site that both serve, for the checks' requests

/// How long a check waits for a connection, and then for an answer.
const PROBE: Duration = Duration::from_millis(500);

/// How long a server may take to accept a connection, and then as long to begin its answer. The first has little
/// time, since others can be asked. The next ones have more, since then it may not be the server that is slow.
const FIRST: Duration = Duration::from_millis(300);
const NEXT: Duration = Duration::from_secs(1);

/// How often a request is tried in all.
const TRIES: usize = 4;

/// How many steps a selection may take in search of a server that will do.
const STEPS: usize = 256;

// ANCHOR: proxy
struct HealthChecked {
    upstreams: Arc<LoadBalancer<RoundRobin>>,
}

#[async_trait]
impl ProxyHttp for HealthChecked {
    /// The servers that this request has been to.
    type CTX = Vec<SocketAddr>;
    fn new_ctx(&self) -> Self::CTX {
        Vec::new()
    }

    /// The next server that is well, as far as the checks know, and that this request has not been to. If it has
    /// been to all of them, any that is well.
    async fn upstream_peer(&self, _session: &mut Session, tried: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let server = self
            .upstreams
            .select_with(b"", STEPS, |server, healthy| healthy && !tried.contains(&server.addr))
            .or_else(|| self.upstreams.select(b"", STEPS))
            .filter(|_| tried.len() < TRIES)
            .or_err(HTTPStatus(503), "no healthy server is left")?;
        let patience = if tried.is_empty() { FIRST } else { NEXT };
        tried.push(server.addr.clone());

        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(patience);
        peer.options.read_timeout = Some(patience);
        Ok(Box::new(peer))
    }
    // ANCHOR_END: proxy

    // ANCHOR: retry
    /// No connection: nothing has been sent, so any request may go to somebody else.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        _tried: &mut Self::CTX,
        mut e: Box<Error>,
    ) -> Box<Error> {
        e.set_retry(true);
        e
    }

    /// The request was under way, and nobody knows how far it came. It may be asked again if all of this holds.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        _tried: &mut Self::CTX,
        _reused: bool,
    ) -> Box<Error> {
        let mut e = e.more_context(format!("Peer: {peer}"));
        let again = *e.esource() == ErrorSource::Upstream // not: the client has left
            && session.req_header().method.is_idempotent() // twice is as good as once
            && !session.as_ref().retry_buffer_truncated() // we still have the whole body
            && session.response_written().is_none(); // the client has seen nothing of an answer yet
        e.set_retry(again);
        e
    }
    // ANCHOR_END: retry
}

// ANCHOR: check
/// What each server is asked, and what counts as an answer.
fn question() -> Result<HttpHealthCheck> {
    let mut check = HttpHealthCheck::new(HOST, false);
    check.req.set_uri(Uri::from_static("/health"));
    // A server's statistics can leave these out, and whoever reads its log knows whom to ask about them.
    check.req.insert_header("User-Agent", "city-health")?;
    check.peer_template.options.connection_timeout = Some(PROBE);
    check.peer_template.options.read_timeout = Some(PROBE); // for the head, and then for each piece of the body
    check.consecutive_failure = 1;
    check.consecutive_success = 3; // who has just been ill must do more than get lucky
    check.set_backend_summary(|server| server.addr.to_string()); // how the log is to name it
    Ok(check)
}

/// The pool, and how it is watched.
fn upstreams() -> Result<LoadBalancer<RoundRobin>> {
    let mut upstreams =
        LoadBalancer::try_from_iter([BLUE, GREEN]).or_err(InternalError, "these are no addresses")?;
    upstreams.set_health_check(Box::new(question()?));
    upstreams.health_check_frequency = Some(Duration::from_millis(500));
    upstreams.parallel_health_check = true; // a silent server does not keep the others waiting
    Ok(upstreams)
}
// ANCHOR_END: check

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let upstreams = upstreams().unwrap_or_else(|error| {
        eprintln!("cannot use {BLUE} and {GREEN} as upstreams: {}", error.root_cause());
        exit(1)
    });
    let checks = background_service("health checks", upstreams);
    let upstreams = checks.task(); // the same pool, for the proxy to choose from
    server.add_service(checks); // without it nobody knocks, and everybody counts as healthy for ever

    let mut proxy = http_proxy_service(&server.configuration, HealthChecked { upstreams });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("HTTP Health Check running on {LISTEN}");
    server.run_forever()
}

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
