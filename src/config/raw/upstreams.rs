use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;
use crate::config::Secret;

/// A group of servers that do the same work.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its servers. At least one, unless `discovery` finds them.
    #[schemars(length(min = 1))]
    pub servers: Option<Vec<UpstreamServer>>,
    /// Who says which servers there are, in place of `servers`.
    pub discovery: Option<Discovery>,
    /// Who gets the next request. `round_robin` unless set (lesson 26).
    #[serde(default)]
    pub balance: Balance,
    /// How to find out whether servers are well. They are not asked unless set.
    pub health_check: Option<HealthCheck>,
    /// When to leave a server alone that fails requests. Never unless set.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// TLS towards these servers. None unless set (lesson 20).
    pub tls: Option<UpstreamTls>,
    /// The way to these servers, where only a forward proxy leads to them. None unless set.
    pub via: Option<Via>,
    /// Which HTTP they speak. `h1` unless set (lesson 14).
    #[serde(default)]
    pub protocol: Protocol,
    /// How long these servers may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// TLS towards servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The DNS name that is asked for, and that the certificate must be for. Can be left out only where nothing is
    /// verified (lesson 20).
    pub sni: Option<String>,
    /// A file in PEM with the authorities that may have signed the certificate. The system's unless set
    /// (lesson 20).
    pub ca: Option<String>,
    /// A file in PEM with the certificate that the gateway shows, and those that lead to its authority. None
    /// unless set (lesson 21).
    pub client_cert: Option<String>,
    /// A file in PEM with the key of `client_cert` (lesson 21).
    pub client_key: Option<String>,
    /// Whether the certificate is verified. `true` unless set. Without it, anybody can be the server (lesson 20).
    pub verify: Option<bool>,
}

/// The way to servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// IP address and port of a forward proxy that is asked by CONNECT for each connection (lesson 22).
    pub connect_proxy: String,
}

/// Which HTTP a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2, agreed upon in TLS (lesson 14).
    H2,
    /// HTTP/2 without TLS; the servers must know that (lesson 15).
    H2c,
    /// HTTP/2 if the server agrees to it in TLS, otherwise HTTP/1.1 (lesson 14).
    Auto,
}

/// Who says which servers there are: exactly one of `file`, `dns` and `srv`. What was found last is kept for as long as nothing else is found.
/// A gateway that starts asks before it opens its ports, and waits for three seconds at most.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// A file in YAML with a list like that of `servers` (lesson 34).
    pub file: Option<FileSource>,
    /// The addresses of a name: its A and AAAA records (lesson 17).
    pub dns: Option<DnsSource>,
    /// Those that a service's SRV records name. Who has not the best priority is a backup, who has no address is
    /// left out (lesson 17).
    pub srv: Option<SrvSource>,
    /// How long to wait until asking again, if the TTL of a DNS record is not over before that. `1s` for a file
    /// and `30s` for DNS unless set (lesson 34).
    pub refresh: Option<Duration>,
}

/// A name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsSource {
    /// The name, without search domains (lesson 17).
    pub name: String,
    /// On which port its servers listen (lesson 17).
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// IP addresses and ports of the name servers to ask. Those of the system unless set (lesson 17).
    #[serde(default)]
    pub name_servers: Vec<String>,
}

/// A service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrvSource {
    /// Its name, such as `_http._tcp.users.internal` (lesson 17).
    pub name: String,
    /// IP addresses and ports of the name servers to ask. Those of the system unless set (lesson 17).
    #[serde(default)]
    pub name_servers: Vec<String>,
}

/// A file in YAML with a list like that of `servers`. Put another one in its place at once, by renaming it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Where it is. Begins with `/` if the gateway runs in the background (lesson 34).
    pub path: String,
}

/// One server of a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamServer {
    /// IP address and port, such as `172.28.0.20:8080` (lesson 16).
    pub address: String,
    /// Its share of the requests, in proportion to those of the others. 1 unless set (lesson 27). A server that is
    /// to get none is left out.
    #[schemars(range(min = 1, max = 256))]
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
    /// From one piece of an answer to the next. The first counts from the last piece of the request, over HTTP/2 from its head: there it must be longer than the longest upload. `60s` unless set (lesson 19).
    pub read: Option<Duration>,
    /// For taking a piece of a request. A server that takes no more may still answer, and has `read` for it. `60s` unless set (lesson 19).
    pub write: Option<Duration>,
    /// How long a connection is kept that nobody uses. That of `server.connection_pool` unless set (lesson 25).
    pub idle: Option<Duration>,
}

/// How to find out whether a server is well: exactly one of `tcp`, `http` and `grpc`. A server that is not gets no
/// requests until it is again. A gateway that starts checks each server before it opens its ports, and waits for
/// three seconds at most.
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
    /// How many checks in a row must fail until a server gets no more requests. 1 unless set. A server that has
    /// never been checked gets none as soon as the first one fails (lesson 30).
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

/// When to leave a server alone. What counts is what happens to requests: no connection, no answer, or one with a
/// status from 500 on, but for 501 and 505, which speak of the request. Silence does not count while a client keeps
/// back its body, or its stream open: who could do so would take the server from everybody. After the rest, one
/// request is let through, and on its outcome the others depend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreaker {
    /// How many errors in a row it takes. 5 unless set (lesson 33).
    #[schemars(range(min = 1, max = 100_000))]
    pub consecutive_errors: Option<u32>,
    /// For how long the server gets no request. `10s` unless set (lesson 33).
    pub open_for: Option<Duration>,
}

/// How a server is chosen.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Each in its turn, as often as its weight says (lesson 26).
    #[default]
    RoundRobin,
    /// By chance, as often as its weight says (lesson 27).
    Random,
    /// The one with the fewest requests under way for its weight (lesson 27).
    LeastConnections,
    /// Of two by chance, the one with fewer requests under way for its weight (lesson 27).
    P2c,
    /// The same key, the same server. When a server comes or goes, no request moves that need not (lesson 28).
    Consistent(Consistent),
    /// The same client, the same server, by a cookie that the gateway sets (lesson 29).
    Sticky(Sticky),
}

/// By what requests are told apart. Those that do not have it are shared out in turns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Consistent {
    /// `path` (without the query), `header`, `cookie` or `client_ip` (lesson 28).
    pub by: By,
    /// Which header, or which cookie. For these two only (lesson 28).
    #[schemars(length(min = 1))]
    pub name: Option<String>,
}

/// What of a request decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Its path, without the query.
    Path,
    /// A header of it.
    Header,
    /// A cookie of it.
    Cookie,
    /// The address that it comes from.
    ClientIp,
}

/// A cookie that leads back to the same server while that can be asked, and to another one if it cannot. It says
/// nothing about servers to anybody but the gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Sticky {
    /// Its name (lesson 29).
    pub cookie: String,
    /// A secret from which cookies are made. Where several gateways have the same, they understand each other's
    /// cookies, and those from before a restart. One that lasts as long as the process unless set (lesson 29).
    pub key: Option<Secret>,
}
