use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;

/// One address on which clients are served.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port, such as `0.0.0.0:8080` or `[::]:8080` (lesson 06); or `unix:` and the path of a socket,
    /// such as `unix:/run/gateway.sock` (lesson 18).
    pub address: String,
    /// Who may connect to a Unix socket, in octal as `chmod` takes it, in quotes: `"0660"` is the gateway's user and
    /// group. `"0666"`, everybody, unless set (lesson 18).
    pub mode: Option<String>,
    /// Encrypts. Plain unless set (lesson 07).
    pub tls: Option<ListenerTls>,
    /// Whether clients that know it beforehand may speak HTTP/2 without TLS. `false` unless set (lesson 15).
    #[serde(default)]
    pub h2c: bool,
    /// How long a request's head may take from its first byte to its last; then the connection is closed. `10s`
    /// unless set.
    pub header_timeout: Option<Duration>,
    /// How long a connection may wait for a request; then it is closed. `60s` unless set (lesson 25).
    pub idle_timeout: Option<Duration>,
    /// How long a client may take between two pieces of a body that it sends or reads. `60s` unless set.
    pub body_timeout: Option<Duration>,
    /// How many bytes a request's head may have: HTTP/1 gets 431 or is closed, HTTP/2 is told beforehand. 65536
    /// unless set (lesson 40).
    #[schemars(range(min = 1024, max = 1_048_575))]
    pub max_header_bytes: Option<u32>,
    /// How many requests a connection of HTTP/1 may bring. No limit unless set (lesson 25).
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub max_requests_per_connection: Option<u32>,
    /// Networks whose connections are accepted, such as `10.0.0.0/8`; all others are closed before a byte is read.
    /// All unless set (lesson 39).
    #[serde(default)]
    pub allow: Vec<String>,
    /// Networks whose connections are closed before a byte is read, also where `allow` has them. None unless set
    /// (lesson 39).
    #[serde(default)]
    pub deny: Vec<String>,
}

/// TLS for clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// What the gateway presents: the certificate for the name that a client asks for, or else the first
    /// (lesson 20).
    #[schemars(length(min = 1))]
    pub certificates: Vec<CertificateFiles>,
    /// A file of authorities, in PEM: clients must present a certificate that one of them has signed. Nobody is
    /// asked unless set (lesson 21).
    pub client_ca: Option<PathBuf>,
    /// The oldest version that is spoken. `1.2` unless set.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered, by ALPN. `true` unless set (lesson 14).
    #[serde(default = "yes")]
    pub h2: bool,
}

fn yes() -> bool {
    true
}

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The file with the certificate and those that lead to its authority, in PEM (lesson 07).
    pub cert: PathBuf,
    /// The file with its private key, in PEM (lesson 07).
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}
