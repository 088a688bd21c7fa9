//! `routes`: which requests go where.

use std::collections::HashMap;
use std::time::Duration;

use super::diagnostic::instead;
use super::server::{ServerSettings, limit};
use super::{At, Name, all, raw};
use crate::route::path;

/// Which requests, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name; no other route has it.
    pub name: Name,
    /// Which requests.
    pub matches: Match,
    /// The upstream that gets them. It exists.
    pub upstream: Name,
    /// Whether a client may switch to WebSocket.
    pub websocket: bool,
    /// How long a request may take as a whole. `None`: as long as it likes.
    pub timeout: Option<Duration>,
    /// The policies that apply, in this order. They exist.
    pub middlewares: Vec<Name>,
}

/// What a request must look like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Match {
    /// Its path.
    pub path: PathRule,
}

/// Which paths. All are normalized ([`path::normalize`]), as the paths that they are compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// This one.
    Exact(String),
    /// This one and all below it. Without a slash at its end, so `/` is empty.
    Prefix(String),
}

pub(super) fn validate(file: &raw::File, server: &ServerSettings, at: &At<'_>) -> Option<Vec<Route>> {
    let mut names = HashMap::new();
    let mut matches = HashMap::new();
    all(file.routes.iter().enumerate().map(|(index, raw)| {
        let at = at.index(index);
        if let Some(first) = names.insert(&raw.name, index) {
            at.key("name").error(
                format!("route {} has this name already", first + 1),
                "give each route a name of its own: logs and metrics tell them apart by it",
            );
        }
        let rule = path_rule(&raw.matches, &at.key("match"));
        if let Some(rule) = &rule
            && at.key("match").is_sound()
            && let Some(first) = matches.insert(rule.clone(), index)
        {
            at.key("match").error_at_key(
                format!("route {} matches exactly the same requests", first + 1),
                "make one of the two more specific, or remove it",
            );
        }
        let upstream = known(&raw.upstream, &file.upstreams, "upstream", &at.key("upstream"));
        let middlewares = all(raw.middlewares.iter().enumerate().map(|(index, name)| {
            known(name, &file.middlewares, "middleware", &at.key("middlewares").index(index))
        }));
        Some(Route {
            name: Name::from(&*raw.name),
            matches: Match { path: rule? },
            upstream: upstream?,
            websocket: raw.websocket,
            timeout: raw.timeout_secs.map_or(server.upstream_timeout, limit),
            middlewares: middlewares?,
        })
    }))
}

/// A name that is defined. What is wrong with the definition is said there, and not again where it is used.
fn known<T>(
    name: &str,
    defined: &std::collections::BTreeMap<String, T>,
    what: &str,
    at: &At<'_>,
) -> Option<Name> {
    if defined.contains_key(name) {
        return Some(Name::from(name));
    }
    at.error(format!("there is no {what} `{name}`"), instead(name, defined.keys().map(String::as_str)));
    None
}

fn path_rule(raw: &raw::Match, at: &At<'_>) -> Option<PathRule> {
    match (&raw.path, &raw.path_prefix) {
        (Some(_), Some(_)) => {
            at.key("path").error_at_key(
                "`path` and `path_prefix` cannot both hold",
                "keep `path` for this path alone, or `path_prefix` for it and all below it",
            );
            None
        }
        (Some(path), None) => Some(PathRule::Exact(written(path, &at.key("path"))?)),
        (None, Some(prefix)) => {
            let prefix = written(prefix, &at.key("path_prefix"))?;
            Some(PathRule::Prefix(prefix.trim_end_matches('/').to_string()))
        }
        (None, None) => Some(PathRule::Prefix(String::new())),
    }
}

/// A path that a request can have once it is normalized. Any other would never match.
fn written(path: &str, at: &At<'_>) -> Option<String> {
    match path::normalize(path) {
        Ok(normal) if path.starts_with('/') && normal == path && !path.contains(['?', '#']) => {
            Some(path.to_string())
        }
        Ok(normal) if path.starts_with('/') && !path.contains(['?', '#']) => {
            at.error("no request has this path once its path is normalized", format!("write `{normal}`"));
            None
        }
        _ => {
            at.error(
                "this is not a path",
                "begin with `/`; no query, no backslash, and `%` only as part of an escape such as `%20`",
            );
            None
        }
    }
}
