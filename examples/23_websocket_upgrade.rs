//! 23 · WebSocket upgrade: a request that turns into a conversation.
//!
//! Idea  After `101 Switching Protocols` there is no request any more, only two directions, either of which may
//!       be silent for as long as it likes. So no timeout for reading may remain, on neither side of the proxy.
//! New   The client's side has a timeout too, `set_read_timeout` (lesson 19 knew those of the upstream).
//! Run   cargo run --example 23_websocket_upgrade
//! Try   city ws ws://172.28.0.10:6167/ --send hello     from a client; the rest is in
//!       lessons/23_websocket_upgrade.md

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use env_logger::Env;
use futures_util::{SinkExt, StreamExt};
use log::{info, warn};
use pingora::apps::ServerApp;
use pingora::prelude::*;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;
use pingora::services::listening::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};
use tokio_tungstenite::{WebSocketStream, connect_async};

const LISTEN: &str = "0.0.0.0:6167";
const ECHO: &str = "127.0.0.1:9091";

// ANCHOR: proxy
struct WebSocketUpgrade;

#[async_trait]
impl ProxyHttp for WebSocketUpgrade {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        if session.is_upgrade_req() {
            // Pingora waits 60 s for an HTTP/1 client to send more of a body, and after an upgrade everything
            // that the client says counts as one. A client that only listens would be thrown out.
            session.set_read_timeout(None);
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(ECHO, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(1));
        // Neither a read nor a write timeout: they are off unless set, and here they must stay off.
        Ok(Box::new(peer))
    }
}
// ANCHOR_END: proxy

// ANCHOR: echo
/// The upstream: sends texts back with the time before them, and everything else as it came.
struct Echo;

#[async_trait]
impl ServerApp for Echo {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        match timeout(Duration::from_secs(5), accept(&mut stream)).await {
            Ok(Ok(true)) => {}
            _ => return None, // it was no WebSocket, and has been told so if it spoke HTTP
        }
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        if let Err(error) = converse(socket, shutdown.clone()).await {
            info!("Echo: a conversation broke off: {error}");
        }
        None
    }
}

async fn converse(mut socket: WebSocketStream<Stream>, mut shutdown: ShutdownWatch) -> Result<(), WsError> {
    loop {
        let next = tokio::select! {
            next = socket.next() => next,
            _ = shutdown.changed() => return goodbye(&mut socket, CloseCode::Away).await,
        };
        match next.transpose()? {
            Some(Message::Text(text)) if text == "bye" => {
                return goodbye(&mut socket, CloseCode::Library(4000)).await;
            }
            Some(Message::Text(text)) => socket.send(Message::text(format!("{} {text}", clock()))).await?,
            Some(Message::Binary(bytes)) => socket.send(Message::Binary(bytes)).await?,
            Some(_) => {} // pings and closes: the library has its answers ready
            None => return Ok(()),
        }
    }
}

/// Closes, and waits for the other side to agree.
async fn goodbye(socket: &mut WebSocketStream<Stream>, code: CloseCode) -> Result<(), WsError> {
    socket.close(Some(CloseFrame { code, reason: "".into() })).await?;
    while socket.next().await.transpose()?.is_some() {}
    Ok(())
}
// ANCHOR_END: echo

// ANCHOR: accept
/// Reads a request's head and answers it: 101, or why not. True if this is a WebSocket from now on.
async fn accept(stream: &mut Stream) -> io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8 * 1024 {
        head.push(stream.read_u8().await?); // not a byte beyond the head: what follows are frames
    }
    let parsed = Request::try_parse(&head).ok().flatten();
    let answer = match parsed.map(|(_, request)| create_response(&request)) {
        Some(Ok(response)) => {
            let mut bytes = Vec::new();
            write_response(&mut bytes, &response).map_err(io::Error::other)?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            return Ok(true);
        }
        Some(Err(error)) => {
            info!("Echo: refused: {error}");
            match error {
                // It wanted a WebSocket, and did it wrong.
                WsError::Protocol(
                    ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey,
                ) => BAD_REQUEST,
                // It wanted none, or another version: say what would do (RFC 9110 section 15.5.22).
                _ => UPGRADE_REQUIRED,
            }
        }
        None => BAD_REQUEST,
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    Ok(false)
}

const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const UPGRADE_REQUIRED: &str = "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade, close\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n";
// ANCHOR_END: accept

/// The time of day, UTC.
fn clock() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}:{:02}", now / 3600 % 24, now / 60 % 60, now % 60)
}

// ANCHOR: client
/// A client in the same process: three pings through the proxy, one a second.
struct Client;

#[async_trait]
impl BackgroundService for Client {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            result = ping_three_times() => match result {
                Ok(()) => info!("Client: done"),
                Err(error) => warn!("Client: {error}"),
            },
            _ = shutdown.changed() => {}
        }
    }
}

async fn ping_three_times() -> Result<(), WsError> {
    let url = format!("ws://{}/", LISTEN.replace("0.0.0.0", "127.0.0.1"));
    let (mut socket, _) = loop {
        match connect_async(&url).await {
            Err(error) if is_too_early(&error) => sleep(Duration::from_millis(50)).await,
            connected => break connected?,
        }
    };
    for number in 1..=3 {
        socket.send(Message::text(format!("Ping #{number}"))).await?;
        if let Some(echo) = socket.next().await {
            info!("Client: {}", echo?);
        }
        sleep(Duration::from_secs(1)).await;
    }
    socket.close(None).await
}

/// The proxy's port is not open yet (refused), or it is and the echo server's is not (502).
fn is_too_early(error: &WsError) -> bool {
    match error {
        WsError::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        WsError::Http(response) => response.status() == 502,
        _ => false,
    }
}
// ANCHOR_END: client

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut echo = Service::new("Echo".to_owned(), Echo);
    echo.add_tcp(ECHO);
    server.add_service(echo);

    let mut proxy = http_proxy_service(&server.configuration, WebSocketUpgrade);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    server.add_service(background_service("Client", Client));

    info!("WebSocket Upgrade running on {LISTEN}, echo server on {ECHO}");
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
