use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the process itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// How many threads serve requests. One for each core of the machine unless set (lesson 04).
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// How long a request may take as a whole, in seconds, on routes without a `timeout_secs` of their own.
    /// 30 unless set; 0 for no limit (lesson 19).
    #[schemars(range(min = 0, max = 86400))]
    pub upstream_timeout_secs: Option<f64>,
    /// Networks of proxies before the gateway, such as `10.0.0.0/8`: their `X-Forwarded-For`, `-Proto`, `-Host` and
    /// `Forwarded` are believed and continued, those of everybody else are replaced. None unless set (lesson 08).
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// Connections to upstreams: how many are kept, and for how long.
    #[serde(default)]
    pub connection_pool: ConnectionPool,
}

/// Connections to upstreams.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPool {
    /// How many connections that nobody uses are kept, for each thread. 128 unless set (lesson 25).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_idle: Option<usize>,
    /// How long a connection that nobody uses is kept, in seconds, where the upstream does not say otherwise.
    /// 60 unless set. Shorter than what the servers wait, or requests meet connections that are being closed
    /// (lesson 25).
    #[schemars(range(min = 1, max = 86400))]
    pub idle_timeout_secs: Option<u32>,
    /// How long making a connection may take, TLS included, in seconds, where the upstream does not say
    /// otherwise. 3 unless set (lesson 19).
    #[schemars(range(min = 1, max = 3600))]
    pub connect_timeout_secs: Option<u32>,
}
