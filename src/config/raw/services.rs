use schemars::JsonSchema;
use serde::Deserialize;

/// The short form of a listener, an upstream and a route between them: what comes in at one address goes to one
/// group of servers, and nothing else does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What logs, metrics and errors call it. No other service, upstream or route has the same.
    #[schemars(length(min = 1))]
    pub name: String,
    /// IP address and port of its own, such as `0.0.0.0:6188`; or `unix:` and the path of a socket (lesson 06).
    pub bind_address: String,
    /// IP addresses and ports of its servers, which get requests in turn (lesson 26).
    #[schemars(length(min = 1))]
    pub upstreams: Vec<String>,
    /// Whether TLS is spoken to its servers; clients need none. `false` unless set (lesson 20).
    #[serde(default)]
    pub tls: bool,
    /// With `tls`, the DNS name that is asked for, and that the certificate must be for (lesson 20).
    pub sni: Option<String>,
    /// Whether its servers take connections, and how often that is found out. They are not asked unless set
    /// (lesson 30).
    pub health_check: Option<ServiceCheck>,
}

/// A check by TCP: a server is well if it takes connections.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceCheck {
    /// How long making a connection may take, in milliseconds. 1000 unless set (lesson 30).
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_ms: Option<u32>,
    /// From one check to the next, in seconds. 5 unless set (lesson 30).
    #[schemars(range(min = 1, max = 86400))]
    pub frequency_secs: Option<u32>,
}
