//! 22 · Proxy CONNECT: to an upstream through somebody else's proxy.
//!
//! Idea  Where only a forward proxy leads out, a connection begins with a question to it. If it says yes, what
//!       follows is a plain pipe to the far end, and TLS is spoken with the far end alone.
//! New   A layer-4 connector of one's own, `L4Connect` (lesson 20 left the connecting to Pingora).
//! Run   cargo run --example 22_proxy_connect
//! Try   curl -i http://172.28.0.10:6166             from a client; the rest is in lessons/22_proxy_connect.md

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::IpAddr;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env_logger::Env;
use log::{error, info};
use pingora::ErrorSource;
use pingora::apps::ServerApp;
use pingora::connectors::L4Connect;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::l4::{socket::SocketAddr, stream::Stream as L4Stream};
use pingora::protocols::{Stream, tls::CaType};
use pingora::proxy::FailToProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use pingora::tls::x509::X509;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

const LISTEN: &str = "0.0.0.0:6166";
const FORWARD_PROXY: &str = "127.0.0.1:3128";
const BLUE: &str = "172.28.0.20:8080"; // no forward proxy at all; the text uses it as a bad one
const CA: &str = "conf/keys/ca.crt";
const NAME: &str = "advanced.pingora.local";

/// How long a forward proxy may take to answer CONNECT, its own dialling included.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the forward proxy dials before it gives up: longer than its client waits, as it often is.
const DIALLING: Duration = Duration::from_secs(5);
/// The longest head that is read, of a request or of an answer.
const LONGEST_HEAD: usize = 8 * 1024;

// ANCHOR: connector
/// Opens a connection to `target` by asking the forward proxy at the peer's address for it.
#[derive(Debug)]
struct Tunnel {
    target: &'static str,
}

#[async_trait]
impl L4Connect for Tunnel {
    async fn connect(&self, proxy: &SocketAddr) -> Result<L4Stream> {
        // `connection_timeout` is for Pingora's own connector: this one must keep the time itself.
        timeout(PATIENCE, self.open(proxy)).await.unwrap_or_else(|_| {
            let late = format!("no answer to CONNECT {} from {proxy} after {PATIENCE:?}", self.target);
            Error::e_explain(ConnectTimedout, late)
        })
    }
}

impl Tunnel {
    async fn open(&self, proxy: &SocketAddr) -> Result<L4Stream> {
        let address = proxy.as_inet().or_err(ConnectError, "a forward proxy has a TCP address")?;
        let mut stream = TcpStream::connect(address)
            .await
            .or_err_with(ConnectError, || format!("no connection to the forward proxy {proxy}"))?;

        let target = self.target;
        let question = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream
            .write_all(question.as_bytes())
            .await
            .or_err(ConnectProxyFailure, "CONNECT could not be sent")?;
        let head = read_head(&mut stream)
            .await
            .or_err(ConnectProxyFailure, "the forward proxy did not answer CONNECT with HTTP")?;

        // A Content-Length of a 2xx means nothing here: what follows is the far end (RFC 9110 section 9.3.6).
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        match answer.parse(&head) {
            Ok(_) if matches!(answer.code, Some(200..300)) => Ok(stream.into()),
            Ok(_) => {
                Error::e_explain(ConnectProxyFailure, format!("the forward proxy said: {}", line(&head)))
            }
            Err(_) => Error::e_explain(ConnectProxyFailure, format!("that is no HTTP: {}", line(&head))),
        }
    }
}

/// Reads to the blank line, however the bytes are cut, and not one beyond it: they belong to the far end.
/// Byte by byte is slow; it is done once for each connection.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(io::Error::other("the head has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// The first line of a head, fit to be shown.
fn line(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    text.lines().next().unwrap_or_default().escape_debug().to_string()
}
// ANCHOR_END: connector

/// The reverse proxy, with the authority that must have signed the far end's certificate.
struct ProxyConnect {
    ca: Arc<CaType>,
}

#[async_trait]
impl ProxyHttp for ProxyConnect {
    type CTX = ();
    fn new_ctx(&self) {}

    // ANCHOR: peer
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
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
        peer.options.custom_l4 = Some(Arc::new(Tunnel { target }));
        // The pool does not know the target: without this, all targets behind one proxy would be one.
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        peer.group_key = hasher.finish();
        peer.options.connection_timeout = Some(Duration::from_secs(1)); // the TLS handshake, in the tunnel
        Ok(Box::new(peer))
    }
    // ANCHOR_END: peer

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        upstream_request.insert_header("Host", NAME)
    }

    // ANCHOR: fail_to_proxy
    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, _ctx: &mut ()) -> FailToProxy {
        let error_code = match (e.esource(), e.etype()) {
            (ErrorSource::Upstream, ConnectTimedout | ReadTimedout) => 504,
            (ErrorSource::Upstream, _) => 502,
            (ErrorSource::Downstream, _) => 400,
            (ErrorSource::Internal | ErrorSource::Unset, _) => 500,
        };
        // What the forward proxy said is what everybody needs to know: it is not the far end's word.
        let said = match (e.etype(), &e.context) {
            (ConnectProxyFailure, Some(context)) => format!("{}\n", context.as_str()),
            _ => String::new(),
        };
        if let Err(e) = session.respond_error_with_body(error_code, Bytes::from(said)).await {
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
        let head = timeout(PATIENCE, read_head(&mut client)).await.ok()?.ok()?;
        let answer = match timeout(DIALLING, dial(&head)).await.unwrap_or(Err("504 Gateway Timeout")) {
            Ok(mut upstream) => {
                // In pieces, since nothing obliges a proxy to send its answer in one.
                for piece in b"HTTP/1.1 200 Connection established\r\nVia: 1.1 city\r\n\r\n".chunks(9) {
                    client.write_all(piece).await.ok()?;
                    client.flush().await.ok()?;
                    tokio::task::yield_now().await;
                }
                let _ = copy_bidirectional(&mut client, &mut upstream).await; // however it ends, it is over
                return None;
            }
            Err(refusal) => format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        };
        client.write_all(answer.as_bytes()).await.ok()?;
        client.flush().await.ok()?;
        None
    }
}

/// Connects to what the head asks for, or says with which status it is refused.
async fn dial(head: &[u8]) -> Result<TcpStream, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).map_err(|_| "400 Bad Request")?;
    let (Some("CONNECT"), Some(target)) = (request.method, request.path) else {
        return Err("405 Method Not Allowed");
    };
    // Whoever dials what a stranger asks for lends him its own place in the network, loopback included.
    let in_city = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [172, 28, 0]);
    let mut addresses = lookup_host(target).await.map_err(|_| "502 Bad Gateway")?;
    let address = addresses.find(|address| in_city(address.ip())).ok_or("403 Forbidden")?;
    info!("CONNECT {target}");
    TcpStream::connect(address).await.map_err(|_| "502 Bad Gateway")
}
// ANCHOR_END: forward_proxy

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let ca = city_ca();
    server.bootstrap();

    let mut forward_proxy = Service::new("Forward proxy".to_owned(), ForwardProxy);
    forward_proxy.add_tcp(FORWARD_PROXY);
    server.add_service(forward_proxy);

    let mut proxy = http_proxy_service(&server.configuration, ProxyConnect { ca });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Proxy CONNECT running on {LISTEN}, forward proxy on {FORWARD_PROXY}");
    server.run_forever()
}
// ANCHOR_END: main

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
