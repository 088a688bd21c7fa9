//! 16 · Static peer: an upstream that is an address, checked once.
//!
//! Idea  An address that is parsed at startup cannot be wrong at midnight, and needs nobody to look it up.
//! New   `SocketAddr` in place of text, a setting from the environment, a connect timeout (lesson 06 had a
//!       constant string that would panic if it were wrong).
//! Run   cargo run --example 16_static_peer
//! Try   curl -i http://172.28.0.10:6160             from a client; the rest is in lessons/16_static_peer.md

use std::env;
use std::net::SocketAddr;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6160";

const BLUE: &str = "172.28.0.20:8080"; // unless UPSTREAM says otherwise
const BLUE_NAME: &str = "blue.pingora.local";

// ANCHOR: proxy
struct StaticPeer {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for StaticPeer {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        info!("Connecting to static peer: {}", self.upstream);
        // With a `SocketAddr` there is nothing left to look up, and nothing that can panic.
        let mut peer = HttpPeer::new(self.upstream, false, String::new());
        // A host that is gone does not refuse, it is silent; without a limit the kernel decides how long.
        peer.options.connection_timeout = Some(Duration::from_millis(500));
        Ok(Box::new(peer))
    }
    // ANCHOR_END: proxy

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }
}

// ANCHOR: upstream
/// The address from the environment, or Blue's. What is wrong with it is said now, not by the first request.
fn upstream() -> Result<SocketAddr, String> {
    let text = env::var("UPSTREAM").unwrap_or_else(|_| BLUE.to_owned());
    text.parse().map_err(|_| {
        format!("UPSTREAM is '{text}', which is no address; write one like {BLUE} or [2001:db8::1]:8080")
    })
}
// ANCHOR_END: upstream

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let upstream = upstream().unwrap_or_else(|trouble| {
        eprintln!("{trouble}");
        exit(1)
    });
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, StaticPeer { upstream });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Static Peer running on {LISTEN}");
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
