//! Routing: from a request to the route that gets it.
//!
//! **Owns** the normalized path ([`path`]), the lookup, and what a route is once it is compiled: which upstream,
//! which middlewares in which phase. Compiled at load: a request pays for one lookup and for what its route
//! uses.
//!
//! **Offers** [`Router::find`] and [`Route`].
//!
//! **Knows nothing** of how an upstream chooses a server, nor of what a middleware does.
//!
//! Most specific first ([`crate::config::raw::Match`] has the whole order): host, then path, then conditions. There
//! is a tree for each host and each wildcard; its nodes hold candidates in their order, of which the first
//! gets the request whose conditions hold. Lesson 09 has the smallest of routers.

pub mod explain;
pub mod path;
pub mod rewrite;
mod rule;
mod table;
mod tree;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use pingora::http::RequestHeader;

use crate::config::{Address, HostRule, Listener, Match, Name, PathRule, Redirect, Respond, Rewrite};
use crate::middleware::Chain;
use crate::upstream::{Retry, Upstream};
use path::BadPath;
use rule::Rule;
use table::Table;
use tree::Tree;

/// The routes of each listener.
pub enum Routers<R = Arc<Route>> {
    /// All have the same.
    Same(Router<R>),
    /// Each has its own.
    Own(Vec<(Address, Router<R>)>),
}

impl<R: Clone> Routers<R> {
    /// Compiles routes, which are in the order of the file, for these listeners.
    pub fn new<'m>(
        listeners: &[Listener],
        routes: impl IntoIterator<Item = (&'m Match, R)> + Clone,
    ) -> Routers<R> {
        let scoped = |(matches, _): (&Match, R)| !matches.listeners.is_empty();
        if !routes.clone().into_iter().any(scoped) {
            return Routers::Same(Router::new(routes));
        }
        let own = |listener: &Listener| {
            let here = |(matches, _): &(&Match, R)| match &matches.listeners[..] {
                [] => !listener.is_service,
                named => named.contains(&listener.address),
            };
            (listener.address.clone(), Router::new(routes.clone().into_iter().filter(here)))
        };
        Routers::Own(listeners.iter().map(own).collect())
    }

    /// The route that gets this request, whose path is normalized. `came_in` says whether it came in at a listener;
    /// asked only where that matters.
    pub fn find(&self, request: &RequestHeader, came_in: impl Fn(&Address) -> bool) -> Option<&R> {
        match self {
            Routers::Same(router) => router.find(request),
            Routers::Own(routers) => routers.iter().find(|(address, _)| came_in(address))?.1.find(request),
        }
    }
}

/// Which requests go where, ready to be asked.
pub struct Router<R = Arc<Route>> {
    /// By whole names.
    hosts: Table<Tree<Arc<Rule<R>>>>,
    /// By what comes after the asterisk, with its dot.
    below: Table<Tree<Arc<Rule<R>>>>,
    /// For every host.
    any: Tree<Arc<Rule<R>>>,
}

/// What becomes of the requests that match.
pub struct Route {
    /// Its name in the configuration.
    pub name: Name,
    /// Which path it is for.
    pub path: PathRule,
    /// What becomes of them.
    pub action: Action,
    /// Whether a client may switch to WebSocket.
    pub websocket: bool,
    /// How long a request may take as a whole. `None`: as long as it likes.
    pub timeout: Option<Duration>,
    /// When a request is sent again.
    pub retry: Retry,
    /// The policies that apply.
    pub chain: Chain,
}

/// What becomes of requests.
pub enum Action {
    /// An upstream gets them, as this changes them.
    Proxy(Arc<Upstream>, Rewrite),
    /// They get this answer.
    Respond(Respond),
    /// They are sent elsewhere.
    Redirect(Redirect),
}

impl Route {
    /// Who answers, if that is not the gateway itself.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.action {
            Action::Proxy(upstream, _) => Some(upstream),
            Action::Respond(_) | Action::Redirect(_) => None,
        }
    }
}

impl<R: Clone> Router<R> {
    /// Compiles routes, which are in the order of the file.
    pub fn new<'m>(routes: impl IntoIterator<Item = (&'m Match, R)>) -> Router<R> {
        let mut rules: Vec<(&Match, Arc<Rule<R>>)> = routes
            .into_iter()
            .map(|(matches, route)| (matches, Arc::new(Rule::new(matches, route))))
            .collect();
        // Stable: what is equal stays in the order of the file.
        rules.sort_by_key(|(matches, _)| Reverse(matches.rank()));

        let mut any = Vec::new();
        let mut by_host: HashMap<&HostRule, Vec<_>> = HashMap::new();
        for (matches, rule) in rules {
            if matches.hosts.is_empty() {
                any.push((matches.path.clone(), rule.clone()));
            }
            for host in &matches.hosts {
                by_host.entry(host).or_default().push((matches.path.clone(), rule.clone()));
            }
        }
        let trees = |wildcard: bool| {
            let named = by_host.iter().filter_map(move |(host, rules)| match host {
                HostRule::Exact(name) if !wildcard => Some((&**name, rules)),
                HostRule::Below(name) if wildcard => Some((&**name, rules)),
                _ => None,
            });
            named.map(|(name, rules)| (name, Tree::new(rules))).collect()
        };
        Router { hosts: trees(false), below: trees(true), any: Tree::new(&any) }
    }

    /// The route that gets this request, whose path is normalized.
    pub fn find(&self, request: &RequestHeader) -> Option<&R> {
        let path = request.uri.path();
        if !(self.hosts.is_empty() && self.below.is_empty())
            && let Some(host) = host_of(request)
        {
            let trees = self.hosts.get(&host).into_iter();
            // The longest wildcard first.
            let dots = host.match_indices('.').map(|(at, _)| &host[at..]);
            for tree in trees.chain(dots.filter_map(|below| self.below.get(below))) {
                if let Some(route) = in_tree(tree, path, request) {
                    return Some(route);
                }
            }
        }
        in_tree(&self.any, path, request)
    }
}

fn in_tree<'r, R>(tree: &'r Tree<Arc<Rule<R>>>, path: &str, request: &RequestHeader) -> Option<&'r R> {
    tree.at(path).iter().find(|rule| rule.holds(request)).map(|rule| &rule.route)
}

/// The host that a request is for: in lower case, without its port and without a dot at its end.
pub fn host_of(request: &RequestHeader) -> Option<Cow<'_, str>> {
    let host = request.headers.get(header::HOST)?.to_str().ok()?;
    let name = match host.rfind(':') {
        // What stands in brackets is an address, and its colons are its own.
        Some(at) if !host[at..].contains(']') => &host[..at],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// What must go in place of the request's target, so that its path is normalized. `None` if it is already.
///
/// # Errors
/// If the path can be read in several ways.
pub fn normalized_target(request: &RequestHeader) -> Result<Option<String>, BadPath> {
    if !request.raw_path_is_utf8() {
        return Err(BadPath::Character);
    }
    let path = request.uri.path();
    let normal = path::normalize(path)?;
    // RFC 9112, section 3.2.1: an absolute form goes on in origin form.
    if matches!(normal, Cow::Borrowed(_)) && request.raw_path().first() == Some(&b'/') {
        return Ok(None);
    }
    let mut target = normal.into_owned();
    if let Some(query) = request.uri.query() {
        target.push('?');
        target.push_str(query);
    }
    Ok(Some(target))
}

#[cfg(test)]
mod tests;
