//! The way through a forward proxy: CONNECT, and then a plain pipe to the server (RFC 9110 section 9.3.6).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::prelude::*;
use pingora::protocols::l4::socket;
use pingora::protocols::l4::stream::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest head that a forward proxy may answer with.
const LONGEST_HEAD: usize = 8 * 1024;

/// Opens connections to a server by asking the forward proxy at the peer's address.
#[derive(Debug)]
pub struct Tunnel {
    /// The server.
    pub target: SocketAddr,
    /// How long it may take. Pingora's `connection_timeout` is for its own connector.
    pub patience: Duration,
}

#[async_trait]
impl L4Connect for Tunnel {
    async fn connect(&self, proxy: &socket::SocketAddr) -> Result<Stream> {
        match tokio::time::timeout(self.patience, self.open(proxy)).await {
            Ok(opened) => opened,
            Err(_) => Error::e_explain(
                ConnectTimedout,
                format!("no answer to CONNECT {} from {proxy} within {:?}", self.target, self.patience),
            ),
        }
    }
}

impl Tunnel {
    async fn open(&self, proxy: &socket::SocketAddr) -> Result<Stream> {
        let address = proxy.as_inet().or_err(ConnectError, "a forward proxy has a TCP address")?;
        let mut stream = TcpStream::connect(address)
            .await
            .or_err_with(ConnectError, || format!("no connection to the forward proxy {proxy}"))?;
        stream.set_nodelay(true).or_err(ConnectError, "the connection has no such option")?;
        let target = self.target;
        let question = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream
            .write_all(question.as_bytes())
            .await
            .or_err(ConnectProxyFailure, "CONNECT could not be sent")?;
        let head =
            read_head(&mut stream).await.or_err(ConnectProxyFailure, "no answer to CONNECT could be read")?;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        match answer.parse(&head) {
            // What headers say of a body means nothing here: what follows is the server.
            Ok(_) if matches!(answer.code, Some(200..300)) => Ok(stream.into()),
            Ok(_) => Error::e_explain(
                ConnectProxyFailure,
                format!("the forward proxy answered CONNECT with {}", answer.code.unwrap_or(0)),
            ),
            Err(error) => Error::e_because(ConnectProxyFailure, "the answer to CONNECT is no HTTP", error),
        }
    }
}

/// Reads to the blank line and not one byte beyond it, since those belong to the server. Byte by byte, once for
/// each connection.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(io::Error::other("the head has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}
