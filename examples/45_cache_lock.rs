//! 45 · Cache lock: five clients ask for the same at once, and the origin works for one.
//!
//! Idea  Who misses first fetches, and holds a lock on the key meanwhile. The others wait, and share the answer.
//! New   `CacheLock`: writers and readers, and what becomes of the readers when the writer fails (in lesson 43
//!       everybody went to the origin who came before the first answer).
//! Run   cargo run --example 45_cache_lock
//! Try   curl -i http://172.28.0.10:6194/report      from a client; the rest is in lessons/45_cache_lock.md

use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, VARY};
use http::{Method, StatusCode};
use log::info;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::cache::RespCacheable::{self, Uncacheable};
use pingora::cache::cache_control::CacheControl;
use pingora::cache::eviction::simple_lru::Manager;
use pingora::cache::filters::resp_cacheable;
use pingora::cache::lock::CacheLock;
use pingora::cache::{CacheKey, CacheMetaDefaults, CachePhase, MemCache, NoCacheReason};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::time::sleep;

const LISTEN: &str = "0.0.0.0:6194";
const ORIGIN: &str = "127.0.0.1:6195";

// ANCHOR: lock
/// One lock for each key that is being fetched, and none for the others.
static LOCK: LazyLock<CacheLock> = LazyLock::new(|| CacheLock::new(LOCK_AGE));
/// How long a writer may keep its readers waiting, well above what the origin needs as a rule (2 s). Then the
/// next one goes, and the old lock is worth nothing.
const LOCK_AGE: Duration = Duration::from_millis(3500);
/// And how long the origin may be silent before it has failed.
const SILENCE: Duration = Duration::from_secs(5);
// ANCHOR_END: lock

static STORE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
static EVICTION: LazyLock<Manager> = LazyLock::new(|| Manager::new_with_watermark(64 * 1024, Some(1000)));
const LONGEST: usize = 32 * 1024;
const NO_GUESSES: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);

/// Host, path and query: what the key is made of, and all that the origin gets to see.
fn resource(request: &RequestHeader) -> Option<(String, &str)> {
    let host = match request.uri.authority() {
        Some(authority) => authority.as_str(), // HTTP/2 has it here, and no Host
        None => request.headers.get(HOST)?.to_str().ok()?,
    };
    Some((host.to_ascii_lowercase(), request.uri.path_and_query()?.as_str()))
}

struct Locked;

#[async_trait]
impl ProxyHttp for Locked {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: request
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
    // ANCHOR_END: request

    fn cache_key_callback(&self, session: &Session, _ctx: &mut ()) -> Result<CacheKey> {
        let (host, target) = resource(session.req_header()).or_err(InternalError, "no key for this")?;
        // Neither can hold a line break. Just joined, 'a/b' and '/c' would be the same as 'a' and '/b/c'.
        Ok(CacheKey::new(format!("{host}\n{target}"), ""))
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(ORIGIN, false, String::new());
        peer.options.read_timeout = Some(SILENCE);
        Ok(Box::new(peer))
    }

    /// What is fetched for everybody is asked for by nobody in particular: whole, and made of the key alone.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        info!("{} {} goes to the origin", session.req_header().method, session.req_header().uri);
        if session.cache.enabled() {
            let (host, target) = resource(session.req_header()).or_err(InternalError, "no key for this")?;
            *upstream_request = RequestHeader::build(Method::GET, target.as_bytes(), None)?;
            upstream_request.insert_header(HOST, host)?;
        }
        Ok(())
    }

    // ANCHOR: response
    /// Whether an answer may be kept. If it may not, the reason also decides what those do who wait for it.
    fn response_cache_filter(
        &self,
        _session: &Session,
        response: &ResponseHeader,
        _ctx: &mut (),
    ) -> Result<RespCacheable> {
        let has = |name| response.headers.contains_key(name);
        let refusals = [
            // This answer cannot be kept, the next one may be: one of them tries again, the others wait on.
            (response.status.is_server_error(), NoCacheReason::UpstreamError),
            // No answer to this can be kept: there is nothing to wait for, and all of them go at once.
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
    // ANCHOR_END: response

    // ANCHOR: says
    /// The writer has a miss. A reader finds a hit, and has waited. (`is_cache_lock_writer` would come too late:
    /// with the origin's head the writer has given its lock back.)
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(()); // there is another one to come
        }
        let waited = session.cache.lock_duration();
        let (word, status) = match session.cache.phase() {
            CachePhase::Miss => ("MISS (WRITER)", "fwd=miss; stored".to_owned()),
            CachePhase::Expired => ("EXPIRED (WRITER)", "fwd=stale; stored".to_owned()),
            CachePhase::Hit if waited.is_some() => ("HIT (READER)", "fwd=miss; collapsed".to_owned()),
            CachePhase::Hit => ("HIT", "hit".to_owned()),
            CachePhase::Disabled(reason) if reason != NoCacheReason::NeverEnabled => {
                ("SKIP (Uncacheable)", format!("fwd=miss; detail={}", reason.as_str()))
            }
            _ => ("SKIP (Uncacheable)", "fwd=bypass".to_owned()), // it was not looked for
        };
        let waited = waited.map(|time| format!(", waited {:.0} s", time.as_secs_f64())).unwrap_or_default();
        info!("Cache Status: {word}, {} {}{waited}", session.req_header().method, session.req_header().uri);
        response.append_header("Cache-Status", format!("pingora-city; {status}"))?;
        Ok(())
    }
    // ANCHOR_END: says
}

// ANCHOR: origin
/// The origin. It works for two seconds, numbers its answers, and has paths on which things go wrong.
#[derive(Default)]
struct Origin {
    answers: AtomicUsize,
    has_failed: AtomicBool,
}

impl Origin {
    async fn answer(&self, session: &mut ServerSession) -> Result<()> {
        session.set_keepalive(None);
        let number = 1 + self.answers.fetch_add(1, Ordering::Relaxed);
        let path = session.req_header().uri.path().to_owned();
        let (works, pauses, more) = match path.as_str() {
            "/stuck" => (4250, 0, 0),
            "/halves" => (1000, 1000, 20_000),
            _ => (2000, 0, 0),
        };
        sleep(Duration::from_millis(works)).await;
        if path == "/flaky" && !self.has_failed.swap(true, Ordering::Relaxed) {
            return Error::e_explain(InternalError, "it dies of its work");
        }

        let mut first = format!("Answer {number}\n{}", ".".repeat(more)).into_bytes();
        let mut head = ResponseHeader::build(StatusCode::OK, None)?;
        head.insert_header(CACHE_CONTROL, if path == "/no_store" { "no-store" } else { "max-age=60" })?;
        head.insert_header(CONTENT_LENGTH, first.len())?;
        let rest = first.split_off(first.len() / 2);
        session.write_response_header(Box::new(head)).await?;
        session.write_response_body(first.into(), false).await?;
        sleep(Duration::from_millis(pauses)).await;
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

    let mut origin = Service::new("Origin".to_owned(), Origin::default());
    origin.add_tcp(ORIGIN);
    server.add_service(origin);

    let mut proxy = http_proxy_service(&server.configuration, Locked);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Cache Lock running on {LISTEN}, its origin on {ORIGIN}");
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
