//! 07 · TLS termination: HTTPS outside, plain HTTP inside.
//!
//! Idea  The proxy holds the certificate and its key, does the TLS, and the upstream needs to know nothing of it.
//! New   A TLS listener with `TlsSettings`, HTTP/2 by ALPN, and a certificate that is examined before the port
//!       is opened (lesson 06 listened in the clear).
//! Run   cargo run --example 07_tls_termination
//! Try   curl -i --cacert conf/keys/ca.crt https://dev.pingora.local:6147     from a client; the rest is in
//!       lessons/07_tls_termination.md

use std::fs;
use std::process::exit;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use log::info;
use openssl::asn1::Asn1Time;
use openssl::x509::X509;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6147";
const CERTIFICATE: &str = "conf/keys/server.crt";
const KEY: &str = "conf/keys/server.key";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

struct TlsTermination;

/// The same proxy as in lesson 06, but for one hook: it sees requests, and no difference between HTTP and HTTPS.
#[async_trait]
impl ProxyHttp for TlsTermination {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let tls = false; // the client's TLS ends here; Blue is spoken to in the clear
        Ok(Box::new(HttpPeer::new(BLUE, tls, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }

    // ANCHOR: body
    /// Called for each piece of a body. HTTP/2 may end one with an empty piece, and Pingora 0.9.1 writes an end
    /// for that piece and an end for the body. Without the piece there is one.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        piece: &mut Option<Bytes>,
        end_of_stream: bool,
        _ctx: &mut (),
    ) -> Result<()> {
        piece.take_if(|piece| end_of_stream && piece.is_empty());
        Ok(())
    }
    // ANCHOR_END: body
}

// ANCHOR: tls
/// The TLS side of the listener, or one line that says why there can be none.
fn tls_settings() -> Result<TlsSettings, String> {
    // TLS 1.2 and 1.3 with Mozilla's intermediate ciphers. The one thing it refuses is a file that is missing
    // or not PEM, and its context says which; the cause is a page of OpenSSL's.
    let mut tls = TlsSettings::intermediate(CERTIFICATE, KEY)
        .map_err(|error| error.context.as_ref().map_or("no TLS", |context| context.as_str()).to_owned())?;

    // A key that does not belong to the certificate is taken without a word, and every handshake fails.
    tls.check_private_key().map_err(|_| format!("{KEY} is not the key of {CERTIFICATE}"))?;

    // So is a certificate that has expired, and every client turns away.
    let certificate = read(CERTIFICATE).map_err(|error| format!("cannot read {CERTIFICATE}: {error}"))?;
    let now = Asn1Time::days_from_now(0).map_err(|error| format!("cannot tell the time: {error}"))?;
    if now >= certificate.not_after() {
        return Err(format!("{CERTIFICATE} expired on {}", certificate.not_after()));
    }

    tls.enable_h2(); // by ALPN: HTTP/2 for a client that offers it, HTTP/1.1 for all others
    Ok(tls)
}
// ANCHOR_END: tls

/// The first certificate in the file. Of a chain that is the server's own.
fn read(file: &str) -> Result<X509, Box<dyn std::error::Error>> {
    Ok(X509::from_pem(&fs::read(file)?)?)
}

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    // Before `bootstrap`, which is where `-t` leaves: a check that passes must have looked at the keys.
    let tls = tls_settings().unwrap_or_else(|trouble| {
        eprintln!("{trouble}; scripts/00-setup-certs.sh makes the City's keys");
        exit(1)
    });
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, TlsTermination);
    proxy.add_tls_with_settings(LISTEN, None, tls);
    server.add_service(proxy);

    info!("TLS Termination running on {LISTEN}");
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
