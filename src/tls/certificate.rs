//! What a listener presents: certificates with their keys, one of them chosen by the name that the client asks for.

use std::fmt;
use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

/// A certificate with those that lead to its authority, and its key.
#[derive(Clone)]
pub struct Certificate {
    /// Its own first.
    pub chain: Vec<X509>,
    /// The key that belongs to it.
    pub key: PKey<Private>,
    /// The names it is for, in lower case; some may begin with `*.`.
    pub names: Vec<String>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// There is no certificate in it.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// There is no key in it.
    #[error("there is no private key in it")]
    NoKey,
    /// They are not of one pair.
    #[error("the key does not belong to the certificate")]
    Pair,
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Certificates in PEM, at least one.
///
/// # Errors
/// If there is none that could be read.
pub fn read_chain(path: &Path) -> Result<Vec<X509>, Unusable> {
    let chain = X509::stack_from_pem(&std::fs::read(path)?).map_err(|_| Unusable::NoCertificate)?;
    if chain.is_empty() { Err(Unusable::NoCertificate) } else { Ok(chain) }
}

/// A key in PEM.
///
/// # Errors
/// If there is none that could be read.
pub fn read_key(path: &Path) -> Result<PKey<Private>, Unusable> {
    // With an empty passphrase: OpenSSL would ask for one on the terminal.
    PKey::private_key_from_pem_passphrase(&std::fs::read(path)?, b"").map_err(|_| Unusable::NoKey)
}

impl Certificate {
    /// Puts them together.
    ///
    /// # Errors
    /// If the key belongs to another certificate.
    pub fn new(chain: Vec<X509>, key: PKey<Private>) -> Result<Certificate, Unusable> {
        let first = chain.first().ok_or(Unusable::NoCertificate)?;
        if !first.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err(Unusable::Pair);
        }
        let alternative = first.subject_alt_names().into_iter().flatten();
        let mut names: Vec<String> =
            alternative.filter_map(|name| name.dnsname().map(str::to_ascii_lowercase)).collect();
        if names.is_empty() {
            let common = first.subject_name().entries_by_nid(Nid::COMMONNAME);
            names
                .extend(common.filter_map(|entry| Some(entry.data().to_string().ok()?.to_ascii_lowercase())));
        }
        Ok(Certificate { chain, key, names })
    }

    /// Why no client accepts it today, if that is so. Of those that lead to its authority, the same.
    pub fn untimely(&self) -> Option<String> {
        let now = Asn1Time::days_from_now(0).ok()?;
        self.chain.iter().find_map(|one| {
            if *one.not_after() < *now {
                return Some(format!("has expired on {}", one.not_after()));
            }
            (*one.not_before() > *now).then(|| format!("is not valid before {}", one.not_before()))
        })
    }

    /// How well it fits a name: not, by a wildcard (RFC 9525, section 6.3: for one label), or wholly.
    fn fits(&self, name: &str) -> u8 {
        let fit = |own: &String| match own.strip_prefix("*.") {
            _ if own == name => 2,
            Some(parent) if name.split_once('.').is_some_and(|(_, rest)| rest == parent) => 1,
            _ => 0,
        };
        self.names.iter().map(fit).max().unwrap_or(0)
    }
}

/// The certificate for this name: the one that fits best, and of several that fit as well or not at all, the first.
pub fn choose<'c>(certificates: &'c [Certificate], name: Option<&str>) -> Option<&'c Certificate> {
    let name = name.map(str::to_ascii_lowercase);
    let fit = |certificate: &&Certificate| name.as_ref().map_or(0, |name| certificate.fits(name));
    // Of several maxima, `max_by_key` takes the last.
    certificates.iter().rev().max_by_key(fit)
}
