//! `routes`: which requests go where.

use std::collections::HashMap;
use std::time::Duration;

use super::actions::{self, Action};
use super::diagnostic::instead;
use super::matches::{self, Match};
use super::server::{ServerSettings, limit};
use super::{At, Name, all, raw};

/// Which requests, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name; no other route has it.
    pub name: Name,
    /// Which requests.
    pub matches: Match,
    /// What becomes of them.
    pub action: Action,
    /// Whether a client may switch to WebSocket.
    pub websocket: bool,
    /// How long a request may take as a whole. `None`: as long as it likes.
    pub timeout: Option<Duration>,
    /// When a request is sent again.
    pub retry: Retry,
    /// The policies that apply, in this order. They exist.
    pub middlewares: Vec<Name>,
}

/// When a request is sent again that a server has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many times it is sent at most. `None`: to each server once.
    pub attempts: Option<u32>,
    /// After a failed connection.
    pub on_connect: bool,
    /// If there was no answer in time.
    pub on_timeout: bool,
    /// If the connection broke before there was an answer.
    pub on_reset: bool,
    /// After an answer with one of these statuses.
    pub on_status: Vec<u16>,
    /// Only if the method is idempotent.
    pub only_idempotent: bool,
    /// At most this share of requests, in per cent.
    pub budget: Option<u32>,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: None,
            on_connect: true,
            on_timeout: false,
            on_reset: true,
            on_status: Vec::new(),
            only_idempotent: true,
            budget: None,
        }
    }
}

pub(super) fn validate(file: &raw::File, server: &ServerSettings, root: &At<'_>) -> Option<Vec<Route>> {
    let at = &root.key("routes");
    let mut names = HashMap::new();
    let listeners: Vec<&str> = file.listeners.iter().map(|listener| &*listener.address).collect();
    let routes: Vec<Option<Route>> = file
        .routes
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            let (routes, at) = (at, at.index(index));
            if let Some(first) = names.insert(&raw.name, index) {
                let place = routes.index(first).seen_from(&at);
                at.key("name").error(
                    format!("route {}{place} has this name already", first + 1),
                    "give each route a name of its own: logs and metrics tell them apart by it",
                );
            }
            let matched = matches::validate(&raw.matches, &listeners, &at.key("match"));
            let upstream = raw.upstream.as_ref();
            let upstream = upstream
                .and_then(|name| known(name, &file.upstreams, "upstream", (root, &at.key("upstream"))));
            if raw.websocket {
                can_switch(raw, file, &at.key("websocket"));
            }
            let action = actions::validate(raw, upstream, matched.as_ref().map(|matched| &matched.path), &at);
            let middlewares = all(raw.middlewares.iter().enumerate().map(|(index, name)| {
                known(name, &file.middlewares, "middleware", (root, &at.key("middlewares").index(index)))
            }));
            Some(Route {
                name: Name::from(&*raw.name),
                matches: matched?,
                action: action?,
                websocket: raw.websocket,
                retry: raw.retry.as_ref().map_or_else(Retry::default, retry),
                timeout: raw.timeout_secs.map_or(server.upstream_timeout, limit),
                middlewares: middlewares?,
            })
        })
        .collect();
    // What could not be read of a match may be what makes it more specific.
    let sound = |index: usize| at.index(index).key("match").is_sound();
    let matched: Vec<_> = routes
        .iter()
        .enumerate()
        .map(|(index, route)| route.as_ref().filter(|_| sound(index)).map(|route| &route.matches))
        .collect();
    matches::ties(&matched, at);
    all(routes)
}

/// The schema has seen to words, statuses and the form of a percentage.
fn retry(raw: &raw::Retry) -> Retry {
    let percent = raw.budget.as_ref().and_then(|budget| budget.trim_end_matches('%').parse().ok());
    let mut retry = Retry {
        attempts: raw.attempts,
        only_idempotent: raw.only_idempotent.unwrap_or(true),
        budget: Some(percent.unwrap_or(20)),
        ..Retry::default()
    };
    if let Some(on) = &raw.on {
        let has = |word| on.iter().any(|on| matches!(on, raw::RetryOn::Word(other) if other == word));
        retry.on_connect = has("connect");
        retry.on_timeout = has("timeout");
        retry.on_reset = has("reset");
        let status = |on: &raw::RetryOn| match on {
            raw::RetryOn::Status(status) => Some(*status),
            raw::RetryOn::Word(_) => None,
        };
        retry.on_status = on.iter().filter_map(status).collect();
    }
    retry
}

/// In HTTP/2 there is no `Upgrade` (RFC 9113, section 8.2.2), and Pingora has no extended CONNECT in its place. With
/// `auto`, a request that may switch is sent over HTTP/1.1.
fn can_switch(raw: &raw::Route, file: &raw::File, at: &At<'_>) {
    let Some((name, upstream)) = raw.upstream.as_ref().and_then(|name| file.upstreams.get_key_value(name))
    else {
        return;
    };
    if matches!(upstream.protocol, raw::Protocol::H2 | raw::Protocol::H2c) {
        at.error_at_key(
            format!("WebSocket begins over HTTP/1.1, and upstream `{name}` speaks HTTP/2 only"),
            "write `protocol: h1` or `protocol: auto` in that upstream, or remove `websocket`",
        );
    }
}

/// A name that is defined. What is wrong with the definition is said there, and not again where it is used.
fn known<T>(
    name: &str,
    defined: &std::collections::BTreeMap<String, T>,
    what: &str,
    (root, at): (&At<'_>, &At<'_>),
) -> Option<Name> {
    if defined.contains_key(name) {
        return Some(Name::from(name));
    }
    if root.key(&format!("{what}s")).is_doubtful() {
        return None;
    }
    at.error(format!("there is no {what} `{name}`"), instead(name, defined.keys().map(String::as_str)));
    None
}
