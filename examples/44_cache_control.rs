//! 44 · Cache-Control: the origin says what may be kept, for how long, and for whom.
//!
//! Idea  A cache keeps what it was allowed to keep, asks whether it still holds, and tells variants apart.
//! New   Directives, validators (a 304 renews what is there), `Vary`, and the age that an answer brings with it
//!       (lesson 43 knew `max-age` only, and showed the origin nothing but the key).
//! Run   cargo run --example 44_cache_control
//! Try   curl -i http://172.28.0.10:6192/etag        from a client, three times; the rest is in
//!       lessons/44_cache_control.md

use std::process::exit;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use env_logger::Env;
use http::header::{
    ACCEPT, AGE, AUTHORIZATION, CONTENT_LENGTH, COOKIE, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, SET_COOKIE, USER_AGENT, VARY,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use log::info;
use pingora::apps::http_app::ServeHttp;
use pingora::cache::RespCacheable::{self, Uncacheable};
use pingora::cache::cache_control::CacheControl;
use pingora::cache::filters::resp_cacheable;
use pingora::cache::key::HashBinary;
use pingora::cache::{
    CacheKey, CacheMeta, CacheMetaDefaults, CachePhase, HttpCache, MemCache, NoCacheReason, VarianceBuilder,
};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

const LISTEN: &str = "0.0.0.0:6192";
const ORIGIN: &str = "127.0.0.1:6193";

/// Nothing is thrown out here: `MemCache` panics when that happens to an entry that is being validated.
static STORE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
const LONGEST: usize = 32 * 1024;
const NO_GUESSES: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);

/// Host, path and query.
fn resource(request: &RequestHeader) -> Option<(String, &str)> {
    let host = match request.uri.authority() {
        Some(authority) => authority.as_str(), // HTTP/2 has it here, and no Host
        None => request.headers.get(HOST)?.to_str().ok()?,
    };
    Some((host.to_ascii_lowercase(), request.uri.path_and_query()?.as_str()))
}

struct ByTheBook;

#[async_trait]
impl ProxyHttp for ByTheBook {
    /// Why this request goes to the origin, if it does, in the words of RFC 9211, section 2.2.
    type CTX = &'static str;
    fn new_ctx(&self) -> Self::CTX {
        "bypass"
    }

    fn request_cache_filter(&self, session: &mut Session, forward: &mut Self::CTX) -> Result<()> {
        let no_body = session.as_downstream_mut().is_body_empty(); // a body is not in the key
        let request = session.req_header();
        if !matches!(request.method, Method::GET | Method::HEAD) {
            *forward = "method";
        } else if no_body && !request.headers.contains_key(COOKIE) && resource(request).is_some() {
            session.cache.enable(&*STORE, None, None, None, None);
            session.cache.set_max_file_size_bytes(LONGEST);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, _forward: &mut Self::CTX) -> Result<CacheKey> {
        let (host, target) = resource(session.req_header()).or_err(InternalError, "no key for this")?;
        Ok(CacheKey::new(format!("{host}\n{target}"), ""))
    }

    // ANCHOR: vary
    /// Which variant a request wants, by the headers that `Vary` names. Pingora asks this of what it has found,
    /// to look again under the variant, and of what it is about to keep.
    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        _forward: &mut Self::CTX,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        let mut variance = VarianceBuilder::new();
        for line in meta.headers().get_all(VARY).iter().filter_map(|line| line.to_str().ok()) {
            for name in line.split(',').map(|name| name.trim().to_ascii_lowercase()) {
                // Every line of it, not the first: the origin reads them all.
                let mut value = Vec::new();
                for line in request.headers.get_all(&name) {
                    value.push(b'\n'); // an empty line is not the same as none
                    value.extend_from_slice(line.as_bytes());
                }
                variance.add_owned_name_value(name, value);
            }
        }
        variance.finalize()
    }
    // ANCHOR_END: vary

    async fn upstream_peer(&self, _session: &mut Session, _forward: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(ORIGIN, false, String::new())))
    }

    // ANCHOR: upstream
    /// By now Pingora has made a `GET` of a `HEAD`, has taken the client's conditions and ranges away, and if
    /// there is something stale with a validator, has put a condition of its own in.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        forward: &mut Self::CTX,
    ) -> Result<()> {
        if session.cache.enabled() {
            *forward = match session.cache.phase() {
                CachePhase::Stale => "stale",
                _ if session.cache.cache_key().get_variance_key().is_some() => "vary-miss",
                _ => "uri-miss",
            };
            let (host, _) = resource(session.req_header()).or_err(InternalError, "no key for this")?;
            upstream_request.insert_header(HOST, host)?; // as it is in the key
        }
        Ok(())
    }
    // ANCHOR_END: upstream

    // ANCHOR: response
    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        _forward: &mut Self::CTX,
    ) -> Result<RespCacheable> {
        let has = |name| response.headers.contains_key(name);
        // '*' is everything, headers or not; what is not text names nothing that we could look at.
        let any = |line: &HeaderValue| line.to_str().map_or(true, |line| line.contains('*'));
        let refusals = [
            (response.status != StatusCode::OK, "status"),
            (has(SET_COOKIE), "set-cookie"),
            (response.headers.get_all(VARY).iter().any(any), "vary-any"),
            (!has(CONTENT_LENGTH), "no-length"),
            (has(AGE), "age"), // it is not new, and would be taken for new
        ];
        if let Some((_, reason)) = refusals.into_iter().find(|(applies, _)| *applies) {
            return Ok(Uncacheable(NoCacheReason::Custom(reason)));
        }
        let control = CacheControl::from_resp_headers(response);
        let authorized = session.req_header().headers.contains_key(AUTHORIZATION);
        Ok(resp_cacheable(control.as_ref(), response.clone(), authorized, &NO_GUESSES))
    }
    // ANCHOR_END: response

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        forward: &mut Self::CTX,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(()); // there is another one to come
        }
        let (word, status) = outcome(&session.cache, forward);
        info!("Cache Status: {word}, {} {}", session.req_header().method, session.req_header().uri);
        response.append_header("Cache-Status", format!("pingora-city; {status}"))?;
        Ok(())
    }
}

