//! 37 · Sliding window: two windows and a straight line between them.
//!
//! Idea  Ask how fast a client has been over the last second, not since a border that happens to lie behind us.
//! New   `rate_with` and the proportional estimate, asked before the request is counted (lesson 36 counted from
//!       zero at each border, and let nearly twice its limit through there).
//! Run   cargo run --example 37_sliding_window
//! Try   curl -i http://172.28.0.10:6181             from a client; the rest is in lessons/37_sliding_window.md

use std::net::IpAddr;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use log::{info, warn};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora_limits::rate::{PROPORTIONAL_RATE_ESTIMATE_CALC_FN, Rate};

const LISTEN: &str = "0.0.0.0:6181";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// Requests per second of one client. Who is that fast already, is refused.
const LIMIT: f64 = 5.0;
const WINDOW: Duration = Duration::from_secs(1);

/// Who is counted: the address of the connection. Clients of a Unix socket have none, and share a count.
fn client(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip().to_canonical())
}

// ANCHOR: limiter
struct SlidingWindow {
    attempts: Rate,
}

impl SlidingWindow {
    /// How fast the client has been, in attempts per second, with this one not yet counted.
    fn speed(&self, client: &Option<IpAddr>, path: &str) -> f64 {
        match path {
            // For comparison: what the last whole window had. The one that runs is not looked at.
            "/plain" => self.attempts.rate(client),
            _ => self.attempts.rate_with(client, PROPORTIONAL_RATE_ESTIMATE_CALC_FN),
        }
    }
}
// ANCHOR_END: limiter

#[async_trait]
impl ProxyHttp for SlidingWindow {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: filter
    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        let client = client(session);
        // First ask, then count. Refused attempts count too: to go on at that pace must not pay.
        let speed = self.speed(&client, session.req_header().uri.path());
        self.attempts.observe(&client, 1);
        if speed < LIMIT {
            return Ok(false);
        }

        let name = client.map_or_else(|| "a local socket".to_owned(), |ip| ip.to_string());
        warn!("Rate Limit Exceeded for {name}: {speed:.1} req/s");
        let mut head = ServerSession::generate_error(429);
        // An attempt counts until the window after its own is over. Windows begin with a request, whoever sends
        // it, so that one may begin up to a window late: after three, nothing is left for certain.
        head.insert_header("Retry-After", (3 * WINDOW.as_secs()).to_string())?;
        session.write_error_response(head, Bytes::new()).await?;
        Ok(true)
    }
    // ANCHOR_END: filter

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let limiter = SlidingWindow { attempts: Rate::new(WINDOW) };
    let mut proxy = http_proxy_service(&server.configuration, limiter);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Sliding Window running on {LISTEN}");
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
