//! 20 · SNI routing: one address, several names, and a certificate that must fit the name.
//!
//! Idea  Behind one address live many sites. The name is said twice, in TLS (SNI) and in HTTP (Host), and the
//!       first of the two is also what the upstream's certificate is checked against.
//! New   A name that depends on the request, and what a wrong name, a wrong authority and a late date do
//!       (lesson 14 had one name, and it was right).
//! Run   cargo run --example 20_sni_routing
//! Try   curl -i http://172.28.0.10:6164/v1          from a client; the rest is in lessons/20_sni_routing.md

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
use pingora::tls::x509::X509;

const LISTEN: &str = "0.0.0.0:6164";
const CA: &str = "conf/keys/ca.crt";

// ANCHOR: sites
/// One site: the path segment that leads to it, where it lives, and the names to ask for.
struct Site {
    segment: &'static str,
    address: &'static str,
    sni: &'static str,
    host: &'static str,
}

const V1: &str = "v1.api.pingora.local";
const V2: &str = "v2.api.pingora.local";

/// Whatever has no segment of its own.
const OTHERWISE: Site = Site { segment: "", address: "172.28.0.22:443", sni: V2, host: V2 };

const SITES: &[Site] = &[
    Site { segment: "v1", address: "172.28.0.22:443", sni: V1, host: V1 },
    // And four that are wrong, each in its own way. The text has them fail, all but one.
    Site { segment: "deep", address: "172.28.0.22:443", sni: "deep.v1.api.pingora.local", host: V1 },
    Site { segment: "expired", address: "172.28.0.22:8444", sni: V1, host: V1 },
    Site { segment: "foreign", address: "172.28.0.22:8445", sni: V1, host: V1 },
    Site { segment: "nameless", address: "172.28.0.22:8445", sni: "", host: V1 },
];

/// The site for `path`, by its whole first segment (lesson 09 tells why whole).
fn find_site(path: &str) -> &'static Site {
    let first = path.split('/').nth(1).unwrap_or_default();
    SITES.iter().find(|site| site.segment == first).unwrap_or(&OTHERWISE)
}
// ANCHOR_END: sites

/// The proxy, with the authority that must have signed an upstream's certificate.
struct SniRouting {
    ca: Arc<CaType>,
}

// ANCHOR: proxy
#[async_trait]
impl ProxyHttp for SniRouting {
    /// The site, as `upstream_peer` has chosen it.
    type CTX = &'static Site;
    fn new_ctx(&self) -> &'static Site {
        &OTHERWISE
    }

    async fn upstream_peer(&self, session: &mut Session, site: &mut &'static Site) -> Result<Box<HttpPeer>> {
        *site = find_site(session.req_header().uri.path());

        let tls = true;
        // Sent in the clear, before there is a certificate; then the certificate must be one for this name.
        let sni = site.sni.to_owned();
        let mut peer = HttpPeer::new(site.address, tls, sni);
        // In place of the system's authorities, not beside them: for this peer only the City's will do.
        peer.options.ca = Some(Arc::clone(&self.ca));
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        site: &mut &'static Site,
    ) -> Result<()> {
        upstream_request.insert_header("Host", site.host)
    }
}
// ANCHOR_END: proxy

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let ca = city_ca();
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, SniRouting { ca });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("SNI Routing running on {LISTEN}");
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
