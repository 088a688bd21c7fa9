//! Why a request goes where it goes.
//!
//! Nothing here decides: the router is asked about all routes for the decision, and about single conditions for
//! the reasons. What is said so agrees with what requests do.

use pingora::http::RequestHeader;

use super::Router;
use crate::config::{HostRule, Match, PathRule, Route, ValueRule};

/// What becomes of a route in the competition for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gets the request.
    Wins,
    /// It matches, but another that matches is more specific.
    LessSpecific,
    /// It does not match: each condition that does not hold.
    Fails(Vec<String>),
}

/// What becomes of each route, for a request whose path is normalized.
pub fn explain(routes: &[Route], request: &RequestHeader) -> Vec<Verdict> {
    let router = Router::new(routes.iter().enumerate().map(|(index, route)| (&route.matches, index)));
    let winner = router.find(request).copied();
    let verdict = |(index, route): (usize, &Route)| {
        if winner == Some(index) {
            return Verdict::Wins;
        }
        if holds(&route.matches, request) {
            return Verdict::LessSpecific;
        }
        let failing = conditions(&route.matches).into_iter().filter(|(alone, _)| !holds(alone, request));
        Verdict::Fails(failing.map(|(_, said)| format!("not {said}")).collect())
    };
    routes.iter().enumerate().map(verdict).collect()
}

fn holds(matches: &Match, request: &RequestHeader) -> bool {
    Router::new([(matches, ())]).find(request).is_some()
}

/// Each condition as a match of its own, and in words.
fn conditions(matches: &Match) -> Vec<(Match, String)> {
    let any = || Match {
        hosts: Vec::new(),
        path: PathRule::Prefix(String::new()),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
    };
    let mut found = Vec::new();
    if !matches.hosts.is_empty() {
        let hosts = matches.hosts.iter().map(|host| match host {
            HostRule::Exact(name) => name.clone(),
            HostRule::Below(name) => format!("*{name}"),
        });
        let said = format!("host {}", or(hosts));
        found.push((Match { hosts: matches.hosts.clone(), ..any() }, said));
    }
    let path = match &matches.path {
        PathRule::Exact(path) => Some(format!("path {path}")),
        PathRule::Prefix(prefix) if prefix.is_empty() => None,
        PathRule::Prefix(prefix) => Some(format!("path {prefix} or below it")),
        PathRule::Pattern(pattern) => Some(format!("path like {}", pattern.regex.as_str())),
    };
    if let Some(said) = path {
        found.push((Match { path: matches.path.clone(), ..any() }, said));
    }
    if !matches.methods.is_empty() {
        let said = format!("method {}", or(matches.methods.iter().map(ToString::to_string)));
        found.push((Match { methods: matches.methods.clone(), ..any() }, said));
    }
    for (name, rule) in &matches.headers {
        let said = format!("header {name}{}", value(rule));
        found.push((Match { headers: vec![(name.clone(), rule.clone())], ..any() }, said));
    }
    for (name, rule) in &matches.query {
        let said = format!("parameter {name}{}", value(rule));
        found.push((Match { query: vec![(name.clone(), rule.clone())], ..any() }, said));
    }
    found
}

fn value(rule: &ValueRule) -> String {
    match rule {
        ValueRule::Present => String::new(),
        ValueRule::Is(value) => format!("={value}"),
    }
}

fn or(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" or ")
}

/// In words: `host api.example.com, path /users or below it`.
impl std::fmt::Display for Match {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said: Vec<String> = conditions(self).into_iter().map(|(_, said)| said).collect();
        f.write_str(if said.is_empty() { "every request" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}
