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
    /// How to find out whether servers are well. They are not asked unless set.
    pub health_check: Option<HealthCheck>,
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

/// How to find out whether a server is well: exactly one of `tcp`, `http` and `grpc`. A server that is not gets no
/// requests until it is again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// It is well if it takes connections: `tcp: {}` (lesson 30).
    pub tcp: Option<TcpCheck>,
    /// It is well if it answers a request as expected (lesson 31).
    pub http: Option<HttpCheck>,
    /// It is well if its gRPC health service says so (lesson 32).
    pub grpc: Option<GrpcCheck>,
    /// From one check to the next. `5s` unless set (lesson 30).
    pub interval: Option<Duration>,
    /// How long a check may take, from the first packet to the last byte. `1s` unless set (lesson 31).
    pub timeout: Option<Duration>,
    /// How many checks in a row must pass until a server gets requests again. 1 unless set (lesson 30).
    #[schemars(range(min = 1, max = 1000))]
    pub healthy: Option<u32>,
    /// How many checks in a row must fail until a server gets no more requests. 1 unless set (lesson 30).
    #[schemars(range(min = 1, max = 1000))]
    pub unhealthy: Option<u32>,
}

/// A connection, and nothing else: `tcp: {}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {}

/// A `GET` request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Path, with a query if need be. `/` unless set (lesson 31).
    pub path: Option<String>,
    /// The `Host` to ask for. The server's own address, or its name where there is TLS, unless set (lesson 31).
    pub host: Option<String>,
    /// Which statuses mean that it is well. `[200]` unless set (lesson 31).
    #[schemars(length(min = 1), inner(range(min = 200, max = 599)))]
    pub expect_status: Option<Vec<u16>>,
    /// Text that must be in the first 64 KiB of the answer. Any answer is good unless set (lesson 32).
    #[schemars(length(min = 1))]
    pub expect_body: Option<String>,
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcCheck {
    /// Name of the service that is asked for. The server as a whole unless set (lesson 32).
    #[serde(default)]
    pub service: String,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Each in its turn, as often as its weight says (lesson 26).
    #[default]
    RoundRobin,
}
