//! 48 · Observability: what the proxy did, as numbers for a Prometheus server and as lines in a log.
//!
//! Idea  Each request is counted and timed once, when it is over, under names from a list that we wrote.
//! New   `logging`, the hook in which every request ends, a clock in the context, and the page of
//!       pingora-prometheus (lesson 05 counted as well, and reported to its own log only).
//! Run   cargo run --example 48_observability
//! Try   curl -i http://172.28.0.10:6199/fast        from a client; the rest is in lessons/48_observability.md

use std::process::exit;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

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
use pingora_prometheus::prometheus::{
    HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec,
};
use pingora_prometheus::prometheus_http_service;
use tokio::time::sleep;

const LISTEN: &str = "0.0.0.0:6199";
const METRICS: &str = "0.0.0.0:6200"; // not the clients' port: what happens here is not their business

// ANCHOR: labels
/// What we forward: a path, the label under which it is counted, the origin, and how long that one takes.
struct Route {
    path: &'static str,
    label: &'static str,
    origin: &'static str,
    takes: Duration,
}

const ROUTES: [Route; 2] = [
    Route { path: "/fast", label: "fast", origin: "127.0.0.1:6201", takes: Duration::from_millis(10) },
    Route { path: "/slow", label: "slow", origin: "127.0.0.1:6202", takes: Duration::from_millis(100) },
];

/// All values that a label can have. A request brings none of its own: each value is a series that Prometheus
/// keeps for weeks, and there are as many paths and methods as somebody cares to invent.
const ROUTE_LABELS: [&str; 3] = [ROUTES[0].label, ROUTES[1].label, "other"];
const METHOD_LABELS: [&str; 3] = ["GET", "POST", "other"];
const STATUS_LABELS: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

fn route_label(route: Option<&Route>) -> &'static str {
    route.map_or("other", |route| route.label)
}

fn method_label(method: &str) -> &'static str {
    METHOD_LABELS.into_iter().find(|label| *label == method).unwrap_or("other")
}

/// The class of a status. `none`: the client left before there was an answer.
fn status_label(status: Option<u16>) -> &'static str {
    let class = usize::from(status.unwrap_or(0) / 100);
    STATUS_LABELS.get(class).copied().unwrap_or("none") // HTTP knows no status of 600 or more
}
// ANCHOR_END: labels

// ANCHOR: metrics
/// The macros come from `pingora_prometheus::prometheus`. They register with the registry of their own crate,
/// and the page shows the registry of that one: another `prometheus` would count unseen.
static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "http_requests_total",
        "Requests that are over.",
        &["route", "method", "status"]
    )
    .expect("the name is a valid one, and nobody else has it")
});

static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "http_request_duration_seconds",
        "From the head of a request to the end of its answer.",
        &["route"],
        vec![0.005, 0.075, 1.0] // upper bounds in seconds; what takes longer is counted in +Inf only
    )
    .expect("the name is a valid one, and nobody else has it")
});

/// Makes every series, at zero. A static is nothing until somebody looks at it, and a series that first
/// appears with a 1 has not risen, as far as Prometheus can see.
fn create_series() {
    for route in ROUTE_LABELS {
        DURATION.with_label_values(&[route]);
        for method in METHOD_LABELS {
            for status in STATUS_LABELS {
                REQUESTS.with_label_values(&[route, method, status]);
            }
        }
    }
}
// ANCHOR_END: metrics

// ANCHOR: context
/// What is known of a request when it is over: when it began, and where it belonged.
struct Trace {
    began: Instant,
    route: Option<&'static Route>,
}

struct Observed;

#[async_trait]
impl ProxyHttp for Observed {
    type CTX = Trace;
    /// Called as soon as a request's head is there: the clock starts here.
    fn new_ctx(&self) -> Trace {
        Trace { began: Instant::now(), route: None }
    }
    // ANCHOR_END: context

    async fn request_filter(&self, session: &mut Session, trace: &mut Trace) -> Result<bool> {
        let path = session.req_header().uri.path();
        trace.route = ROUTES.iter().find(|route| route.path == path);
        if trace.route.is_none() {
            session.respond_error(404).await?;
        }
        Ok(trace.route.is_none()) // answered, then no origin is asked; `logging` is called all the same
    }

    async fn upstream_peer(&self, _session: &mut Session, trace: &mut Trace) -> Result<Box<HttpPeer>> {
        let route = trace.route.or_err(InternalError, "no route, and yet request_filter let it pass")?;
        Ok(Box::new(HttpPeer::new(route.origin, false, String::new())))
    }

    // ANCHOR: logging
    /// Called once for each request, however it ended: answered by an origin, by us, or not at all.
    async fn logging(&self, session: &mut Session, _error: Option<&Error>, trace: &mut Trace) {
        let took = trace.began.elapsed();
        let head = session.req_header();
        let (method, path) = (head.method.as_str(), head.uri.path()); // no query: it may hold secrets
        let status = session.response_written().map(|answer| answer.status.as_u16());

        let route = route_label(trace.route);
        REQUESTS.with_label_values(&[route, method_label(method), status_label(status)]).inc();
        DURATION.with_label_values(&[route]).observe(took.as_secs_f64());

        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        info!("{method} {path} -> {status} in {:.1} ms", took.as_secs_f64() * 1000.0);
    }
    // ANCHOR_END: logging
}

/// An upstream that needs its time.
struct Origin(&'static Route);

#[async_trait]
impl ServeHttp for Origin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if let Err(error) = session.drain_request_body().await {
            warn!("The rest of the request is missing: {error}");
        }
        sleep(self.0.takes).await;
        let body = format!("Response from {}\n", self.0.label.to_uppercase()).into_bytes();
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response
    }
}

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();
    create_series();

    for route in &ROUTES {
        let mut origin = Service::new(format!("Origin of {}", route.path), Origin(route));
        origin.add_tcp(route.origin);
        server.add_service(origin);
    }

    let mut metrics = prometheus_http_service();
    metrics.add_tcp(METRICS);
    server.add_service(metrics);

    let mut proxy = http_proxy_service(&server.configuration, Observed);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Observability running on {LISTEN}, metrics on {METRICS}");
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
