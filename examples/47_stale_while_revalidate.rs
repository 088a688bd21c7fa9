//! 47 · Stale while revalidate: nobody waits for what has only just gone out of date.
//!
//! Idea  An old copy at once, and a new one fetched behind its back. And an old copy too when the origin has failed.
//! New   `should_serve_stale`, two windows in `Cache-Control`, and a fetch in the background that is nobody's
//!       request (in lesson 45 all who came too late waited for the one who fetched).
//! Run   cargo run --example 47_stale_while_revalidate
//! Try   curl -i http://172.28.0.10:6198/news        from a client; the rest is in
//!       lessons/47_stale_while_revalidate.md

use std::collections::HashMap;
use std::process::exit;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, VARY};
use http::{Method, StatusCode};
use log::info;
use pingora::ErrorSource;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::cache::RespCacheable::{self, Uncacheable};
use pingora::cache::cache_control::CacheControl;
use pingora::cache::eviction::simple_lru::Manager;
use pingora::cache::filters::resp_cacheable;
use pingora::cache::lock::CacheLock;
use pingora::cache::{CacheKey, CacheMeta, CacheMetaDefaults, CachePhase, MemCache, NoCacheReason};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::time::sleep;

const LISTEN: &str = "0.0.0.0:6198";
const ORIGIN: &str = "127.0.0.1:6189";

// ANCHOR: store
static STORE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
static EVICTION: LazyLock<Manager> = LazyLock::new(|| Manager::new_with_watermark(64 * 1024, Some(1000)));
/// The lock is what makes the fetch in the background one fetch, however many ask meanwhile. Without a lock there
/// is none, and every one of them waits.
static LOCK: LazyLock<CacheLock> = LazyLock::new(|| CacheLock::new(Duration::from_secs(10)));
const LONGEST: usize = 32 * 1024;
/// Neither freshness nor staleness is guessed: what the origin does not allow is not done.
const NO_GUESSES: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);
// ANCHOR_END: store

/// Host, path and query: what the key is made of, and all that the origin gets to see.
fn resource(request: &RequestHeader) -> Option<(String, &str)> {
    let host = match request.uri.authority() {
        Some(authority) => authority.as_str(), // HTTP/2 has it here, and no Host
        None => request.headers.get(HOST)?.to_str().ok()?,
    };
    Some((host.to_ascii_lowercase(), request.uri.path_and_query()?.as_str()))
}

struct Stale;

