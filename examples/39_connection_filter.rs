//! 39 · Connection filter: who may come in, asked at the door and asked at the counter.
//!
//! Idea  A list of networks, IPv4 and IPv6. At layer 7 a refused client is told so; at layer 4 its connection
//!       is dropped before a byte of it is read.
//! New   `ConnectionFilter` (Pingora's feature `connection_filter`), addresses compared as networks, and two
//!       services in one process with a rule for each (lesson 36 keyed on an address, here it decides).
//! Run   cargo run --example 39_connection_filter
//! Try   curl -i http://172.28.0.10:6183 and http://172.28.0.10:6187     from both clients; the rest is in
//!       lessons/39_connection_filter.md

use std::net::{IpAddr, SocketAddr};
use std::process::exit;
use std::sync::Arc;

use async_trait::async_trait;
use env_logger::Env;
use ipnet::IpNet;
use log::info;
use pingora::http::RequestHeader;
use pingora::listeners::ConnectionFilter;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

/// Layer 7. On the loopback address of IPv6 as well, for the City has no IPv6 of its own.
const LISTEN_7: [&str; 2] = ["0.0.0.0:6183", "[::1]:6183"];
/// Layer 4.
const LISTEN_4: &str = "0.0.0.0:6187";

const BLUE: &str = "172.28.0.20:8080";
const BLUE_NAME: &str = "blue.pingora.local";

// ANCHOR: networks
/// Who is kept out: client2, and two networks in which dev itself has addresses, to try them from there.
const BLOCKED: [&str; 3] = ["172.28.0.31/32", "127.9.0.0/16", "::/64"];

/// Networks, parsed once.
#[derive(Debug)]
struct Networks(Vec<IpNet>);

impl Networks {
    fn parse(texts: &[&str]) -> Result<Networks, String> {
        let parse = |text: &&str| text.parse().map_err(|error| format!("'{text}' is no network: {error}"));
        Ok(Networks(texts.iter().map(parse).collect::<Result<_, _>>()?))
    }

    fn contain(&self, address: IpAddr) -> bool {
        // Through an IPv6 listener an IPv4 client shows as ::ffff:172.28.0.31, which is in no IPv4 network.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}
// ANCHOR_END: networks

// ANCHOR: layer7
/// At the counter: the request has been read, and it gets an answer.
struct AtLayer7 {
    blocked: Arc<Networks>,
}

#[async_trait]
impl ProxyHttp for AtLayer7 {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        // Clients of a Unix socket are on this machine and have no address: the socket's file decides for them.
        let address = session.client_addr().and_then(|address| address.as_inet()).map(|inet| inet.ip());
        match address {
            Some(address) if self.blocked.contain(address) => {
                info!("{address} is blocked: 403");
                session.respond_error(403).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
    // ANCHOR_END: layer7

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(BLUE, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", BLUE_NAME)
    }
}

// ANCHOR: layer4
/// At the door: only the address is known, for nothing has been read yet. There is nobody to be told.
#[derive(Debug)]
struct AtLayer4 {
    blocked: Arc<Networks>,
}

#[async_trait]
impl ConnectionFilter for AtLayer4 {
    async fn should_accept(&self, address: Option<&SocketAddr>) -> bool {
        let Some(address) = address else { return true }; // a Unix socket, as above
        let blocked = self.blocked.contain(address.ip());
        if blocked {
            info!("{} is blocked: dropped", address.ip());
        }
        !blocked
    }
}
// ANCHOR_END: layer4

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let blocked = Arc::new(Networks::parse(&BLOCKED).unwrap_or_else(|problem| {
        eprintln!("{problem}: write an address with its prefix, such as 203.0.113.0/24");
        exit(1)
    }));

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let counter = AtLayer7 { blocked: Arc::clone(&blocked) };
    let mut at_layer_7 = http_proxy_service(&server.configuration, counter);
    for address in LISTEN_7 {
        at_layer_7.add_tcp(address);
    }
    server.add_service(at_layer_7);

    // The same proxy, which blocks nobody any more. The filter belongs to the service, and to all its listeners.
    let nobody = AtLayer7 { blocked: Arc::new(Networks(Vec::new())) };
    let mut at_layer_4 = http_proxy_service(&server.configuration, nobody);
    at_layer_4.set_connection_filter(Arc::new(AtLayer4 { blocked }));
    at_layer_4.add_tcp(LISTEN_4);
    server.add_service(at_layer_4);

    info!("Connection Filter running on {} (layer 7) and {LISTEN_4} (layer 4)", LISTEN_7.join(", "));
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
