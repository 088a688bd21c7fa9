//! 46 · Cache purge: what is kept is taken back before its time is over.
//!
//! Idea  The key under which an answer is kept removes it, with all its variants, and only for those who may.
//! New   `is_purge`, which makes of a request an order to the cache, and who may give one (in lessons 43 and 44 an
//!       answer stayed for as long as the origin had said, right or wrong).
//! Run   cargo run --example 46_cache_purge
//! Try   curl -i -X PURGE http://172.28.0.10:6196/file     from client1; the rest is in lessons/46_cache_purge.md

use std::net::{IpAddr, Ipv4Addr};
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::header::{
    ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, VARY,
};
use http::{Method, StatusCode};
use log::info;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::cache::RespCacheable::{self, Uncacheable};
use pingora::cache::cache_control::CacheControl;
use pingora::cache::eviction::simple_lru::Manager;
use pingora::cache::filters::resp_cacheable;
use pingora::cache::key::HashBinary;
use pingora::cache::trace::Span;
use pingora::cache::{
    CacheKey, CacheMeta, CacheMetaDefaults, CachePhase, MemCache, NoCacheReason, Storage, VarianceBuilder,
};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

const LISTEN: &str = "0.0.0.0:6196";
const ORIGIN: &str = "127.0.0.1:6197";

static STORE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
static EVICTION: LazyLock<Manager> = LazyLock::new(|| Manager::new_with_watermark(64 * 1024, Some(1000)));
const LONGEST: usize = 32 * 1024;
const NO_GUESSES: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);

/// How long the origin pauses at `/slow` and `/late`, and how long a purge waits for who is writing.
const PAUSE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(6);

// ANCHOR: who
/// Who may purge besides this machine itself: client1.
const PURGER: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 28, 0, 30));

/// By the address of the connection: a header with an address in it can be written by anybody.
fn may_purge(session: &Session) -> bool {
    let address = session.client_addr().and_then(|address| address.as_inet());
    address.map(|address| address.ip().to_canonical()).is_some_and(|ip| ip.is_loopback() || ip == PURGER)
}

fn is_purge(request: &RequestHeader) -> bool {
    request.method.as_str() == "PURGE"
}
// ANCHOR_END: who

/// Host, path and query (lesson 43).
fn resource(request: &RequestHeader) -> Option<(String, &str)> {
    let host = match request.uri.authority() {
        Some(authority) => authority.as_str(), // HTTP/2 has it here, and no Host
        None => request.headers.get(HOST)?.to_str().ok()?,
    };
    Some((host.to_ascii_lowercase(), request.uri.path_and_query()?.as_str()))
}

// ANCHOR: key
/// The method is not in it: what `GET` has put there is what `PURGE` finds.
fn key(request: &RequestHeader) -> Option<CacheKey> {
    let (host, target) = resource(request)?;
    Some(CacheKey::new(format!("{host}\n{target}"), ""))
}
// ANCHOR_END: key

// ANCHOR: settle
/// Waits until nobody is writing this entry. `MemCache` would take it away under the writer, who would panic.
async fn settle(key: &CacheKey) -> Result<()> {
    let trace = Span::inactive().handle();
    while let Some((_, mut entry)) = STORE.lookup(key, &trace).await? {
        if entry.can_seek() {
            break; // it is whole: what is still growing cannot seek
        }
        while entry.read_body().await?.is_some() {}
        yield_now().await; // to the writer, who has something left to do
    }
    Ok(())
}
// ANCHOR_END: settle

struct CachePurge;

#[async_trait]
impl ProxyHttp for CachePurge {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: request
    async fn request_filter(&self, session: &mut Session, _ctx: &mut Self::CTX) -> Result<bool> {
        let request = session.req_header();
        if !is_purge(request) {
            return Ok(false);
        }
        if !may_purge(session) {
            info!("{} is not purged", request.uri);
            session.respond_error(403).await?;
            return Ok(true);
        }
        info!("{} is to be purged", request.uri);
        if let Some(key) = key(request) {
            timeout(PATIENCE, settle(&key)).await.or_err(HTTPStatus(503), "it is still being written")??;
        }
        Ok(false)
    }

