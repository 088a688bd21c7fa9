//! 36 · Basic rate limit: so many requests per second and client, and not one more.
//!
//! Idea  Count each client's requests in windows of a second; who is over the limit is told when to come back.
//! New   `Rate` from pingora-limits, a key that says who is counted, and 429 with its headers (lesson 09
//!       refused by what was asked for; here it matters how often).
//! Run   cargo run --example 36_basic_rate_limit
//! Try   curl -i http://172.28.0.10:6180             from a client; the rest is in lessons/36_basic_rate_limit.md

use std::net::IpAddr;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use http::StatusCode;
use log::{info, warn};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora_limits::rate::Rate;

const LISTEN: &str = "0.0.0.0:6180";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

// ANCHOR: limit
/// What a client may send in one window.
const LIMIT: isize = 5;
const WINDOW: Duration = Duration::from_secs(1);

struct RateLimit {
    /// One for all clients: a table of fixed size, whoever comes.
    requests: Rate,
}
// ANCHOR_END: limit

// ANCHOR: client
/// Who is counted: the address at the other end of the connection, which nobody can choose freely. What a
/// header says about the client, he says himself. Clients of a Unix socket have no address, and share a count.
fn client(session: &Session) -> Option<IpAddr> {
    // An IPv4 client of an IPv6 listener shows as ::ffff:172.28.0.30. Canonical, it is one client, not two.
    Some(session.client_addr()?.as_inet()?.ip().to_canonical())
}
// ANCHOR_END: client

// ANCHOR: headers
/// What the client may know about its limit, on every answer. `Rate` keeps the clock of its window to itself,
/// so `Reset` is what it is at most: a whole window.
fn tell(response: &mut ResponseHeader, count: isize) -> Result<()> {
    response.insert_header("X-Rate-Limit-Limit", LIMIT.to_string())?;
    response.insert_header("X-Rate-Limit-Remaining", (LIMIT - count).max(0).to_string())?;
    response.insert_header("X-Rate-Limit-Reset", WINDOW.as_secs().to_string())
}
// ANCHOR_END: headers

#[async_trait]
impl ProxyHttp for RateLimit {
    /// The client's requests in this window so far, this one included.
    type CTX = isize;
    fn new_ctx(&self) -> isize {
        0
    }

    // ANCHOR: filter
    async fn request_filter(&self, session: &mut Session, count: &mut isize) -> Result<bool> {
        let client = client(session);
        // One step: added and read at once. To ask first and add later would let a crowd in between.
        *count = self.requests.observe(&client, 1);
        if *count <= LIMIT {
            return Ok(false);
        }

        let name = client.map_or_else(|| "a local socket".to_owned(), |ip| ip.to_string());
        warn!("Rate Limit Exceeded for {name}: {count} req/s");
        let mut head = ServerSession::generate_error(StatusCode::TOO_MANY_REQUESTS.as_u16());
        tell(&mut head, *count)?;
        head.insert_header("Retry-After", WINDOW.as_secs().to_string())?;
        session.write_error_response(head, Bytes::new()).await?;
        Ok(true)
    }
    // ANCHOR_END: filter

    async fn upstream_peer(&self, _session: &mut Session, _count: &mut isize) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _count: &mut isize,
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        count: &mut isize,
    ) -> Result<()> {
        tell(response, *count)
    }
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let limiter = RateLimit { requests: Rate::new(WINDOW) };
    let mut proxy = http_proxy_service(&server.configuration, limiter);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Basic Rate Limit running on {LISTEN}");
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
