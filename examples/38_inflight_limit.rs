//! 38 · In-flight limit: two requests at once for each client, however fast or slow they are.
//!
//! Idea  Count what is under way, not what arrives. Whoever leaves gives the place back.
//! New   `Inflight` and its guard, which counts down when it is dropped, and listening to a client while
//!       working for it (lesson 36 counted arrivals in a second, and let slow requests pile up).
//! Run   cargo run --example 38_inflight_limit
//! Try   curl -i http://172.28.0.10:6182             from a client; the rest is in lessons/38_inflight_limit.md

use std::net::IpAddr;
use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use log::{info, warn};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora_limits::inflight::{Guard, Inflight};
use tokio::time::sleep;

const LISTEN: &str = "0.0.0.0:6182";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// How many requests of one client may be under way at once.
const LIMIT: isize = 2;
/// What a request costs here, before Blue is asked.
const WORK: Duration = Duration::from_secs(2);

// ANCHOR: context
/// A place in the count. Pingora drops the context when the request is over, however it ends: answered, failed,
/// or left by its client. The guard goes with it and counts down.
struct Place {
    _held: Option<Guard>,
}

struct InflightLimit {
    under_way: Inflight,
}
// ANCHOR_END: context

/// Who is counted: the address of the connection. Clients of a Unix socket have none, and share a count.
fn client(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip().to_canonical())
}

// ANCHOR: work
/// Two seconds of work, unless the client leaves before they are over.
///
/// A plain `sleep` would not notice: nobody reads the connection meanwhile, and its end is found by reading.
async fn work(session: &mut Session) -> Result<()> {
    let no_body = session.as_downstream_mut().is_body_empty();
    tokio::select! {
        () = sleep(WORK) => Ok(()),
        // Fails when the client is gone or sends on, and waits for ever otherwise. If there is a body, then to
        // listen would be to take from it what Blue is to get, so we do not: that such a client has left is
        // noticed when the work is done, and no sooner.
        Err(e) = session.as_downstream_mut().read_body_or_idle(true), if no_body => Err(e.into_down()),
    }
}
// ANCHOR_END: work

#[async_trait]
impl ProxyHttp for InflightLimit {
    type CTX = Place;
    fn new_ctx(&self) -> Place {
        Place { _held: None }
    }

    // ANCHOR: filter
    async fn request_filter(&self, session: &mut Session, place: &mut Place) -> Result<bool> {
        let client = client(session);
        let name = client.map_or_else(|| "a local socket".to_owned(), |ip| ip.to_string());
        let (guard, count) = self.under_way.incr(client, 1);
        if count > LIMIT {
            drop(guard); // it holds no place while it is being told so
            warn!("In-flight Limit Exceeded for {name}: {count} at once");
            let mut head = ServerSession::generate_error(429);
            head.insert_header("Retry-After", "1")?;
            session.write_error_response(head, Bytes::new()).await?;
            return Ok(true);
        }

        info!("{}: {name} has {count} under way", session.req_header().uri.path());
        place._held = Some(guard);
        work(session).await?;
        Ok(false)
    }
    // ANCHOR_END: filter

    async fn upstream_peer(&self, _session: &mut Session, _place: &mut Place) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _place: &mut Place,
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let limiter = InflightLimit { under_way: Inflight::new() };
    let mut proxy = http_proxy_service(&server.configuration, limiter);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("In-flight Limit running on {LISTEN}");
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
