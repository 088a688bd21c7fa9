//! 19 · Peer options: nothing upstream may take for ever.
//!
//! Idea  Connecting, TLS, reading, writing and idling each have a limit, and whoever misses one is a 504.
//! New   Every timeout that a peer has, and what each of them really measures (lesson 13 set two of them, to
//!       have failures to report).
//! Run   cargo run --example 19_peer_options
//! Try   curl -i http://172.28.0.10:6163/timeout     from a client; the rest is in lessons/19_peer_options.md

use std::fs;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::{error, info};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::tls::CaType;
use pingora::proxy::FailToProxy;
use pingora::server::configuration::ServerConf;
use pingora::tls::x509::X509;

const LISTEN: &str = "0.0.0.0:6163";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";
const ADVANCED: &str = "172.28.0.22:443";
const ADVANCED_NAME: &str = "advanced.pingora.local";
const NOWHERE: &str = "172.28.0.99:80"; // the City's black hole: packets go in, and that is all

const CA: &str = "conf/keys/ca.crt";

/// The proxy, with the authority that must have signed an upstream's certificate.
struct PeerOptionsProxy {
    ca: Arc<CaType>,
}

// ANCHOR: peers
/// Blue, with a limit for each thing that it can keep us waiting for.
fn blue() -> HttpPeer {
    let mut peer = HttpPeer::new(BLUE, false, String::new());
    peer.options.connection_timeout = Some(Duration::from_secs(1));
    peer.options.write_timeout = Some(Duration::from_millis(300)); // for each piece of the request's body
    peer.options.read_timeout = Some(Duration::from_millis(700)); // for each piece of the response
    peer.options.idle_timeout = Some(Duration::from_secs(1)); // for the connection, between two requests
    peer
}

/// Nobody. Ten times the slowest round trip one expects is a good limit for a connect on one's own network.
fn nowhere() -> HttpPeer {
    let mut peer = HttpPeer::new(NOWHERE, false, String::new());
    peer.options.connection_timeout = Some(Duration::from_millis(100));
    peer
}

/// advanced, over TLS: two steps to connect, and one limit for both of them together.
fn advanced(ca: &Arc<CaType>) -> HttpPeer {
    let mut peer = HttpPeer::new(ADVANCED, true, ADVANCED_NAME.to_owned());
    peer.options.ca = Some(Arc::clone(ca));
    peer.options.total_connection_timeout = Some(Duration::from_millis(500));
    peer.options.read_timeout = Some(Duration::from_millis(700));
    peer
}
// ANCHOR_END: peers

#[async_trait]
impl ProxyHttp for PeerOptionsProxy {
    /// The name by which the chosen upstream is addressed.
    type CTX = &'static str;
    fn new_ctx(&self) -> &'static str {
        BLUE_NAME
    }

    async fn upstream_peer(&self, session: &mut Session, host: &mut &'static str) -> Result<Box<HttpPeer>> {
        let peer = match session.req_header().uri.path() {
            "/timeout" => nowhere(),
            "/tls" => {
                *host = ADVANCED_NAME;
                advanced(&self.ca)
            }
            _ => blue(),
        };
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        host: &mut &'static str,
    ) -> Result<()> {
        upstream_request.insert_header("Host", *host)
    }

    // ANCHOR: fail_to_proxy
    /// 504: the upstream was too slow. All other cases are what Pingora would do by itself.
    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, _: &mut &'static str) -> FailToProxy {
        let error_code = match (e.esource(), e.etype()) {
            (_, HTTPStatus(code)) => *code,
            (
                ErrorSource::Upstream,
                ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout,
            ) => 504,
            (ErrorSource::Upstream, _) => 502,
            (ErrorSource::Downstream, ReadError | WriteError | ConnectionClosed) => 0, // the client has left
            (ErrorSource::Downstream, _) => 400,
            (ErrorSource::Internal | ErrorSource::Unset, _) => 500,
        };
        if error_code > 0
            && let Err(e) = session.respond_error(error_code).await
        {
            error!("the client could not be told: {e}");
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }
    // ANCHOR_END: fail_to_proxy
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let ca = city_ca();
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, PeerOptionsProxy { ca });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Peer Options running on {LISTEN}");
    server.run_forever()
}

/// The City's certificate authority. Pingora would trust the system's authorities, which do not know it.
fn city_ca() -> Arc<CaType> {
    let certificates = fs::read(CA).ok().and_then(|pem| X509::stack_from_pem(&pem).ok()).unwrap_or_default();
    if certificates.is_empty() {
        eprintln!("{CA} is missing or holds no certificate; scripts/00-setup-certs.sh makes the City's keys");
        exit(1)
    }
    Arc::new(certificates.into_boxed_slice())
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
