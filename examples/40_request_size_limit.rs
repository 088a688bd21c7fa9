//! 40 · Request size limit: a hundred bytes, whatever the client announces.
//!
//! Idea  An announced length is judged before anything is read. A body without one is counted as it passes.
//! New   `request_body_filter`, which sees a body piece by piece on its way, and a refusal in mid-stream
//!       (lesson 12 held the whole body back to look into it; a size needs no such thing).
//! Run   cargo run --example 40_request_size_limit
//! Try   head -c 101 /dev/zero | curl -i --data-binary @- http://172.28.0.10:6184/     from a client; the rest
//!       is in lessons/40_request_size_limit.md

use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use http::StatusCode;
use log::info;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::proxy::{FailToProxy, ProxyServiceBuilder};
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6184";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// The longest body that is forwarded, in bytes.
const LIMIT: u64 = 100;
/// How long a client that was refused may go on sending.
const LINGER: Duration = Duration::from_millis(500);

const TOO_LARGE: u16 = StatusCode::PAYLOAD_TOO_LARGE.as_u16();

struct SizeLimit;

/// The length that the head announces. Pingora has refused what is no number, or two that differ.
fn announced(request: &RequestHeader) -> Option<u64> {
    request.headers.get("Content-Length")?.to_str().ok()?.parse().ok()
}

#[async_trait]
impl ProxyHttp for SizeLimit {
    /// How many bytes of the body have come so far.
    type CTX = u64;
    fn new_ctx(&self) -> u64 {
        0
    }

    // ANCHOR: announced
    async fn request_filter(&self, session: &mut Session, _seen: &mut u64) -> Result<bool> {
        match announced(session.req_header()) {
            // No upstream is asked, and of the body nothing is waited for.
            Some(length) if length > LIMIT => {
                Error::e_explain(HTTPStatus(TOO_LARGE), format!("a body of {length} bytes is announced"))
            }
            _ => Ok(false),
        }
    }
    // ANCHOR_END: announced

    // ANCHOR: counted
    /// Called for each piece, before it goes to the upstream: an error here, and this piece never does.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        piece: &mut Option<Bytes>,
        end_of_stream: bool,
        seen: &mut u64,
    ) -> Result<()> {
        *seen += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if *seen > LIMIT {
            return Error::e_explain(HTTPStatus(TOO_LARGE), format!("{seen} bytes of a body have come"));
        }
        // HTTP/2 may end a body with an empty piece. Pingora 0.9.1 writes that as an empty chunk, which ends a
        // chunked body, and then ends it once more: Blue would read the rest as a broken request.
        if end_of_stream && piece.as_ref().is_some_and(Bytes::is_empty) {
            *piece = None;
        }
        Ok(())
    }
    // ANCHOR_END: counted

    async fn upstream_peer(&self, _session: &mut Session, _seen: &mut u64) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        seen: &mut u64,
    ) -> Result<()> {
        *seen = 0; // a second try sends the body from its beginning, and it is counted again
        upstream_request.insert_header("Host", BLUE_NAME)
    }

    // ANCHOR: fail
    /// The client may still be sending, and its answer has to survive that.
    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, _seen: &mut u64) -> FailToProxy {
        let error_code = match (e.etype(), e.esource()) {
            (HTTPStatus(code), _) => *code,
            (_, ErrorSource::Upstream) => 502,
            (_, ErrorSource::Downstream) => 400,
            (_, ErrorSource::Internal | ErrorSource::Unset) => 500,
        };
        session.set_total_drain_timeout(Some(LINGER));
        if session.is_http2() {
            // To answer in mid-body resets the stream, and clients have taken that for the answer: read first.
            let _ = session.drain_request_body().await;
        }
        if let Err(e) = session.respond_error(error_code).await {
            info!("nobody is there to be told: {e}");
        } else if !session.is_http2() {
            // To close on unread bytes resets the connection, and the answer may be lost with it: read now.
            let _ = session.drain_request_body().await;
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }
    // ANCHOR_END: fail
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    // HTTP/2 without TLS as well, where a body needs no announced length (lesson 15 is about it).
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    let mut proxy =
        ProxyServiceBuilder::new(&server.configuration, SizeLimit).server_options(options).build();
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Request Size Limit running on {LISTEN}");
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
