//! 25 · Connection reuse: the most expensive part of a request is the one that need not happen.
//!
//! Idea  A connection that has carried one request is kept, and carries the next one to the same peer.
//! New   `connected_to_upstream`, which says whether that happened, and the pool's limits: `idle_timeout`, and
//!       `group_key` for those who must not share (lesson 19 had the idle timeout as one limit of many).
//! Run   cargo run --example 25_connection_reuse
//! Try   curl -i http://172.28.0.10:6169             from a client; the rest is in lessons/25_connection_reuse.md

use std::os::fd::RawFd;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::Digest;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6169";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(30);

/// Those who must not share a connection with anybody else.
const VIP_GROUP: u64 = 1;

struct ConnectionReuse;

/// What one request remembers: whether its connection had carried another before. `None`: it had none.
type Reused = Option<bool>;

#[async_trait]
impl ProxyHttp for ConnectionReuse {
    type CTX = Reused;
    fn new_ctx(&self) -> Reused {
        None
    }

    // ANCHOR: peer
    async fn upstream_peer(&self, session: &mut Session, _reused: &mut Reused) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(BLUE, false, String::new());
        peer.options.idle_timeout = Some(IDLE);
        peer.options.connection_timeout = Some(Duration::from_secs(1));
        if session.req_header().uri.path() == "/vip" {
            peer.group_key = VIP_GROUP; // part of the key under which the pool keeps connections
        }
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer

    // ANCHOR: connected
    /// There is a connection, new or from the pool. After a retry this is called again, for the next one.
    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Reused,
    ) -> Result<()> {
        *ctx = Some(reused);
        Ok(())
    }
    // ANCHOR_END: connected

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _reused: &mut Reused,
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }

    // ANCHOR: tell
    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        reused: &mut Reused,
    ) -> Result<()> {
        if let Some(reused) = reused {
            response.insert_header("X-Upstream-Reused", reused.to_string())?;
        }
        Ok(())
    }

    async fn logging(&self, _session: &mut Session, error: Option<&Error>, reused: &mut Reused) {
        match (error, reused) {
            (None, Some(reused)) => info!("Request Complete. Reused Connection: {reused}"),
            _ => info!("Request Failed"), // Pingora has logged why
        }
    }
    // ANCHOR_END: tell
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, ConnectionReuse);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Connection Reuse running on {LISTEN}");
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
