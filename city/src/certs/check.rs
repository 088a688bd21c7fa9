//! Whether a key and its certificate are still good.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{KeyPair, PublicKeyData};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::make::{Authority, Identity};
use super::no_access;
use crate::trouble::Result;

/// A certificate is renewed this long before it expires, so that none expires in the middle of a lesson.
const RENEW_BEFORE: i64 = 7 * 24 * 3600;

/// Whether a pair can stay as it is.
#[derive(Debug)]
pub enum Condition {
    /// It can: here are both, in PEM.
    Good { key: String, certificate: String },
    /// It cannot, and why.
    Bad(String),
}

/// Looks at the pair of an identity as it lies in the folder.
pub fn condition(folder: &Path, identity: &Identity, issuer: Option<&Authority>) -> Result<Condition> {
    let key = read_if_there(&folder.join(format!("{}.key", identity.name)))?;
    let certificate = read_if_there(&folder.join(format!("{}.crt", identity.name)))?;
    let (key, certificate) = match (key, certificate) {
        (Some(key), Some(certificate)) => (key, certificate),
        (None, None) => return Ok(Condition::Bad("there was none".into())),
        (None, Some(_)) => return Ok(Condition::Bad("its key was missing".into())),
        (Some(_), None) => return Ok(Condition::Bad("its certificate was missing".into())),
    };
    Ok(match fault(&key, &certificate, identity, issuer) {
        Some(why) => Condition::Bad(why.into()),
        None => Condition::Good { key, certificate },
    })
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        // What is no text is no PEM either, and is found out later.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(no_access(path, "read", error)),
    }
}

fn fault(key: &str, pem: &str, identity: &Identity, issuer: Option<&Authority>) -> Option<&'static str> {
    let Ok((_, pem)) = parse_x509_pem(pem.as_bytes()) else { return Some("its certificate was unreadable") };
    let Ok(certificate) = pem.parse_x509() else { return Some("its certificate was unreadable") };
    let Ok(key) = KeyPair::from_pem(key) else { return Some("its key was unreadable") };
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Some("key and certificate did not match");
    }
    let left = seconds_left(&certificate);
    if identity.is_expired() {
        if left >= 0 {
            return Some("it had not expired");
        }
    } else if left < RENEW_BEFORE {
        return Some("it was about to expire");
    }
    if !is_signed_by(&certificate, issuer) {
        return Some("another authority had signed it");
    }
    let is_for_others = !identity.is_authority() && names(&certificate) != identity.names;
    is_for_others.then_some("it was for other names")
}

fn is_signed_by(certificate: &X509Certificate<'_>, issuer: Option<&Authority>) -> bool {
    let Some(authority) = issuer else { return certificate.verify_signature(None).is_ok() };
    let Ok((_, pem)) = parse_x509_pem(authority.certificate.as_bytes()) else { return false };
    let Ok(issuer) = pem.parse_x509() else { return false };
    certificate.issuer() == issuer.subject()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(octets) => IpAddr::from(octets).to_string(),
            Err(_) => "?".into(),
        },
        _ => "?".into(),
    };
    names.value.general_names.iter().map(shown).collect()
}

fn seconds_left(certificate: &X509Certificate<'_>) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    certificate.validity().not_after.timestamp() - i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
