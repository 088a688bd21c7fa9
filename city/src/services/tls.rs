//! The TLS of a port: its certificate, its protocols, and what it learns of its clients.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::journal::{Client, Tls};
use crate::trouble::{OrTrouble, Result, Trouble};

/// What a learner can do about keys that are no good.
const REMEDY: &str = "run scripts/00-setup-certs.sh (or `cargo city certs`)";

/// How a port speaks TLS.
#[derive(Clone)]
pub struct Terminator {
    acceptor: TlsAcceptor,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// What is particular about a port's TLS.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The name of the certificate's files in the folder of the keys.
    pub certificate: &'static str,
    /// Whether that certificate is meant to have expired.
    pub expired: bool,
    /// The protocols offered by ALPN.
    pub alpn: &'static [&'static [u8]],
    /// Whether clients are asked for a certificate.
    pub asks_clients: bool,
}

impl Terminator {
    /// From the keys in a folder.
    pub fn new(keys: &Path, settings: Settings) -> Result<Terminator> {
        let file = |suffix| keys.join(format!("{}.{suffix}", settings.certificate));
        let chain = certificates(&file("crt"))?;
        if !settings.expired {
            check_validity(&file("crt"), &chain)?;
        }
        let key = PrivateKeyDer::from_pem_file(file("key")).map_err(|error| unusable(&file("key"), error))?;

        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .or_trouble(|| "cannot set up TLS".into())?;
        let (builder, clients) = if settings.asks_clients {
            let mut roots = RootCertStore::empty();
            for authority in certificates(&keys.join("ca.crt"))? {
                roots.add(authority).map_err(|error| unusable(&keys.join("ca.crt"), error))?;
            }
            let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(&keys.join("ca.crt"), error))?;
            let lenient = Arc::new(Lenient(Arc::clone(&strict)));
            (builder.with_client_cert_verifier(lenient), Some(strict))
        } else {
            (builder.with_no_client_auth(), None)
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| unusable(&file("crt"), error))?;
        config.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Terminator { acceptor: TlsAcceptor::from(Arc::new(config)), clients })
    }

    /// Shakes hands, and tells what the client has told.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Tls)> {
        let stream = self.acceptor.accept(stream).await?;
        let (_, session) = stream.get_ref();
        let told = Tls {
            sni: session.server_name().map(ToOwned::to_owned),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            client: session.peer_certificates().and_then(|chain| self.client(chain)),
        };
        Ok((stream, told))
    }

    fn client(&self, chain: &[CertificateDer<'_>]) -> Option<Client> {
        let (leaf, intermediates) = chain.split_first()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let verified = |verifier: &Arc<dyn ClientCertVerifier>| {
            verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
        };
        Some(Client {
            cn: name.unwrap_or("?").into(),
            // As openssl and nginx write it.
            serial: certificate.raw_serial_as_string().replace(':', "").to_uppercase(),
            trusted: self.clients.as_ref().is_some_and(verified),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => {
            Err(Trouble::new(format!("there is no certificate in {}", path.display())).remedy(REMEDY))
        }
        Ok(chain) => Ok(chain),
        Err(error) => Err(unusable(path, error)),
    }
}

fn unusable(path: &Path, error: impl std::error::Error) -> Trouble {
    if fs::exists(path).is_ok_and(|exists| !exists) {
        return Trouble::new(format!("{} is missing", path.display())).remedy(REMEDY);
    }
    Trouble::new(format!("cannot use {}", path.display())).cause(error).remedy(REMEDY)
}

fn check_validity(path: &Path, chain: &[CertificateDer<'_>]) -> Result {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    for certificate in chain {
        let parsed = x509_parser::parse_x509_certificate(certificate);
        let (_, certificate) = parsed.map_err(|error| unusable(path, error))?;
        let end = certificate.validity().not_after;
        if u64::try_from(end.timestamp()).unwrap_or_default() < now.as_secs() {
            return Err(Trouble::new(format!("{} has expired on {end}", path.display())).remedy(REMEDY));
        }
    }
    Ok(())
}

/// Lets every certificate pass the handshake if its owner holds the key: whom it does not trust, the port
/// tells so over HTTP, as nginx does, and not by an alert that few clients show.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
