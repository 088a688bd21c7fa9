//! 42 · Basic auth: a name and a password, which every browser and every client can send.
//!
//! Idea  `Authorization: Basic` carries `name:password` in base64, which hides nothing from anybody.
//! New   Decoding what a client has encoded, and answering the same to a wrong name and a wrong password
//!       (lesson 41 compared a token as it came).
//! Run   cargo run --example 42_basic_auth
//! Try   curl -i -u admin:password http://172.28.0.10:6186     from a client; the rest is in
//!       lessons/42_basic_auth.md

use std::env;
use std::process::exit;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use env_logger::Env;
use http::header::AUTHORIZATION;
use log::info;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use subtle::ConstantTimeEq;

const LISTEN: &str = "0.0.0.0:6186";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// Where `name:password` is read from, and what it is in the lab, where it protects nothing.
const CREDENTIALS_VARIABLE: &str = "BASIC_AUTH";
const LAB_CREDENTIALS: &str = "admin:password";

const CHALLENGE: &str = "Basic realm=\"PingoraProxy\"";

// ANCHOR: decode
/// The bytes of `name:password` in `Authorization: Basic …`, or none if there is nothing of that kind.
///
/// Whatever a client sends is expected here: another scheme, no base64, no colon, no text.
fn credentials(request: &RequestHeader) -> Option<Vec<u8>> {
    let mut headers = request.headers.get_all(AUTHORIZATION).iter();
    // Of two, we would check the one and an upstream might believe the other.
    let (Some(header), None) = (headers.next(), headers.next()) else { return None };
    // The scheme's name is case-insensitive (RFC 9110, section 11.1).
    let (scheme, encoded) = header.as_bytes().split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?;
    decoded.contains(&b':').then_some(decoded)
}
// ANCHOR_END: decode

struct BasicAuth {
    /// `name:password`, as a client has to encode it.
    credentials: Vec<u8>,
}

#[async_trait]
impl ProxyHttp for BasicAuth {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: filter
    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        let request = session.req_header();
        let path = request.uri.path();
        let head = match credentials(request) {
            None => {
                info!("{path}: no credentials");
                let mut head = ServerSession::generate_error(401);
                head.insert_header("WWW-Authenticate", CHALLENGE)?; // a browser asks its user for them now
                head
            }
            // Name and password in one comparison: nothing tells which of the two was wrong, not even time.
            Some(shown) if bool::from(shown.ct_eq(&self.credentials)) => {
                info!("{path}: right credentials");
                return Ok(false);
            }
            Some(_) => {
                info!("{path}: wrong credentials");
                ServerSession::generate_error(403)
            }
        };
        session.write_error_response(head, Bytes::new()).await?;
        Ok(true)
    }
    // ANCHOR_END: filter

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.remove_header(&AUTHORIZATION); // they were for us
        upstream_request.insert_header("Host", BLUE_NAME)
    }
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let credentials = expected().unwrap_or_else(|problem| {
        eprintln!("{problem}");
        exit(1)
    });

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, BasicAuth { credentials });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Basic Auth running on {LISTEN}");
    server.run_forever()
}

// ANCHOR: expected
/// Name and password, from the environment. The first colon divides them, so only a password may hold one.
fn expected() -> Result<Vec<u8>, String> {
    let pair = match env::var(CREDENTIALS_VARIABLE) {
        Ok(pair) => pair,
        Err(env::VarError::NotPresent) => LAB_CREDENTIALS.to_owned(),
        Err(env::VarError::NotUnicode(_)) => {
            return Err(format!("{CREDENTIALS_VARIABLE} is no text: use UTF-8"));
        }
    };
    match pair.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => Ok(pair.into_bytes()),
        _ => Err(format!("{CREDENTIALS_VARIABLE} lacks a name or a password: write name:password")),
    }
}
// ANCHOR_END: expected

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
