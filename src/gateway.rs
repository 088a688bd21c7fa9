//! The gateway as Pingora sees it: a table of contents. Each phase names its steps, in their order; what a step
//! does is elsewhere.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::RetryType;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::*;
use pingora::proxy::{FailToProxy, Session};
use pingora::upstreams::peer::HttpPeer;

use crate::context::Ctx;
use crate::middleware::Phases;
use crate::rescue::{self, Refusal};
use crate::state::State;
use crate::upstream::{Failure, Replay, Selection};

/// The one proxy behind all listeners.
pub struct Gateway {
    /// Where requests go. A request uses one state from its beginning to its end.
    state: Arc<ArcSwap<State>>,
}

impl Gateway {
    /// A gateway for this state, which whoever holds the other end may swap.
    pub fn new(state: Arc<ArcSwap<State>>) -> Gateway {
        Gateway { state }
    }

    /// The path as everybody will see it from here on.
    fn normalize(&self, session: &mut Session) -> Result<()> {
        let request = session.req_header_mut();
        if let Some(target) = rescue::refuse(crate::route::normalized_target(request))? {
            request.set_raw_path(target.as_bytes())?;
        }
        Ok(())
    }

    fn route(&self, session: &Session, ctx: &mut Ctx) -> Result<()> {
        ctx.route = self.state.load().router.find(session.req_header()).cloned();
        let Some(route) = &ctx.route else { return Refusal::NoRoute.into_error() };
        ctx.tries.start(route.timeout);
        Ok(())
    }
}

/// Pingora's timeouts are for single steps, so a body that drips would never end. What was upgraded has no end.
fn in_time(session: &Session, ctx: &Ctx) -> Result<()> {
    match ctx.tries.time_left() {
        Err(over) if !session.was_upgraded() => Refusal::from(over).into_error(),
        _ => Ok(()),
    }
}

/// What the request permits, should it have to be sent again.
fn replay(session: &Session) -> Replay {
    // An informational answer ends nothing; the one that switches protocols does.
    let begun = |head: &ResponseHeader| !head.status.is_informational() || head.status.as_u16() == 101;
    Replay {
        idempotent: session.req_header().method.is_idempotent(),
        whole: !session.as_ref().retry_buffer_truncated() && !session.response_written().is_some_and(begun),
    }
}

/// The server learns how it has done, and an answer that its route minds is not passed on if there is another
/// way.
fn judge_answer(session: &Session, response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    let status = response.status.as_u16();
    if response.status.is_informational() && status != 101 {
        return Ok(());
    }
    if let Some(server) = &mut ctx.server {
        server.answered(status);
    }
    let minds = ctx.route.as_ref().is_some_and(|route| route.retry.minds(status));
    if minds && ctx.may_try_again(Failure::Status(status), replay(session)) {
        ctx.tries.set_again();
        return Error::e_explain(HTTPStatus(status), "the route minds this answer");
    }
    Ok(())
}

/// The client learns which server it is to come back to. Here, where answers from a cache have no server.
fn stick(session: &Session, response: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    let (Some(route), Some(server)) = (&ctx.route, &ctx.server) else { return Ok(()) };
    if !route.upstream.is_sticky() || response.status.is_informational() {
        return Ok(());
    }
    let secure = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    if let Some(cookie) = route.upstream.cookie_for(server.server(), session.req_header(), secure) {
        response.append_header(http::header::SET_COOKIE, cookie)?;
    }
    Ok(())
}

/// Whether this request is sent again after an error with a connection.
fn try_again(session: &Session, error: &Error, ctx: &mut Ctx, reused: bool) -> bool {
    if ctx.tries.take_again() {
        return true;
    }
    if !matches!(error.esource(), ErrorSource::Upstream) {
        return false;
    }
    let replay = replay(session);
    // A connection that was kept and has been closed meanwhile says nothing about the server. Still only what is
    // idempotent: it may have closed after it read the request (RFC 9112 section 9.3.1).
    let stale = reused && matches!(error.retry, RetryType::ReusedOnly | RetryType::Decided(true));
    if stale && replay.idempotent && replay.whole && ctx.tries.demand_fresh() {
        return true;
    }
    let failure = match error.etype() {
        ReadTimedout | WriteTimedout => Failure::Timeout,
        _ => Failure::Reset,
    };
    ctx.may_try_again(failure, replay)
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::default()
    }

    /// No modules: Pingora's compression would look at every answer, also where nothing is compressed.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        self.normalize(session)?;
        self.route(session, ctx)?;
        match ctx.route_using(Phases::REQUEST) {
            Some(route) => route.chain.request_filter(session, ctx).await,
            None => Ok(false),
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        in_time(session, ctx)?;
        match ctx.route_using(Phases::REQUEST_BODY) {
            Some(route) => route.chain.request_body_filter(session, body, end_of_stream, ctx).await,
            None => Ok(()),
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let Some(route) = &ctx.route else { return Refusal::NoRoute.into_error() };
        let left = rescue::refuse(ctx.tries.time_left())?;
        let number = ctx.tries.begin();
        if let (true, Some(server)) = (ctx.tries.is_fresh(), &ctx.server) {
            return Ok(server.peer(left, true));
        }
        if number == 1 {
            route.retry.begin();
        }
        let client = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        let selection = Selection { request: session.req_header(), client, tried: ctx.tries.failed() };
        let Some(server) = route.upstream.pick(&selection) else { return Refusal::NoServer.into_error() };
        let peer = server.peer(left, false);
        ctx.server = Some(server);
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        match ctx.route_using(Phases::UPSTREAM_REQUEST) {
            Some(route) => route.chain.upstream_request_filter(session, request, ctx),
            None => Ok(()),
        }
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        judge_answer(session, response, ctx)?;
        match ctx.route_using(Phases::UPSTREAM_RESPONSE) {
            Some(route) => route.chain.upstream_response_filter(session, response, ctx),
            None => Ok(()),
        }
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        stick(session, response, ctx)?;
        match ctx.route_using(Phases::RESPONSE) {
            Some(route) => route.chain.response_filter(session, response, ctx),
            None => Ok(()),
        }
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<std::time::Duration>> {
        in_time(session, ctx)?;
        if let Some(route) = ctx.route_using(Phases::RESPONSE_BODY) {
            route.chain.response_body_filter(session, body, end_of_stream, ctx)?;
        }
        Ok(None)
    }

    /// No connection, so nothing was sent: whoever is left may be asked.
    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(ctx.may_try_again(Failure::Connect, replay(session)));
        error
    }

    /// Something was sent, perhaps. Whether it may be sent again depends on the request, and on the route.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        let again = try_again(session, &error, ctx, reused);
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _ctx: &mut Ctx) -> FailToProxy {
        rescue::answer(session, error).await
    }

    /// What a client did wrong is an answer, not an incident.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, error: &Error) -> bool {
        matches!(error.etype(), HTTPStatus(400..=499))
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        if let Some(route) = ctx.route_using(Phases::LOGGING) {
            route.chain.logging(session, error, ctx);
        }
    }
}
