//! Who has a certificate in the City, and how one is made.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::map;

/// One key and certificate.
#[derive(Debug)]
pub struct Identity {
    /// The name of its files.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The authority that signs it; none: it is one.
    pub issuer: Option<&'static str>,
    /// The common name of its subject.
    pub common_name: &'static str,
    /// What it is valid for.
    pub names: &'static [&'static str],
    /// Whether it is presented by clients, and not by servers.
    pub client: bool,
    /// When it expires, in days from now.
    pub days: i64,
}

impl Identity {
    /// Whether it signs others.
    pub fn is_authority(&self) -> bool {
        self.issuer.is_none()
    }

    /// Whether it is meant to have expired.
    pub fn is_expired(&self) -> bool {
        self.days < 0
    }
}

const WILDCARD: &[&str] = &["*.pingora.local", "*.api.pingora.local", "pingora.local"];

/// Everybody, authorities before those whom they sign.
pub const IDENTITIES: &[Identity] = &[
    Identity {
        name: "ca",
        about: "the City's certificate authority",
        issuer: None,
        common_name: "Pingora City CA",
        names: &[],
        client: false,
        days: 5 * 365,
    },
    Identity {
        name: "server",
        about: "your proxy: dev.pingora.local, localhost, 172.28.0.10, 127.0.0.1",
        issuer: Some("ca"),
        common_name: "dev.pingora.local",
        names: &["dev.pingora.local", "localhost", "172.28.0.10", "127.0.0.1"],
        client: false,
        days: 365,
    },
    Identity {
        name: "wildcard",
        about: "the upstreams: *.pingora.local, *.api.pingora.local",
        issuer: Some("ca"),
        common_name: "*.pingora.local",
        names: WILDCARD,
        client: false,
        days: 365,
    },
    Identity {
        name: "client",
        about: "a client: client.pingora.local",
        issuer: Some("ca"),
        common_name: "client.pingora.local",
        names: &["client.pingora.local"],
        client: true,
        days: 365,
    },
    Identity {
        name: "client2",
        about: "another client: client2.pingora.local",
        issuer: Some("ca"),
        common_name: "client2.pingora.local",
        names: &["client2.pingora.local"],
        client: true,
        days: 365,
    },
    Identity {
        name: "expired",
        about: "as wildcard, but expired yesterday (advanced:8444)",
        issuer: Some("ca"),
        common_name: "*.pingora.local",
        names: WILDCARD,
        client: false,
        days: -1,
    },
    Identity {
        name: "foreign-ca",
        about: "an authority that nobody trusts",
        issuer: None,
        common_name: "Foreign CA",
        names: &[],
        client: false,
        days: 5 * 365,
    },
    Identity {
        name: "foreign",
        about: "as wildcard, but signed by foreign-ca (advanced:8445)",
        issuer: Some("foreign-ca"),
        common_name: "*.pingora.local",
        names: WILDCARD,
        client: false,
        days: 365,
    },
];

/// An authority that can sign.
#[derive(Debug)]
pub struct Authority {
    /// Its identity's name.
    pub name: &'static str,
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub certificate: String,
}

impl Authority {
    /// From its key and its certificate, both in PEM.
    pub fn new(name: &'static str, key: &str, certificate: &str) -> Result<Authority, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Authority { name, issuer, certificate: certificate.into() })
    }
}

/// Makes a key and a certificate for it, both in PEM.
pub fn pair(identity: &Identity, issuer: Option<&Authority>) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let params = params(identity)?;
    let certificate = match issuer {
        Some(authority) => params.signed_by(&key, &authority.issuer)?,
        None => params.self_signed(&key)?,
    };
    Ok((key.serialize_pem(), certificate.pem()))
}

/// The serial number is left to rcgen, which takes it from the hash of the public key: unique, as Pingora's
/// connection pool needs it, which tells client certificates apart by nothing else.
fn params(identity: &Identity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_after = now + Duration::days(identity.days);
    // A day back, for clocks that differ.
    params.not_before =
        params.not_after.min(now) - Duration::days(if identity.is_expired() { 30 } else { 1 });
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Pingora City");
    params.distinguished_name.push(DnType::CommonName, identity.common_name);
    params.use_authority_key_identifier_extension = true;
    if identity.is_authority() {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted(), excluded_subtrees: Vec::new() });
        return Ok(params);
    }
    for name in identity.names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into()?),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![if identity.client {
        ExtendedKeyUsagePurpose::ClientAuth
    } else {
        ExtendedKeyUsagePurpose::ServerAuth
    }];
    Ok(params)
}

/// The names and addresses of the City, and of this machine alone.
fn permitted() -> Vec<GeneralSubtree> {
    let [a, b, c, _] = map::GATEWAY.octets();
    vec![
        GeneralSubtree::DnsName(map::DOMAIN.into()),
        GeneralSubtree::DnsName("localhost".into()),
        GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([a, b, c, 0], map::PREFIX)),
        GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
    ]
}
