//! The gateway: a table of contents. Each of Pingora's phases names its steps, in their order; what a step does is
//! elsewhere. [`crate::phases`] is where Pingora calls them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use crate::config::{Address, Protocol};
use crate::context::{self, Ctx};
use crate::faults;
use crate::listen::{self, Guard};
use crate::middleware::Phases;
use crate::observe::access::AccessLog;
use crate::rescue::{self, Refusal};
use crate::route::{Action, rewrite};
use crate::state::State;
use crate::switching;
use crate::upkeep::Work;
use crate::upstream::{Failure, Selection};
use crate::wire;
use crate::wire::forwarded::{Hop, Peer};
use crate::wire::framing::Body;
use crate::wire::present::Present;
use crate::wire::response::BadAnswer;

/// The one proxy behind all listeners.
pub struct Gateway {
    /// Where requests go. A request uses one state from its beginning to its end.
    state: Arc<ArcSwap<State>>,
    pub(crate) access: Option<Arc<AccessLog>>,
    pub(crate) work: Work,
}

impl Gateway {
    /// A gateway for this state, which whoever holds the other end may swap.
    pub fn new(state: Arc<ArcSwap<State>>, access: Option<Arc<AccessLog>>, work: Work) -> Gateway {
        Gateway { state, access, work }
    }

    /// Refuses what two servers could read in two ways.
    fn check(&self, session: &Session, ctx: &Ctx) -> Result<()> {
        let raw = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
        let request = session.req_header();
        let judged = wire::head::check(request, raw.as_deref(), ctx.present);
        let Some(guard) = listen::guard(session) else { return rescue::refuse(judged) };
        // First what ends the connection: where the next request begins is not known.
        if judged.is_err() {
            guard.free();
        }
        rescue::refuse(judged)?;
        rescue::refuse(guard.expect_body(Body::of(request, ctx.present)))?;
        let most = usize::try_from(guard.header_bytes()).unwrap_or(usize::MAX);
        match raw.is_some_and(|raw| raw.len() > most) {
            true => Refusal::LongHead.into_error(),
            false => Ok(()),
        }
    }

    /// Which request this is, and whose.
    fn identify(&self, session: &Session, ctx: &mut Ctx, state: &State) {
        ctx.present = Present::of(&session.req_header().headers);
        ctx.id = Some(wire::request_id::of(session.req_header(), ctx.present));
        let peer = listen::guard(session).and_then(|guard| guard.peer().cloned());
        // The streams of HTTP/2 are not the one that is guarded.
        let peer = peer.or_else(|| Some(Arc::new(Peer::new(session.client_addr()?.as_inet()?.ip()))));
        let trusted = &state.trusted_proxies;
        let hop = Hop {
            trusted: peer.as_ref().is_some_and(|peer| wire::forwarded::contains(trusted, peer.address)),
            peer,
            tls: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
        };
        ctx.client = wire::forwarded::client(session.req_header(), &hop, trusted);
        ctx.hop = Some(hop);
    }

    /// The path as everybody will see it from here on.
    fn normalize(&self, session: &mut Session) -> Result<()> {
        let request = session.req_header_mut();
        if let Some(target) = rescue::refuse(crate::route::normalized_target(request))? {
            request.set_raw_path(target.as_bytes())?;
        }
        Ok(())
    }

    fn route(&self, session: &Session, ctx: &mut Ctx, state: &State) -> Result<()> {
        let came_in = |address: &Address| listen::came_in(session, address);
        ctx.route = state.routers.find(session.req_header(), came_in).cloned();
        let Some(route) = &ctx.route else { return Refusal::NoRoute.into_error() };
        ctx.tries.start(route.timeout);
        Ok(())
    }
}

