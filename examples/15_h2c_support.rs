//! 15 · h2c support: HTTP/2 without TLS, from clients and to the upstream.
//!
//! Idea  In the clear there is no ALPN, so nothing is agreed: each side says HTTP/2 and hopes, or must be told.
//! New   An upstream that gets HTTP/2 and nothing else, and the server option `h2c` (lesson 14 left the choice
//!       of protocol to the TLS handshakes).
//! Run   cargo run --example 15_h2c_support
//! Try   curl -i http://172.28.0.10:6155             from a client; the rest is in lessons/15_h2c_support.md

use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::proxy::ProxyServiceBuilder;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6155";

const ADVANCED: &str = "172.28.0.22:8081"; // speaks h2c, and nothing else on this port
const ADVANCED_NAME: &str = "advanced.pingora.local";
const BLUE: &str = "172.28.0.20:8080"; // speaks HTTP/1 only: `/blue` shows what comes of it

struct H2cSupport;

#[async_trait]
impl ProxyHttp for H2cSupport {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: peer
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let address = if session.req_header().uri.path() == "/blue" { BLUE } else { ADVANCED };
        let mut peer = HttpPeer::new(address, false, String::new());
        // At most 2 and at least 2. Without TLS nobody asks the upstream, and a minimum of 1 means HTTP/1.
        peer.options.set_http_version(2, 2);
        peer.options.max_h2_streams = 100; // requests at once on one connection; Pingora's default is 1
        peer.options.connection_timeout = Some(Duration::from_secs(1));
        peer.options.read_timeout = Some(Duration::from_secs(2));
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", ADVANCED_NAME) // leaves as `:authority`
    }
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    // ANCHOR: server_option
    let mut options = HttpServerOptions::default();
    options.h2c = true; // a connection that begins with HTTP/2's preface is HTTP/2; any other, HTTP/1
    let service = ProxyServiceBuilder::new(&server.configuration, H2cSupport);
    let mut proxy = service.server_options(options).build();
    proxy.add_tcp(LISTEN);
    // ANCHOR_END: server_option
    server.add_service(proxy);

    info!("H2C Support running on {LISTEN}");
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
