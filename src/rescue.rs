//! From errors to answers: the only place in which a failure becomes a status and a body (lesson 13).
//!
//! **Owns** [`Refusal`], the gateway's own reasons to refuse; the status and sentence for each of Pingora's; and
//! the form of the answer. What an error says about itself, with addresses and causes, is for the log: a client
//! reads a constant.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::{FailToProxy, Session};

use crate::context::Ctx;
use crate::middleware::Phases;
use crate::route::path::BadPath;
use crate::upstream::TimeIsOver;
use crate::wire::framing::BadChunk;
use crate::wire::head::BadHead;
use crate::wire::request_id;
use crate::wire::response::is_interim;

/// Why the gateway itself refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The head can be read in several ways.
    #[error("{0}")]
    BadHead(#[from] BadHead),
    /// The body's chunks can be read in several ways.
    #[error("{0}")]
    BadChunk(#[from] BadChunk),
    /// The head is longer than the listener permits.
    #[error("the head is too large")]
    LongHead,
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
            Refusal::BadHead(_) | Refusal::BadChunk(_) | Refusal::BadPath(_) => 400,
            Refusal::LongHead => 431,
            Refusal::NoRoute => 404,
            Refusal::NoServer => 503,
            Refusal::Late(_) => 504,
        }
    }

    /// As Pingora's hooks return it. Cold: what leads here is kept out of the way of what is answered.
    #[cold]
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
        (ErrorSource::Downstream, ReadError) if is_bad_chunk(error) => (400, sentence(400)),
        (ErrorSource::Downstream, ReadError | WriteError | WriteTimedout | ConnectionClosed) => return None,
        (ErrorSource::Downstream, _) => (400, sentence(400)),
        (ErrorSource::Internal | ErrorSource::Unset, _) => (500, sentence(500)),
    })
}

/// Whether the client's bytes have come, and are wrong.
fn is_bad_chunk(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is_some_and(|cause| cause.is::<BadChunk>())
}

/// An error about a request's body, as the client's. After any other, Pingora 0.9.1 does not end the exchange with an
/// upstream of HTTP/2: it waits for the answer to half a request.
pub fn of_body(error: Box<Error>) -> Box<Error> {
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, _) | (_, HTTPStatus(_)) => error.into_down(),
        _ => {
            let status = verdict(&error).map_or(500, |(status, _)| status);
            Error::because(HTTPStatus(status), "a filter of the body", error).into_down()
        }
    }
}

fn sentence(status: u16) -> &'static str {
    match status {
        400 => "the request could not be understood",
        401 => "credentials are needed",
        403 => "this is not permitted",
        404 => "there is nothing at this address",
        408 => "the request took too long to arrive",
        413 => "the request's body is too large",
        429 => "there were too many requests",
        431 => "the request's head is too large",
        502 => "the upstream did not answer properly",
        503 => "no server can take the request now",
        504 => "the upstream took too long",
        _ if status < 500 => "the request was refused",
        _ => "the gateway has a problem",
    }
}

/// How long a client is listened to that still sends what nobody wants.
const LINGER: Duration = Duration::from_secs(2);

/// In what form a client wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Grpc,
}

impl Form {
    fn wanted(request: &RequestHeader) -> Form {
        let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if text(header::CONTENT_TYPE).starts_with("application/grpc") {
            return Form::Grpc;
        }
        let accept = text(header::ACCEPT);
        let html = weight(accept, "text/html");
        if html > 0.0 && html >= weight(accept, "application/json") { Form::Html } else { Form::Json }
    }
}

/// How much a type is wanted (RFC 9110, section 12.5.1). Only where it is named: `*/*` asks for nothing special.
fn weight(accept: &str, wanted: &str) -> f32 {
    let mut best = 0.0;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        if parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted)) {
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
            best = f32::max(best, weight.unwrap_or(0.0));
        }
    }
    best
}

/// gRPC's word for a status (the mapping of its "HTTP to gRPC Status Code", and what is more exact here).
fn grpc_status(status: u16) -> &'static str {
    match status {
        400 => "13",
        401 => "16",
        403 => "7",
        404 | 405 => "12",
        408 | 504 => "4",
        413 => "8",
        429 | 502 | 503 => "14",
        _ => "2",
    }
}

/// Pingora's error head (`Cache-Control: private, no-store`), without its name.
fn head(status: u16) -> ResponseHeader {
    let mut head = ServerSession::generate_error(status);
    head.remove_header(&header::SERVER);
    head
}

