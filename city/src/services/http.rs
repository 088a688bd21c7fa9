//! Serves one connection: takes requests as they come, has them recorded, and answers them.
//!
//! What is answered is a site's business (`echo`, `advanced`). This module knows how: over HTTP/1 or HTTP/2,
//! with the questions to `/_city/…` answered on every site, and with a fault in the answer's place when the
//! host has been told to show one.

use std::convert::Infallible;
use std::future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::fault::{Fault, Instead};
use super::journal::{self, Connection, Head, Journal, Record};
use super::piecemeal::Piecemeal;
use super::tap::{Arrivals, Tap};
use super::wire::Wire;

/// A body that is kept to be shown again is kept to this size.
const KEPT_BODY: usize = 64 * 1024;
/// hyper refuses a target that is longer.
const LONGEST_TARGET: usize = u16::MAX as usize - 1;

/// What one port serves.
pub type Site = dyn Fn(&Asked<'_>) -> Answer + Send + Sync;

/// A request that has arrived whole.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The path, without the query.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What the journal says of it.
    pub record: &'a Record,
}

/// What a site answers.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Headers besides `Content-Length` and `Date`.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Bytes,
    /// Sent after the body, in HTTP/2.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// 200 with a line of text.
    pub fn text(body: &'static str) -> Answer {
        Answer {
            headers: vec![("content-type", "text/plain")],
            body: Bytes::from_static(body.as_bytes()),
            ..Answer::default()
        }
    }

    fn json(body: &impl serde::Serialize) -> Answer {
        let mut body = serde_json::to_vec_pretty(body).unwrap_or_default();
        body.push(b'\n');
        let headers = vec![("content-type", "application/json")];
        Answer { headers, body: body.into(), ..Answer::default() }
    }
}

/// What every connection of a host shares.
#[derive(Clone)]
pub struct Context {
    /// Where requests are recorded.
    pub journal: Arc<Journal>,
    /// Where the journal is and the host's faults are found.
    pub folder: Option<PathBuf>,
    /// Whether this host shows faults.
    pub breakable: bool,
}

impl Context {
    fn fault(&self) -> Fault {
        let folder = self.folder.as_deref().filter(|_| self.breakable);
        folder.and_then(Fault::read).unwrap_or_default()
    }
}

/// What answering over HTTP/1 has besides: the wire underneath.
#[derive(Clone)]
struct Http1 {
    arrivals: Arrivals,
    ending: mpsc::Sender<Ending>,
    in_pieces: Arc<AtomicBool>,
}

/// How a connection ends when a fault, and not HTTP, decides.
#[derive(Debug)]
enum Ending {
    /// At once; what was sent may never arrive.
    Reset,
    /// The sending side closes, the other is read to its end.
    HalfClose,
    /// After these bytes.
    After(Vec<u8>),
}

/// The socket at the bottom of a connection.
pub trait Socket {
    /// Makes closing it a reset.
    fn reset_on_close(&self);
}

impl Socket for tokio::net::TcpStream {
    fn reset_on_close(&self) {
        // It can only fail on a socket that is gone, which is what is wanted.
        let _ = self.set_zero_linger();
    }
}

impl<S: Socket> Socket for tokio_rustls::server::TlsStream<S> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

/// Serves HTTP/1 until the connection ends.
pub async fn serve_http1<S>(stream: S, connection: Connection, context: Context, site: Arc<Site>)
where
    S: AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
{
    let fault = context.fault();
    if matches!(fault.instead, Some(Instead::Flap(_))) && fault.resets_at(SystemTime::now()) {
        return stream.reset_on_close();
    }
    let (stream, in_pieces) = Piecemeal::new(stream);
    let (tap, arrivals) = Tap::new(stream, Arc::clone(&context.journal), connection.clone());
    let (ending, mut told_ending) = mpsc::channel(1);
    let http1 = Http1 { arrivals: arrivals.clone(), ending, in_pieces };
    let service = service_fn(move |request: Request<Incoming>| {
        let (context, site, http1) = (context.clone(), Arc::clone(&site), http1.clone());
        let arrived = http1.arrivals.next();
        let record = arrived.unwrap_or_else(|| context.journal.begin(&connection, head_of(&request)));
        async move { respond(request, record, &context, &site, Some(http1)).await }
    });
    let mut http =
        http1::Builder::new().title_case_headers(true).serve_connection(TokioIo::new(tap), service);
    let ending = tokio::select! {
        biased;
        Some(ending) = told_ending.recv() => ending,
        ended = &mut http => return ended.err().into_iter().for_each(|error| refused(&error, &arrivals)),
    };
    // Dropping hyper's half drops the service's hold on the request; the tap goes on counting.
    let tap = http.into_parts().io.into_inner();
    end(tap, ending).await;
}

