//! 06 · Simple forward: the least that is a proxy.
//!
//! Idea  Two questions make a proxy: to whom does the request go, and as whom do we address that server?
//! New   `ProxyHttp` with its one required hook `upstream_peer`, and `upstream_request_filter` (lesson 05
//!       answered requests itself).
//! Run   cargo run --example 06_simple_forward
//! Try   curl -i http://172.28.0.10:6146             from a client; the rest is in lessons/06_simple_forward.md

use std::process::exit;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6146";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

struct SimpleForward;

// ANCHOR: proxy
#[async_trait]
impl ProxyHttp for SimpleForward {
    /// What one request remembers from phase to phase. This proxy has nothing to remember (lesson 09 has).
    type CTX = ();
    fn new_ctx(&self) {}

    /// To whom? The whole of it: an address, no TLS, and therefore no server name to ask for.
    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let tls = false;
        let sni = String::new();
        Ok(Box::new(HttpPeer::new(BLUE, tls, sni)))
    }

    /// As whom? The client asked for the proxy by its name or address. Blue answers to its own.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }
}
// ANCHOR_END: proxy

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, SimpleForward);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Simple Forward running on {LISTEN}");
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
