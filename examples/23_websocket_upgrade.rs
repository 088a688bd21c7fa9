//! 23 · WebSocket upgrade: a request that turns into a conversation.
//!
//! Idea  After `101 Switching Protocols` there is no request any more, only two directions, either of which may
//!       be silent for as long as it likes. So no timeout for reading may remain, on neither side of the proxy.
//! New   The client's side has a timeout too, `set_read_timeout` (lesson 19 knew those of the upstream).
//! Run   cargo run --example 23_websocket_upgrade
//! Try   city ws ws://172.28.0.10:6167/ --send hello     from a client; the rest is in
//!       lessons/23_websocket_upgrade.md

use std::process::exit;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use env_logger::Env;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use humantime::format_rfc3339_seconds;
use log::{info, warn};
use pingora::apps::ServerApp;
use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::protocols::Stream;
use pingora::server::{ShutdownWatch, configuration::ServerConf};
use pingora::services::{background::BackgroundService, listening::Service};
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError::*};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, frame::coding::CloseCode};
use tokio_tungstenite::{WebSocketStream, accept_async, connect_async};

const LISTEN: &str = "0.0.0.0:6167";
const ECHO: &str = "127.0.0.1:9091";

// ANCHOR: proxy
struct WebSocketUpgrade;

#[async_trait]
impl ProxyHttp for WebSocketUpgrade {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(ECHO, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(1));
        // Neither a read nor a write timeout: they are off unless set, and here they must stay off.
        Ok(Box::new(peer))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            // Pingora waits 60 s for an HTTP/1 client to send more of a body, and after an upgrade everything
            // that the client says counts as one. A client that only listens would be thrown out.
            session.set_read_timeout(None);
        }
        Ok(())
    }
}
// ANCHOR_END: proxy

// ANCHOR: echo
/// The upstream: sends texts back with the time before them, and everything else as it came.
struct Echo;

#[async_trait]
impl ServerApp for Echo {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let refused = match timeout(Duration::from_secs(5), accept_async(&mut stream)).await.ok()? {
            Ok(socket) => {
                if let Err(error) = echo(socket, shutdown.clone()).await {
                    info!("Echo: a conversation broke off: {error}");
                }
                return None;
            }
            Err(error) => error,
        };
        // The library only returns an error. Unsaid, it would be the proxy's 502.
        info!("Echo: refused: {refused}");
        let status = match refused {
            WsError::Protocol(MissingSecWebSocketKey | WrongHttpMethod) => "400 Bad Request",
            _ => "426 Upgrade Required", // it wanted none, or another version (RFC 9110 section 15.5.22)
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        None
    }
}

async fn echo(mut socket: WebSocketStream<&mut Stream>, mut shutdown: ShutdownWatch) -> Result<(), WsError> {
    let code = loop {
        let next = tokio::select! {
            next = socket.next() => next,
            _ = shutdown.changed() => break CloseCode::Away,
        };
        match next.transpose()? {
            Some(Message::Text(text)) if text == "bye" => break CloseCode::Library(4000),
            Some(Message::Text(text)) => {
                let now = format_rfc3339_seconds(SystemTime::now());
                socket.send(Message::text(format!("{now} {text}"))).await?;
            }
            Some(Message::Binary(bytes)) => socket.send(Message::Binary(bytes)).await?,
            Some(_) => {} // pings and closes: the library has its answers ready
            None => return Ok(()),
        }
    };
    socket.close(Some(CloseFrame { code, reason: "".into() })).await?;
    while socket.next().await.transpose()?.is_some() {} // until the other side agrees
    Ok(())
}
// ANCHOR_END: echo

// ANCHOR: client
/// A client in the same process: three pings through the proxy, one a second.
struct Client;

#[async_trait]
impl BackgroundService for Client {
    async fn start(&self, _shutdown: ShutdownWatch) {
        match ping_three_times().await {
            Ok(()) => info!("Client: done"),
            Err(error) => warn!("Client: {error}"),
        }
    }
}

async fn ping_three_times() -> Result<(), WsError> {
    let url = format!("ws://{}/", LISTEN.replace("0.0.0.0", "127.0.0.1"));
    let (mut socket, _) = loop {
        match connect_async(&url).await {
            // The proxy's port is not open yet (refused), or it is and the echo server's is not (502).
            Err(WsError::Io(_) | WsError::Http(_)) => sleep(Duration::from_millis(50)).await,
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
