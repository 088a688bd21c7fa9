//! 29 · Sticky sessions: a client stays with the server that knows it.
//!
//! Idea  A cookie with a random value is the key of a ring: no table, and nothing about servers in the cookie.
//! New   Reading and setting a cookie, and a retry that leaves out who has failed (lesson 28 had the path for a
//!       key, and did not try again).
//! Run   cargo run --example 29_sticky_sessions
//! Try   curl -i http://172.28.0.10:6173             from a client; the rest is in lessons/29_sticky_sessions.md

use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use cookie::Cookie;
use env_logger::Env;
use log::info;
use openssl::rand::rand_bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::lb::selection::Consistent;
use pingora::prelude::*;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::Peer;

const LISTEN: &str = "0.0.0.0:6173";

const BLUE: &str = "172.28.0.20:8080";
const GREEN: &str = "172.28.0.21:8080";

const COOKIE: &str = "session-id";

/// A server that has gone does not refuse, it is silent (lesson 26).
const CONNECT: Duration = Duration::from_millis(500);
/// How many points of the ring a selection may look at (lesson 28).
const STEPS: usize = 256;

/// What one request remembers.
#[derive(Default)]
struct Visit {
    session: String,
    /// Whether the client has yet to be told its session.
    new: bool,
    /// Who could not be reached for this request.
    failed: Vec<SocketAddr>,
}

// ANCHOR: session
/// The session that a client names, if it is one that we could have made: anything else is not looked at.
fn session_of(request: &RequestHeader) -> Option<String> {
    let headers = request.headers.get_all("cookie").into_iter().filter_map(|header| header.to_str().ok());
    headers
        .flat_map(Cookie::split_parse)
        .flatten()
        .find(|cookie| cookie.name() == COOKIE && is_session(cookie.value()))
        .map(|cookie| cookie.value().to_owned())
}

fn is_session(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// 128 random bits as 32 hexadecimal digits: nobody guesses another's.
fn new_session() -> Result<String> {
    let mut random = [0; 16];
    rand_bytes(&mut random).or_err(InternalError, "no random bytes for a session")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}
// ANCHOR_END: session

struct StickyProxy {
    ring: LoadBalancer<Consistent>,
}

#[async_trait]
impl ProxyHttp for StickyProxy {
    type CTX = Visit;
    fn new_ctx(&self) -> Visit {
        Visit::default()
    }

    // ANCHOR: choose
    async fn request_filter(&self, session: &mut Session, visit: &mut Visit) -> Result<bool> {
        let known = session_of(session.req_header());
        visit.new = known.is_none();
        visit.session = match known {
            Some(known) => known,
            None => new_session()?,
        };
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, visit: &mut Visit) -> Result<Box<HttpPeer>> {
        let server = self
            .ring
            .select_with(visit.session.as_bytes(), STEPS, |server, well| {
                well && !visit.failed.contains(&server.addr)
            })
            .or_err(HTTPStatus(503), "no server is left to try")?;
        info!("session {:.8}… -> {}", visit.session, server.addr);

        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        Ok(Box::new(peer))
    }

    /// No connection, so nothing was sent: `upstream_peer` is asked again, and finds the next on the ring.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        visit: &mut Visit,
        mut error: Box<Error>,
    ) -> Box<Error> {
        visit.failed.push(peer.address().clone());
        error.set_retry(true);
        error
    }
    // ANCHOR_END: choose

    // ANCHOR: tell
    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        visit: &mut Visit,
    ) -> Result<()> {
        if visit.new {
            let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax", visit.session);
            response.append_header("Set-Cookie", cookie)?; // `insert_header` would drop the upstream's own
        }
        Ok(())
    }
    // ANCHOR_END: tell
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let ring = LoadBalancer::try_from_iter([BLUE, GREEN]).unwrap_or_else(|error| {
        eprintln!("cannot use {BLUE} and {GREEN} as upstreams: {error}");
        exit(1)
    });
    let mut proxy = http_proxy_service(&server.configuration, StickyProxy { ring });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Sticky Sessions running on {LISTEN}");
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
