//! 18 · UDS peer: an upstream, and a client, at the end of a Unix socket.
//!
//! Idea  On one machine a file can be an address: no port, no TCP, and permissions that the kernel checks.
//! New   `HttpPeer::new_uds`, listening on a path with `add_uds`, and a look at who owns that path (all lessons
//!       so far listened on ports, which the kernel frees by itself).
//! Run   cargo run --example 18_uds_peer
//! Try   curl -i http://172.28.0.10:6162             from a client; the rest is in lessons/18_uds_peer.md

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use log::{info, warn};
use pingora::apps::http_app::ServeHttp;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

const LISTEN: &str = "0.0.0.0:6162";
const LISTEN_PATH: &str = "/tmp/proxy.sock"; // the proxy itself, for clients on this machine
const UPSTREAM: &str = "/tmp/upstream.sock";

struct UdsPeer;

// ANCHOR: proxy
#[async_trait]
impl ProxyHttp for UdsPeer {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        // A client on a Unix socket has no IP address, and usually no name either.
        match session.client_addr().and_then(|address| address.as_inet()) {
            Some(address) => info!("A client at {} asks", address.ip()),
            None => info!("A client on this machine asks"),
        }
        let mut peer = HttpPeer::new_uds(UPSTREAM, false, String::new())?;
        peer.options.connection_timeout = Some(Duration::from_millis(500));
        peer.options.read_timeout = Some(Duration::from_secs(30));
        Ok(Box::new(peer))
    }
}
// ANCHOR_END: proxy

// ANCHOR: origin
/// The upstream: it lives in the same process, but the proxy knows only its path.
struct Origin;

const HELLO: &[u8] = b"Hello via UDS\n";

#[async_trait]
impl ServeHttp for Origin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        info!("Upstream got {}", session.request_summary());
        if let Err(error) = session.drain_request_body().await {
            warn!("The rest of the request is missing: {error}");
        }
        let mut response = Response::new(HELLO.to_vec());
        // With its length announced, the answer has an end, and the connection can be used again.
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(HELLO.len()));
        response
    }
}
// ANCHOR_END: origin

// ANCHOR: claim
/// Makes sure that `path` may be listened on. Pingora removes whatever file is there before it binds: a novel,
/// or the socket of a server that is alive, which would listen on and never be found again.
fn claim(path: &str) -> Result<(), String> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()), // as after a fresh boot
        Err(error) => return Err(format!("cannot look at {path}: {error}")),
    };
    if !kind.is_socket() {
        return Err(format!("{path} is not a socket; move it away, it may be somebody's file"));
    }
    // The file alone does not tell. A connection does: it is refused when nobody listens any more.
    match UnixStream::connect(path) {
        Ok(_) => Err(format!("{path} is in use; is another one running?")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            warn!("{path} is left over from a server that has ended; removed");
            fs::remove_file(path).map_err(|error| format!("cannot remove {path}: {error}"))
        }
        Err(error) => Err(format!("cannot tell whether {path} is in use: {error}")),
    }
}
// ANCHOR_END: claim

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let options = Opt::parse_args();
    let upgrade = options.upgrade; // then the sockets are in use, by the process that hands them over
    let mut server = new_server(options);
    server.bootstrap();
    for path in [LISTEN_PATH, UPSTREAM].iter().filter(|_| !upgrade) {
        claim(path).unwrap_or_else(|trouble| {
            eprintln!("{trouble}");
            exit(1)
        });
    }
    let owner_only = || Some(Permissions::from_mode(0o600));

    let mut origin = Service::new("Origin".to_owned(), Origin);
    origin.add_uds(UPSTREAM, owner_only());
    server.add_service(origin);

    let mut proxy = http_proxy_service(&server.configuration, UdsPeer);
    proxy.add_tcp(LISTEN);
    proxy.add_uds(LISTEN_PATH, owner_only());
    server.add_service(proxy);

    info!("UDS Peer running on {LISTEN} and {LISTEN_PATH}");
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
