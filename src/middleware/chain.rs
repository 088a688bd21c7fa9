//! A route's policies, sorted by phase when the configuration is loaded.

use std::sync::Arc;

use bitflags::bitflags;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::proxy::Session;

use super::{Ctx, Middleware};

bitflags! {
    /// Phases of a request, see [`Middleware`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Phases: u8 {
        /// [`Middleware::request_filter`]
        const REQUEST = 1;
        /// [`Middleware::request_body_filter`]
        const REQUEST_BODY = 1 << 1;
        /// [`Middleware::upstream_request_filter`]
        const UPSTREAM_REQUEST = 1 << 2;
        /// [`Middleware::upstream_response_filter`]
        const UPSTREAM_RESPONSE = 1 << 3;
        /// [`Middleware::response_filter`]
        const RESPONSE = 1 << 4;
        /// [`Middleware::response_body_filter`]
        const RESPONSE_BODY = 1 << 5;
        /// [`Middleware::logging`]
        const LOGGING = 1 << 6;
    }
}

/// A policy, and its number in the chain, under which [`Ctx::local`] keeps its state.
#[derive(Clone)]
struct Link {
    number: usize,
    policy: Arc<dyn Middleware>,
}

/// The policies of a route. In every phase they run in the order in which the route names them.
pub struct Chain {
    used: Phases,
    request: Box<[Link]>,
    request_body: Box<[Link]>,
    upstream_request: Box<[Link]>,
    upstream_response: Box<[Link]>,
    response: Box<[Link]>,
    response_body: Box<[Link]>,
    logging: Box<[Link]>,
}

impl Chain {
    /// Sorts policies by phase.
    pub fn new(policies: impl IntoIterator<Item = Arc<dyn Middleware>>) -> Chain {
        let links = policies.into_iter().enumerate().map(|(number, policy)| Link { number, policy });
        let links: Vec<Link> = links.collect();
        let of = |phase| links.iter().filter(|link| link.policy.phases().contains(phase)).cloned().collect();
        Chain {
            used: links.iter().fold(Phases::empty(), |used, link| used | link.policy.phases()),
            request: of(Phases::REQUEST),
            request_body: of(Phases::REQUEST_BODY),
            upstream_request: of(Phases::UPSTREAM_REQUEST),
            upstream_response: of(Phases::UPSTREAM_RESPONSE),
            response: of(Phases::RESPONSE),
            response_body: of(Phases::RESPONSE_BODY),
            logging: of(Phases::LOGGING),
        }
    }

    /// Whether anybody has something to do in one of these phases.
    pub fn uses(&self, phases: Phases) -> bool {
        self.used.intersects(phases)
    }

    /// See [`Middleware::request_filter`]. Who answers is the last to be asked.
    pub async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        for link in &self.request {
            ctx.enter(link.number);
            if link.policy.request_filter(session, ctx).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// See [`Middleware::request_body_filter`].
    pub async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        for link in &self.request_body {
            ctx.enter(link.number);
            link.policy.request_body_filter(session, body, end_of_stream, ctx).await?;
        }
        Ok(())
    }

    /// See [`Middleware::upstream_request_filter`].
    pub fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.upstream_request.iter().try_for_each(|link| {
            ctx.enter(link.number);
            link.policy.upstream_request_filter(session, request, ctx)
        })
    }

    /// See [`Middleware::upstream_response_filter`].
    pub fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.upstream_response.iter().try_for_each(|link| {
            ctx.enter(link.number);
            link.policy.upstream_response_filter(session, response, ctx)
        })
    }

    /// See [`Middleware::response_filter`].
    pub fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.response.iter().try_for_each(|link| {
            ctx.enter(link.number);
            link.policy.response_filter(session, response, ctx)
        })
    }

    /// See [`Middleware::response_body_filter`].
    pub fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.response_body.iter().try_for_each(|link| {
            ctx.enter(link.number);
            link.policy.response_body_filter(session, body, end_of_stream, ctx)
        })
    }

    /// See [`Middleware::logging`].
    pub fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        for link in &self.logging {
            ctx.enter(link.number);
            link.policy.logging(session, error, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(Phases);

    impl Middleware for Only {
        fn phases(&self) -> Phases {
            self.0
        }
    }

    #[test]
    fn a_phase_that_nobody_declares_is_not_used() {
        let policies: [Arc<dyn Middleware>; 2] =
            [Arc::new(Only(Phases::REQUEST)), Arc::new(Only(Phases::RESPONSE | Phases::REQUEST))];
        let chain = Chain::new(policies);
        assert!(chain.uses(Phases::REQUEST) && chain.uses(Phases::RESPONSE));
        assert!(!chain.uses(Phases::LOGGING | Phases::REQUEST_BODY));
        let numbers = |links: &[Link]| links.iter().map(|link| link.number).collect::<Vec<_>>();
        assert_eq!(numbers(&chain.request), [0, 1]);
        assert_eq!(numbers(&chain.response), [1]);
        assert!(!Chain::new([]).uses(Phases::all()));
    }
}
