//! 22 · Proxy CONNECT: to an upstream through somebody else's proxy.
//!
//! Idea  Where only a forward proxy leads out, a connection begins with a question to it. If it says yes, what
//!       follows is a plain pipe to the far end, and TLS is spoken with the far end alone.
//! New   A layer-4 connector of one's own, `L4Connect` (lesson 20 left the connecting to Pingora).
//! Run   cargo run --example 22_proxy_connect
//! Try   curl -i http://172.28.0.10:6166             from a client; the rest is in lessons/22_proxy_connect.md

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::{fs, io, net::IpAddr, process::exit, sync::Arc, time::Duration};

use async_trait::async_trait;
use env_logger::Env;
use log::{error, info};
use pingora::apps::ServerApp;
use pingora::connectors::L4Connect;
use pingora::prelude::*;
use pingora::protocols::{Stream, l4::socket::SocketAddr, l4::stream::Stream as L4Stream, tls::CaType};
use pingora::proxy::FailToProxy;
use pingora::server::{ShutdownWatch, configuration::ServerConf};
use pingora::services::listening::Service;
use pingora::tls::x509::X509;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, lookup_host};

const LISTEN: &str = "0.0.0.0:6166";
const FORWARD_PROXY: &str = "127.0.0.1:3128";
const BLUE: &str = "172.28.0.20:8080"; // no forward proxy at all; the text uses it as a bad one
const CA: &str = "conf/keys/ca.crt";
const NAME: &str = "advanced.pingora.local";

// ANCHOR: connector
/// Opens a connection to this target by asking the forward proxy at the peer's address for it.
#[derive(Debug)]
struct Tunnel(&'static str);

#[async_trait]
impl L4Connect for Tunnel {
    async fn connect(&self, proxy: &SocketAddr) -> Result<L4Stream> {
        let address = proxy.as_inet().or_err(ConnectError, "a forward proxy has a TCP address")?;
        let mut stream = TcpStream::connect(address).await.or_err(ConnectError, "no forward proxy there")?;
        let question = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", self.0);
        let asked = stream.write_all(question.as_bytes()).await;
        asked.or_err(ConnectProxyFailure, "CONNECT could not be sent")?;
        let answered = read_head(&mut stream).await;
        let head = answered.or_err(ConnectProxyFailure, "the forward proxy did not answer with HTTP")?;

        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        // A Content-Length of a 2xx means nothing here: what follows is the far end (RFC 9110 section 9.3.6).
        if answer.parse(&head).is_ok() && matches!(answer.code, Some(200..300)) {
            return Ok(stream.into());
        }
        let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
        Error::e_explain(ConnectProxyFailure, format!("the forward proxy said: {}", line.escape_debug()))
    }
}

/// Reads to the blank line, however the bytes are cut, and not one beyond it: they belong to the far end.
/// Byte by byte is slow; it is done once for each connection.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut limited = stream.take(8 * 1024); // where a longer head ends in an error
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(limited.read_u8().await?);
    }
    Ok(head)
}
// ANCHOR_END: connector

struct ProxyConnect {
    ca: Arc<CaType>, // who must have signed the far end's certificate
}

#[async_trait]
impl ProxyHttp for ProxyConnect {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: peer
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        session.req_header_mut().insert_header("Host", NAME)?; // the far end answers, whoever is in between
        let (proxy, target) = match session.req_header().uri.path() {
            "/mtls" => (FORWARD_PROXY, "advanced.pingora.local:8443"),
            "/forbidden" => (FORWARD_PROXY, "127.0.0.1:6166"),
            "/nowhere" => (FORWARD_PROXY, "nowhere.pingora.local:443"),
            "/blue" => (BLUE, "advanced.pingora.local:443"),
            _ => (FORWARD_PROXY, "advanced.pingora.local:443"),
        };
        // The address is the forward proxy's, for that is where the socket goes; before a kept connection is
        // used again, Pingora compares the two. Name and authority are the far end's.
        let mut peer = HttpPeer::new(proxy, true, NAME.to_owned());
        peer.options.ca = Some(Arc::clone(&self.ca));
        peer.options.custom_l4 = Some(Arc::new(Tunnel(target)));
        // The pool does not know the target: without this, all targets behind one proxy would be one.
        peer.group_key = BuildHasherDefault::<DefaultHasher>::new().hash_one(target);
        // Pingora's own connector observes `connection_timeout`, ours does not. This one holds for everything.
        peer.options.total_connection_timeout = Some(Duration::from_secs(1));
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer

    // ANCHOR: fail_to_proxy
    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, _ctx: &mut ()) -> FailToProxy {
        let error_code = match (e.esource(), e.etype()) {
            (ErrorSource::Upstream, ConnectTimedout) => 504,
            (ErrorSource::Upstream, _) => 502,
            (ErrorSource::Downstream, _) => 400,
            (ErrorSource::Internal | ErrorSource::Unset, _) => 500,
        };
        // What the forward proxy said is what everybody needs to know: it is not the far end's word.
        let said = e.context.as_ref().filter(|_| *e.etype() == ConnectProxyFailure);
        let body = said.map_or_else(String::new, |said| format!("{}\n", said.as_str()));
        if let Err(e) = session.respond_error_with_body(error_code, body.into()).await {
            error!("the client could not be told: {e}");
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }
    // ANCHOR_END: fail_to_proxy
}

// ANCHOR: forward_proxy
/// The other side of the conversation: a forward proxy that knows CONNECT and nothing else.
struct ForwardProxy;

#[async_trait]
impl ServerApp for ForwardProxy {
    async fn process_new(self: &Arc<Self>, mut client: Stream, _shutdown: &ShutdownWatch) -> Option<Stream> {
        let head = read_head(&mut client).await.ok()?;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let (status, far_end) = match request.parse(&head).map(|_| (request.method, request.path)) {
            Ok((Some("CONNECT"), Some(target))) => dial(target).await,
            _ => ("400 Bad Request", None),
        };
        info!("{} {}: {status}", request.method.unwrap_or("?"), request.path.unwrap_or("?"));
        client.write_all(format!("HTTP/1.1 {status}\r\nVia: 1.1 city\r\n\r\n").as_bytes()).await.ok()?;
        client.flush().await.ok()?;
        copy_bidirectional(&mut client, &mut far_end?).await.ok();
        None
    }
}

/// Whoever dials what a stranger asks for lends out its own place in the network, loopback included.
async fn dial(target: &str) -> (&'static str, Option<TcpStream>) {
    let in_city = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets().starts_with(&[172, 28, 0]));
    let found = lookup_host(target).await.into_iter().flatten().find(|address| in_city(address.ip()));
    let Some(address) = found else { return ("403 Forbidden", None) };
    match TcpStream::connect(address).await {
        Ok(far_end) => ("200 Connection established", Some(far_end)),
        Err(_) => ("502 Bad Gateway", None),
    }
}
// ANCHOR_END: forward_proxy

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let proxy = ProxyConnect { ca: city_ca() };
    server.bootstrap();

    let mut forward_proxy = Service::new("Forward proxy".to_owned(), ForwardProxy);
    forward_proxy.add_tcp(FORWARD_PROXY);
    server.add_service(forward_proxy);

    let mut proxy = http_proxy_service(&server.configuration, proxy);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Proxy CONNECT running on {LISTEN}, forward proxy on {FORWARD_PROXY}");
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
