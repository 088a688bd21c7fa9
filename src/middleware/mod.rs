//! Policies that a route can put around its upstream.
//!
//! **Owns** the trait [`Middleware`], one method for each of Pingora's phases; the [`Registry`] of kinds, by
//! which a kind's name becomes usable in YAML and its settings part of the schema; the [`Chain`] into which a
//! route's policies are compiled; and the kinds that come with the gateway, one file each.
//!
//! **Offers** the same to policies from outside as to those here: implement [`Middleware`] and [`Kind`], and
//! register the kind.
//!
//! **Knows nothing** of routing and upstreams. What a policy learns about a request is in the session and in
//! [`Ctx`].
//!
//! What it costs: a chain has a list per phase, of those who declare that phase. A request on a route without
//! policies looks at one byte set per phase, and nothing is called, boxed or allocated.

mod body_limit;
mod chain;
mod headers;
mod registry;
mod request_headers;
mod response_headers;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::proxy::Session;

pub use crate::context::Ctx;
pub use chain::{Chain, Phases};
pub use registry::{Kind, Registry};

/// A policy. One value serves all requests of the routes that name it, in several threads at once.
///
/// The methods are Pingora's phases, in the order in which a request meets them; all do nothing unless they are
/// written. Two of them are `async`: where a policy may have to wait for somebody else. The others are plain
/// calls, because they run for every request or every piece of a body.
///
/// What a policy must remember about one request from phase to phase, it keeps with [`Ctx::local`].
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// The phases in which it has something to do. In others it is not called: a phase that is written but not
    /// declared here does not run. All, unless written.
    fn phases(&self) -> Phases {
        Phases::all()
    }

    /// The request's head has arrived. `true`: it has been answered, and goes no further.
    async fn request_filter(&self, _session: &mut Session, _ctx: &mut Ctx) -> Result<bool> {
        Ok(false)
    }

    /// A piece of the request's body, on its way to the upstream. It runs again from the first piece if the
    /// request is sent to another server.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    /// The head as it will be sent to the upstream. Runs for each server that is tried.
    fn upstream_request_filter(
        &self,
        _session: &mut Session,
        _request: &mut RequestHeader,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    /// The head of the upstream's answer, before it is cached. Informational answers (1xx) come here too.
    fn upstream_response_filter(
        &self,
        _session: &mut Session,
        _response: &mut ResponseHeader,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    /// The head of the answer as the client will get it, from the upstream or from the cache, or the gateway's own, also
    /// where it tells of an error. Not of informational answers (1xx), but of the one that switches protocols.
    fn response_filter(
        &self,
        _session: &mut Session,
        _response: &mut ResponseHeader,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    /// A piece of the answer's body, on its way to the client.
    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    /// It is over, well or with an error. Here nobody may wait for anything.
    fn logging(&self, _session: &mut Session, _error: Option<&Error>, _ctx: &mut Ctx) {}
}
