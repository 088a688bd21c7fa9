//! 27 · Weighted load balancing: turns, and some servers have more of them.
//!
//! Idea  A server that can do three times the work gets three turns where another gets one.
//! New   `Backend::new_with_weight`, and a pool built from its parts, because the short way loses weights
//!       (lesson 26 had servers that were all alike).
//! Run   cargo run --example 27_weighted_lb
//! Try   curl -i http://172.28.0.10:6171             from a client; the rest is in lessons/27_weighted_lb.md

use std::collections::BTreeSet;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use futures_util::FutureExt;
use log::info;
use pingora::lb::discovery::Static;
use pingora::lb::{Backend, Backends};
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6171";

const BLUE: &str = "172.28.0.20:8080";
const GREEN: &str = "172.28.0.21:8080";

/// A server that has gone does not refuse, it is silent (lesson 26).
const CONNECT: Duration = Duration::from_millis(500);
/// How many steps a selection may take in search of a server that is well (lesson 26).
const STEPS: usize = 256;

// ANCHOR: pools
/// Turns in proportion to the weights: Blue three, Green one.
fn weighted(servers: BTreeSet<Backend>) -> Result<LoadBalancer<RoundRobin>> {
    let pool = LoadBalancer::from_backends(Backends::new(Static::new(servers)));
    // A pool is empty until it has been updated. A static one has its answer ready, so nothing is awaited.
    pool.update().now_or_never().or_err(InternalError, "a static pool had to wait")??;
    Ok(pool)
}

/// The short way, and it compiles: every server becomes its address, with a weight of 1.
fn lost(servers: BTreeSet<Backend>) -> Result<LoadBalancer<RoundRobin>> {
    LoadBalancer::try_from_iter(servers).or_err(InternalError, "cannot make the pool without weights")
}
// ANCHOR_END: pools

struct WeightedProxy {
    weighted: LoadBalancer<RoundRobin>,
    lost: LoadBalancer<RoundRobin>,
}

#[async_trait]
impl ProxyHttp for WeightedProxy {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: peer
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let path = session.req_header().uri.path();
        let pool = if path.starts_with("/lost") { &self.lost } else { &self.weighted };
        let server = pool.select(b"", STEPS).or_err(HTTPStatus(503), "no server in the pool")?;
        info!("{path} -> {} (weight {})", server.addr, server.weight);

        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer
}

// ANCHOR: proxy
impl WeightedProxy {
    fn new() -> Result<WeightedProxy> {
        let blue = Backend::new_with_weight(BLUE, 3)?;
        let green = Backend::new_with_weight(GREEN, 1)?;
        let servers = BTreeSet::from([blue, green]);
        Ok(WeightedProxy { weighted: weighted(servers.clone())?, lost: lost(servers)? })
    }
}
// ANCHOR_END: proxy

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let proxy = WeightedProxy::new().unwrap_or_else(|error| {
        eprintln!("cannot use {BLUE} and {GREEN} as upstreams: {}", error.root_cause());
        exit(1)
    });
    let mut proxy = http_proxy_service(&server.configuration, proxy);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Weighted Balancer running on {LISTEN}");
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
