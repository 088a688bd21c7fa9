//! Requests that want to speak another protocol: WebSocket, which is the only one.
//!
//! Who switches may be silent for as long as it likes, but not before the answer. Pingora has one limit for both, so
//! until then the client's side of the connection keeps the time ([`crate::listen::Guard`]). Lesson 23 is about it.

use http::Method;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;

use crate::context::Ctx;
use crate::listen;
use crate::wire;

/// Whether the upstream has seen the client's wish to switch protocols. RFC 6455, section 4.1: with a GET. Without its
/// `Connection`, an `Upgrade` is none (RFC 9110, section 7.8): whoever is before us would not know of the switch.
pub fn is_asked_for(session: &Session, ctx: &Ctx) -> bool {
    ctx.route.as_ref().is_some_and(|route| route.websocket)
        && session.is_upgrade_req()
        && session.req_header().method == Method::GET
        && wire::hop::names_upgrade(session.req_header())
}

/// The server, and the time that it has for its answer.
#[cold]
pub fn peer_for(mut peer: Box<HttpPeer>, session: &Session) -> Box<HttpPeer> {
    let options = &mut peer.options;
    // HTTP/2 has no `Upgrade`, and with `auto` the server would be free to choose it.
    options.set_http_version(1, 1);
    if let Some(guard) = listen::guard(session)
        && let Some(limit) = options.read_timeout.take()
    {
        guard.expect_answer(limit);
    }
    peer
}

/// From here on, silence is no fault.
#[cold]
pub fn begin(session: &mut Session) {
    session.set_read_timeout(None);
    if let Some(guard) = listen::guard(session) {
        guard.free();
    }
}
