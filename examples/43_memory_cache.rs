//! 43 · Memory cache: the second client gets what the first one waited for.
//!
//! Idea  The key decides who shares an answer. What is not in the key, the origin does not get to see.
//! New   `session.cache`, and the hooks that ask whether to look, under which key, and what may be kept (so far
//!       every request went to an upstream).
//! Run   cargo run --example 43_memory_cache
//! Try   curl -i http://172.28.0.10:6190/clock       from a client, twice; the rest is in lessons/43_memory_cache.md

use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TRANSFER_ENCODING, VARY,
};
use http::{Method, StatusCode};
use log::info;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::cache::RespCacheable::{self, Uncacheable};
use pingora::cache::cache_control::CacheControl;
use pingora::cache::eviction::simple_lru::Manager;
use pingora::cache::filters::resp_cacheable;
use pingora::cache::{CacheKey, CacheMeta, CacheMetaDefaults, CachePhase, MemCache, NoCacheReason};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::time::sleep;

const LISTEN: &str = "0.0.0.0:6190";
const ORIGIN: &str = "127.0.0.1:6191";

// ANCHOR: store
/// Pingora's reference store. It keeps all it is given, until it is told to forget.
static STORE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
/// Tells it: beyond 64 KiB of bodies, or a thousand entries, what has not been asked for the longest.
static EVICTION: LazyLock<Manager> = LazyLock::new(|| Manager::new_with_watermark(64 * 1024, Some(1000)));
/// The longest body that is kept, in bytes.
const LONGEST: usize = 32 * 1024;
/// An answer that does not say how long it is fresh is not kept: no guesses, no stale answers.
const NO_GUESSES: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);
// ANCHOR_END: store

// ANCHOR: resource
/// Host, path and query: what the key is made of, and all that the origin gets to see.
fn resource(request: &RequestHeader) -> Option<(String, &str)> {
    let host = match request.uri.authority() {
        Some(authority) => authority.as_str(), // HTTP/2 has it here, and no Host
        None => request.headers.get(HOST)?.to_str().ok()?,
    };
    Some((host.to_ascii_lowercase(), request.uri.path_and_query()?.as_str()))
}
// ANCHOR_END: resource

struct MemoryCache;

