//! `tls` and `protocol` of an upstream.

use std::path::Path;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use rustls_pki_types::ServerName;

use super::{At, raw};
use crate::tls::PeerTls;
use crate::tls::peer::{self, Unusable};

pub use super::raw::Protocol;

pub(super) fn tls(raw: &raw::UpstreamTls, at: &At<'_>) -> Option<PeerTls> {
    let verify = raw.verify.unwrap_or(true);
    let sni = match &raw.sni {
        Some(sni) => name(sni, &at.key("sni")),
        None if verify => {
            at.error_at_key(
                "without a name, nothing of the certificate would be verified",
                "add the DNS name that the certificate is for: `sni: users.internal`",
            );
            None
        }
        None => Some(String::new()),
    };
    let ca = match &raw.ca {
        Some(_) if !verify => {
            at.key("ca").error_at_key(
                "no certificate is verified here, so nobody would read this",
                "remove `ca`, or `verify: false`",
            );
            None
        }
        Some(path) => said(peer::certificates(Path::new(path)), &at.key("ca")).map(Some),
        None => Some(None),
    };
    let client = match (&raw.client_cert, &raw.client_key) {
        (None, None) => Some(None),
        (Some(cert), Some(key)) => client(cert, key, at).map(Some),
        (Some(_), None) => {
            at.key("client_cert").error_at_key("its key is missing", "add `client_key`");
            None
        }
        (None, Some(_)) => {
            at.key("client_key").error_at_key("its certificate is missing", "add `client_cert`");
            None
        }
    };
    let (ca, client) = (ca?, client?);
    let mut tls = PeerTls::new(sni?, verify);
    let mut files = [const { Vec::new() }; 3];
    if let Some((authorities, bytes)) = ca {
        tls.authorities = authorities;
        files[0] = bytes;
    }
    if let Some((chain, key, [cert_bytes, key_bytes])) = client {
        tls.client = Some((chain, key));
        files[1] = cert_bytes;
        files[2] = key_bytes;
    }
    Some(tls.sealed(&[&files[0], &files[1], &files[2]]))
}

/// Only DNS names: an address is never sent as a name, and never compared with a certificate (RFC 6066
/// section 3).
pub(super) fn name(sni: &str, at: &At<'_>) -> Option<String> {
    if let Ok(ServerName::DnsName(_)) = ServerName::try_from(sni) {
        return Some(sni.to_string());
    }
    at.error(
        "this is not a DNS name",
        "write the name that the certificate is for, such as `users.internal`",
    );
    None
}

type Client = (Vec<X509>, PKey<Private>, [Vec<u8>; 2]);

fn client(cert: &str, key: &str, at: &At<'_>) -> Option<Client> {
    let chain = said(peer::certificates(Path::new(cert)), &at.key("client_cert"));
    let key = said(peer::key(Path::new(key)), &at.key("client_key"));
    let ((chain, cert_bytes), (key, key_bytes)) = (chain?, key?);
    if !chain.first().is_some_and(|own| own.public_key().is_ok_and(|public| public.public_eq(&key))) {
        at.key("client_key").error(
            "this key does not belong to the certificate",
            "give the key from which the certificate of `client_cert` was made; that one comes first in its file",
        );
        return None;
    }
    Some((chain, key, [cert_bytes, key_bytes]))
}

fn said<T>(read: Result<T, Unusable>, at: &At<'_>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            at.error(error.to_string(), "give the path of a file in PEM that the gateway may read");
            None
        }
    }
}

/// HTTP/2 is agreed upon in TLS, and without TLS both sides must know it beforehand.
pub(super) fn protocol(raw: &raw::Upstream, at: &At<'_>) -> Option<Protocol> {
    match (raw.protocol, &raw.tls) {
        (Protocol::H2, None) => {
            at.key("protocol")
                .error("`h2` goes with TLS", "add `tls`, or write `h2c` for HTTP/2 without TLS");
            None
        }
        (Protocol::H2c, Some(_)) => {
            at.key("protocol").error("`h2c` goes without TLS", "remove `tls`, or write `h2`");
            None
        }
        (protocol, _) => Some(protocol),
    }
}
