//! What one request remembers from phase to phase.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::{Extensions, HeaderValue, Version, header};
use pingora::prelude::*;
use pingora::proxy::Session;

use crate::middleware::Phases;
use crate::observe::access::Entry;
use crate::route::Route;
use crate::upkeep::BusyGuard;
use crate::upstream::{Failure, InFlight, Replay, Tries};
use crate::wire::forwarded::Hop;
use crate::wire::present::Present;

/// A request's memory. Empty until something has to be remembered: making one allocates nothing.
#[derive(Default)]
pub struct Ctx {
    /// When it began, if anybody wants to know.
    pub(crate) begun: Option<Instant>,
    /// Counts it for as long as it lives.
    pub(crate) busy: Option<BusyGuard>,
    /// Its name in logs, on both sides.
    pub(crate) id: Option<HeaderValue>,
    /// What it came with.
    pub(crate) present: Present,
    /// What brought it.
    pub(crate) hop: Option<Hop>,
    /// Who sent it.
    pub(crate) client: Option<IpAddr>,
    /// Whether it is in the hands of the proxying, which has its own idea of when a connection is kept.
    pub(crate) proxied: bool,
    /// The route that got the request; `None` before routing, and if there is none.
    pub(crate) route: Option<Arc<Route>>,
    /// The server that is working on it.
    pub(crate) server: Option<InFlight>,
    /// Whether its upstream was asked to switch protocols.
    pub(crate) switches: bool,
    /// Whether its answer is one without a body.
    pub(crate) bodiless: bool,
    /// Its time, and who has failed it.
    pub(crate) tries: Tries,
    /// What policies remember, by their number in the chain.
    locals: Vec<Extensions>,
    /// The number of the policy that is running.
    running: usize,
}

impl Ctx {
    /// The route that got the request.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_deref()
    }

    /// Who sent the request: the address that connected or, behind `server.trusted_proxies`, the one that they
    /// vouch for. `None` on a Unix socket.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The request's `X-Request-Id`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref()?.to_str().ok()
    }

    /// The state that the policy that is running keeps about this request. Each policy of a route has its own,
    /// two of the same kind too.
    ///
    /// ```
    /// # use pingora_city::middleware::Ctx;
    /// # let mut ctx = Ctx::default();
    /// *ctx.local::<u64>() += 100; // bytes seen so far, say
    /// assert_eq!(*ctx.local::<u64>(), 100);
    /// ```
    pub fn local<T: Clone + Default + Send + Sync + 'static>(&mut self) -> &mut T {
        if self.locals.len() <= self.running {
            self.locals.resize_with(self.running + 1, Extensions::new);
        }
        self.locals[self.running].get_or_insert_default()
    }

    /// Whether the request is tried again after this failure of the server that has it. Of an answer that is not
    /// passed on, the server remains at work if there is no other way.
    pub(crate) fn may_try_again(&mut self, failure: Failure, replay: Replay) -> bool {
        let (Some(server), Some(route)) = (&mut self.server, &self.route) else { return false };
        self.tries.add_failed(server.server().clone());
        if !matches!(failure, Failure::Status(_)) {
            server.failed();
            // Its breaker learns of it before anybody is chosen again.
            self.server = None;
        }
        let Some(upstream) = route.upstream() else { return false };
        let again = route.retry.allows(failure, replay, &mut self.tries, upstream);
        if again {
            self.server = None;
        }
        again
    }

    /// The server that was asked last, also if it has failed.
    pub(crate) fn asked_last(&self) -> Option<SocketAddr> {
        let failed = || self.tries.failed().last().map(|server| server.address);
        self.server.as_ref().map(|server| server.server().address).or_else(failed)
    }

    pub(crate) fn enter(&mut self, number: usize) {
        self.running = number;
    }

    /// Whether nobody but the upstream has something to say to the request.
    pub(crate) fn goes_straight_on(&self) -> bool {
        let route = self.route.as_ref();
        route.is_some_and(|route| route.upstream().is_some() && !route.chain.uses(Phases::REQUEST))
    }

    /// The route, if its policies have something to do in one of these phases.
    pub(crate) fn route_using(&self, phases: Phases) -> Option<Arc<Route>> {
        self.route.as_ref().filter(|route| route.chain.uses(phases)).cloned()
    }
}

/// What the access log says of a request.
pub fn entry<'e>(session: &'e Session, error: Option<&'e Error>, ctx: &'e Ctx) -> Entry<'e> {
    let request = session.req_header();
    let is_upstream = error.is_some_and(|error| *error.esource() == ErrorSource::Upstream);
    Entry {
        level: if is_upstream { "WARN" } else { "INFO" },
        path: request.uri.path(),
        method: request.method.as_str(),
        host: request.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
        protocol: match request.version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_11 => "HTTP/1.1",
            _ => "HTTP/1.0",
        },
        route: ctx.route().map(|route| &*route.name),
        upstream: ctx.route().and_then(|route| route.upstream()).map(|upstream| &*upstream.name),
        server: ctx.asked_last(),
        tries: ctx.tries.count(),
        status: session.response_written().map_or(0, |response| response.status.as_u16()),
        duration_ms: ctx
            .begun
            .map_or(0, |begun| u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)),
        bytes: session.body_bytes_sent(),
        client: ctx.client,
        request_id: ctx.id(),
        user_agent: request
            .headers
            .get(header::USER_AGENT)
            .map(|agent| String::from_utf8_lossy(agent.as_bytes())),
        error: error.map(|error| error.etype().as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_a_state_of_its_own() {
        let mut ctx = Ctx::default();
        ctx.enter(2);
        *ctx.local::<u64>() += 1;
        ctx.enter(0);
        assert_eq!(*ctx.local::<u64>(), 0);
        ctx.enter(2);
        assert_eq!(*ctx.local::<u64>(), 1);
    }
}