/// The answer.
fn response(status: u16, message: &'static str, form: Form) -> Result<(ResponseHeader, Bytes)> {
    // By hand, which is safe for a number and constants without a quote.
    let (kind, body) = match form {
        Form::Grpc => {
            let mut head = head(200);
            head.insert_header(header::CONTENT_TYPE, "application/grpc")?;
            head.insert_header("grpc-status", grpc_status(status))?;
            head.insert_header("grpc-message", message)?;
            head.remove_header(&header::CONTENT_LENGTH);
            return Ok((head, Bytes::new()));
        }
        Form::Json => ("application/json", format!("{{\"status\": {status}, \"message\": \"{message}\"}}\n")),
        Form::Html => (
            "text/html; charset=utf-8",
            format!(
                "<!doctype html>\n<html lang=\"en\"><title>{status}</title><h1>{status}</h1><p>{message}</p></html>\n"
            ),
        ),
    };
    let mut head = head(status);
    head.insert_header(header::CONTENT_TYPE, kind)?;
    if status == 503 {
        head.insert_header(header::RETRY_AFTER, "1")?;
    }
    head.set_content_length(body.len())?;
    Ok((head, Bytes::from(body)))
}

/// Tells the client, if an answer has not begun yet. The status is the one to log.
pub async fn answer(session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
    // 499: never sent, but what logs call a client that has left.
    let Some((error_code, message)) = verdict(error) else {
        return FailToProxy { error_code: 499, can_reuse_downstream: false };
    };
    if session.response_written().is_some_and(|head| !is_interim(head.status)) {
        if session.is_http2() {
            // Of itself, Pingora would say that the client has cancelled, and gRPC would believe it.
            session.as_mut().shutdown().await;
        }
        return FailToProxy { error_code, can_reuse_downstream: false };
    }
    // A connection can be kept if it is sure where its next request begins.
    let keep = !ctx.proxied && !matches!(error_code, 400 | 408) && session.is_body_done();
    if !keep {
        session.set_keepalive(None);
    }
    if let Err(error) = write(session, error_code, message, ctx).await {
        log::debug!("the client could not be told: {error}");
    }
    FailToProxy { error_code, can_reuse_downstream: keep }
}

async fn write(session: &mut Session, status: u16, message: &'static str, ctx: &mut Ctx) -> Result<()> {
    let form = Form::wanted(session.req_header());
    let (mut head, body) = response(status, message, form)?;
    if let Some(id) = &ctx.id {
        head.insert_header(request_id::NAME, id.clone())?;
    }
    // What a route's answers are to carry, browsers look for on this one too.
    if let Some(route) = ctx.route_using(Phases::RESPONSE)
        && let Err(error) = route.chain.response_filter(session, &mut head, ctx)
    {
        log::warn!("route {}: an answer to an error goes without its policies' headers: {error}", route.name);
    }
    let sends = !session.is_body_done();
    // A client that waits to be asked for its body sends none when it is refused (RFC 9110, section 10.1.1).
    let waits = session.req_header().headers.contains_key(header::EXPECT);
    session.set_total_drain_timeout(Some(LINGER));
    if sends && !waits && session.is_http2() {
        // To answer in mid-body resets the stream, and clients have taken that for the answer: read first.
        let _ = session.drain_request_body().await;
    }
    let ends = body.is_empty() || session.req_header().method == Method::HEAD;
    let mut tasks = vec![HttpTask::Header(Box::new(head), ends)];
    if !ends {
        tasks.push(HttpTask::Body(Some(body), true));
    }
    session.write_response_tasks(tasks).await?;
    if sends && !session.is_http2() {
        // To close on unread bytes resets the connection, and the answer may be lost with it: read now (lesson 40).
        let _ = session.drain_request_body().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_as_they_want_it() {
        for (name, value, form) in [
            ("Accept", "*/*", Form::Json),
            ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8", Form::Html),
            ("Accept", "application/json, text/html;q=0.5", Form::Json),
            ("Accept", "application/json;q=0.5, text/html", Form::Html),
            ("Accept", "text/html;q=0", Form::Json),
            ("Accept", "text/html;q=many", Form::Json),
            ("Content-Type", "application/grpc+proto", Form::Grpc),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).expect("it is a request");
            request.insert_header(name, value).expect("it is a header");
            assert_eq!(Form::wanted(&request), form, "{value}");
        }
    }

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
