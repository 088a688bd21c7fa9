//! From errors to answers: the only place in which a failure becomes a status and a body (lesson 13).
//!
//! **Owns** [`Refusal`], the gateway's own reasons to refuse; the status and sentence for each of Pingora's; and
//! the form of the answer. What an error says about itself, with addresses and causes, is for the log: a client
//! reads a constant.

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, Session};

use crate::route::path::BadPath;
use crate::upstream::TimeIsOver;
use crate::wire::head::BadHead;

/// Why the gateway itself refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The head can be read in several ways.
    #[error("{0}")]
    BadHead(#[from] BadHead),
    /// The path can be read in several ways.
    #[error("{0}")]
    BadPath(#[from] BadPath),
    /// No route matches.
    #[error("no route matches")]
    NoRoute,
    /// Nobody is left in the upstream who could be asked.
    #[error("no server of the upstream is left")]
    NoServer,
    /// The request's time is over.
    #[error("{0}")]
    Late(#[from] TimeIsOver),
}

impl Refusal {
    fn status(self) -> u16 {
        match self {
            Refusal::BadHead(_) | Refusal::BadPath(_) => 400,
            Refusal::NoRoute => 404,
            Refusal::NoServer => 503,
            Refusal::Late(_) => 504,
        }
    }

    /// As Pingora's hooks return it.
    pub fn into_error<T>(self) -> Result<T> {
        Error::e_explain(HTTPStatus(self.status()), self.to_string())
    }
}

/// The error of a step as one of Pingora's.
pub fn refuse<T, E: Into<Refusal>>(result: Result<T, E>) -> Result<T> {
    result.or_else(|reason| reason.into().into_error())
}

/// What the client is told: a status, and a sentence. `None` if nobody is left to be told.
fn verdict(error: &Error) -> Option<(u16, &'static str)> {
    Some(match (error.esource(), error.etype()) {
        (_, HTTPStatus(status)) => (*status, sentence(*status)),
        (ErrorSource::Upstream, ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout) => {
            (504, sentence(504))
        }
        (ErrorSource::Upstream, _) => (502, sentence(502)),
        (ErrorSource::Downstream, ReadTimedout) => (408, sentence(408)),
        (ErrorSource::Downstream, ReadError | WriteError | WriteTimedout | ConnectionClosed) => return None,
        (ErrorSource::Downstream, _) => (400, sentence(400)),
        (ErrorSource::Internal | ErrorSource::Unset, _) => (500, sentence(500)),
    })
}

fn sentence(status: u16) -> &'static str {
    match status {
        400 => "the request could not be understood",
        404 => "there is nothing at this address",
        408 => "the request took too long to arrive",
        502 => "the upstream did not answer properly",
        503 => "no server can take the request now",
        504 => "the upstream took too long",
        _ if status < 500 => "the request was refused",
        _ => "the gateway has a problem",
    }
}

/// The answer, with Pingora's error head (`Cache-Control: private, no-store`) and a body in JSON.
fn json(status: u16, message: &'static str) -> Result<(ResponseHeader, Bytes)> {
    // By hand, which is safe for a number and constants without a quote.
    let body = format!("{{\"status\": {status}, \"message\": \"{message}\"}}\n");
    let mut head = ServerSession::generate_error(status);
    head.insert_header(http::header::CONTENT_TYPE, "application/json")?;
    if status == 503 {
        head.insert_header(http::header::RETRY_AFTER, "1")?;
    }
    head.set_content_length(body.len())?;
    Ok((head, Bytes::from(body)))
}

/// Tells the client, if an answer has not begun yet. The status is the one to log.
pub async fn answer(session: &mut Session, error: &Error) -> FailToProxy {
    // 499: never sent, but what logs call a client that has left.
    let Some((error_code, message)) = verdict(error) else {
        return FailToProxy { error_code: 499, can_reuse_downstream: false };
    };
    let written = match json(error_code, message) {
        Ok((head, body)) => session.write_error_response(head, body).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        log::debug!("the client could not be told: {error}");
    }
    FailToProxy { error_code, can_reuse_downstream: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_status() {
        let up = |kind| *Error::new_up(kind);
        let down = |kind| *Error::new_down(kind);
        for (error, status) in [
            (up(ConnectTimedout), Some(504)),
            (up(ReadTimedout), Some(504)),
            (up(ConnectRefused), Some(502)),
            (up(ConnectionClosed), Some(502)),
            (down(ReadTimedout), Some(408)),
            (down(ConnectionClosed), None),
            (down(InvalidHTTPHeader), Some(400)),
            (*Error::new_in(InternalError), Some(500)),
            (*Refusal::NoServer.into_error::<()>().expect_err("it refuses"), Some(503)),
            (*Refusal::Late(TimeIsOver).into_error::<()>().expect_err("it refuses"), Some(504)),
            (*Refusal::NoRoute.into_error::<()>().expect_err("it refuses"), Some(404)),
            (*Refusal::BadPath(BadPath::Escape).into_error::<()>().expect_err("it refuses"), Some(400)),
        ] {
            assert_eq!(verdict(&error).map(|(status, _)| status), status, "{error}");
        }
    }
}
