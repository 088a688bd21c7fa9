//! 24 · gRPC proxy: HTTP/2 on both sides, and the verdict in the trailers.
//!
//! Idea  gRPC is HTTP/2 with its status at the end, so every hop must speak HTTP/2 or the status is lost.
//! New   A listener and a peer that agree on HTTP/2 or not at all, many streams on one connection, and no read
//!       timeout, for a stream may be silent for hours (lesson 14 fell back to HTTP/1.1).
//! Run   cargo run --example 24_grpc_proxy
//! Try   city grpc dev.pingora.local:6168 --tls health     from a client; the rest is in lessons/24_grpc_proxy.md

use std::fs;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use http::Version;
use log::info;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::protocols::tls::CaType;
use pingora::server::configuration::ServerConf;
use pingora::tls::x509::X509;
use pingora::upstreams::peer::ALPN;

const LISTEN: &str = "0.0.0.0:6168";
const CERTIFICATE: &str = "conf/keys/server.crt";
const KEY: &str = "conf/keys/server.key";
const CA: &str = "conf/keys/ca.crt";

const GRPC_TLS: &str = "172.28.0.23:9001";
const GRPC_PLAIN: &str = "172.28.0.23:9000";
const GRPC_NAME: &str = "grpc.pingora.local";

/// The proxy, with the authority that must have signed the upstream's certificate.
struct GrpcProxy {
    ca: Arc<CaType>,
}

#[async_trait]
impl ProxyHttp for GrpcProxy {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: request_filter
    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        if session.req_header().version == Version::HTTP_2 {
            return Ok(false);
        }
        // HTTP/1 has trailers on paper; neither Pingora nor most clients pass them on, and with them goes the
        // status. An answer without its verdict is worse than none.
        session.respond_error(505).await?;
        Ok(true) // answered: HTTP Version Not Supported
    }
    // ANCHOR_END: request_filter

    // ANCHOR: peer
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let plain = session.req_header().headers.get("x-upstream").is_some_and(|value| value == "plain");
        let mut peer = if plain {
            HttpPeer::new(GRPC_PLAIN, false, String::new())
        } else {
            let mut peer = HttpPeer::new(GRPC_TLS, true, GRPC_NAME.to_owned());
            peer.options.ca = Some(Arc::clone(&self.ca));
            peer
        };
        // HTTP/2 and nothing else: over TLS it is all that is offered, and without TLS it is simply spoken.
        peer.options.alpn = ALPN::H2;
        peer.options.max_h2_streams = 100; // 1 unless set, and every call would open a connection
        peer.options.connection_timeout = Some(Duration::from_secs(1));
        // No read timeout: who watches for an event may watch for hours. A ping tells silence from death.
        peer.options.h2_ping_interval = Some(Duration::from_secs(5));
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", GRPC_NAME) // in HTTP/2 it goes out as :authority
    }
}

// ANCHOR: tls
/// The listener's TLS: by ALPN it takes HTTP/2, and HTTP/1.1 only to refuse it in words.
fn tls_settings() -> Result<TlsSettings, String> {
    let mut tls = TlsSettings::intermediate(CERTIFICATE, KEY)
        .map_err(|error| error.context.as_ref().map_or("no TLS", |context| context.as_str()).to_owned())?;
    tls.check_private_key().map_err(|_| format!("{KEY} is not the key of {CERTIFICATE}"))?;
    tls.enable_h2();
    Ok(tls)
}
// ANCHOR_END: tls

/// The City's certificate authority. Pingora would trust the system's authorities, which do not know it.
fn city_ca() -> Result<Arc<CaType>, String> {
    let certificates = fs::read(CA).ok().and_then(|pem| X509::stack_from_pem(&pem).ok()).unwrap_or_default();
    if certificates.is_empty() {
        return Err(format!("{CA} is missing or holds no certificate"));
    }
    Ok(Arc::new(certificates.into_boxed_slice()))
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let keys = tls_settings().and_then(|tls| Ok((tls, city_ca()?)));
    let (tls, ca) = keys.unwrap_or_else(|trouble| {
        eprintln!("{trouble}; scripts/00-setup-certs.sh makes the City's keys");
        exit(1)
    });
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, GrpcProxy { ca });
    proxy.add_tls_with_settings(LISTEN, None, tls);
    server.add_service(proxy);

    info!("gRPC Proxy running on {LISTEN}");
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
