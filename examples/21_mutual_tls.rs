//! 21 · Mutual TLS: the proxy shows a certificate too.
//!
//! Idea  The upstream knows its callers by their certificates, so a connection belongs to the identity that
//!       opened it, and nobody else may ride on it.
//! New   `client_cert_key` and `group_key` of a peer (lesson 20 checked the upstream's certificate and had none
//!       of its own).
//! Run   cargo run --example 21_mutual_tls
//! Try   curl -i http://172.28.0.10:6165/auth        from a client; the rest is in lessons/21_mutual_tls.md

use std::fs;
use std::process::exit;
use std::sync::Arc;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::tls::CaType;
use pingora::server::configuration::ServerConf;
use pingora::tls::pkey::PKey;
use pingora::tls::x509::X509;
use pingora::utils::tls::CertKey;

const LISTEN: &str = "0.0.0.0:6165";

const MUTUAL: &str = "172.28.0.22:8443"; // asks its clients for a certificate
const ORDINARY: &str = "172.28.0.22:443"; // does not
const NAME: &str = "advanced.pingora.local";

// ANCHOR: proxy
/// A proxy that is somebody else on each path.
struct MutualTls {
    /// The first segment of a path, and the peer that is asked for it.
    routes: Vec<(&'static str, HttpPeer)>,
    /// For all other paths: a caller without a certificate.
    anonymous: HttpPeer,
}

#[async_trait]
impl ProxyHttp for MutualTls {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let first = session.req_header().uri.path().split('/').nth(1).unwrap_or_default();
        let route = self.routes.iter().find(|(segment, _)| *segment == first);
        let peer = route.map_or(&self.anonymous, |(_, peer)| peer);
        Ok(Box::new(peer.clone())) // keys and certificates are shared behind `Arc`s, not copied
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", NAME)
    }
}
// ANCHOR_END: proxy

// ANCHOR: routes
/// All peers, ready to be cloned: no request waits for a file, and a bad key stops the start, not a request.
fn mutual_tls() -> Result<MutualTls, String> {
    let city = authority("conf/keys/ca.crt")?;
    let foreign = authority("conf/keys/foreign-ca.crt")?;
    let client = identity("conf/keys/client.crt", "conf/keys/client.key")?;
    let client2 = identity("conf/keys/client2.crt", "conf/keys/client2.key")?;

    // The last column is the group: who may share connections. One for each identity and authority.
    let routes = vec![
        ("auth", peer(MUTUAL, Some(&client), &city, 1)),
        ("other", peer(MUTUAL, Some(&client2), &city, 2)),
        ("unasked", peer(ORDINARY, Some(&client), &city, 1)),
        ("distrust", peer(MUTUAL, Some(&client), &foreign, 3)),
        ("careless", peer(MUTUAL, Some(&client), &foreign, 1)), // another authority, and the group of /auth
    ];
    Ok(MutualTls { routes, anonymous: peer(MUTUAL, None, &city, 0) })
}

fn peer(address: &str, identity: Option<&Arc<CertKey>>, authority: &Arc<CaType>, group_key: u64) -> HttpPeer {
    let mut peer = HttpPeer::new(address, true, NAME.to_owned());
    peer.client_cert_key = identity.cloned(); // shown only to a server that asks
    peer.options.ca = Some(Arc::clone(authority));
    peer.group_key = group_key;
    peer
}
// ANCHOR_END: routes

// ANCHOR: keys
/// A certificate and its key, which must fit: TLS would find out only in a handshake.
fn identity(certificate: &str, key: &str) -> Result<Arc<CertKey>, String> {
    let chain = certificates(certificate)?;
    let private =
        PKey::private_key_from_pem(&read(key)?).map_err(|_| format!("{key} holds no private key"))?;
    if !chain[0].public_key().is_ok_and(|public| public.public_eq(&private)) {
        return Err(format!("{key} is not the key of {certificate}"));
    }
    Ok(Arc::new(CertKey::new(chain, private)))
}

fn authority(file: &str) -> Result<Arc<CaType>, String> {
    Ok(Arc::new(certificates(file)?.into_boxed_slice()))
}

/// The certificates of a file, at least one.
fn certificates(file: &str) -> Result<Vec<X509>, String> {
    let found = X509::stack_from_pem(&read(file)?).unwrap_or_default();
    if found.is_empty() { Err(format!("{file} holds no certificate")) } else { Ok(found) }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))
}
// ANCHOR_END: keys

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    // Before `bootstrap`, which is where `-t` leaves: a check that passes must have looked at the keys.
    let proxy = mutual_tls().unwrap_or_else(|trouble| {
        eprintln!("{trouble}; scripts/00-setup-certs.sh makes the City's keys");
        exit(1)
    });
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, proxy);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Mutual TLS running on {LISTEN}");
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
