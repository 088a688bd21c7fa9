//! 11 · Response modification: what an upstream says about itself, and what a client gets to hear.
//!
//! Idea  A response's head is edited at two moments: when it has come in, and before it goes out.
//! New   `upstream_response_filter`, the first of the two, and reading a header that the upstream has set
//!       (lesson 08 wrote one in `response_filter`, the second).
//! Run   cargo run --example 11_response_modification
//! Try   curl -i http://172.28.0.10:6151             from a client; the rest is in
//!       lessons/11_response_modification.md

use std::process::exit;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6151";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

struct ResponseModification;

#[async_trait]
impl ProxyHttp for ResponseModification {
    type CTX = ();
    fn new_ctx(&self) {}

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

    // ANCHOR: incoming
    /// The response has come in. What is removed here, nobody after this hook learns: no cache, no filter.
    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        upstream_response: &mut ResponseHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        // Which version runs is the first thing an attacker would like to know.
        upstream_response.remove_header("X-App-Version");
        Ok(())
    }
    // ANCHOR_END: incoming

    // ANCHOR: outgoing
    /// The response goes out, from the upstream or, with a cache, from the cache.
    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        // A browser then believes `Content-Type` and does not guess that a text is a script.
        response.insert_header("X-Content-Type-Options", "nosniff")?;

        // Still the upstream's: Pingora puts its own `Date` in its place when the head is written.
        if let Some(date) = response.headers.get("Date").cloned() {
            response.insert_header("X-Legacy-Date", date)?;
        }
        Ok(())
    }
    // ANCHOR_END: outgoing
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, ResponseModification);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Response Modification running on {LISTEN}");
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