// ANCHOR: outcome
/// What the cache did: a word for the log, and what RFC 9211 calls it.
fn outcome(cache: &HttpCache, forward: &str) -> (&'static str, String) {
    // How long it stays fresh, in whole seconds that add up with those of `Age`; below 0 it is stale.
    let ttl = |meta: &CacheMeta| meta.fresh_sec().cast_signed() - meta.age().as_secs().cast_signed();
    let ttl = cache.maybe_cache_meta().map_or(0, ttl);
    match cache.phase() {
        CachePhase::Hit => ("HIT", format!("hit; ttl={ttl}")),
        CachePhase::Stale | CachePhase::StaleUpdating => ("STALE", format!("hit; ttl={ttl}")),
        CachePhase::Miss => ("MISS", format!("fwd={forward}; stored; ttl={ttl}")),
        CachePhase::Expired => ("EXPIRED", format!("fwd={forward}; stored; ttl={ttl}")),
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => {
            ("REVALIDATED", format!("fwd={forward}; fwd-status=304; ttl={ttl}"))
        }
        CachePhase::Disabled(reason) if reason != NoCacheReason::NeverEnabled => {
            ("SKIP (Uncacheable)", format!("fwd={forward}; detail={}", reason.as_str()))
        }
        _ => ("SKIP (Uncacheable)", format!("fwd={forward}")), // it was not looked for
    }
}
// ANCHOR_END: outcome

// ANCHOR: pages
/// What the origin has, and what it says about each page. Of others it says nothing.
const PAGES: &[(&str, &[(&str, &str)])] = &[
    ("/short", &[("cache-control", "max-age=5")]),
    ("/long", &[("cache-control", "max-age=60")]),
    ("/no_store", &[("cache-control", "no-store")]),
    ("/private", &[("cache-control", "private, max-age=60")]),
    ("/shared", &[("cache-control", "max-age=1, s-maxage=60")]),
    ("/etag", &[("cache-control", "max-age=1"), ("etag", "\"v1\"")]),
    ("/date", &[("cache-control", "max-age=1"), ("last-modified", "Fri, 07 Nov 2025 08:00:00 GMT")]),
    ("/no_cache", &[("cache-control", "no-cache"), ("etag", "\"v1\"")]),
    ("/guess", &[("last-modified", "Fri, 07 Nov 2025 08:00:00 GMT")]),
    ("/old", &[("cache-control", "max-age=60"), ("age", "55")]),
    ("/cookie", &[("cache-control", "max-age=60"), ("set-cookie", "visitor=1")]),
    ("/language", &[("cache-control", "max-age=60"), ("vary", "Accept-Language")]),
    ("/any", &[("cache-control", "max-age=60"), ("vary", "*")]),
];

/// What every curl sends is not worth telling.
const USUAL: [HeaderName; 3] = [ACCEPT, HOST, USER_AGENT];
// ANCHOR_END: pages

// ANCHOR: origin
/// The origin. It counts, and answers with what it was asked; or with 304, if what the asker has still holds.
struct Origin {
    answers: AtomicUsize,
}

#[async_trait]
impl ServeHttp for Origin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let _ = session.drain_request_body().await; // nobody is interested in it
        let request = session.req_header();
        let number = 1 + self.answers.fetch_add(1, Ordering::Relaxed);
        let mut body = format!("Answer {number} to {} {}", request.method, request.uri);
        for (name, value) in request.headers.iter().filter(|(name, _)| !USUAL.contains(name)) {
            body += &format!(", {name}: {}", value.to_str().unwrap_or("(not text)"));
        }
        body.push('\n');

        let mut response = Response::new(Vec::new());
        let page = PAGES.iter().find(|(path, _)| *path == request.uri.path());
        for (name, value) in page.map_or(&[][..], |(_, headers)| headers) {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        for (condition, validator) in [(IF_NONE_MATCH, ETAG), (IF_MODIFIED_SINCE, LAST_MODIFIED)] {
            let value = request.headers.get(&condition);
            if value.is_some() && value == response.headers().get(validator) {
                info!("Origin: answer {number} to {} is 304, for its {condition} holds", request.uri);
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
        }
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        *response.body_mut() = body.into_bytes();
        response
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

    let mut proxy = http_proxy_service(&server.configuration, ByTheBook);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Cache Control running on {LISTEN}, its origin on {ORIGIN}");
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
