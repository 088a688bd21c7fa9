//! Why a request goes where it goes.
//!
//! Nothing here decides: the router is asked about all routes for the decision, and about single conditions for
//! the reasons. What is said so agrees with what requests do.

use pingora::http::RequestHeader;

use super::{Router, Routers};
use crate::config::{Address, HostRule, Listener, Match, PathRule, Route, ValueRule};

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

/// What becomes of each route, for a request that came in here, and whose path is normalized.
pub fn explain(
    listeners: &[Listener],
    routes: &[Route],
    came_in: &Listener,
    request: &RequestHeader,
) -> Vec<Verdict> {
    let numbers = routes.iter().enumerate().map(|(index, route)| (&route.matches, index));
    let routers = Routers::new(listeners, numbers);
    let winner = routers.find(request, |address| *address == came_in.address).copied();
    let elsewhere = |matches: &Match| match &matches.listeners[..] {
        [] => came_in.is_service,
        named => !named.contains(&came_in.address),
    };
    let verdict = |(index, route): (usize, &Route)| {
        if winner == Some(index) {
            return Verdict::Wins;
        }
        let there = elsewhere(&route.matches);
        if !there && holds(&route.matches, request) {
            return Verdict::LessSpecific;
        }
        let place = there.then(|| match &route.matches.listeners[..] {
            [] => "not at one of `listeners`".to_string(),
            named => format!("not {}", at(named)),
        });
        let failing = conditions(&route.matches).into_iter().filter(|(alone, _)| !holds(alone, request));
        Verdict::Fails(place.into_iter().chain(failing.map(|(_, said)| format!("not {said}"))).collect())
    };
    routes.iter().enumerate().map(verdict).collect()
}

fn holds(matches: &Match, request: &RequestHeader) -> bool {
    Router::new([(matches, ())]).find(request).is_some()
}

/// Where a request must have come in, in words.
fn at(listeners: &[Address]) -> String {
    format!("at {}", or(listeners.iter().map(ToString::to_string)))
}

/// Each condition on the request itself as a match of its own, and in words.
fn conditions(matches: &Match) -> Vec<(Match, String)> {
    let any = Match::all;
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
        PathRule::Pattern(pattern) => Some(format!("path like {}", pattern.written())),
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
        let place = (!self.listeners.is_empty()).then(|| at(&self.listeners));
        let said: Vec<String> =
            place.into_iter().chain(conditions(self).into_iter().map(|(_, said)| said)).collect();
        f.write_str(if said.is_empty() { "every request" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}
