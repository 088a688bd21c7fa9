//! 00 · Basic server: a TCP echo, and everything around it that is Pingora's.
//!
//! Idea  A server is a process that owns services; a service listens and hands each connection to an app.
//! New   `Server`, `Service`, `ServerApp` and the `Stream` they pass on; the watch that says 'we are stopping'.
//! Run   cargo run --example 00_basic_server
//! Try   city raw 172.28.0.10:6142 hello             from a client; the rest is in lessons/00_basic_server.md

use std::io;
use std::process::exit;
use std::sync::Arc;

use async_trait::async_trait;
use env_logger::Env;
use log::{info, warn};
use pingora::apps::ServerApp;
use pingora::prelude::*;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LISTEN: &str = "0.0.0.0:6142";

struct Echo;

// ANCHOR: app
#[async_trait]
impl ServerApp for Echo {
    /// Called once for each connection, in a task of its own: a slow client keeps nobody else waiting.
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let peer = peer_of(&stream);
        info!("New connection from: {peer}");

        match echo(&mut stream, shutdown.clone()).await {
            Ok(End::Client) => info!("{peer} has said all it had to say"),
            Ok(End::Server) => info!("{peer} is let go: the server is stopping"),
            Err(error) => warn!("{peer} is lost: {error}"),
        }
        None // this connection is finished; `Some(stream)` would have it served once more
    }
}
// ANCHOR_END: app

// ANCHOR: echo
/// Who ended the conversation.
enum End {
    Client,
    Server,
}

/// Sends back what it reads, until the client has no more to send or the server stops.
async fn echo(stream: &mut Stream, mut shutdown: ShutdownWatch) -> io::Result<End> {
    let mut buffer = [0; 4096];
    loop {
        // A check of the flag between two reads would not do: an idle client never lets `read` return.
        let count = tokio::select! {
            count = stream.read(&mut buffer) => count?,
            _ = shutdown.changed() => return Ok(End::Server),
        };
        if count == 0 {
            return Ok(End::Client); // it closed its side, perhaps that one only; all it sent has gone back
        }
        stream.write_all(&buffer[..count]).await?;
        stream.flush().await?; // a Stream buffers what is written to it
    }
}
// ANCHOR_END: echo

// ANCHOR: peer
/// The client's address, for the log: IPv4, IPv6 or a Unix socket's path, and sometimes there is none.
fn peer_of(stream: &Stream) -> String {
    let digest = stream.get_socket_digest();
    match digest.as_ref().and_then(|socket| socket.peer_addr()) {
        Some(address) => address.to_string(),
        None => "an unknown address".to_owned(),
    }
}
// ANCHOR_END: peer

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut service = Service::new("Echo".to_owned(), Echo);
    service.add_tcp(LISTEN);
    server.add_service(service);

    info!("Echo Server running on {LISTEN}");
    server.run_forever()
}
// ANCHOR_END: main

// ANCHOR: new_server
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
// ANCHOR_END: new_server
