use schemars::JsonSchema;
use serde::Deserialize;

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
}

/// One server of a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamServer {
    /// IP address and port, such as `172.28.0.20:8080` (lesson 16).
    pub address: String,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Each in its turn (lesson 26).
    #[default]
    RoundRobin,
}
