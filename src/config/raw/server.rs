use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the process itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// How many threads serve requests. One for each core of the machine unless set (lesson 04).
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Whether a thread that has nothing to do takes over work of others. `true` unless set. With `false`, each thread
    /// serves its connections in turn: where hundreds are busy, the slowest wait less, and the others more (lesson
    /// 04).
    pub work_stealing: Option<bool>,
    /// How many tasks accept connections of each listener, at the same time. 1 unless set (lesson 04).
    #[schemars(range(min = 1, max = 1024))]
    pub listener_tasks_per_fd: Option<usize>,
    /// Whether it runs in the background, as with `--daemon`. `false` unless set (lesson 02).
    #[serde(default)]
    pub daemon: bool,
    /// Where a gateway in the background writes the number of its process. `/tmp/pingora.pid` unless set
    /// (lesson 02).
    pub pid_file: Option<PathBuf>,
    /// Where a gateway in the background writes what else goes to standard error. Nowhere unless set (lesson 02).
    pub error_log: Option<PathBuf>,
    /// Which user a gateway in the background becomes, before it opens its ports: those below 1024 are for root
    /// alone. Who started it unless set; only with `daemon` (lesson 02).
    pub user: Option<String>,
    /// Which group a gateway in the background belongs to once it has started. Its user's unless set; only with
    /// `daemon` (lesson 02).
    pub group: Option<String>,
    /// The socket over which a gateway hands its listeners to its successor, see `--upgrade`.
    /// `/tmp/pingora_upgrade.sock` unless set (lesson 03).
    pub upgrade_sock: Option<PathBuf>,
    /// How long requests in flight may go on after SIGTERM, in seconds; the gateway leaves as soon as there are
    /// none. 30 unless set (lesson 03).
    #[schemars(range(min = 0, max = 86400))]
    pub grace_period_seconds: Option<u64>,
    /// How long the threads may take to end after the grace period, in seconds. 1 unless set (lesson 03).
    #[schemars(range(min = 0, max = 86400))]
    pub graceful_shutdown_timeout_seconds: Option<u64>,
    /// A file of authorities, in PEM, that upstreams' certificates are checked with. Those of the system unless set
    /// (lesson 19).
    pub ca_file: Option<PathBuf>,
    /// IPv4 addresses of this machine from which upstreams are connected to. Any unless set (lesson 19).
    #[serde(default)]
    pub client_bind_to_ipv4: Vec<String>,
    /// IPv6 addresses of this machine from which upstreams are connected to. Any unless set (lesson 19).
    #[serde(default)]
    pub client_bind_to_ipv6: Vec<String>,
    /// The same as `connection_pool.max_idle`, by Pingora's name. Only one of the two may be set (lesson 25).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub upstream_keepalive_pool_size: Option<usize>,
    /// How many servers may be tried for a request, whatever its route says. 16 unless set (lesson 16).
    #[schemars(range(min = 1, max = 1000))]
    pub max_retries: Option<usize>,
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
