//! 14 · HTTP/2 support: h2 from the client, h2 to the upstream, and who decides it.
//!
//! Idea  Each side agrees on its protocol by ALPN, in its own TLS handshake. Many requests share a connection.
//! New   A TLS upstream, verified; `ALPN` for a peer; `max_h2_streams` (lesson 07 ended TLS here and went on in
//!       the clear).
//! Run   cargo run --example 14_http2_support
//! Try   curl --http2 --cacert conf/keys/ca.crt https://dev.pingora.local:6154      from a client; the rest is
//!       in lessons/14_http2_support.md

use std::fs;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use log::info;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::protocols::tls::{ALPN, CaType};
use pingora::server::configuration::ServerConf;
use pingora::tls::x509::X509;

const LISTEN: &str = "0.0.0.0:6154";
const CERTIFICATE: &str = "conf/keys/server.crt";
const KEY: &str = "conf/keys/server.key";
const CA: &str = "conf/keys/ca.crt";

// ANCHOR: upstreams
/// A TLS upstream: where it listens, and the name that it has to prove.
struct Upstream {
    address: &'static str,
    name: &'static str,
}

const ADVANCED: Upstream = Upstream { address: "172.28.0.22:443", name: "advanced.pingora.local" };
/// A server that speaks no HTTP/2, for `/old`: the lesson starts one here.
const OLD: Upstream = Upstream { address: "127.0.0.1:6254", name: "dev.pingora.local" };
// ANCHOR_END: upstreams

struct Http2Support {
    ca: Arc<CaType>,
}

#[async_trait]
impl ProxyHttp for Http2Support {
    /// The upstream of this request.
    type CTX = &'static Upstream;
    fn new_ctx(&self) -> Self::CTX {
        &ADVANCED
    }

    // ANCHOR: peer
    async fn upstream_peer(&self, session: &mut Session, upstream: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        if session.req_header().uri.path() == "/old" {
            *upstream = &OLD;
        }

        // The name is sent (SNI), and it is what the certificate is checked against. An empty one would
        // switch that check off without a word.
        let mut peer = HttpPeer::new(upstream.address, true, upstream.name.to_owned());
        peer.options.ca = Some(Arc::clone(&self.ca)); // the City's authority, and no other
        peer.options.alpn = ALPN::H2H1; // we speak both and like HTTP/2 better; the upstream decides
        peer.options.max_h2_streams = 100; // requests at once on one connection; Pingora's default is 1
        peer.options.total_connection_timeout = Some(Duration::from_secs(2)); // TCP and TLS together
        peer.options.read_timeout = Some(Duration::from_secs(2));
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer

    // ANCHOR: host
    /// HTTP/2 has no `Host`: Pingora turns it into `:authority` on the way out.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        upstream: &mut Self::CTX,
    ) -> Result<()> {
        upstream_request.insert_header("Host", upstream.name)
    }
    // ANCHOR_END: host

    /// For an upstream that gets HTTP/1.1 after all: the end of an HTTP/2 body, once (lesson 07).
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        piece: &mut Option<Bytes>,
        end_of_stream: bool,
        _upstream: &mut Self::CTX,
    ) -> Result<()> {
        piece.take_if(|piece| end_of_stream && piece.is_empty());
        Ok(())
    }
}

// ANCHOR: ca
/// The certificates of the authorities in `file`: parsed once, and shared by all peers.
fn authorities(file: &str) -> Result<Arc<CaType>, String> {
    let pem = fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    match X509::stack_from_pem(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(Arc::new(certificates.into_boxed_slice())),
        _ => Err(format!("{file} holds no certificate")),
    }
}
// ANCHOR_END: ca

/// The TLS side of the listener (lesson 07 looks at the key pair more closely).
fn tls_settings() -> Result<TlsSettings, String> {
    let mut tls = TlsSettings::intermediate(CERTIFICATE, KEY)
        .map_err(|error| error.context.as_ref().map_or("no TLS", |context| context.as_str()).to_owned())?;
    tls.check_private_key().map_err(|_| format!("{KEY} is not the key of {CERTIFICATE}"))?;
    tls.enable_h2(); // by ALPN: HTTP/2 for a client that offers it, HTTP/1.1 for all others
    Ok(tls)
}

/// What cannot be done without the City's keys ends here, with the cure.
fn leave<T>(trouble: String) -> T {
    eprintln!("{trouble}; scripts/00-setup-certs.sh makes the City's keys");
    exit(1)
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let tls = tls_settings().unwrap_or_else(leave);
    let ca = authorities(CA).unwrap_or_else(leave);
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, Http2Support { ca });
    proxy.add_tls_with_settings(LISTEN, None, tls);
    server.add_service(proxy);

    info!("HTTP/2 Support running on {LISTEN}");
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
