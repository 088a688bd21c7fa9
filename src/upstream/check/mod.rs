//! Health checks: is a server well?
//!
//! A check asks as a request would: over the same connection settings, but always over a connection of its own,
//! since one that is kept says nothing about the next. It has one time limit for everything, from the first
//! packet to the last byte that it reads. Lessons 30 to 32 are about checks.

mod grpc;
mod http;
pub mod rounds;

use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;

use super::Server;
use crate::config::{CheckKind, HealthCheck};

/// How checks introduce themselves.
const USER_AGENT: &str = concat!("gateway-health-check/", env!("CARGO_PKG_VERSION"));

/// Why a server is believed not to be well: for the log.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be asked, or did not answer properly.
    // Pingora's own text begins with where an error came from, also where that is nothing.
    #[error("{}", .0.to_string().trim_start())]
    Exchange(#[from] Box<pingora::Error>),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It answered, and not with one of the statuses that are expected.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It answered without the text that is expected.
    #[error("its answer does not contain the text that is expected")]
    Body,
    /// It speaks HTTP/1, and gRPC is wanted.
    #[error("it does not speak HTTP/2")]
    NotH2,
    /// A gRPC status other than OK, or none at all.
    #[error("it answered with gRPC status {0}")]
    GrpcStatus(String),
    /// The service says that it does not serve.
    #[error("the service is {0}")]
    NotServing(&'static str),
}

/// What makes connections, each of which is used for one check. To make it is slow, as it reads the system's
/// authorities: a start makes one for all groups.
pub struct Connectors {
    http: Connector,
    transport: TransportConnector,
}

impl Connectors {
    pub fn new() -> Connectors {
        Connectors { http: Connector::new(None), transport: TransportConnector::new(None) }
    }
}

/// Asks servers. One for all servers of a group.
pub struct Checker {
    check: HealthCheck,
    connectors: Arc<Connectors>,
}

impl Checker {
    pub fn new(check: HealthCheck, connectors: Arc<Connectors>) -> Checker {
        Checker { check, connectors }
    }

    /// Asks a server.
    pub async fn check(&self, server: &Server) -> Result<(), Failure> {
        let limit = self.check.timeout;
        match tokio::time::timeout(limit, self.ask(server)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Late(limit)),
        }
    }

    async fn ask(&self, server: &Server) -> Result<(), Failure> {
        let mut peer = *server.peer();
        // Not the peer's address, which may be a forward proxy's.
        let host = if peer.sni.is_empty() { server.address.to_string() } else { peer.sni.clone() };
        // One stream for each HTTP/2 connection, or the connector would keep it for the next check.
        peer.options.max_h2_streams = 1;
        match &self.check.kind {
            CheckKind::Tcp => {
                // Without TLS, whose handshake would cost the server more than the answer is worth.
                peer.scheme = pingora::upstreams::peer::Scheme::HTTP;
                self.connectors.transport.new_stream(&peer).await?;
                Ok(())
            }
            CheckKind::Http(http) => http::ask(&self.connectors.http, &peer, &host, http).await,
            CheckKind::Grpc { service } => grpc::ask(&self.connectors.http, peer, &host, service).await,
        }
    }
}
