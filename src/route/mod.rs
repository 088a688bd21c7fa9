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
//! Most specific first: an exact path before any prefix, a longer prefix before a shorter one. Two routes that
//! match exactly the same requests are a configuration error. Lesson 09 has the smallest of routers.

pub mod path;
mod tree;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use pingora::http::RequestHeader;

use crate::config::{Name, PathRule};
use crate::middleware::Chain;
use crate::upstream::Upstream;
use path::BadPath;
use tree::Tree;

/// Which requests go where, ready to be asked.
pub struct Router {
    tree: Tree<Arc<Route>>,
}

/// What becomes of the requests that match.
pub struct Route {
    /// Its name in the configuration.
    pub name: Name,
    /// Who answers them.
    pub upstream: Arc<Upstream>,
    /// Whether a client may switch to WebSocket.
    pub websocket: bool,
    /// How long a request may take as a whole.
    pub timeout: Option<Duration>,
    /// The policies that apply.
    pub chain: Chain,
}

impl Router {
    /// Compiles routes.
    pub fn new(routes: &[(PathRule, Arc<Route>)]) -> Router {
        Router { tree: Tree::new(routes) }
    }

    /// The route that gets this request, whose path is normalized.
    pub fn find(&self, request: &RequestHeader) -> Option<&Arc<Route>> {
        self.tree.at(request.uri.path()).first()
    }
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
