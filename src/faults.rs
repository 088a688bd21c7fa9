//! Whose fault it is when an exchange with an upstream goes wrong, and whether the request is sent again.
//!
//! **Knows nothing** of what the client is told: that is for [`crate::rescue`]. Lessons 13, 16 and 19 are about it.

use std::pin::pin;
use std::task::{Context, Waker};

use http::header;
use pingora::RetryType;
use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::proxy::Session;

use crate::context::Ctx;
use crate::upstream::{Failure, Replay};
use crate::wire::response::{BadAnswer, is_interim};

/// What the request permits, should it have to be sent again.
pub fn replay(session: &Session) -> Replay {
    Replay {
        idempotent: session.req_header().method.is_idempotent(),
        whole: !session.as_ref().retry_buffer_truncated() && !has_answer(session),
    }
}

/// Whether an answer to the client has begun. What comes before one ends nothing.
fn has_answer(session: &Session) -> bool {
    session.response_written().is_some_and(|head| !is_interim(head.status))
}

/// Whether the upstream has kept silent because it waits for a body that the client does not send. Pingora's clock for
/// the answer runs from the request's head, and from each piece of the body.
pub fn is_starved(session: &mut Session, error: &Error) -> bool {
    let is_late = *error.esource() == ErrorSource::Upstream && *error.etype() == ReadTimedout;
    is_late && !has_answer(session) && !waits_to_be_asked(session) && !session.is_body_done() && {
        // Or is there a piece that the upstream does not take?
        let piece = pin!(session.as_mut().read_request_body());
        piece.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Whether the client waits to be asked for its body, and the upstream has not asked: that is the upstream's silence
/// (RFC 9110, section 10.1.1).
fn waits_to_be_asked(session: &Session) -> bool {
    session.req_header().headers.contains_key(header::EXPECT) && session.response_written().is_none()
}

/// The error of an upstream that is starved, as the client's: the server has not failed, and another one would fare no
/// better.
pub fn of_client(error: Box<Error>) -> Box<Error> {
    Error::because(ReadTimedout, "the body", error).into_down()
}

/// Whether the server has said that it has not looked at the request (RFC 9113, section 8.7).
fn is_unseen(error: &Error) -> bool {
    error.root_cause().downcast_ref::<h2::Error>().is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away() || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// The server learns how it has done, and an answer that its route minds is not passed on if there is another
/// way.
pub fn judge_answer(session: &Session, response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    let status = response.status.as_u16();
    if is_interim(response.status) {
        return ctx.tries.inform().map_err(BadAnswer::into_error);
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

/// Whether this request is sent again after an error with a connection.
pub fn try_again(session: &Session, error: &Error, ctx: &mut Ctx, reused: bool) -> bool {
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
    let harmless = stale && replay.idempotent || is_unseen(error);
    if harmless && replay.whole && ctx.tries.demand_fresh() {
        return true;
    }
    let failure = match error.etype() {
        ReadTimedout | WriteTimedout => Failure::Timeout,
        _ => Failure::Reset,
    };
    ctx.may_try_again(failure, replay)
}
