use schemars::JsonSchema;
use serde::Deserialize;

/// Which requests, and what becomes of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// What logs, metrics and errors call it. No two routes have the same.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Which requests. Every request unless set.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Name of the upstream that gets them.
    pub upstream: String,
    /// Whether a client may switch to WebSocket, over HTTP/1.1. No other protocol can be switched to, and unless
    /// this is `true`, none: the upstream is not told of the wish. `false` unless set (lesson 23).
    #[serde(default)]
    pub websocket: bool,
    /// How long a request may take as a whole, in seconds, however many servers are tried. What
    /// `server.upstream_timeout_secs` says unless set; 0 for no limit (lesson 19).
    #[schemars(range(min = 0, max = 86400))]
    pub timeout_secs: Option<f64>,
    /// Names of the policies that apply, in the order in which they do.
    #[serde(default)]
    pub middlewares: Vec<String>,
}

/// What a request must look like. Every key that is set must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// This path and no other, such as `/hello`. Wins over any prefix.
    pub path: Option<String>,
    /// This path and all below it, by whole segments: `/users` holds for `/users/7`, not for `/userspace`. The
    /// longest wins (lesson 09).
    pub path_prefix: Option<String>,
}
