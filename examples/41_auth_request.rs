//! 41 · Auth request: a token at the door, and nobody passes without it.
//!
//! Idea  The proxy asks for a bearer token: none is 401, a wrong one is 403, and the right one goes through.
//! New   A secret from the environment, compared in a time that tells nothing about it (lesson 09 refused by
//!       the path, which is no secret).
//! Run   cargo run --example 41_auth_request
//! Try   curl -i -H 'Authorization: Bearer super-secret-token' http://172.28.0.10:6185     from a client; the
//!       rest is in lessons/41_auth_request.md

use std::env;
use std::process::exit;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use http::header::AUTHORIZATION;
use log::info;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use subtle::ConstantTimeEq;

const LISTEN: &str = "0.0.0.0:6185";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// Where the token is read from, and what it is in the lab, where it protects nothing.
const TOKEN_VARIABLE: &str = "AUTH_TOKEN";
const LAB_TOKEN: &str = "super-secret-token";

// ANCHOR: verdict
/// What a request has shown. The log may know this, and never the token itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    /// Nothing that we could check: no header, two of them, another scheme, or no token behind it.
    Missing,
    Wrong,
    Right,
}

fn judge(request: &RequestHeader, token: &[u8]) -> Verdict {
    match bearer(request) {
        None => Verdict::Missing,
        Some(shown) if bool::from(shown.ct_eq(token)) => Verdict::Right,
        Some(_) => Verdict::Wrong,
    }
}
// ANCHOR_END: verdict

// ANCHOR: bearer
/// The token in `Authorization: Bearer …`. The scheme's name is case-insensitive (RFC 9110, section 11.1).
fn bearer(request: &RequestHeader) -> Option<&[u8]> {
    let mut headers = request.headers.get_all(AUTHORIZATION).iter();
    // Of two, we would check the one and an upstream might believe the other.
    let (Some(header), None) = (headers.next(), headers.next()) else { return None };
    let (scheme, token) = header.as_bytes().split_at_checked(b"Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}
// ANCHOR_END: bearer

struct AuthRequest {
    token: Vec<u8>,
}

#[async_trait]
impl ProxyHttp for AuthRequest {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: filter
    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        let request = session.req_header();
        let verdict = judge(request, &self.token);
        info!("{}: token {verdict:?}", request.uri.path());
        let head = match verdict {
            Verdict::Right => return Ok(false),
            Verdict::Missing => {
                let mut head = ServerSession::generate_error(401);
                head.insert_header("WWW-Authenticate", "Bearer realm=\"PingoraProxy\"")?; // how to ask properly
                head
            }
            Verdict::Wrong => ServerSession::generate_error(403),
        };
        session.write_error_response(head, Bytes::new()).await?;
        Ok(true)
    }
    // ANCHOR_END: filter

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    // ANCHOR: forward
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        // The token was for us. Blue has no use for it, and its logs should not have it.
        upstream_request.remove_header(&AUTHORIZATION);
        upstream_request.insert_header("Host", BLUE_NAME)
    }
    // ANCHOR_END: forward
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let token = token().unwrap_or_else(|problem| {
        eprintln!("{problem}");
        exit(1)
    });

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, AuthRequest { token });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Auth Request running on {LISTEN}");
    server.run_forever()
}

// ANCHOR: token
/// The token, from the environment. An empty one is a mistake, and not a door without a lock.
fn token() -> Result<Vec<u8>, String> {
    match env::var(TOKEN_VARIABLE) {
        Ok(token) if token.trim().is_empty() => {
            Err(format!("{TOKEN_VARIABLE} is empty: set a token, or unset it for the lab's"))
        }
        Ok(token) => Ok(token.trim().as_bytes().to_owned()),
        Err(env::VarError::NotPresent) => Ok(LAB_TOKEN.as_bytes().to_owned()),
        Err(env::VarError::NotUnicode(_)) => {
            Err(format!("{TOKEN_VARIABLE} is no text: set a token in ASCII"))
        }
    }
}
// ANCHOR_END: token

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