#[async_trait]
impl ProxyHttp for Stale {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: request
    /// Runs for a fetch in the background too, with the address of the client who happened to set it off: what
    /// is counted here is counted twice.
    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        let levers = session.req_header().uri.path().starts_with("/_origin"); // they are not for clients
        if levers {
            session.respond_error(404).await?;
        }
        Ok(levers)
    }
    // ANCHOR_END: request

    fn request_cache_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<()> {
        let no_body = session.as_downstream_mut().is_body_empty(); // a body is not in the key
        let request = session.req_header();
        let personal = [AUTHORIZATION, COOKIE].iter().any(|name| request.headers.contains_key(name));
        let for_all = matches!(request.method, Method::GET | Method::HEAD) && no_body && !personal;
        if for_all && resource(request).is_some() {
            session.cache.enable(&*STORE, Some(&*EVICTION), None, Some(&*LOCK), None);
            session.cache.set_max_file_size_bytes(LONGEST);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, _ctx: &mut ()) -> Result<CacheKey> {
        let (host, target) = resource(session.req_header()).or_err(InternalError, "no key for this")?;
        // Neither can hold a line break. Just joined, 'a/b' and '/c' would be the same as 'a' and '/b/c'.
        Ok(CacheKey::new(format!("{host}\n{target}"), ""))
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(ORIGIN, false, String::new());
        peer.options.read_timeout = Some(Duration::from_secs(5));
        Ok(Box::new(peer))
    }

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

    fn response_cache_filter(
        &self,
        _session: &Session,
        response: &ResponseHeader,
        _ctx: &mut (),
    ) -> Result<RespCacheable> {
        let has = |name| response.headers.contains_key(name);
        let refusals = [
            (response.status.is_server_error(), NoCacheReason::UpstreamError), // the next attempt may do
            (response.status != StatusCode::OK, NoCacheReason::Custom("status")),
            (has(SET_COOKIE), NoCacheReason::Custom("set-cookie")),
            (has(VARY), NoCacheReason::Custom("vary")),
            (!has(CONTENT_LENGTH), NoCacheReason::Custom("no-length")),
        ];
        if let Some((_, reason)) = refusals.into_iter().find(|(applies, _)| *applies) {
            return Ok(Uncacheable(reason));
        }
        let control = CacheControl::from_resp_headers(response);
        Ok(resp_cacheable(control.as_ref(), response.clone(), false, &NO_GUESSES))
    }

    // ANCHOR: stale
    /// Whether an old copy will do. Asked only within the windows that the origin has allowed.
    fn should_serve_stale(&self, _session: &mut Session, _ctx: &mut (), error: Option<&Error>) -> bool {
        match error {
            None => true, // nothing has failed: a new copy is being fetched. Pingora's default is `false`
            Some(error) => *error.esource() == ErrorSource::Upstream, // not: ours, or the client's
        }
    }
    // ANCHOR_END: stale

    // ANCHOR: says
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(()); // there is another one to come
        }
        // For how many seconds it is fresh; if it no longer is, for how many it has not been (RFC 9211, 2.4).
        let ttl = |meta: &CacheMeta| meta.fresh_sec().cast_signed() - meta.age().as_secs().cast_signed();
        let ttl = session.cache.maybe_cache_meta().map_or(0, ttl);
        let (word, status) = match session.cache.phase() {
            CachePhase::Hit => ("HIT", format!("hit; ttl={ttl}")),
            CachePhase::Miss => ("MISS", format!("fwd=miss; stored; ttl={ttl}")),
            CachePhase::Expired => ("EXPIRED", format!("fwd=stale; stored; ttl={ttl}")),
            CachePhase::StaleUpdating => ("STALE", format!("hit; ttl={ttl}")), // this one did not ask the origin
            CachePhase::Stale => ("STALE", format!("fwd=stale; ttl={ttl}; detail=origin-failed")),
            CachePhase::Disabled(reason) if reason != NoCacheReason::NeverEnabled => {
                ("SKIP (Uncacheable)", format!("fwd=miss; detail={}", reason.as_str()))
            }
            _ => ("SKIP (Uncacheable)", "fwd=bypass".to_owned()), // it was not looked for
        };
        info!("Cache Status: {word}, {} {}", session.req_header().method, session.req_header().uri);
        response.append_header("Cache-Status", format!("pingora-city; {status}"))?;
        Ok(())
    }
    // ANCHOR_END: says

    // ANCHOR: logging
    /// Once for each request, and once for each fetch in the background.
    async fn logging(&self, session: &mut Session, _error: Option<&Error>, _ctx: &mut ()) {
        let client = session.client_addr().map_or("nobody".to_owned(), |address| address.to_string());
        let behind = if session.subrequest_ctx.is_some() { ", in the background" } else { "" };
        info!("Over: {} {} for {client}{behind}", session.req_header().method, session.req_header().uri);
    }
    // ANCHOR_END: logging
}

// ANCHOR: origin
/// The origin. It works for two seconds, knows how often it was asked for each path, and has three levers:
/// `/_origin/stop` (it hangs up on everybody), `/_origin/sick` (503) and `/_origin/start`.
struct Origin {
    asked: Mutex<HashMap<String, usize>>,
    /// What `/_origin/…` was asked for last.
    lever: Mutex<String>,
}

impl Origin {
    async fn answer(&self, session: &mut ServerSession) -> Result<()> {
        session.set_keepalive(None);
        let uri = session.req_header().uri.clone();
        let (mut lever, mut body) = (String::new(), String::new());
        match uri.path().strip_prefix("/_origin/") {
            Some("count") => body = format!("{}\n", self.count(uri.query().unwrap_or_default(), 0)),
            Some(pulled) => *lock(&self.lever) = pulled.to_owned(),
            None => {
                body = format!("Answer {} to {}\n", self.count(uri.path(), 1), uri.path());
                lever.clone_from(&lock(&self.lever));
            }
        }
        match lever.as_str() {
            "stop" => return Error::e_explain(InternalError, "it is stopped"),
            "sick" => return session.respond_error(503).await,
            "start" => sleep(Duration::from_secs(2)).await,
            _ => {}
        }

        let mut head = ResponseHeader::build(StatusCode::OK, None)?;
        let control = match uri.path() {
            "/brief" => "max-age=5, stale-if-error=8",
            _ => "max-age=5, stale-while-revalidate=10, stale-if-error=60",
        };
        head.insert_header(CACHE_CONTROL, control)?;
        head.insert_header(CONTENT_LENGTH, body.len())?;
        session.write_response_header(Box::new(head)).await?;
        session.write_response_body(body.into(), true).await
    }

    /// How often it was asked for `path`, so many times more included.
    fn count(&self, path: &str, more: usize) -> usize {
        let mut asked = lock(&self.asked);
        let times = asked.entry(path.to_owned()).or_default();
        *times += more;
        *times
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    let mut origin = Service::new(
        "Origin".to_owned(),
        Origin { asked: Mutex::default(), lever: Mutex::new("start".to_owned()) },
    );
    origin.add_tcp(ORIGIN);
    server.add_service(origin);

    let mut proxy = http_proxy_service(&server.configuration, Stale);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Stale While Revalidate running on {LISTEN}, its origin on {ORIGIN}");
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