/// hyper refuses by itself a head that is well formed, and too long. How else a client ends its connection is
/// its own affair; the journal has what came of the request.
fn refused(error: &hyper::Error, arrivals: &Arrivals) {
    if error.is_parse_too_large()
        && let Some(record) = arrivals.next()
    {
        let target = record.request.target.bytes().len() > LONGEST_TARGET;
        record.answered(if target { 414 } else { 431 }, None);
    }
}

async fn end<S: AsyncRead + AsyncWrite + Socket + Unpin>(mut tap: Tap<S>, ending: Ending) {
    match ending {
        Ending::Reset => return tap.get_ref().reset_on_close(),
        Ending::HalfClose => {}
        Ending::After(bytes) => {
            if tap.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
    if tap.shutdown().await.is_ok() {
        // Closing with unread bytes would be a reset, and could take with it what was sent.
        let mut unread = [0; 4096];
        while matches!(tap.read(&mut unread).await, Ok(read) if read > 0) {}
    }
}

/// Serves HTTP/2 until the connection ends.
pub async fn serve_http2<S>(stream: S, connection: Connection, context: Context, site: Arc<Site>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (context, site) = (context.clone(), Arc::clone(&site));
        let record = context.journal.begin(&connection, head_of(&request));
        async move { respond(request, record, &context, &site, None).await }
    });
    // As above: how the connection ends is the client's affair.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// The head of a request as far as hyper has kept it: all of it in HTTP/2.
pub fn head_of<B>(request: &Request<B>) -> Head {
    let version = match request.version() {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    let mut headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (Wire::from(name), Wire::from(value))).collect();
    let uri = request.uri();
    if version == "HTTP/2" {
        // Before the others, as on the wire.
        if let Some(authority) = uri.authority() {
            headers.insert(0, (Wire::from(":authority"), Wire::from(authority.as_str())));
        }
        if let Some(scheme) = uri.scheme_str() {
            headers.insert(0, (Wire::from(":scheme"), Wire::from(scheme)));
        }
    }
    let target = uri.path_and_query().map_or_else(|| uri.to_string(), |target| target.to_string());
    Head { version, method: Wire::from(request.method().as_str()), target: Wire::from(target), headers }
}

/// A request that did not arrive whole: it gets no answer, and its connection (or HTTP/2 stream) ends.
#[derive(Debug, thiserror::Error)]
#[error("the request broke off")]
pub struct BrokenOff;

/// A body that was given whole, with or without trailers.
pub type Sent = UnsyncBoxBody<Bytes, Infallible>;

async fn respond(
    request: Request<Incoming>,
    record: Arc<Record>,
    context: &Context,
    site: &Arc<Site>,
    http1: Option<Http1>,
) -> Result<Response<Sent>, BrokenOff> {
    let fault = if request.uri().path().starts_with("/_city/") { Fault::default() } else { context.fault() };
    if let Some(delay) = fault.delay() {
        match &http1 {
            Some(http1) => tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = http1.arrivals.client_left() => return Err(BrokenOff),
            },
            None => tokio::time::sleep(delay).await,
        }
    }
    if let Some(http1) = &http1 {
        http1.in_pieces.store(fault.pieces, Ordering::Relaxed);
    }
    let ending = http1.as_ref().map(|http1| &http1.ending);
    if let Some(ending) = ending {
        if fault.resets_at(SystemTime::now()) {
            return Ok(hand_over(ending, Ending::Reset).await);
        }
        if fault.instead == Some(Instead::HalfClose) {
            return Ok(hand_over(ending, Ending::HalfClose).await);
        }
    }
    let (parts, body) = request.into_parts();
    // Over HTTP/1 the tap counts what arrives, also of what hyper never hands out.
    let counts = parts.version == http::Version::HTTP_2;
    let read = read_body(body, Arc::clone(&record), counts);
    let kept = if fault.instead == Some(Instead::Early) {
        tokio::spawn(read);
        BytesMut::new()
    } else {
        read.await?
    };

    let asked = Asked { path: parts.uri.path(), headers: &parts.headers, record: &record };
    let mut answer = match (asked.path, &parts.method) {
        ("/_city/echo", _) => echo(&record, &kept),
        ("/_city/journal", method) => show_journal(context, method),
        _ => site(&asked),
    };
    match (fault.instead, ending) {
        (Some(Instead::Status(status)), _) => {
            answer.status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        }
        (Some(Instead::Garbage), Some(ending)) => {
            let garbage = b"\x00\x01 this is no HTTP \xff\xfe\r\n\r\n".to_vec();
            return Ok(hand_over(ending, Ending::After(garbage)).await);
        }
        (Some(Instead::Cut), Some(ending)) => {
            let bytes = half_of(&answer, &record);
            return Ok(hand_over(ending, Ending::After(bytes)).await);
        }
        _ => {}
    }
    Ok(finish(answer, &parts.method, &record))
}

