//! The gateway as Pingora sees it: a table of contents. Each phase names its steps, in their order; what a step
//! does is elsewhere.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::*;
use pingora::protocols::http::HttpTask;
use pingora::proxy::{FailToProxy, Session};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use crate::context::Ctx;
use crate::listen::Guarded;
use crate::middleware::Phases;
use crate::rescue::{self, Refusal};
use crate::route::{Action, rewrite};
use crate::state::State;
use crate::upstream::Selection;
use crate::wire;
use crate::wire::forwarded::Hop;

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

    /// Refuses what two servers could read in two ways.
    fn check(&self, session: &Session) -> Result<()> {
        let raw = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
        if let Some(guarded) = session.stream().and_then(Guarded::of) {
            guarded.guard().free();
            let most = usize::try_from(guarded.guard().header_bytes()).unwrap_or(usize::MAX);
            if raw.as_ref().is_some_and(|raw| raw.len() > most) {
                return Refusal::LongHead.into_error();
            }
        }
        rescue::refuse(wire::head::check(session.req_header(), raw.as_deref()))
    }

    /// HTTP/2 has the host in `:authority`, HTTP/1.0 may have it in the target. Everybody here looks for it in one
    /// place.
    fn name_host(&self, session: &mut Session) -> Result<()> {
        let request = session.req_header_mut();
        if request.version != Version::HTTP_11
            && !request.headers.contains_key(header::HOST)
            && let Some(authority) = wire::head::authority(request).map(<[u8]>::to_vec)
        {
            request.insert_header(header::HOST, authority)?;
        }
        Ok(())
    }

    /// Which request this is, and whose.
    fn identify(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let id = wire::request_id::of(session.req_header());
        session.req_header_mut().insert_header(wire::request_id::NAME, id.clone())?;
        ctx.id = Some(id);
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        let state = self.state.load();
        let trusted = &state.trusted_proxies;
        let hop = Hop {
            peer,
            trusted: peer.is_some_and(|peer| wire::forwarded::contains(trusted, peer)),
            tls: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
        };
        ctx.client = wire::forwarded::client(session.req_header(), hop, trusted);
        ctx.hop = Some(hop);
        Ok(())
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

/// Routes that need no upstream.
impl Gateway {
    /// The gateway's own answer, where the route has one.
    async fn answer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(route) = ctx.route.clone() else { return Ok(false) };
        let (mut head, body) = match &route.action {
            Action::Proxy(..) => return Ok(false),
            Action::Respond(respond) => {
                let mut head = ResponseHeader::build(respond.status, Some(4))?;
                head.insert_header(header::CONTENT_TYPE, respond.content_type.clone())?;
                (head, respond.body.clone())
            }
            Action::Redirect(redirect) => {
                let tls = ctx.hop.is_some_and(|hop| hop.tls);
                let place = rewrite::location(redirect, &route.path, session.req_header(), tls);
                let Some(place) = rescue::refuse(place)? else { return Refusal::NoRoute.into_error() };
                let mut head = ResponseHeader::build(redirect.status, Some(4))?;
                head.insert_header(header::LOCATION, place)?;
                (head, Bytes::new())
            }
        };
        // RFC 9110, section 8.6: these announce no length.
        if head.status != StatusCode::NO_CONTENT {
            head.set_content_length(body.len())?;
        }
        self.response_filter(session, &mut head, ctx).await?;
        let ends = body.is_empty() || session.req_header().method == Method::HEAD;
        let mut tasks = vec![HttpTask::Header(Box::new(head), ends)];
        if !ends {
            tasks.push(HttpTask::Body(Some(body), true));
        }
        session.write_response_tasks(tasks).await?;
        Ok(true)
    }

    /// The target as the upstream is to see it.
    fn rewrite(&self, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
        let Some(route) = &ctx.route else { return Ok(()) };
        let Action::Proxy(_, changes) = &route.action else { return Ok(()) };
        if let Some(target) = rescue::refuse(rewrite::target(changes, &route.path, request))? {
            request.set_raw_path(target.as_bytes())?;
        }
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

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::default()
    }

    /// No modules: Pingora's compression would look at every answer, also where nothing is compressed.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        // What a client sends ahead is its next request, and not to be dropped (RFC 9112, section 9.3.2).
        session.set_pipelining_enabled(true);
        self.identify(session, ctx)?;
        self.check(session)?;
        self.name_host(session)?;
        self.normalize(session)?;
        self.route(session, ctx)?;
        if let Some(route) = ctx.route_using(Phases::REQUEST)
            && route.chain.request_filter(session, ctx).await?
        {
            return Ok(true);
        }
        self.answer(session, ctx).await
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        in_time(session, ctx)?;
        if let Some(route) = ctx.route_using(Phases::REQUEST_BODY) {
            route.chain.request_body_filter(session, body, end_of_stream, ctx).await?;
        }
        // HTTP/2 may end a body with an empty piece. Pingora 0.9.1 writes that as the chunk that ends a body, and
        // then ends it once more: the upstream would read the rest as a second request (lesson 40).
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        ctx.proxied = true;
        let Some(route) = &ctx.route else { return Refusal::NoRoute.into_error() };
        let left = rescue::refuse(ctx.tries.time_left())?;
        let selection =
            Selection { request: session.req_header(), client: ctx.client, tried: ctx.tries.failed() };
        let Some(upstream) = route.upstream() else { return Refusal::NoServer.into_error() };
        let Some(server) = upstream.pick(&selection) else { return Refusal::NoServer.into_error() };
        let mut peer = server.peer(left);
        let switches = route.websocket && session.is_upgrade_req();
        if !switches {
            peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        }
        ctx.server = Some(server);
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.rewrite(request, ctx)?;
        if let Some(hop) = ctx.hop {
            wire::forwarded::tell(request, hop)?;
        }
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
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            // From here on, silence is no fault.
            session.set_read_timeout(None);
        }
        let trailers = session.is_http2() && response.version == Version::HTTP_2;
        wire::hop::remove_from_response(response, trailers);
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
        if let Some(id) = &ctx.id
            && !response.status.is_informational()
        {
            response.insert_header(wire::request_id::NAME, id.clone())?;
        }
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
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let upstream = ctx.route.as_ref().and_then(|route| route.upstream());
        if let (Some(server), Some(upstream)) = (ctx.server.take(), upstream) {
            ctx.tries.add_failed(server.server().clone());
            error.set_retry(upstream.has_more(ctx.tries.failed()));
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        rescue::answer(session, error, ctx).await
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
