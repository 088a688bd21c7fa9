//! Opens the connection that a client talks over: TCP, or TLS verified against the City's authority.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::trouble::{OrTrouble, Result, Trouble};

/// The City's authority, seen from the repository.
pub const CA: &str = "conf/keys/ca.crt";

/// A connection of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a client wants of TLS.
#[derive(Debug, Clone, clap::Args)]
pub struct TlsArgs {
    /// The authority that must have signed the server's certificate
    #[arg(long, value_name = "FILE", default_value = CA)]
    pub ca: PathBuf,
    /// The name to ask for and to verify, in place of the address's own
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// A client certificate to present
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// Splits `host:port`.
pub fn split(address: &str) -> Result<(&str, u16)> {
    let wrong =
        || Trouble::new(format!("'{address}' is not HOST:PORT")).remedy("write it as dev:6146").status(2);
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(wrong());
    }
    Ok((host, port.parse().map_err(|_| wrong())?))
}

/// Connects to an address, within a time.
pub async fn tcp(address: &str, within: Duration) -> Result<TcpStream> {
    let (host, port) = split(address)?;
    let cannot = || format!("cannot connect to {address}");
    let connected = tokio::time::timeout(within, TcpStream::connect((host, port))).await;
    let connected = connected.map_err(|_| {
        Trouble::new(format!("{}: nothing answered within {}", cannot(), humantime::format_duration(within)))
    })?;
    let stream = connected.or_trouble(cannot)?;
    stream.set_nodelay(true).or_trouble(cannot)?;
    Ok(stream)
}

/// Shakes hands over a connection; also tells which protocol ALPN chose.
pub async fn tls(
    stream: TcpStream,
    address: &str,
    args: &TlsArgs,
    alpn: &[&str],
) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, Option<String>)> {
    let (host, _) = split(address)?;
    let name = args.sni.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned())
        .or_trouble(|| format!("'{name}' cannot be asked for by TLS"))?;

    let builder = trusting(&args.ca)?;
    let mut config = match (&args.cert, &args.key) {
        (Some(certificate), Some(key)) => {
            let secret =
                PrivateKeyDer::from_pem_file(key).or_trouble(|| format!("cannot use {}", key.display()))?;
            let chain = certificates(certificate)?;
            builder
                .with_client_auth_cert(chain, secret)
                .or_trouble(|| format!("cannot use {}", certificate.display()))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();

    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .or_trouble(|| format!("no TLS with {address}"))?;
    let chosen = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    Ok((stream, chosen))
}

/// A client that trusts this authority, and has no certificate of its own.
pub fn config(ca: &Path) -> Result<ClientConfig> {
    Ok(trusting(ca)?.with_no_client_auth())
}

fn trusting(ca: &Path) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca)? {
        roots.add(authority).or_trouble(|| format!("cannot use {}", ca.display()))?;
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .or_trouble(|| "cannot set up TLS".into())?
        .with_root_certificates(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let remedy = |trouble: Trouble| trouble.remedy("run scripts/00-setup-certs.sh (or `cargo city certs`)");
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .or_trouble(|| format!("cannot read {}", path.display()))
        .map_err(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_the_port() {
        assert_eq!(split("dev:6146").unwrap(), ("dev", 6146));
        assert_eq!(split("[::1]:80").unwrap(), ("::1", 80));
        for wrong in ["dev", "dev:", ":80", "dev:http", "dev:70000"] {
            assert_eq!(split(wrong).unwrap_err().status, 2, "{wrong}");
        }
    }
}
