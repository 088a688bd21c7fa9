use std::borrow::Cow;
use std::collections::BTreeMap;

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
    /// Name of the upstream that gets them. A route has this, `respond` or `redirect`.
    pub upstream: Option<String>,
    /// An answer of the gateway's own (lesson 13).
    pub respond: Option<Respond>,
    /// Sends clients elsewhere.
    pub redirect: Option<Redirect>,
    /// Whether the upstream sees the path without the route's `path_prefix`: `/users/7` as `/7`. `false` unless set
    /// (lesson 09).
    #[serde(default)]
    pub strip_prefix: bool,
    /// As what the upstream sees path and query.
    pub rewrite: Option<Rewrite>,
    /// Whether a client may switch to WebSocket, over HTTP/1.1. No other protocol can be switched to, and unless
    /// this is `true`, none: the upstream is not told of the wish. Its `protocol` must be `h1` or `auto`. `false`
    /// unless set (lesson 23).
    #[serde(default)]
    pub websocket: bool,
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
    #[schemars(regex(pattern = r"^(100|[1-9]?[0-9])%$"), extend("examples" = ["20%"]))]
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
///
/// Of several routes that match, the most specific gets the request: by host first (a whole name, then the longest
/// wildcard, then any), then by path (`path`, then the longest `path_prefix`; a `path_regex` counts as long as the
/// literal segments with which it begins, and comes before a prefix of that length), then by conditions (with
/// `listeners` before without, with `methods` before without, more `headers` before fewer, more `query` before fewer).
/// Expressions that are equal in all this are asked in the order of the file. Other routes that are equal in all this
/// and could match the same request are an error, unless a third one, with the conditions of both, gets those requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Only what came in at one of these, written like the `address` of `listeners`: all that is plain is sent on
    /// to TLS by a route for `0.0.0.0:80`, say. Any of `listeners` unless set.
    #[serde(default)]
    pub listeners: Vec<String>,
    /// One of these hosts, whatever the port: `api.example.com`, or `*.example.com` for all below it. Any unless set
    /// (lesson 20).
    #[serde(default)]
    pub hosts: Vec<String>,
    /// This path and no other, such as `/hello`. Wins over any prefix.
    pub path: Option<String>,
    /// This path and all below it, by whole segments: `/users` holds for `/users/7`, not for `/userspace`. The
    /// longest wins (lesson 09).
    pub path_prefix: Option<String>,
    /// A regular expression that the whole path matches, in linear time, such as `/users/[0-9]+`. Begins with a
    /// literal `/`; at most 64 may begin with the same literal segments (lesson 09).
    pub path_regex: Option<String>,
    /// The same as `path_regex`, by another name (lesson 09).
    pub path_pattern: Option<String>,
    /// One of these methods, such as `GET`. Any unless set (lesson 09).
    #[serde(default)]
    pub methods: Vec<String>,
    /// Headers with these values; `*` for any value. Of several lines with one name, the first counts (lesson 08).
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Parameters of the query with these values, both as they are when decoded; `*` for any value. Of several with
    /// one name, the first counts (lesson 10).
    #[serde(default)]
    pub query: BTreeMap<String, String>,
}

/// As what the upstream sees path and query.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// What goes in place of the route's `path` or `path_prefix`, or of the whole path that a `path_regex` matched:
    /// there, `$1` or `$${name}` stands for what a group matched (lesson 09).
    pub path: Option<String>,
    /// Changes to the query.
    #[serde(default)]
    pub query: RewriteQuery,
}

/// Changes to a query: `remove`, then `add`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteQuery {
    /// Parameters that are taken away, wherever they stand (lesson 10).
    #[serde(default)]
    pub remove: Vec<String>,
    /// Parameters that are added at the end (lesson 10).
    #[serde(default)]
    pub add: BTreeMap<String, String>,
}

/// An answer of the gateway's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// Its status. 200 unless set (lesson 13).
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Its body. Empty unless set.
    #[serde(default)]
    pub body: String,
    /// What the body is. `text/plain; charset=utf-8` unless set.
    pub content_type: Option<String>,
}

fn ok() -> u16 {
    200
}

/// Another place. The query stays, and so does what is not set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// The host, with a port if it needs one.
    pub host: Option<String>,
    /// What goes in place of the route's `path`, `path_prefix` or `path_regex`, as in `rewrite`.
    pub path: Option<String>,
    /// 301 or 308 for good, 302 or 307 for now; with 307 and 308 the method stays. 308 unless set.
    #[serde(default = "permanent")]
    #[schemars(range(min = 301, max = 308))]
    pub status: u16,
}

fn permanent() -> u16 {
    308
}

/// A scheme of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Plain.
    Http,
    /// Encrypted.
    Https,
}