    /// Also for a purge, whatever else it has: to one that has nothing to do with the cache Pingora says 405.
    fn request_cache_filter(&self, session: &mut Session, _ctx: &mut Self::CTX) -> Result<()> {
        let no_body = session.as_downstream_mut().is_body_empty();
        let request = session.req_header();
        let personal = [AUTHORIZATION, COOKIE].iter().any(|name| request.headers.contains_key(name));
        let for_all = matches!(request.method, Method::GET | Method::HEAD) && no_body && !personal;
        if (for_all || is_purge(request)) && resource(request).is_some() {
            session.cache.enable(&*STORE, Some(&*EVICTION), None, None, None);
            session.cache.set_max_file_size_bytes(LONGEST);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, _ctx: &mut Self::CTX) -> Result<CacheKey> {
        key(session.req_header()).or_err(InternalError, "no key for this")
    }

    fn is_purge(&self, session: &Session, _ctx: &Self::CTX) -> bool {
        is_purge(session.req_header())
    }
    // ANCHOR_END: request

    // ANCHOR: vary
    /// A variant for each `Accept-Language`, the one header besides the key that the origin gets to see.
    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        _ctx: &mut Self::CTX,
        req: &RequestHeader,
    ) -> Option<HashBinary> {
        meta.headers().get(VARY)?;
        let mut value = Vec::new();
        for line in req.headers.get_all(ACCEPT_LANGUAGE) {
            value.push(b'\n');
            value.extend_from_slice(line.as_bytes());
        }
        let mut variance = VarianceBuilder::new();
        variance.add_owned_value("accept-language", value);
        variance.finalize()
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(ORIGIN, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut Self::CTX,
    ) -> Result<()> {
        if session.cache.enabled() {
            let request = session.req_header();
            let (host, target) = resource(request).or_err(InternalError, "no key for this")?;
            *upstream_request = RequestHeader::build(Method::GET, target.as_bytes(), None)?;
            upstream_request.insert_header(HOST, host)?;
            for line in request.headers.get_all(ACCEPT_LANGUAGE) {
                upstream_request.append_header(ACCEPT_LANGUAGE, line)?;
            }
        }
        Ok(())
    }
    // ANCHOR_END: vary

    fn response_cache_filter(
        &self,
        _session: &Session,
        response: &ResponseHeader,
        _ctx: &mut Self::CTX,
    ) -> Result<RespCacheable> {
        let has = |name| response.headers.contains_key(name);
        if response.status != StatusCode::OK || has(SET_COOKIE) || !has(CONTENT_LENGTH) {
            return Ok(Uncacheable(NoCacheReason::OriginNotCache)); // lesson 43 gives the reasons
        }
        let control = CacheControl::from_resp_headers(response);
        Ok(resp_cacheable(control.as_ref(), response.clone(), false, &NO_GUESSES))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut Self::CTX,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(()); // there is another one to come
        }
        let (word, status) = match session.cache.phase() {
            CachePhase::Hit => ("HIT", "hit"),
            CachePhase::Miss => ("MISS", "fwd=miss; stored"),
            CachePhase::Expired => ("EXPIRED", "fwd=stale; stored"),
            CachePhase::Disabled(NoCacheReason::NeverEnabled) => ("SKIP (Uncacheable)", "fwd=bypass"),
            _ => ("SKIP (Uncacheable)", "fwd=miss"),
        };
        info!("Cache Status: {word}, {} {}", session.req_header().method, session.req_header().uri);
        response.append_header("Cache-Status", format!("pingora-city; {status}"))?;
        Ok(())
    }
}

/// The origin. It answers with what it was asked, and counts.
struct Origin {
    answers: AtomicUsize,
}

impl Origin {
    async fn answer(&self, session: &mut ServerSession) -> Result<()> {
        let request = session.req_header();
        let path = request.uri.path().to_owned();
        let number = 1 + self.answers.fetch_add(1, Ordering::Relaxed);
        let mut body = format!("Answer {number} to {} {}", request.method, request.uri);
        for line in request.headers.get_all(ACCEPT_LANGUAGE) {
            body += &format!(" in {}", line.to_str().unwrap_or("(not text)"));
        }
        info!("Origin: {body}");
        body.push('\n');

        let mut head = ResponseHeader::build(StatusCode::OK, None)?;
        head.insert_header(CACHE_CONTROL, "max-age=3600")?;
        match path.as_str() {
            "/language" => head.insert_header(VARY, "Accept-Language")?,
            "/slow" => body += &".".repeat(20 * 1024),
            "/late" => sleep(PAUSE).await, // before it says anything
            _ => {}
        }
        head.insert_header(CONTENT_LENGTH, body.len())?;

        session.set_keepalive(None);
        let mut first = body.into_bytes();
        let rest = first.split_off(first.len() / 2);
        session.write_response_header(Box::new(head)).await?;
        session.write_response_body(first.into(), false).await?;
        if path == "/slow" {
            sleep(PAUSE).await; // in the middle
        }
        session.write_response_body(rest.into(), true).await
    }
}

#[async_trait]
impl HttpServerApp for Origin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.read_request().await.ok()? {
            self.answer(&mut session).await.ok()?;
            session.finish().await.ok()?;
        }
        None // it closes the connection
    }
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut origin = Service::new("Origin".to_owned(), Origin { answers: AtomicUsize::new(0) });
    origin.add_tcp(ORIGIN);
    server.add_service(origin);

    let mut proxy = http_proxy_service(&server.configuration, CachePurge);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Cache Purge running on {LISTEN}, its origin on {ORIGIN}");
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
