//! 10 · Query parameters: one removed, one added, and not a byte else touched.
//!
//! Idea  Names are compared as the upstream will read them, decoded; what is kept is forwarded as it was written.
//! New   Rewriting the target in `upstream_request_filter` (lesson 09 read it and sent it on as it came).
//! Run   cargo run --example 10_query_params
//! Try   curl 'http://172.28.0.10:6150/search?q=rust&debug=true&sort=asc'     from a client; the rest is in
//!       lessons/10_query_params.md

use std::process::exit;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use percent_encoding::percent_decode;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6150";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

/// A parameter that is not for the upstream.
const REMOVED: &[u8] = b"debug";
/// What the upstream is told in addition, as it stands in the query.
const ADDED: &[u8] = b"ref=pingora";

// ANCHOR: edit
/// The request's target with its query edited. What stays, stays as it was written: another encoding of the
/// same text would be the same to us and not to a signature, a cache or a sloppy server.
fn edit_query(target: &[u8]) -> Vec<u8> {
    let mark = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = (&target[..mark], target.get(mark + 1..).unwrap_or_default());

    let mut parameters: Vec<&[u8]> = query.split(|byte| *byte == b'&').filter(|p| !is_removed(p)).collect();
    if query.is_empty() {
        parameters.clear(); // to split nothing gives one empty piece, and with it a stray `&`
    }
    parameters.push(ADDED);
    [path, b"?", &parameters.join(&b'&')].concat()
}

/// By its whole name: `debugger=1` is another parameter. And by its decoded name: to whoever reads the query,
/// `%64ebug=true` is this one.
fn is_removed(parameter: &[u8]) -> bool {
    let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
    percent_decode(name).eq(REMOVED.iter().copied())
}
// ANCHOR_END: edit

struct QueryParams;

#[async_trait]
impl ProxyHttp for QueryParams {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    // ANCHOR: filter
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)?;

        // The target as it stands on the wire. `uri` holds only the path and query of a whole URL.
        let target = upstream_request.raw_path();
        if target == b"*" {
            return Ok(()); // `OPTIONS *` asks about the server as a whole: no path, no query
        }
        let edited = edit_query(target);
        // A target can hold 64 KiB; one that was almost as long has no room for what we add. Pingora's own
        // error is dropped, for it repeats the target.
        upstream_request
            .set_raw_path(&edited)
            .map_err(|_| Error::explain(HTTPStatus(414), "no room to add a parameter"))
    }
    // ANCHOR_END: filter

    // ANCHOR: summary
    /// What the log calls a request that has failed. Pingora's own summary has the query in it.
    fn request_summary(&self, session: &Session, _ctx: &()) -> String {
        let head = session.req_header();
        format!("{} {}", head.method, head.uri.path())
    }
    // ANCHOR_END: summary
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, QueryParams);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Query Params running on {LISTEN}");
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
