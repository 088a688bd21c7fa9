//! 26 · Round robin: several servers for the same work, and each takes its turn.
//!
//! Idea  A pool of servers that can do the same; who gets a request is decided anew for each.
//! New   `LoadBalancer` with its selection `RoundRobin` (until lesson 25 a request could only go to one place).
//! Run   cargo run --example 26_round_robin
//! Try   curl -i http://172.28.0.10:6170             from a client; the rest is in lessons/26_round_robin.md

use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6170";

const BLUE: &str = "172.28.0.20:8080";
const GREEN: &str = "172.28.0.21:8080";

/// A server that has gone does not refuse, it is silent. On one network an answer comes in a millisecond.
const CONNECT: Duration = Duration::from_millis(500);

/// How many steps a selection may take in search of a server that is well. All are, as long as nobody checks
/// (lesson 30), so the first step is the last.
const STEPS: usize = 256;

// ANCHOR: proxy
struct RoundRobinProxy {
    upstreams: LoadBalancer<RoundRobin>,
}

#[async_trait]
impl ProxyHttp for RoundRobinProxy {
    type CTX = ();
    fn new_ctx(&self) {}

    /// To whom? To the next. The servers of a pool answer to the same name, the one that the client asked
    /// for, so `Host` stays as it came.
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let key = b""; // a turn does not depend on the request; lesson 28 has a key
        let server = self.upstreams.select(key, STEPS).or_err(HTTPStatus(503), "no server in the pool")?;
        info!("{} -> {}", session.req_header().uri.path(), server.addr);

        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        Ok(Box::new(peer))
    }
}
// ANCHOR_END: proxy

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let upstreams = LoadBalancer::try_from_iter([BLUE, GREEN]).unwrap_or_else(|error| {
        eprintln!("cannot use {BLUE} and {GREEN} as upstreams: {error}");
        exit(1)
    });
    let mut proxy = http_proxy_service(&server.configuration, RoundRobinProxy { upstreams });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Round Robin running on {LISTEN}");
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
