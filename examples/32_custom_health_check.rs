//! 32 · Custom health check: well is whoever gives the right answer.
//!
//! Idea  A 200 can come from the wrong server. Read what it says, all of it, but not for ever and not without
//!       end.
//! New   A `HealthCheck` of our own, with a cap for what it reads and one deadline for everything (lesson 31
//!       looked at a status, with a limit for each step).
//! Run   cargo run --example 32_custom_health_check
//! Try   curl -i http://172.28.0.10:6176             from a client; the rest is in lessons/32_custom_health_check.md

use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::lb::Backend;
use pingora::lb::health_check::HealthCheck;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6176";

const BLUE: &str = "172.28.0.20:8080";
const GREEN: &str = "172.28.0.21:8080";

/// How long a request may wait for a connection, and then for an answer.
const CONNECT: Duration = Duration::from_millis(300);
const READ: Duration = Duration::from_secs(2);
const STEPS: usize = 256;

/// What a server must say, how much of its answer we read, and how long all of it may take.
const WORD: &str = "BLUE";
const CAP: usize = 64 * 1024;
const DEADLINE: Duration = Duration::from_secs(1);

/// A check has failed. What was wrong is said beside it.
const CHECK_FAILED: ErrorType = ErrorType::new("CheckFailed");

// ANCHOR: page
/// Asks for a page and reads it.
struct SaysTheWord {
    connector: Connector,
    question: RequestHeader,
}

impl SaysTheWord {
    fn new() -> Result<SaysTheWord> {
        let mut question = RequestHeader::build("GET", b"/whoami", None)?;
        question.insert_header("Host", "blue.pingora.local")?;
        question.insert_header("User-Agent", "city-health")?;
        Ok(SaysTheWord { connector: Connector::new(None), question })
    }

    /// The whole page, or what has come in between.
    async fn page(&self, server: &Backend) -> Result<Vec<u8>> {
        let peer = HttpPeer::new(server, false, String::new());
        let (mut session, _) = self.connector.get_http_session(&peer).await?;
        session.write_request_header(Box::new(self.question.clone())).await?;
        session.finish_request_body().await?;

        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        if status != 200 {
            return Error::e_explain(CHECK_FAILED, format!("Status was {status}"));
        }
        let mut body = Vec::new();
        while let Some(piece) = session.read_response_body().await? {
            body.extend_from_slice(&piece);
            if body.len() > CAP {
                return Error::e_explain(CHECK_FAILED, format!("Body was longer than {CAP} bytes"));
            }
        }
        Ok(body)
    }
}
// ANCHOR_END: page

// ANCHOR: check
#[async_trait]
impl HealthCheck for SaysTheWord {
    /// The next round begins when every check of this one has ended. One that never ends would be the last for
    /// all servers of the pool, so there is a deadline for the whole of it.
    async fn check(&self, server: &Backend) -> Result<()> {
        let wrong = match timeout(DEADLINE, self.page(server)).await {
            Ok(Ok(body)) if String::from_utf8_lossy(&body).contains(WORD) => return Ok(()),
            Ok(Ok(_)) => format!("Body did not contain '{WORD}'"),
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("No whole answer within {DEADLINE:?}"),
        };
        Error::e_explain(CHECK_FAILED, format!("Custom Check Failed for {}: {wrong}", server.addr))
    }

    /// How many verdicts in a row it takes to change our mind.
    fn health_threshold(&self, success: bool) -> usize {
        if success { 2 } else { 1 }
    }

    /// How Pingora's log names a server.
    fn backend_summary(&self, server: &Backend) -> String {
        server.addr.to_string()
    }
}
// ANCHOR_END: check

struct CustomChecked {
    upstreams: Arc<LoadBalancer<RoundRobin>>,
}

#[async_trait]
impl ProxyHttp for CustomChecked {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let server = self.upstreams.select(b"", STEPS).or_err(HTTPStatus(503), "no server is healthy")?;
        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        peer.options.read_timeout = Some(READ);
        Ok(Box::new(peer))
    }
}

/// The pool, and how it is watched.
fn upstreams() -> Result<LoadBalancer<RoundRobin>> {
    let mut upstreams =
        LoadBalancer::try_from_iter([BLUE, GREEN]).or_err(InternalError, "these are no addresses")?;
    upstreams.set_health_check(Box::new(SaysTheWord::new()?));
    upstreams.health_check_frequency = Some(Duration::from_secs(1));
    upstreams.parallel_health_check = true; // else one that takes its time delays the verdict on the next
    Ok(upstreams)
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let upstreams = upstreams().unwrap_or_else(|error| {
        eprintln!("cannot use {BLUE} and {GREEN} as upstreams: {}", error.root_cause());
        exit(1)
    });
    let checks = background_service("health checks", upstreams);
    let upstreams = checks.task();
    server.add_service(checks);

    let mut proxy = http_proxy_service(&server.configuration, CustomChecked { upstreams });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Custom Health Check running on {LISTEN}");
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
