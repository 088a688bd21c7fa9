//! From a connection to requests: one application for all listeners, which knows by the local address on which of
//! them a connection came in.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::listeners::PreTlsProcess;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream};
use pingora::proxy::Session;
use pingora::server::ShutdownWatch;

use super::guard::{Guard, Guarded, Limits};
use crate::config::{Address, Listener};
use crate::upkeep::{ARRIVAL, Busy, Work};
use crate::wire::forwarded::{self, Peer};

/// What a listener asks of its connections.
struct Endpoint {
    listener: Listener,
    options: HttpServerOptions,
    h2: H2Options,
    limits: Limits,
}

impl Endpoint {
    fn new(listener: &Listener) -> Endpoint {
        let mut options = HttpServerOptions::default();
        options.h2c = listener.h2c;
        // Pingora counts how often a connection is used again.
        options.keepalive_request_limit = listener.max_requests.map(|requests| requests - 1);
        options.h2_idle_timeout = Some(listener.idle_timeout);
        let mut h2 = default_h2_options();
        h2.max_header_list_size(listener.max_header_bytes);
        let limits = Limits {
            idle: listener.idle_timeout,
            header: listener.header_timeout,
            header_bytes: listener.max_header_bytes,
        };
        Endpoint { listener: listener.clone(), options, h2, limits }
    }

    fn accepts(&self, client: Option<IpAddr>) -> bool {
        let Some(client) = client else { return true };
        let Listener { allow, deny, .. } = &self.listener;
        !forwarded::contains(deny, client) && (allow.is_empty() || forwarded::contains(allow, client))
    }
}

/// All listeners, by their addresses.
pub struct Endpoints(Vec<Arc<Endpoint>>);

impl Endpoints {
    /// All listeners of a configuration.
    pub fn new(listeners: &[Listener]) -> Arc<Endpoints> {
        Arc::new(Endpoints(listeners.iter().map(|listener| Arc::new(Endpoint::new(listener))).collect()))
    }

    /// Where a connection came in.
    fn of(&self, digest: Option<&SocketDigest>) -> Option<&Arc<Endpoint>> {
        let local = digest?.local_addr()?;
        self.0.iter().find(|endpoint| leads_to(local, &endpoint.listener.address))
    }
}

/// Whether a connection to this address of the machine is one to this listener.
fn leads_to(local: &SocketAddr, listener: &Address) -> bool {
    match (listener, local) {
        (Address::Tcp(own), SocketAddr::Inet(local)) => {
            own.port() == local.port()
                && (own.ip().is_unspecified() || own.ip().to_canonical() == local.ip().to_canonical())
        }
        (Address::Unix(own), SocketAddr::Unix(local)) => local.as_pathname() == Some(own),
        _ => false,
    }
}

/// Whether a request came in at this listener.
pub fn came_in(session: &Session, listener: &Address) -> bool {
    let digest = session.digest().and_then(|digest| digest.socket_digest.as_ref());
    digest.and_then(|digest| digest.local_addr()).is_some_and(|local| leads_to(local, listener))
}

fn client(digest: &SocketDigest) -> Option<IpAddr> {
    Some(digest.peer_addr()?.as_inet()?.ip())
}

/// Refuses connections before TLS begins.
pub struct Door {
    /// By which is known who is accepted where.
    pub endpoints: Arc<Endpoints>,
    /// Counts each for a moment, so that the end of the process waits for its TLS.
    pub arrivals: Arc<Busy>,
}

#[async_trait]
impl PreTlsProcess for Door {
    async fn process(&self, stream: &mut L4Stream) -> Result<()> {
        let digest = stream.get_socket_digest();
        let endpoint = self.endpoints.of(digest.as_deref());
        match (endpoint, digest) {
            (Some(endpoint), Some(digest)) if endpoint.accepts(client(&digest)) => {
                let arrival = self.arrivals.begin();
                tokio::spawn(async move {
                    tokio::time::sleep(ARRIVAL).await;
                    drop(arrival);
                });
                Ok(())
            }
            _ => Error::e_explain(ConnectionClosed, "connections from there are not accepted"),
        }
    }
}

/// The application.
pub struct App<P> {
    proxy: Arc<P>,
    endpoints: Arc<Endpoints>,
    work: Work,
}

impl<P> App<P> {
    /// For the proxy behind all listeners.
    pub fn new(proxy: P, endpoints: Arc<Endpoints>, work: Work) -> App<P> {
        App { proxy: Arc::new(proxy), endpoints, work }
    }
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> ServerApp for App<P> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let digest = stream.get_socket_digest();
        let endpoint = self.endpoints.of(digest.as_deref())?.clone();
        // The door is for TLS alone.
        if endpoint.listener.tls.is_none() && !endpoint.accepts(digest.as_deref().and_then(client)) {
            return None;
        }
        let _busy = self.work.connections.begin();
        let peer = digest.as_deref().and_then(client).map(|address| Arc::new(Peer::new(address)));
        let guard = Guard::new(endpoint.limits, peer, self.work.arrivals.begin());
        let guarded = Guarded::new(stream, guard.clone());
        let connection = Arc::new(Connection { proxy: self.proxy.clone(), endpoint, guard });
        connection.process_new(Box::new(guarded), shutdown).await
    }

    /// Nobody is accepted any more. From what follows on, Pingora drops whoever has not sent a whole head.
    async fn cleanup(&self) {
        self.work.arrivals.settle(ARRIVAL).await;
        self.proxy.http_cleanup().await;
    }
}

/// One connection. Pingora asks it once for each request.
struct Connection<P> {
    proxy: Arc<P>,
    endpoint: Arc<Endpoint>,
    guard: Arc<Guard>,
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> HttpServerApp for Connection<P> {
    /// What `async fn` would be, without a future of its own: one around the proxy's would be made, moved and polled
    /// for every request.
    fn process_new_http<'a, 's, 'f>(
        self: &'a Arc<Self>,
        mut session: ServerSession,
        shutdown: &'s ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'f>>
    where
        'a: 'f,
        's: 'f,
        Self: 'f,
    {
        if session.is_http2() {
            // The connection has proved that it works; from here on, `h2_idle_timeout` watches.
            self.guard.free();
        } else {
            self.guard.wait();
        }
        let limit: Duration = self.endpoint.listener.body_timeout;
        session.set_read_timeout(Some(limit));
        session.set_write_timeout(Some(limit));
        self.proxy.process_new_http(session, shutdown)
    }

    /// Pingora asks when a connection begins to speak HTTP/2.
    fn h2_options(&self) -> Option<H2Options> {
        self.guard.open();
        Some(self.endpoint.h2.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.endpoint.options)
    }
}
