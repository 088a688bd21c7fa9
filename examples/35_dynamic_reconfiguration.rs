//! 35 · Dynamic reconfiguration: an administrator swaps the upstream, and no request notices.
//!
//! Idea  What may change is one pointer. A request follows it once, and keeps what it found until its end.
//! New   `ArcSwap`, shared by the proxy and by a second HTTP service in the same process, which swaps it
//!       (lesson 34 looked each second whether something had changed; here somebody says so).
//! Run   cargo run --example 35_dynamic_reconfiguration
//! Try   curl -d 172.28.0.21:8080 127.0.0.1:9090     on dev; the rest is in lessons/35_dynamic_reconfiguration.md

use std::net::SocketAddr;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use env_logger::Env;
use http::header::{ALLOW, CONTENT_LENGTH, HOST, HeaderValue, ORIGIN};
use http::{Method, Response, StatusCode};
use log::info;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

const LISTEN: &str = "0.0.0.0:6179";
const ADMIN: &str = "127.0.0.1:9090"; // loopback: whoever may log in on this machine may give orders

/// What `Host` says when the administrator's port is meant, and not some page's own name.
const ADMIN_NAMES: [&str; 2] = [ADMIN, "localhost:9090"];

/// Much more than an address needs.
const MAX_BODY: usize = 256;

/// Longer than where there is another server to be asked (lessons 30 to 33): here there is one.
const CONNECT: Duration = Duration::from_secs(2);

/// The one thing that may change while requests are under way.
type Upstream = Arc<ArcSwap<SocketAddr>>;

// ANCHOR: proxy
struct Reconfigurable {
    upstream: Upstream,
}

#[async_trait]
impl ProxyHttp for Reconfigurable {
    /// The upstream of this request, whatever is swapped meanwhile.
    type CTX = Option<SocketAddr>;
    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// The only place that follows the pointer. If there is another try, it follows it again.
    async fn upstream_peer(&self, _session: &mut Session, chosen: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let address = **self.upstream.load();
        *chosen = Some(address);
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        Ok(Box::new(peer))
    }

    /// The name has to go with the connection. To load it here anew would send the name of one to the other.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        chosen: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(address) = chosen {
            upstream_request.insert_header("Host", address.to_string())?;
        }
        Ok(())
    }
}
// ANCHOR_END: proxy

// ANCHOR: admin
struct Admin {
    upstream: Upstream,
}

/// Why an order is not carried out.
type Refusal = (StatusCode, String);

impl Admin {
    /// `GET /` tells the upstream, `POST /` swaps it.
    async fn carry_out(&self, session: &mut ServerSession) -> Result<String, Refusal> {
        let request = session.req_header();
        if from_a_page(request) {
            return Err((StatusCode::FORBIDDEN, "not for pages in a browser".into()));
        }
        match (&request.method, request.uri.path()) {
            (&Method::GET, "/") => Ok(self.upstream.load().to_string()),
            (&Method::POST, "/") => {
                let new = address(&body(session).await?)?; // whatever takes time or can fail comes first
                let old = self.upstream.swap(Arc::new(new)); // and this is the change, all of it
                info!("Upstream swapped: {old} -> {new}");
                Ok(format!("{old} -> {new}"))
            }
            (_, "/") => Err((StatusCode::METHOD_NOT_ALLOWED, "GET tells, POST swaps".into())),
            _ => Err((StatusCode::NOT_FOUND, "there is nothing but /".into())),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (status, text) = self.carry_out(session).await.map_or_else(|no| no, |yes| (StatusCode::OK, yes));
        let mut response = Response::new(format!("{text}\n").into_bytes());
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST")); // RFC 9110, 15.5.6
        }
        *response.status_mut() = status;
        response
    }
}
// ANCHOR_END: admin

// ANCHOR: checks
/// Whether a page in a browser of this machine asks, for those reach loopback too. When it posts, the browser adds
/// `Origin`; when it has bent a name of its own to 127.0.0.1, that name stands in `Host`.
fn from_a_page(request: &RequestHeader) -> bool {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    request.headers.contains_key(ORIGIN) || !host.is_some_and(|host| ADMIN_NAMES.contains(&host))
}

async fn body(session: &mut ServerSession) -> Result<String, Refusal> {
    let mut body = Vec::new();
    let broken_off = |error: Box<Error>| (StatusCode::BAD_REQUEST, format!("the body broke off: {error}"));
    while let Some(piece) = session.read_request_body().await.map_err(broken_off)? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_BODY {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "an address is shorter than that".into()));
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// An address, and no name: who resolves names has to say how often, and by whom (lesson 17).
fn address(text: &str) -> Result<SocketAddr, Refusal> {
    let address = text.trim().parse().ok();
    let address = address.filter(|a: &SocketAddr| a.port() != 0 && !a.ip().is_unspecified());
    address.ok_or_else(|| (StatusCode::BAD_REQUEST, format!("{text:?} is no IP address with a port")))
}
// ANCHOR_END: checks

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let blue = SocketAddr::from(([172, 28, 0, 20], 8080));
    let upstream: Upstream = Arc::new(ArcSwap::from_pointee(blue));

    let mut proxy =
        http_proxy_service(&server.configuration, Reconfigurable { upstream: Arc::clone(&upstream) });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    let mut admin = Service::new("admin".into(), HttpServer::new_app(Admin { upstream }));
    admin.add_tcp(ADMIN);
    server.add_service(admin);

    info!("Dynamic Reconfiguration running on {LISTEN}, its administration on {ADMIN}");
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
