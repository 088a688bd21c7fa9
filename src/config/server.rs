//! `server`: settings of the process.

use std::thread::available_parallelism;
use std::time::Duration;

use ipnet::IpNet;

use super::process::{self, Process};
use super::{At, networks, raw};

/// Settings of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// How many threads serve requests.
    pub threads: usize,
    /// How long a request may take as a whole, unless its route says otherwise. `None`: as long as it likes.
    pub upstream_timeout: Option<Duration>,
    /// Whose word about clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections to upstreams.
    pub connection_pool: ConnectionPool,
    /// What concerns the process and not its requests.
    pub process: Process,
}

/// Connections to upstreams, unless an upstream says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionPool {
    /// How many that nobody uses are kept, for each thread.
    pub max_idle: usize,
    /// For how long.
    pub idle_timeout: Duration,
    /// How long making one may take.
    pub connect_timeout: Duration,
}

pub(super) fn validate(raw: &raw::Server, at: &At<'_>) -> ServerSettings {
    let cores = || available_parallelism().map_or(1, usize::from);
    let pool = &raw.connection_pool;
    if pool.max_idle.is_some() && raw.upstream_keepalive_pool_size.is_some() {
        at.key("upstream_keepalive_pool_size").error_at_key(
            "`connection_pool.max_idle` says the same already",
            "remove one of the two: they are one setting",
        );
    }
    ServerSettings {
        threads: raw.threads.unwrap_or_else(cores),
        upstream_timeout: limit(raw.upstream_timeout_secs.unwrap_or(30.0)),
        // What is wrong was reported, and nothing is built from this then.
        trusted_proxies: networks::validate(&raw.trusted_proxies, &at.key("trusted_proxies"))
            .unwrap_or_default(),
        connection_pool: ConnectionPool {
            max_idle: pool.max_idle.or(raw.upstream_keepalive_pool_size).unwrap_or(128),
            idle_timeout: Duration::from_secs(pool.idle_timeout_secs.unwrap_or(60).into()),
            connect_timeout: Duration::from_secs(pool.connect_timeout_secs.unwrap_or(3).into()),
        },
        process: process::validate(raw, at),
    }
}

/// Seconds as a limit; zero is none. The schema has seen to the range.
pub(super) fn limit(secs: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(secs).ok().filter(|limit| !limit.is_zero())
}
