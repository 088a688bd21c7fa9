//! An authority, what it signs, and an upstream that speaks TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslMethod, SslVerifyMode, select_next_proto};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509NameBuilder};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A certificate and its key.
pub struct Pair {
    cert: X509,
    key: PKey<Private>,
}

/// A certificate authority with a folder of its own.
pub struct Authority {
    own: Pair,
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let own = pair("authority", None);
        let folder = TempDir::new().expect("a folder");
        let authority = Authority { own, folder };
        authority.write("ca.crt", &authority.own.cert.to_pem().expect("PEM"));
        authority
    }

    /// Where its own certificate is.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A certificate for this name and its key.
    pub fn sign(&self, name: &str) -> Pair {
        pair(name, Some(&self.own))
    }

    /// Files with a certificate for this name and its key.
    pub fn files(&self, name: &str) -> (PathBuf, PathBuf) {
        let pair = self.sign(name);
        (
            self.write(&format!("{name}.crt"), &pair.cert.to_pem().expect("PEM")),
            self.write(&format!("{name}.key"), &pair.key.private_key_to_pem_pkcs8().expect("PEM")),
        )
    }

    fn write(&self, name: &str, pem: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, pem).expect("the file is written");
        path
    }
}

fn pair(name: &str, issuer: Option<&Pair>) -> Pair {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut cert = X509::builder().expect("a certificate");
    cert.set_version(2).expect("a version");
    // All have one serial number: nothing may depend on it.
    cert.set_serial_number(&BigNum::from_u32(1).expect("a number").to_asn1_integer().expect("a number"))
        .expect("a serial number");
    cert.set_subject_name(&subject).expect("a subject");
    cert.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.cert.subject_name())).expect("an issuer");
    cert.set_pubkey(&key).expect("a key");
    cert.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("a time");
    cert.set_not_after(&Asn1Time::days_from_now(2).expect("a time")).expect("a time");
    if issuer.is_none() {
        cert.append_extension(BasicConstraints::new().critical().ca().build().expect("an extension"))
            .expect("an extension");
    } else {
        let names = SubjectAlternativeName::new().dns(name).build(&cert.x509v3_context(None, None));
        cert.append_extension(names.expect("an extension")).expect("an extension");
    }
    cert.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256()).expect("a signature");
    Pair { cert: cert.build(), key }
}

/// An upstream that speaks TLS. It answers with the version of HTTP and the name in the client's certificate.
pub struct TlsOrigin {
    address: SocketAddr,
    _runtime: Runtime,
}

impl TlsOrigin {
    /// With a certificate for this name, these protocols as in ALPN (each behind its length), and clients that
    /// must show a certificate of this authority.
    pub fn start(own: &Pair, protocols: &'static [u8], clients: Option<&Authority>) -> TlsOrigin {
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("settings");
        tls.set_certificate(&own.cert).expect("a certificate");
        tls.set_private_key(&own.key).expect("a key");
        tls.set_alpn_select_callback(move |_, offered| {
            select_next_proto(protocols, offered).ok_or(AlpnError::NOACK)
        });
        if let Some(authority) = clients {
            let mut store = X509StoreBuilder::new().expect("a store");
            store.add_cert(authority.own.cert.clone()).expect("a certificate");
            tls.set_verify_cert_store(store.build()).expect("a store");
            tls.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        let tls = tls.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let ssl = Ssl::new(tls.context()).expect("a session");
                tokio::spawn(async move {
                    let mut stream = tokio_openssl::SslStream::new(ssl, stream).expect("a stream");
                    if std::pin::Pin::new(&mut stream).accept().await.is_err() {
                        return;
                    }
                    let client = stream.ssl().peer_certificate().map_or("nobody".to_string(), |cert| {
                        let name = cert.subject_name().entries().next().expect("a name");
                        String::from_utf8_lossy(name.data().as_slice()).into_owned()
                    });
                    let h2 = stream.ssl().selected_alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request: Request<Incoming>| {
                        let body = format!("{:?} {client}", request.version());
                        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body)))) }
                    });
                    let stream = TokioIo::new(stream);
                    let _ = if h2 {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(stream, service)
                            .await
                    } else {
                        hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await
                    };
                });
            }
        });
        TlsOrigin { address, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
