//! An authority, and what it signs.

use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tempfile::TempDir;

/// An authority that writes its certificates into a folder of its own.
pub struct Authority {
    folder: TempDir,
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate and its key, as files.
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = new_key();
        let certificate = sign(name, &key, None, [Asn1Time::days_from_now(0), Asn1Time::days_from_now(2)]);
        let folder = TempDir::new().expect("a folder");
        let authority = Authority { folder, certificate, key };
        write(&authority.path(), &authority.certificate.to_pem().expect("it can be written"));
        authority
    }

    /// Its own certificate.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A certificate for a name.
    pub fn issue(&self, name: &str) -> Files {
        self.issue_for(name, [Asn1Time::days_from_now(0), Asn1Time::days_from_now(2)])
    }

    /// A certificate for a name whose time was long ago.
    pub fn issue_expired(&self, name: &str) -> Files {
        self.issue_for(name, [Asn1Time::from_unix(0), Asn1Time::from_unix(86_400)])
    }

    fn issue_for(&self, name: &str, time: [Result<Asn1Time, ErrorStack>; 2]) -> Files {
        let key = new_key();
        let certificate = sign(name, &key, Some(self), time);
        let file = |end: &str| self.folder.path().join(format!("{}.{end}", name.replace('*', "any")));
        let files = Files { cert: file("crt"), key: file("key") };
        write(&files.cert, &certificate.to_pem().expect("it can be written"));
        write(&files.key, &key.private_key_to_pem_pkcs8().expect("it can be written"));
        files
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the file is written");
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn sign(
    name: &str,
    key: &PKey<Private>,
    by: Option<&Authority>,
    [from, until]: [Result<Asn1Time, ErrorStack>; 2],
) -> X509 {
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    let subject = subject.build();
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("version 3");
    let serial = BigNum::from_u32(std::process::id().wrapping_mul(31).wrapping_add(name.len() as u32));
    builder
        .set_serial_number(&serial.expect("a number").to_asn1_integer().expect("a number"))
        .expect("a serial");
    builder.set_subject_name(&subject).expect("a subject");
    builder.set_issuer_name(by.map_or(&*subject, |by| by.certificate.subject_name())).expect("an issuer");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&from.expect("a time")).expect("a time");
    builder.set_not_after(&until.expect("a time")).expect("a time");
    match by {
        None => {
            let is_authority = BasicConstraints::new().critical().ca().build().expect("an extension");
            builder.append_extension(is_authority).expect("an extension");
        }
        Some(by) => {
            let context = builder.x509v3_context(Some(&by.certificate), None);
            let names = SubjectAlternativeName::new().dns(name).build(&context).expect("an extension");
            builder.append_extension(names).expect("an extension");
        }
    }
    builder.sign(by.map_or(key, |by| &by.key), MessageDigest::sha256()).expect("it is signed");
    builder.build()
}