/// Leaves the connection to `serve_http1`, which drops this future.
async fn hand_over(ending: &mpsc::Sender<Ending>, how: Ending) -> Response<Sent> {
    let _ = ending.send(how).await;
    future::pending().await
}

/// Reads a body to its end, or to where it breaks off, and keeps its beginning.
async fn read_body(mut body: Incoming, record: Arc<Record>, counts: bool) -> Result<BytesMut, BrokenOff> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BrokenOff)?;
        let Some(data) = frame.data_ref() else { continue };
        if counts {
            record.body(data.len() as u64);
        }
        let room = (KEPT_BODY + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&data[..data.len().min(room)]);
    }
    if counts {
        record.complete();
    }
    Ok(kept)
}

fn finish(answer: Answer, method: &Method, record: &Record) -> Response<Sent> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    record.answered(answer.status.as_u16(), Some(date.clone()));

    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    let bodiless = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    for (name, value) in answer.headers.iter().filter(|(name, _)| !bodiless || *name != "content-type") {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    if let Ok(date) = HeaderValue::from_str(&date) {
        headers.insert(header::DATE, date);
    }
    // With trailers to come, as nginx does it: a client that knows the length leaves when it has the last byte.
    if !bodiless && answer.trailers.is_none() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    }
    let body = if bodiless || method == Method::HEAD { Bytes::new() } else { answer.body };
    response.map(|()| match answer.trailers {
        Some(trailers) => {
            let frames = [Frame::data(body), Frame::trailers(trailers)];
            StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync()
        }
        None => Full::new(body).boxed_unsync(),
    })
}

/// An answer as bytes that promise more body than they bring.
fn half_of(answer: &Answer, record: &Record) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    record.answered(answer.status.as_u16(), Some(date.clone()));
    let half = &answer.body[..answer.body.len() / 2];
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nDate: {date}\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    [head.as_bytes(), half].concat()
}

/// `/_city/echo`: the request, as JSON.
fn echo(record: &Record, kept: &[u8]) -> Answer {
    let request = &record.request;
    let text = if kept.len() <= KEPT_BODY { std::str::from_utf8(kept).ok() } else { None };
    Answer::json(&json!({
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": request.headers,
        "body_bytes": record.body_so_far(),
        "body": text,
        "peer": request.peer,
        "connection": request.connection,
        "port": request.port,
        "tls": request.tls,
    }))
}

/// `/_city/journal`: all of it as a JSON array; DELETE clears it.
fn show_journal(context: &Context, method: &Method) -> Answer {
    let Some(folder) = &context.folder else { return Answer::json(&json!([])) };
    if method == Method::DELETE {
        return match journal::clear(folder) {
            Ok(()) => Answer { status: StatusCode::NO_CONTENT, ..Answer::default() },
            Err(trouble) => problem(&trouble),
        };
    }
    match journal::read(folder) {
        Ok(mut entries) => {
            entries.retain(|entry| !entry.request.target.bytes().starts_with(b"/_city/"));
            Answer::json(&entries)
        }
        Err(trouble) => problem(&trouble),
    }
}

fn problem(trouble: &crate::trouble::Trouble) -> Answer {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Answer { status, body: format!("{trouble}\n").into(), ..Answer::text("") }
}
