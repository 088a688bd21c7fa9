//! 17 · DNS peer: an upstream that is a name, looked up again when its record has expired.
//!
//! Idea  A name is a list of addresses with a date of expiry. Ask without blocking, and respect both.
//! New   An asynchronous resolver in `upstream_peer`, `into_up` for errors that are the upstream's, and a next
//!       address when one does not answer (lesson 16 had one address for ever).
//! Run   cargo run --example 17_dns_peer
//! Try   curl -i http://172.28.0.10:6161             from a client; the rest is in lessons/17_dns_peer.md

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::exit;
use std::time::Duration;
use std::vec;

use async_trait::async_trait;
use env_logger::Env;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use log::{info, warn};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::Peer;

const LISTEN: &str = "0.0.0.0:6161";

const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 28, 0, 53));
const BLUE_NAME: &str = "blue.pingora.local";
const BLUE_PORT: u16 = 8080;

/// The upstream's name led to no address.
const NOT_RESOLVED: ErrorType = ErrorType::new("NameNotResolved");

struct DnsPeer {
    resolver: TokioResolver,
}

impl DnsPeer {
    // ANCHOR: resolve
    /// The addresses behind the name, from the resolver's cache until their TTL runs out, then from the DNS.
    async fn resolve(&self) -> Result<vec::IntoIter<SocketAddr>> {
        // With a dot at the end the name is complete; without it, search domains would be tried as well.
        let found = self.resolver.lookup_ip(format!("{BLUE_NAME}.")).await.map_err(not_resolved)?;
        let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, BLUE_PORT)).collect();
        for address in &addresses {
            info!("Resolved {BLUE_NAME} -> {address}");
        }
        Ok(addresses.into_iter())
    }
    // ANCHOR_END: resolve
}

// ANCHOR: not_resolved
/// What has gone wrong, in words. The name was to lead to the upstream, so the failure counts as upstream's:
/// a 502. Without `into_up` the client would get a 500, and look for the fault in the proxy.
fn not_resolved(error: NetError) -> Box<Error> {
    let why = match &error {
        error if error.is_nx_domain() => "there is no such name",
        error if error.is_no_records_found() => "the name has no address",
        NetError::Timeout => "the DNS has not answered in time",
        _ => "the DNS cannot tell",
    };
    Error::because(NOT_RESOLVED, format!("{BLUE_NAME}: {why}"), error).into_up()
}
// ANCHOR_END: not_resolved

// ANCHOR: phases
#[async_trait]
impl ProxyHttp for DnsPeer {
    /// The addresses that this request has not tried yet; `None` before the name was resolved.
    type CTX = Option<vec::IntoIter<SocketAddr>>;
    fn new_ctx(&self) -> Self::CTX {
        None
    }

    async fn upstream_peer(&self, _session: &mut Session, untried: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let addresses = match untried {
            Some(addresses) => addresses, // asked again, after a failure: go on in the list
            None => untried.insert(self.resolve().await?),
        };
        let address = addresses.next().or_err(NOT_RESOLVED, "no address is left").map_err(Error::into_up)?;
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_millis(500));
        Ok(Box::new(peer))
    }

    /// Nothing has been sent yet, so another address may be tried without harm, if there is one.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        untried: &mut Self::CTX,
        mut e: Box<Error>,
    ) -> Box<Error> {
        if untried.as_ref().is_some_and(|addresses| addresses.len() > 0) {
            warn!("{} does not answer, trying the next address", peer.address());
            e.set_retry(true);
        }
        e
    }
    // ANCHOR_END: phases

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _untried: &mut Self::CTX,
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }
}

// ANCHOR: resolver
/// Asks the City's DNS and nobody else: no hosts file, no search domains.
fn resolver() -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_name_servers(vec![NameServerConfig::udp_and_tcp(DNS)]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never; // a line in a file has no TTL, and would always win
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6; // both kinds of addresses, IPv4 first
    options.timeout = Duration::from_millis(500); // for one question; the default is 5 s
    options.attempts = 1; // and asked once more, for a datagram may get lost
    options.negative_max_ttl = Some(Duration::from_secs(1)); // 'no such name' may be believed less, never more
    builder.build()
}
// ANCHOR_END: resolver

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let resolver = resolver().unwrap_or_else(|error| {
        eprintln!("no resolver can be made: {error}");
        exit(1)
    });
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, DnsPeer { resolver });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("DNS Peer running on {LISTEN}");
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
