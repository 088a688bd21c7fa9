//! An upstream that writes down what it received.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How many connections there had been by then.
    pub connection: usize,
}

/// How a request is answered: with the origin's name, in so many pieces.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub status: u16,
    /// Before the head.
    pub delay: Duration,
    pub pieces: usize,
    /// Before each piece but the first.
    pub pause: Duration,
    /// No answer: the connection is closed.
    pub hang_up: bool,
}

impl Default for Reply {
    fn default() -> Reply {
        Reply { status: 200, delay: Duration::ZERO, pieces: 1, pause: Duration::ZERO, hang_up: false }
    }
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// An HTTP server with a thread of its own. When it is dropped, it is gone like a process that was killed: its
/// port and all its connections are closed. Unless it is told otherwise, it answers every request with 200, its
/// name, and `X-Origin`.
pub struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

impl Origin {
    pub fn start(name: &'static str) -> Origin {
        Origin::scripted(name, |_| Reply::default())
    }

    /// One that answers as it is told.
    pub fn scripted(name: &'static str, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::start_at(name, SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(script))
    }

    /// One that comes back at the address that another one had.
    pub fn again(name: &'static str, address: SocketAddr) -> Origin {
        Origin::start_at(name, address, Arc::new(|_: &Seen| Reply::default()))
    }

    fn start_at(name: &'static str, address: SocketAddr, script: Script) -> Origin {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let journal = seen.clone();
        runtime.spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connection += 1;
                let (journal, script) = (journal.clone(), script.clone());
                let service = service_fn(move |request| {
                    answer(name, connection, request, journal.clone(), script.clone())
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Origin { address, seen, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panicked").clone()
    }
}

async fn answer(
    name: &'static str,
    connection: usize,
    request: Request<Incoming>,
    journal: Arc<Mutex<Vec<Seen>>>,
    script: Script,
) -> Result<Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>>>, Gone> {
    let (head, body) = request.into_parts();
    // Read, so that the connection can be kept.
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (method, target) = (head.method, head.uri.to_string());
    let seen = Seen { method, target, headers: head.headers, body, connection };
    let reply = script(&seen);
    journal.lock().expect("nobody panicked").push(seen);
    tokio::time::sleep(reply.delay).await;
    if reply.hang_up {
        return Err(Gone);
    }
    let pieces = stream::unfold(0, move |piece| async move {
        if piece == reply.pieces {
            return None;
        }
        if piece > 0 {
            tokio::time::sleep(reply.pause).await;
        }
        Some((Ok(Frame::data(Bytes::from(name))), piece + 1))
    });
    let mut response = Response::new(StreamBody::new(pieces));
    *response.status_mut() = reply.status.try_into().expect("it is a status");
    response.headers_mut().insert("X-Origin", http::HeaderValue::from_static(name));
    if reply.pieces == 1 {
        response.headers_mut().insert(http::header::CONTENT_LENGTH, name.len().into());
    }
    Ok(response)
}

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("gone")]
struct Gone;
