//! 28 · Consistent hashing: the same path, always the same server.
//!
//! Idea  A server that has answered a path before has it in its memory. Send the path there again, and keep as
//!       many paths as possible where they are when a server comes or goes.
//! New   The selection `Consistent`, a ketama ring, and a key (lessons 26 and 27 did not look at the request).
//! Run   cargo run --example 28_consistent_hashing
//! Try   curl -i http://172.28.0.10:6172/tea         from a client; the rest is in
//!       lessons/28_consistent_hashing.md

use std::collections::BTreeSet;
use std::env;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use futures_util::FutureExt;
use log::info;
use pingora::lb::discovery::Static;
use pingora::lb::selection::Consistent;
use pingora::lb::{Backend, Backends};
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6172";

/// Blue and Green, unless SERVERS says otherwise.
const SERVERS: &str = "172.28.0.20:8080 172.28.0.21:8080";

/// A server that has gone does not refuse, it is silent (lesson 26).
const CONNECT: Duration = Duration::from_millis(500);

/// How many points of the ring a selection may look at. The points of a server often lie side by side, so a
/// handful is not enough to come past one that is ill.
const STEPS: usize = 256;

struct HashingProxy {
    ring: LoadBalancer<Consistent>,
}

// ANCHOR: peer
#[async_trait]
impl ProxyHttp for HashingProxy {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        // What must stay together has the same key: here a path, whatever its query.
        let path = session.req_header().uri.path();
        let server = self.ring.select(path.as_bytes(), STEPS).or_err(HTTPStatus(503), "no server")?;
        info!("{path} -> {}", server.addr);

        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        Ok(Box::new(peer))
    }
}
// ANCHOR_END: peer

// ANCHOR: ring
/// The ring of these servers, given as addresses with blanks between them.
fn ring(addresses: &str) -> Result<LoadBalancer<Consistent>, String> {
    let server = |address| {
        let wrong = |_| format!("'{address}' in SERVERS is no address; write it like {SERVERS:?}");
        Backend::new(address).map_err(wrong)
    };
    let servers = addresses.split_whitespace().map(server).collect::<Result<BTreeSet<_>, _>>()?;
    if servers.is_empty() {
        return Err(format!("SERVERS is empty; write it like {SERVERS:?}"));
    }
    let ring = LoadBalancer::from_backends(Backends::new(Static::new(servers)));
    match ring.update().now_or_never() {
        Some(Ok(())) => Ok(ring),
        _ => Err("the servers are known, and yet the ring could not be made of them".to_owned()),
    }
}
// ANCHOR_END: ring

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let servers = env::var("SERVERS").unwrap_or_else(|_| SERVERS.to_owned());
    let ring = ring(&servers).unwrap_or_else(|trouble| {
        eprintln!("{trouble}");
        exit(1)
    });
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, HashingProxy { ring });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Consistent Hashing running on {LISTEN}");
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