/// Routes that need no upstream.
impl Gateway {
    /// The gateway's own answer, where the route has one.
    async fn answer(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
        let Some(route) = &ctx.route else { return Ok(false) };
        let (mut head, body) = match &route.action {
            Action::Proxy(..) => return Ok(false),
            Action::Respond(respond) => {
                let mut head = ResponseHeader::build(respond.status, Some(4))?;
                head.insert_header(header::CONTENT_TYPE, respond.content_type.clone())?;
                (head, respond.body.clone())
            }
            Action::Redirect(redirect) => {
                let tls = ctx.hop.as_ref().is_some_and(|hop| hop.tls);
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
        self.response_filter(session, &mut head, ctx)?;
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
        if changes.is_none() {
            return Ok(());
        }
        let target = rescue::refuse(rewrite::target(changes, &route.path, request))?;
        request.set_raw_path(target.as_bytes())
    }

    /// What the gateway itself has to say to the upstream.
    fn tell(&self, session: &Session, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
        speaks_as_agreed(request, ctx)?;
        self.rewrite(request, ctx)?;
        if let Some(hop) = &ctx.hop {
            wire::forwarded::tell(request, hop, ctx.client, ctx.present.contains(Present::TOLD))?;
        }
        if let Some(server) = &ctx.server
            && session.req_header().version <= Version::HTTP_10
        {
            wire::head::complete(request, server.server().address)?;
        }
        if ctx.present.contains(Present::COOKIE) {
            wire::cookies::join(request)?;
        }
        wire::hop::announce_trailers(request)?;
        match &ctx.id {
            Some(id) => wire::request_id::tell(request, id.clone(), ctx.present),
            None => Ok(()),
        }
    }
}

/// HTTP/2 has the host in `:authority`, HTTP/1.0 may have it in the target. Everybody here looks for it in one place.
#[cold]
fn name_host(session: &mut Session) -> Result<()> {
    if session.req_header().version <= Version::HTTP_10 {
        // RFC 9110, section 15.2: it knows of no answers before the answer.
        session.set_ignore_info_resp(true);
    }
    let request = session.req_header_mut();
    if !request.headers.contains_key(header::HOST)
        && let Some(authority) = wire::head::authority(request).map(<[u8]>::to_vec)
    {
        request.insert_header(header::HOST, authority)?;
    }
    Ok(())
}

/// Pingora's timeouts are for single steps, so a body that drips would never end. What was upgraded has no end.
fn in_time(session: &Session, ctx: &Ctx) -> Result<()> {
    match ctx.tries.time_left() {
        Err(over) if !session.was_upgraded() => Refusal::from(over).into_error(),
        _ => Ok(()),
    }
}

/// HTTP/2 may end a body with an empty piece. Pingora 0.9.1 writes that as the chunk that ends a body, and then ends it
/// once more: the upstream would read the rest as a second request (lesson 40).
fn unend(body: &mut Option<Bytes>, end: bool) {
    if end && body.as_ref().is_some_and(Bytes::is_empty) {
        *body = None;
    }
}

/// An upstream sees an `Upgrade` only where the route lets clients switch, and nothing that ends at this hop.
fn with_policy(mut peer: Box<HttpPeer>, session: &Session, ctx: &Ctx) -> Box<HttpPeer> {
    if ctx.switches {
        return switching::peer_for(peer, session);
    }
    peer.options.http_upstream_request_policy = match ctx.present.intersects(Present::HOP) {
        true => HttpUpstreamRequestPolicy::deny_upgrades(),
        // There is nothing to deny, and nothing to remove: Pingora would look for each of a dozen names.
        false => HttpUpstreamRequestPolicy::preserve(),
    };
    peer
}

/// Where HTTP/2 is wanted, a server that does not agree to it is none of this group.
fn speaks_as_agreed(request: &RequestHeader, ctx: &Ctx) -> Result<()> {
    let upstream = ctx.route.as_ref().and_then(|route| route.upstream());
    let wants_h2 = upstream.is_some_and(|upstream| upstream.config.protocol == Protocol::H2);
    if wants_h2 && request.version != Version::HTTP_2 {
        return Err(Error::explain(H2Error, "the server does not speak HTTP/2").into_up());
    }
    Ok(())
}

/// What policies change of what an upstream is asked.
fn amend(session: &mut Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    match ctx.route_using(Phases::UPSTREAM_REQUEST) {
        Some(route) => route.chain.upstream_request_filter(session, request, ctx),
        None => Ok(()),
    }
}

/// A client that waits to be asked for its body is asked by its upstream. One of HTTP/2 is not heard by Pingora before
/// its answer, so there the client is asked here.
async fn ask_for_body(session: &mut Session, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let upstream = ctx.route.as_ref().and_then(|route| route.upstream());
    if upstream.is_none_or(|upstream| upstream.config.protocol == Protocol::H1) {
        return Ok(());
    }
    let Some(expect) = request.remove_header(&header::EXPECT) else { return Ok(()) };
    if expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
        && session.req_header().version == Version::HTTP_11
        && !session.is_body_done()
    {
        Box::pin(session.write_continue_response()).await?;
    }
    Ok(())
}

/// The client learns which server it is to come back to. Here, where answers from a cache have no server.
fn stick(session: &Session, response: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    let (Some(route), Some(server)) = (&ctx.route, &ctx.server) else { return Ok(()) };
    let Some(upstream) = route.upstream().filter(|upstream| upstream.is_sticky()) else { return Ok(()) };
    if response.status.is_informational() {
        return Ok(());
    }
    let secure = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    if let Some(cookie) = upstream.cookie_for(server.server(), session.req_header(), secure) {
        response.append_header(http::header::SET_COOKIE, cookie)?;
    }
    Ok(())
}

/// Pingora's phases, in their order.
impl Gateway {
    /// The first: everything up to the route.
    pub(crate) fn receive(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<()> {
        // What a client sends ahead is its next request, and not to be dropped (RFC 9112, section 9.3.2).
        session.set_pipelining_enabled(true);
        let state = self.state.load();
        self.identify(session, ctx, &state);
        self.check(session, ctx)?;
        if session.req_header().version != Version::HTTP_11 {
            name_host(session)?;
        }
        self.normalize(session)?;
        self.route(session, ctx, &state)
    }

    /// What a route's policies and the route itself have to say, before or instead of an upstream.
    pub(crate) async fn decide(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
        if let Some(route) = ctx.route_using(Phases::REQUEST) {
            if route.chain.request_filter(session, ctx).await? {
                return Ok(true);
            }
            // A policy may have changed it.
            ctx.present = Present::of(&session.req_header().headers);
        }
        self.answer(session, ctx).await
    }

    /// A piece of a body that no policy wants to see.
    pub(crate) fn request_body(
        &self,
        session: &Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &Ctx,
    ) -> Result<()> {
        if body.is_some() || !end {
            in_time(session, ctx).map_err(rescue::of_body)?;
        }
        unend(body, end);
        Ok(())
    }

    /// A piece of a body, for policies.
    pub(crate) async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        in_time(session, ctx).map_err(rescue::of_body)?;
        if let Some(route) = ctx.route_using(Phases::REQUEST_BODY) {
            route.chain.request_body_filter(session, body, end, ctx).await.map_err(rescue::of_body)?;
        }
        unend(body, end);
        Ok(())
    }

    pub(crate) fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<Box<HttpPeer>> {
        ctx.proxied = true;
        let Some(route) = &ctx.route else { return Refusal::NoRoute.into_error() };
        let left = match ctx.tries.count() {
            // Its time has just begun, and to look at the clock again would cost more than it finds.
            0 if !ctx.tries.is_fresh() && ctx.goes_straight_on() => route.timeout,
            _ => rescue::refuse(ctx.tries.time_left())?,
        };
        let number = ctx.tries.begin();
        ctx.switches = switching::is_asked_for(session, ctx);
        if number > 1 {
            // Whoever has seen it meanwhile may have changed it.
            ctx.present = Present::of(&session.req_header().headers);
        }
        // Who asks before it sends its body may hear the answer first, and what then follows on the connection is
        // anybody's guess: nobody shares it.
        let alone = ctx.present.contains(Present::EXPECT);
        if let (true, Some(server)) = (ctx.tries.is_fresh(), &ctx.server) {
            return Ok(with_policy(server.peer(left, true), session, ctx));
        }
        if number == 1 {
            route.retry.begin();
        }
        let selection =
            Selection { request: session.req_header(), client: ctx.client, tried: ctx.tries.failed() };
        let Some(upstream) = route.upstream() else { return Refusal::NoServer.into_error() };
        let Some(server) = upstream.pick(&selection) else { return Refusal::NoServer.into_error() };
        let peer = with_policy(server.peer(left, alone), session, ctx);
        ctx.server = Some(server);
        Ok(peer)
    }

    /// What the upstream is asked, where nothing has to be waited for.
    pub(crate) fn upstream_request(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        self.tell(session, request, ctx)?;
        amend(session, request, ctx)
    }

    /// The same for a client that waits to be asked for its body.
    pub(crate) async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        self.tell(session, request, ctx)?;
        ask_for_body(session, request, ctx).await?;
        amend(session, request, ctx)
    }

    pub(crate) fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let present = Present::of(&response.headers);
        wire::response::check(response, present, ctx.switches).map_err(BadAnswer::into_error)?;
        faults::judge_answer(session, response, ctx)?;
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            switching::begin(session);
        }
        if response.version == Version::HTTP_2 && !session.is_body_done() {
            // It may want no more of the body, and Pingora then leaves the rest unread.
            session.set_keepalive(None);
        }
        wire::hop::remove_from_response(response, present, session.is_http2());
        match ctx.route_using(Phases::UPSTREAM_RESPONSE) {
            Some(route) => route.chain.upstream_response_filter(session, response, ctx),
            None => Ok(()),
        }
    }

    pub(crate) fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        if wire::response::is_interim(response.status) {
            return Ok(());
        }
        if let Some(id) = &ctx.id
            && response.status != StatusCode::SWITCHING_PROTOCOLS
        {
            wire::request_id::answer(response, id.clone())?;
        }
        // RFC 9110, section 6.4.1: these have none, whatever an upstream of HTTP/2 sends.
        ctx.bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if wire::response::unframe(response, session.req_header().version) || self.work.ends() {
            session.set_keepalive(None);
        }
        stick(session, response, ctx)?;
        match ctx.route_using(Phases::RESPONSE) {
            Some(route) => route.chain.response_filter(session, response, ctx),
            None => Ok(()),
        }
    }

    pub(crate) fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        in_time(session, ctx)?;
        if ctx.bodiless {
            *body = None;
        }
        if ctx.switches
            && let Some(guard) = listen::guard(session)
        {
            guard.answered();
        }
        if let Some(route) = ctx.route_using(Phases::RESPONSE_BODY) {
            route.chain.response_body_filter(session, body, end_of_stream, ctx)?;
        }
        Ok(())
    }

    /// No connection, so nothing was sent: whoever is left may be asked.
    pub(crate) fn fail_to_connect(
        &self,
        session: &mut Session,
        ctx: &mut Box<Ctx>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(ctx.may_try_again(Failure::Connect, faults::replay(session)));
        error
    }

    /// Something was sent, perhaps. Whether it may be sent again depends on the request, and on the route.
    pub(crate) fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Box<Ctx>,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        // Its client has not left: it was not answered in time.
        if listen::guard(session).is_some_and(Guard::is_overdue) {
            error = Error::because(ReadTimedout, "the answer to an upgrade", error).into_up();
        }
        if faults::is_starved(session, &error) {
            return faults::of_client(error);
        }
        let again = faults::try_again(session, &error, ctx, reused);
        error.set_retry(again);
        error
    }

    pub(crate) fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Box<Ctx>) {
        if let Some(route) = ctx.route_using(Phases::LOGGING) {
            route.chain.logging(session, error, ctx);
        }
        if let Some(access) = &self.access {
            access.write(&context::entry(session, error, ctx));
        }
    }
}
