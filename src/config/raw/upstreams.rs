use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;

/// A group of servers that do the same work.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its servers. At least one.
    #[schemars(length(min = 1))]
    pub servers: Vec<UpstreamServer>,
    /// Who gets the next request. `round_robin` unless set (lesson 26).
    #[serde(default)]
    pub balance: Balance,
    /// How long these servers may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// One server of a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamServer {
    /// IP address and port, such as `172.28.0.20:8080` (lesson 16).
    pub address: String,
    /// Its share of the requests, in proportion to those of the others. 1 unless set (lesson 27).
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u32>,
    /// Whether it gets requests only when no other server can take them. `false` unless set (lesson 33).
    #[serde(default)]
    pub backup: bool,
}

/// How long servers may take. Each is a length of time with its unit, such as `500ms` or `10s`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// For making a connection, TLS included. That of `server.connection_pool` unless set (lesson 19).
    pub connect: Option<Duration>,
    /// From one piece of an answer to the next; the first counts from the request. `60s` unless set (lesson 19).
    pub read: Option<Duration>,
    /// For taking a piece of a request. `60s` unless set (lesson 19).
    pub write: Option<Duration>,
    /// How long a connection is kept that nobody uses. That of `server.connection_pool` unless set (lesson 25).
    pub idle: Option<Duration>,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Each in its turn, as often as its weight says (lesson 26).
    #[default]
    RoundRobin,
}
