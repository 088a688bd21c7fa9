use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
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
    /// How long a request may take as a whole, in seconds, however many servers are tried. What
    /// `server.upstream_timeout_secs` says unless set; 0 for no limit (lesson 19).
    #[schemars(range(min = 0, max = 86400))]
    pub timeout_secs: Option<f64>,
    /// When a request is sent again that a server has failed. Unless set: to each server once, after a failed
    /// connection, and after a broken one if the method is idempotent.
    pub retry: Option<Retry>,
    /// Names of the policies that apply, in the order in which they do.
    #[serde(default)]
    pub middlewares: Vec<String>,
}

/// When a request is sent again. Never once something of an answer has reached the client, nor if its body is
/// longer than the 64 KiB that are remembered of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How many times it is sent at most, the first time included. As many as there are servers unless set; if
    /// it is, a server that has failed may be asked once more when no other is left (lesson 16).
    #[schemars(range(min = 1, max = 16))]
    pub attempts: Option<u32>,
    /// After what: `connect` (no connection, so nothing was sent), `timeout` (no answer in time), `reset` (the
    /// connection broke before there was an answer), and statuses. `[connect, reset]` unless set (lesson 16).
    #[schemars(length(min = 1))]
    pub on: Option<Vec<RetryOn>>,
    /// Whether only requests are sent again that do the same twice as once, by their method: all but `POST`,
    /// `PATCH` and `CONNECT`. After a failed connection, any is. `true` unless set (lesson 16).
    pub only_idempotent: Option<bool>,
    /// How many requests may be sent again, as a share of all requests of this route. Ten at once and one each
    /// second always may, and those do not count that followed a failed connection. `20%` unless set (lesson 16).
    #[schemars(regex(pattern = r"^(100|[1-9]?[0-9])%$"))]
    pub budget: Option<String>,
}

/// A reason to send a request again.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum RetryOn {
    /// A status from 400 on.
    Status(u16),
    /// One of the words.
    Word(String),
}

/// By hand: of an untagged enum, errors would say nothing.
impl JsonSchema for RetryOn {
    fn schema_name() -> Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "A reason to send a request again.",
            "anyOf": [
                { "type": "string", "enum": ["connect", "timeout", "reset"] },
                { "type": "integer", "minimum": 400, "maximum": 599,
                  "description": "A status from 400 to 599." },
            ],
        })
    }
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
