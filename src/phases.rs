//! Where Pingora calls the gateway: its phases in the form that it wants, which is futures.
//!
//! Hardly anything in a phase has to be waited for, and what does not is done at once. An `async fn` would make a
//! future of it all the same, which a request would have to make, move, poll and drop, one for each phase.

use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::*;
use pingora::proxy::{FailToProxy, Session};
use pingora::upstreams::peer::HttpPeer;

use crate::context::Ctx;
use crate::gateway::Gateway;
use crate::middleware::Phases;
use crate::rescue;
use crate::wire::present::Present;

/// What `async fn` in a trait stands for.
type Phase<'f, T = ()> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'f>>;

/// What has been done. To say that it went well takes nothing: such a future has no size, and its box no memory.
fn done<'f>(result: Result<()>) -> Phase<'f> {
    match result {
        Ok(()) => Box::pin(poll_fn(|_| Poll::Ready(Ok(())))),
        Err(error) => Box::pin(ready(Err(error))),
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In a box, since Pingora's future for a request is copied whole, more than once.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        let begun = self.access.is_some().then(Instant::now);
        let mut ctx = Box::<Ctx>::default();
        ctx.busy = Some(self.work.requests.begin());
        ctx.begun = begun;
        ctx
    }

    /// No modules: Pingora's compression would look at every answer, also where nothing is compressed.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn request_filter<'g, 's, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        ctx: &'c mut Box<Ctx>,
    ) -> Phase<'f, bool>
    where
        'g: 'f,
        's: 'f,
        'c: 'f,
    {
        match self.receive(session, ctx) {
            Err(error) => Box::pin(ready(Err(error))),
            Ok(()) if ctx.goes_straight_on() => Box::pin(poll_fn(|_| Poll::Ready(Ok(false)))),
            Ok(()) => Box::pin(self.decide(session, ctx)),
        }
    }

    fn request_body_filter<'g, 's, 'b, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        body: &'b mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &'c mut Box<Ctx>,
    ) -> Phase<'f>
    where
        'g: 'f,
        's: 'f,
        'b: 'f,
        'c: 'f,
    {
        match ctx.route_using(Phases::REQUEST_BODY) {
            Some(_) => Box::pin(Gateway::request_body_filter(self, session, body, end_of_stream, ctx)),
            None => done(self.request_body(session, body, end_of_stream, ctx)),
        }
    }

    fn upstream_peer<'g, 's, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        ctx: &'c mut Box<Ctx>,
    ) -> Phase<'f, Box<HttpPeer>>
    where
        'g: 'f,
        's: 'f,
        'c: 'f,
    {
        Box::pin(ready(Gateway::upstream_peer(self, session, ctx)))
    }

    fn upstream_request_filter<'g, 's, 'r, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        request: &'r mut RequestHeader,
        ctx: &'c mut Box<Ctx>,
    ) -> Phase<'f>
    where
        'g: 'f,
        's: 'f,
        'r: 'f,
        'c: 'f,
    {
        match ctx.present.contains(Present::EXPECT) {
            true => Box::pin(Gateway::upstream_request_filter(self, session, request, ctx)),
            false => done(self.upstream_request(session, request, ctx)),
        }
    }

    fn upstream_response_filter<'g, 's, 'r, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        response: &'r mut ResponseHeader,
        ctx: &'c mut Box<Ctx>,
    ) -> Phase<'f>
    where
        'g: 'f,
        's: 'f,
        'r: 'f,
        'c: 'f,
    {
        done(Gateway::upstream_response_filter(self, session, response, ctx))
    }

    fn response_filter<'g, 's, 'r, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        response: &'r mut ResponseHeader,
        ctx: &'c mut Box<Ctx>,
    ) -> Phase<'f>
    where
        'g: 'f,
        's: 'f,
        'r: 'f,
        'c: 'f,
    {
        done(Gateway::response_filter(self, session, response, ctx))
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Duration>> {
        Gateway::response_body_filter(self, session, body, end_of_stream, ctx)?;
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Ctx>,
        error: Box<Error>,
    ) -> Box<Error> {
        Gateway::fail_to_connect(self, session, ctx, error)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Box<Ctx>,
        reused: bool,
    ) -> Box<Error> {
        Gateway::error_while_proxy(self, peer, session, error, ctx, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Box<Ctx>) -> FailToProxy {
        rescue::answer(session, error, ctx).await
    }

    /// What a client did wrong is an answer, not an incident. That it left is neither.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, error: &Error) -> bool {
        match error.etype() {
            HTTPStatus(status) => (400..500).contains(status),
            _ => *error.esource() == ErrorSource::Downstream,
        }
    }

    /// How the process's log names a request: without its query, which may hold secrets.
    fn request_summary(&self, session: &Session, _ctx: &Self::CTX) -> String {
        let request = session.req_header();
        let host = request.headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        format!("{} {}, Host: {}", request.method, request.uri.path(), host.unwrap_or_default())
    }

    fn logging<'g, 's, 'e, 'c, 'f>(
        &'g self,
        session: &'s mut Session,
        error: Option<&'e Error>,
        ctx: &'c mut Box<Ctx>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>>
    where
        'g: 'f,
        's: 'f,
        'e: 'f,
        'c: 'f,
    {
        Gateway::logging(self, session, error, ctx);
        Box::pin(poll_fn(|_| Poll::Ready(())))
    }
}
