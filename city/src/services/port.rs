//! One port of a host: who connects, what is spoken, and who answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::service::Routes;

use super::grpc;
use super::http::{Answer, Asked, Context, Site, Socket, serve_http1, serve_http2};
use super::journal::Connection;
use super::tls::Terminator;

/// A client that does not finish its handshake in this time is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when there is no file descriptor left for another connection.
const BREATHER: Duration = Duration::from_millis(50);

/// One port, and what is behind it.
pub struct Port {
    /// Its number.
    pub number: u16,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its TLS, if it has any.
    pub tls: Option<Terminator>,
    /// What is spoken on it.
    pub speaks: Speaks,
}

/// What is spoken on a port, and who answers.
#[derive(Clone)]
pub enum Speaks {
    /// HTTP/2 if ALPN says so, else HTTP/1.
    Site(Arc<Site>),
    /// HTTP/1 only.
    Http1(Arc<Site>),
    /// HTTP/2 only, from the first byte on.
    Http2(Arc<Site>),
    /// gRPC, over HTTP/2.
    Grpc(Routes),
}

impl Speaks {
    /// HTTP/1 only.
    pub fn http1(site: impl Fn(&Asked<'_>) -> Answer + Send + Sync + 'static) -> Speaks {
        Speaks::Http1(Arc::new(site))
    }

    /// HTTP/2 only, from the first byte on.
    pub fn http2(site: impl Fn(&Asked<'_>) -> Answer + Send + Sync + 'static) -> Speaks {
        Speaks::Http2(Arc::new(site))
    }

    async fn serve<S>(self, stream: S, connection: Connection, context: Context)
    where
        S: AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
    {
        let alpn = connection.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        match self {
            Speaks::Site(site) if alpn == Some("h2") => serve_http2(stream, connection, context, site).await,
            Speaks::Site(site) | Speaks::Http1(site) => serve_http1(stream, connection, context, site).await,
            Speaks::Http2(site) => serve_http2(stream, connection, context, site).await,
            Speaks::Grpc(routes) => grpc::serve(stream, connection, context, routes).await,
        }
    }
}

impl Port {
    /// Serves everybody who connects, for ever; each connection is a task of its own.
    pub async fn serve(self, listener: TcpListener, context: Context) {
        let number = listener.local_addr().map_or(self.number, |address| address.port());
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (tls, speaks) = (self.tls.clone(), self.speaks.clone());
                    tokio::spawn(connected(stream, peer, number, tls, speaks, context.clone()));
                }
                // The client was gone before it was its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    eprintln!("port {number}: cannot accept: {error}");
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
    }
}

async fn connected(
    stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    tls: Option<Terminator>,
    speaks: Speaks,
    context: Context,
) {
    // What a client sees must not depend on how the kernel gathers small writes.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let connection = context.journal.connection(peer, port, None);
        return speaks.serve(stream, connection, context).await;
    };
    // A handshake that fails is the client's decision: it has seen our certificate.
    if let Ok(Ok((stream, told))) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        let connection = context.journal.connection(peer, port, Some(told));
        speaks.serve(stream, connection, context).await;
    }
}
