//! What a request must be like beside its host and path.

use http::{HeaderName, Method};
use pingora::http::RequestHeader;

use crate::config::{Match, PathRule, ValueRule};

/// The conditions of a route, and what it leads to.
pub struct Rule<R> {
    path: PathRule,
    methods: Box<[Method]>,
    headers: Box<[(HeaderName, ValueRule)]>,
    query: Box<[(String, ValueRule)]>,
    /// What it leads to.
    pub route: R,
}

impl<R> Rule<R> {
    /// The conditions of a route.
    pub fn new(matches: &Match, route: R) -> Rule<R> {
        Rule {
            path: matches.path.clone(),
            methods: matches.methods.clone().into(),
            headers: matches.headers.clone().into(),
            query: matches.query.clone().into(),
            route,
        }
    }

    /// Whether the request, which has come here by its host and its path's tree, matches.
    pub fn holds(&self, request: &RequestHeader) -> bool {
        (self.methods.is_empty() || self.methods.contains(&request.method))
            && self.headers.iter().all(|(name, rule)| match request.headers.get(name) {
                Some(value) => is(rule, value.as_bytes()),
                None => false,
            })
            && (self.query.is_empty() || self.query_holds(request.uri.query().unwrap_or_default()))
            && match &self.path {
                PathRule::Pattern(pattern) => pattern.regex.is_match(request.uri.path()),
                PathRule::Exact(_) | PathRule::Prefix(_) => true,
            }
    }

    fn query_holds(&self, query: &str) -> bool {
        self.query.iter().all(|(wanted, rule)| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == wanted).is_some_and(|(_, value)| is(rule, value.as_bytes()))
        })
    }
}

fn is(rule: &ValueRule, value: &[u8]) -> bool {
    match rule {
        ValueRule::Present => true,
        ValueRule::Is(wanted) => wanted.as_bytes() == value,
    }
}
