//! 13 · Custom errors: one place in which failures become answers.
//!
//! Idea  Every failure ends in one hook. It decides what the client may know, in a form its code can read.
//! New   `fail_to_proxy`, and an error's type, source and context; an error type of one's own (lesson 06 left
//!       all of it to Pingora's bare 502).
//! Run   cargo run --example 13_custom_errors
//! Try   curl -i http://172.28.0.10:6153/oops        from a client; the rest is in lessons/13_custom_errors.md

use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use log::{error, info};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::proxy::FailToProxy;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6153";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";
const CLOSED: &str = "172.28.0.20:9"; // a port of Blue on which nobody listens
const NOWHERE: &str = "172.28.0.99:80"; // the City's black hole: no answer of any kind

// ANCHOR: error_type
/// A failure that only this proxy knows. The name is what the log shows.
const OOPS: ErrorType = ErrorType::new("Oops");
// ANCHOR_END: error_type

struct CustomErrors;

// ANCHOR: verdict
/// What the client is told: a status, and a sentence. `None` means that there is nobody left to tell.
///
/// The sentence is a constant. What the error itself says, with addresses and causes in it, is for the log.
fn verdict(e: &Error) -> Option<(u16, &'static str)> {
    match (e.esource(), e.etype()) {
        (_, &OOPS) => Some((400, "this path always fails")),
        (_, HTTPStatus(code)) => Some((*code, "the request was refused")), // someone has decided already
        (ErrorSource::Upstream, ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout) => {
            Some((504, "the upstream took too long"))
        }
        (ErrorSource::Upstream, _) => Some((502, "the upstream did not answer properly")),
        (ErrorSource::Downstream, ReadTimedout) => Some((408, "the request took too long to arrive")),
        (ErrorSource::Downstream, ReadError | WriteError | WriteTimedout | ConnectionClosed) => None,
        (ErrorSource::Downstream, _) => Some((400, "the request could not be understood")),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some((500, "the proxy has a problem")),
    }
}
// ANCHOR_END: verdict

// ANCHOR: tell
/// The answer itself: Pingora's error head (with `Cache-Control: private, no-store`), and a body in JSON.
async fn tell(session: &mut Session, code: u16, message: &'static str) -> Result<()> {
    // Put together by hand, which is safe for two reasons only: a number, and constants without a quote.
    let body = format!("{{\"status\": \"error\", \"code\": {code}, \"message\": \"{message}\"}}\n");
    let mut head = ServerSession::generate_error(code);
    head.insert_header("Content-Type", "application/json")?;
    head.set_content_length(body.len())?;
    // Writes nothing if an answer has begun: its client is promised other bytes than ours.
    session.write_error_response(head, Bytes::from(body)).await
}
// ANCHOR_END: tell

#[async_trait]
impl ProxyHttp for CustomErrors {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: request_filter
    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        // For each piece of a body. Longer than the upstream's 2 s, which run meanwhile, and Blue gets the blame.
        session.set_read_timeout(Some(Duration::from_secs(1)));

        if session.req_header().uri.path() == "/oops" {
            return Error::e_explain(OOPS, "raised in request_filter");
        }
        Ok(false)
    }
    // ANCHOR_END: request_filter

    // ANCHOR: upstream_peer
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let address = match session.req_header().uri.path() {
            "/refused" => CLOSED,
            "/timeout" => NOWHERE,
            _ => BLUE,
        };
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_millis(500));
        peer.options.read_timeout = Some(Duration::from_secs(2));
        Ok(Box::new(peer))
    }
    // ANCHOR_END: upstream_peer

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }

    // ANCHOR: fail_to_proxy
    /// Every failure arrives here, whichever phase it came from, and Pingora logs it after us.
    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, _ctx: &mut ()) -> FailToProxy {
        let Some((error_code, message)) = verdict(e) else {
            return FailToProxy { error_code: 499, can_reuse_downstream: false }; // as nginx's log has it
        };
        if let Err(e) = tell(session, error_code, message).await {
            error!("the client could not be told: {e}");
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }
    // ANCHOR_END: fail_to_proxy
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, CustomErrors);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Custom Errors running on {LISTEN}");
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
