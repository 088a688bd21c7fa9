//! Listeners: how clients reach the gateway.
//!
//! **Owns** the addresses, what happens to a connection before it is a request (allow and deny, TLS, timeouts,
//! limits), and that all of it works before anything starts.
//!
//! **Offers** [`preflight`] and [`service`].
//!
//! A TLS handshake has 60 seconds, by Pingora's clock: no setting of a listener changes that.
//!
//! **Knows nothing** of routes. Lessons 07, 14, 15, 18, 21 and 39 are about it.

mod app;
mod guard;
mod held;

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::HttpServerApp;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{ListenerConfig, Listeners, TlsAccept};
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::proxy::Session;
use pingora::services::listening::Service;
use pingora::tls::ext;
use pingora::tls::ssl::{NameType, SslRef, SslVerifyMode, SslVersion};
use pingora::tls::x509::store::X509StoreBuilder;
use tokio::net::TcpSocket;

use crate::config::{Address, Config, Diagnostic, ListenerTls, Report, TlsVersion};
use crate::tls::certificate::{self, Certificate};
use crate::upkeep::Work;
pub use app::{App, came_in};
use app::{Door, Endpoints};
pub use guard::{Guard, Guarded};

/// What is read at once of an encrypted connection: a record of TLS (RFC 8446, section 5.1), for which OpenSSL
/// would ask twice. Whoever reads a plain one has a buffer of his own, and a second one for each connection, 64 KiB
/// by default, is memory for nothing.
const RECORD: usize = 16 * 1024 + 5;

/// Takes every address and gives it back. Pingora would find out too late: it tries for half a minute, then the
/// service panics, and the process lives on, deaf.
///
/// # Errors
/// All addresses that cannot be opened, with their places in the configuration.
pub fn preflight(config: &Config) -> Result<(), Report> {
    let mut found = Vec::new();
    for listener in &config.listeners {
        let (opened, fix) = match &listener.address {
            Address::Tcp(address) => {
                (take(*address), "end the program that has this address, or choose another address or port")
            }
            Address::Unix(path) => (
                free(path),
                "end the program that listens there, or choose another path, in a folder that exists",
            ),
        };
        if let Err(error) = opened {
            found.push(Diagnostic {
                place: listener.place.clone(),
                message: format!("cannot listen here: {error}"),
                fix: fix.to_string(),
            });
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Report::new(config.sources.clone(), found)) }
}

/// Whether an address could be listened at. Nobody listens there meanwhile: a client who came at this moment would
/// have connected to nothing.
fn take(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As Pingora does: what is left of connections that have ended takes no address away.
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// Pingora removes whatever has the path of a socket: a file, or the socket of somebody who listens.
fn free(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there"))
        }
        Ok(_) => Ok(()),
        Err(_) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            folder.metadata().map(drop)
        }
    }
}

/// What watches the connection of a session. The streams of HTTP/2 have none: theirs is not the one that is watched.
///
/// Out of line, like [`crate::wire::add`]: several phases ask.
#[inline(never)]
pub fn guard(session: &Session) -> Option<&Guard> {
    session.stream().and_then(Guarded::of).map(Guarded::guard)
}

/// The one service for all listeners: each service would have threads and a pool of upstream connections of its
/// own.
///
/// # Errors
/// If OpenSSL has something against what validation has let pass.
pub fn service<P>(proxy: P, config: &Config, work: Work) -> pingora::Result<Service<App<P>>>
where
    P: HttpServerApp + Send + Sync + 'static,
{
    let endpoints = Endpoints::new(&config.listeners);
    let mut listeners = Listeners::new();
    for listener in &config.listeners {
        let endpoint = match &listener.address {
            Address::Tcp(address) => ListenerConfig::tcp(address.to_string()),
            Address::Unix(path) => ListenerConfig::uds(path.display().to_string())
                .permissions(Permissions::from_mode(listener.mode)),
        };
        listeners.add_listener(match &listener.tls {
            None => endpoint.l4_buffer(L4BufferSettings::default().read(0)),
            Some(tls) => endpoint.l4_buffer(L4BufferSettings::default().read(RECORD)).tls(settings(tls)?),
        });
    }
    let door = Door { endpoints: endpoints.clone(), arrivals: work.arrivals.clone() };
    listeners.set_pre_tls_callback(Arc::new(door));
    Ok(Service::with_listeners("gateway".to_string(), listeners, App::new(proxy, endpoints, work)))
}

fn settings(tls: &ListenerTls) -> pingora::Result<TlsSettings> {
    let mut settings = TlsSettings::with_callbacks(Box::new(Presented(tls.certificates.clone())))?;
    if tls.h2 {
        settings.enable_h2();
    } else {
        settings.set_alpn(pingora::protocols::ALPN::H1);
    }
    let oldest = match tls.min_version {
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
    };
    (|| {
        settings.set_min_proto_version(Some(oldest))?;
        if let Some(authorities) = &tls.client_ca {
            let mut store = X509StoreBuilder::new()?;
            for authority in authorities {
                store.add_cert(authority.clone())?;
                settings.add_client_ca(authority)?;
            }
            settings.set_verify_cert_store(store.build())?;
            settings.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            // Without it, OpenSSL refuses to resume a session in which a client was verified.
            settings.set_session_id_context(b"gateway")?;
        }
        Ok(())
    })()
    .map_err(|error: openssl::error::ErrorStack| {
        pingora::Error::because(pingora::ErrorType::InternalError, "preparing TLS", error)
    })?;
    Ok(settings)
}

/// What a listener presents.
struct Presented(Arc<[Certificate]>);

#[async_trait]
impl TlsAccept for Presented {
    async fn certificate_callback(&self, ssl: &mut SslRef) {
        let Some(chosen) = certificate::choose(&self.0, ssl.servername(NameType::HOST_NAME)) else { return };
        let mut chain = chosen.chain.iter();
        let presented = chain
            .next()
            .map_or(Ok(()), |own| ext::ssl_use_certificate(ssl, own))
            .and_then(|()| ext::ssl_use_private_key(ssl, &chosen.key))
            .and_then(|()| chain.try_for_each(|other| ext::ssl_add_chain_cert(ssl, other)));
        if let Err(error) = presented {
            log::error!("a certificate cannot be presented: {error}");
        }
    }
}
