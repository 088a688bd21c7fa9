//! 12 · Body inspection: a body is read and judged before the upstream learns that there is one.
//!
//! Idea  Read all of it, up to a limit, then decide: forward it, or refuse it with nothing of it forwarded.
//! New   Reading the body in `request_filter`, and the retry buffer that hands it on afterwards (lesson 09
//!       decided by the path, which comes with the head).
//! Run   cargo run --example 12_body_inspection
//! Try   curl -i -d 'a rogue order' http://172.28.0.10:6152     from a client; the rest is in
//!       lessons/12_body_inspection.md

use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::{StatusCode, Version};
use log::info;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::proxy::ProxyServiceBuilder;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6152";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// No body with this in it is forwarded.
const REFUSED: &[u8] = b"rogue";
/// As much as Pingora's retry buffer holds. A longer body would be read here and could not be forwarded.
const LIMIT: usize = 64 * 1024;
/// How long a client that was refused may go on sending.
const LINGER: Duration = Duration::from_millis(500);

struct BodyInspection;

#[async_trait]
impl ProxyHttp for BodyInspection {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: filter
    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        let Some(status) = inspect(session).await? else {
            return Ok(false); // clean: go on to upstream_peer, and only now is there an upstream at all
        };
        info!("{} -> {status}", session.req_header().uri.path());
        refuse(session, status).await?;
        Ok(true)
    }
    // ANCHOR_END: filter

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    // ANCHOR: outgoing
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        // The client asked whether it may send, and we have answered. Blue would answer again.
        upstream_request.remove_header("Expect");
        upstream_request.insert_header("Host", BLUE_NAME)
    }
    // ANCHOR_END: outgoing
}

// ANCHOR: inspect
/// Reads the whole body and judges it: the status with which it is refused, or none.
async fn inspect(session: &mut Session) -> Result<Option<StatusCode>> {
    // What is read from here on is kept, and Pingora sends it to the upstream before anything else.
    session.enable_retry_buffering();

    let head = session.req_header();
    let length = head.headers.get("Content-Length").and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > LIMIT) {
        return Ok(Some(StatusCode::PAYLOAD_TOO_LARGE)); // not a byte of it has to be read
    }
    // A client may wait for a word before it sends. HTTP/1.0 has no such word (RFC 9110, section 10.1.1), and
    // in HTTP/2 Pingora sends none.
    if head.version == Version::HTTP_11 && head.headers.contains_key("Expect") {
        session.write_continue_response().await?;
    }
    let mut length = 0;
    // Without a status of its own, an error here would be a 500: as if it were our fault.
    while let Some(piece) = session.read_request_body().await.or_err(HTTPStatus(400), "a broken body")? {
        length += piece.len();
        if length > LIMIT {
            return Ok(Some(StatusCode::PAYLOAD_TOO_LARGE)); // without a length it may have no end either
        }
    }

    // What is judged is the very buffer that will be sent. In it there are no borders between pieces.
    let body = session.get_retry_buffer().unwrap_or_default();
    let rogue = body.windows(REFUSED.len()).any(|part| part == REFUSED);
    Ok(rogue.then_some(StatusCode::FORBIDDEN))
}
// ANCHOR_END: inspect

// ANCHOR: refuse
/// Answers a client that may still be sending, and reads on for a moment so that the answer arrives. Whether
/// the client comes to an end, goes on or hangs up meanwhile is all the same.
async fn refuse(session: &mut Session, status: StatusCode) -> Result<()> {
    session.set_total_drain_timeout(Some(LINGER));
    if session.is_http2() {
        // To answer in mid-body is to reset the stream, and clients have taken that for the answer: read first.
        let _ = session.drain_request_body().await;
        return session.respond_error(status.as_u16()).await;
    }
    session.respond_error(status.as_u16()).await?;
    // To close on unread bytes is to reset the connection, and the answer may be lost with it: read now.
    let _ = session.drain_request_body().await;
    Ok(())
}
// ANCHOR_END: refuse

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    // HTTP/2 without TLS as well, to see a body come in frames (lesson 15 is about it).
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    let mut proxy =
        ProxyServiceBuilder::new(&server.configuration, BodyInspection).server_options(options).build();
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Body Inspection running on {LISTEN}");
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
