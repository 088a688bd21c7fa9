//! 05 · Background services: two services in one process, and a number that both know.
//!
//! Idea  What serves and what reports are separate services that share a little state, and nothing else.
//! New   Pingora's HTTP server without a proxy (`ServeHttp`), and a service beside it that reads what it counts.
//! Run   cargo run --example 05_background_services
//! Try   curl -i http://172.28.0.10:6145             from a client; the rest is in lessons/05_background_services.md

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use log::{info, warn};
use pingora::apps::http_app::ServeHttp;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;
use pingora::services::listening::Service;
use tokio::time::interval;

const LISTEN: &str = "0.0.0.0:6145";
const EXPORT_EVERY: Duration = Duration::from_secs(2);

// ANCHOR: shared
/// What the two services share. An atomic suffices: one number, and nobody decides anything by two of them.
#[derive(Default)]
struct Metrics {
    connections: AtomicU64,
}
// ANCHOR_END: shared

// ANCHOR: traffic
struct Traffic {
    metrics: Arc<Metrics>,
}

#[async_trait]
impl ServeHttp for Traffic {
    /// Called for each request; Pingora has read its head, and sends what is returned here.
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        // Adds and reads in one step: with a `load` after it, two visitors could get the same number.
        let visitor = self.metrics.connections.fetch_add(1, Ordering::Relaxed) + 1;

        // Without keep-alive a connection carries one request, and so each is counted once.
        session.set_keepalive(None);
        // Closing on a client that is still sending could reset the connection and lose it the answer.
        if let Err(error) = session.drain_request_body().await {
            warn!("Visitor #{visitor} did not finish the request: {error}");
        }

        let body = format!("Hello! You are visitor #{visitor}\n").into_bytes();
        let length = body.len();
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}
// ANCHOR_END: traffic

// ANCHOR: exporter
struct Exporter {
    metrics: Arc<Metrics>,
}

#[async_trait]
impl BackgroundService for Exporter {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut every_two_seconds = interval(EXPORT_EVERY);
        loop {
            tokio::select! {
                _ = every_two_seconds.tick() => self.export(),
                _ = shutdown.changed() => break,
            }
        }
        self.export(); // the last word is the final count
    }
}

impl Exporter {
    fn export(&self) {
        info!("Exporter: Current Total Connections: {}", self.metrics.connections.load(Ordering::Relaxed));
    }
}
// ANCHOR_END: exporter

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let metrics = Arc::new(Metrics::default());
    let mut traffic = Service::new("Traffic".to_owned(), Traffic { metrics: metrics.clone() });
    traffic.add_tcp(LISTEN);
    server.add_service(traffic);
    server.add_service(background_service("Exporter", Exporter { metrics }));

    info!("Traffic Service running on {LISTEN}");
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
