//! 08 · Header manipulation: what a proxy says in both directions besides what it was told.
//!
//! Idea  A request's head is edited on the way out, a response's on the way back, and never the client's own copy.
//! New   `response_filter`, and the three verbs of a header: insert, append, remove (lesson 06 set one, `Host`).
//! Run   cargo run --example 08_header_manipulation
//! Try   curl -i http://172.28.0.10:6148             from a client; the rest is in
//!       lessons/08_header_manipulation.md

use std::process::exit;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6148";

const GREEN: &str = "172.28.0.21:8080";
const GREEN_NAME: &str = "green.pingora.local";

struct HeaderManipulation;

#[async_trait]
impl ProxyHttp for HeaderManipulation {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(GREEN, false, String::new())))
    }

    // ANCHOR: request
    /// On the way out. `upstream_request` is a copy: what the client sent stays in the session as it was.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", GREEN_NAME)?;
        // Inserting replaces all that came under this name, in any case of its letters. Appending would add
        // ours to the client's, and Green would believe whichever it reads first.
        upstream_request.insert_header("X-Pingora-Proxy", "true")?;
        upstream_request.remove_header("User-Agent"); // all of them; none is no error
        Ok(())
    }
    // ANCHOR_END: request

    // ANCHOR: response
    /// On the way back, before the head goes to the client. Nothing of it has been sent yet.
    async fn response_filter(
        &self,
        _session: &mut Session,
        upstream_response: &mut ResponseHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_response.insert_header("X-Edited-By", "Pingora")
    }
    // ANCHOR_END: response
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, HeaderManipulation);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Header Manipulation running on {LISTEN}");
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
