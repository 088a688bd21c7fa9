//! What is presented to an upstream, and what is believed of it.

use std::fmt;
use std::path::Path;

use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use openssl::x509::X509;

/// TLS towards the servers of a group.
#[derive(Clone)]
pub struct PeerTls {
    /// The name that is asked for, and that the certificate must be for. Empty only where nothing is verified.
    pub sni: String,
    /// Who must have signed the certificate; empty: one of the system's authorities.
    pub authorities: Vec<X509>,
    /// What the gateway shows of itself: its certificate first, then those that lead to its authority.
    pub client: Option<(Vec<X509>, PKey<Private>)>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// Of all files that were read, so that two of these can be compared.
    fingerprint: [u8; 32],
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("this file cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// There is no certificate in it.
    #[error("there is no certificate in this file")]
    NoCertificate,
    /// There is no key in it.
    #[error("there is no private key in this file")]
    NoKey,
}

impl PeerTls {
    /// Without authorities and without a certificate of its own.
    pub fn new(sni: String, verify: bool) -> PeerTls {
        PeerTls { sni, authorities: Vec::new(), client: None, verify, fingerprint: [0; 32] }
    }

    /// Settles what it is: nothing may be changed after this.
    #[must_use]
    pub fn sealed(mut self, files: &[&[u8]]) -> PeerTls {
        let mut hash = Sha256::new();
        for file in files {
            hash.update(&(file.len() as u64).to_be_bytes());
            hash.update(file);
        }
        self.fingerprint = hash.finish();
        self
    }

    /// What tells it from others.
    pub fn identity(&self) -> (&str, bool, &[u8; 32]) {
        (&self.sni, self.verify, &self.fingerprint)
    }
}

impl PartialEq for PeerTls {
    fn eq(&self, other: &PeerTls) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for PeerTls {}

/// Without the key.
impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls")
            .field("sni", &self.sni)
            .field("verify", &self.verify)
            .finish_non_exhaustive()
    }
}

/// A file of certificates in PEM, at least one, and its bytes.
///
/// # Errors
/// If there is none that could be read.
pub fn certificates(path: &Path) -> Result<(Vec<X509>, Vec<u8>), Unusable> {
    let bytes = std::fs::read(path)?;
    match X509::stack_from_pem(&bytes) {
        Ok(found) if !found.is_empty() => Ok((found, bytes)),
        _ => Err(Unusable::NoCertificate),
    }
}

/// A file with a key in PEM, and its bytes.
///
/// # Errors
/// If there is none that could be read.
pub fn key(path: &Path) -> Result<(PKey<Private>, Vec<u8>), Unusable> {
    let bytes = std::fs::read(path)?;
    // With an empty passphrase: OpenSSL would ask for one on the terminal.
    let key = PKey::private_key_from_pem_passphrase(&bytes, b"").map_err(|_| Unusable::NoKey)?;
    Ok((key, bytes))
}