#[async_trait]
impl ProxyHttp for MemoryCache {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: request
    /// Called before anything is looked up. Without `enable`, the request goes to the origin as it is.
    fn request_cache_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<()> {
        let no_body = session.as_downstream_mut().is_body_empty(); // a body is not in the key
        let request = session.req_header();
        let personal = [AUTHORIZATION, COOKIE].iter().any(|name| request.headers.contains_key(name));
        let for_all = matches!(request.method, Method::GET | Method::HEAD) && no_body && !personal;
        if for_all && resource(request).is_some() {
            session.cache.enable(&*STORE, Some(&*EVICTION), None, None, None);
            session.cache.set_max_file_size_bytes(LONGEST);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, _ctx: &mut ()) -> Result<CacheKey> {
        let (host, target) = resource(session.req_header()).or_err(InternalError, "no key for this")?;
        // Neither can hold a line break. Just joined, 'a/b' and '/c' would be the same as 'a' and '/b/c'.
        Ok(CacheKey::new(format!("{host}\n{target}"), ""))
    }
    // ANCHOR_END: request

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(ORIGIN, false, String::new())))
    }

    // ANCHOR: upstream
    /// What is fetched for everybody is asked for by nobody in particular: whole, and made of the key alone.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        if session.cache.enabled() {
            let (host, target) = resource(session.req_header()).or_err(InternalError, "no key for this")?;
            *upstream_request = RequestHeader::build(Method::GET, target.as_bytes(), None)?;
            upstream_request.insert_header(HOST, host)?;
        }
        Ok(())
    }
    // ANCHOR_END: upstream

    // ANCHOR: response
    /// Whether an answer may be kept, and for how long.
    fn response_cache_filter(
        &self,
        _session: &Session,
        response: &ResponseHeader,
        _ctx: &mut (),
    ) -> Result<RespCacheable> {
        let has = |name| response.headers.contains_key(name);
        let refusals = [
            (response.status != StatusCode::OK, "status"),
            (has(SET_COOKIE), "set-cookie"),     // it is for one client
            (has(VARY), "vary"),                 // it depends on what is not in the key (lesson 44)
            (!has(CONTENT_LENGTH), "no-length"), // nobody could tell later whether all of it is there
        ];
        if let Some((_, reason)) = refusals.into_iter().find(|(applies, _)| *applies) {
            return Ok(Uncacheable(NoCacheReason::Custom(reason)));
        }
        let control = CacheControl::from_resp_headers(response);
        Ok(resp_cacheable(control.as_ref(), response.clone(), false, &NO_GUESSES))
    }
    // ANCHOR_END: response

    // ANCHOR: says
    /// Called for every answer, from the store as well. What is added here is not kept.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(()); // there is another one to come
        }
        // How long it stays fresh, in whole seconds that add up with those of `Age`.
        let ttl = |meta: &CacheMeta| meta.fresh_sec().saturating_sub(meta.age().as_secs());
        let ttl = session.cache.maybe_cache_meta().map_or(0, ttl);
        let (word, status) = match session.cache.phase() {
            CachePhase::Hit => ("HIT", format!("hit; ttl={ttl}")),
            CachePhase::Miss => ("MISS", format!("fwd=uri-miss; stored; ttl={ttl}")),
            CachePhase::Expired => ("EXPIRED", format!("fwd=stale; stored; ttl={ttl}")),
            // It was not there, or it was stale: that is not known any more.
            CachePhase::Disabled(reason) if reason != NoCacheReason::NeverEnabled => {
                ("SKIP (Uncacheable)", format!("fwd=miss; detail={}", reason.as_str()))
            }
            _ => ("SKIP (Uncacheable)", "fwd=bypass".to_owned()), // it was not looked for
        };
        info!("Cache Status: {word}, {} {}", session.req_header().method, session.req_header().uri);
        // Appended: caches nearer to the origin have written theirs before (RFC 9211, section 2).
        response.append_header("Cache-Status", format!("pingora-city; {status}"))?;
        Ok(())
    }
    // ANCHOR_END: says
}

// ANCHOR: origin
/// The origin. It answers with what it was asked, and counts.
struct Origin {
    answers: AtomicUsize,
}

impl Origin {
    async fn answer(&self, session: &mut ServerSession) -> Result<()> {
        let request = session.req_header();
        let path = request.uri.path().to_owned();
        let number = 1 + self.answers.fetch_add(1, Ordering::Relaxed);
        let mut body = format!("Answer {number} to {} {}\n", request.method, request.uri);
        for (name, value) in &request.headers {
            body += &format!("{name}: {}\n", value.to_str().unwrap_or("(not text)"));
        }

        let mut head = ResponseHeader::build(StatusCode::OK, None)?;
        head.insert_header(CACHE_CONTROL, if path == "/short" { "max-age=3" } else { "max-age=3600" })?;
        match path.as_str() {
            "/20k" | "/slow" | "/broken" => body += &".".repeat(20 * 1024),
            "/40k" => body += &".".repeat(40 * 1024),
            "/cookie" => head.insert_header(SET_COOKIE, "visitor=1")?,
            "/vary" => head.insert_header(VARY, "Accept-Language")?,
            _ => {}
        }
        match path.as_str() {
            "/chunks" => head.insert_header(TRANSFER_ENCODING, "chunked")?,
            _ => head.insert_header(CONTENT_LENGTH, body.len())?,
        }

        session.set_keepalive(None);
        let mut first = body.into_bytes();
        let rest = first.split_off(first.len() / 2);
        session.write_response_header(Box::new(head)).await?;
        session.write_response_body(first.into(), false).await?;
        if matches!(path.as_str(), "/slow" | "/broken") {
            sleep(Duration::from_secs(2)).await;
        }
        if path == "/broken" {
            return Error::e_explain(InternalError, "it dies in mid-answer");
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
// ANCHOR_END: origin

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut origin = Service::new("Origin".to_owned(), Origin { answers: AtomicUsize::new(0) });
    origin.add_tcp(ORIGIN);
    server.add_service(origin);

    let mut proxy = http_proxy_service(&server.configuration, MemoryCache);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Memory Cache running on {LISTEN}, its origin on {ORIGIN}");
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
