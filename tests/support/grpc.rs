//! A gRPC health service, and no other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;

/// It speaks HTTP/2 without TLS, and says of the service `users` what it was told to say; every other service is
/// unknown to it. Any other request is answered with the path.
pub struct GrpcOrigin {
    address: SocketAddr,
    status: Arc<AtomicU8>,
    _runtime: Runtime,
}

impl GrpcOrigin {
    pub fn start() -> GrpcOrigin {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let status = Arc::new(AtomicU8::new(1));
        let says = status.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let says = says.clone();
                let service = service_fn(move |request| answer(request, says.load(Ordering::Relaxed)));
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        GrpcOrigin { address, status, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says from now on.
    pub fn serving(&self, serving: bool) {
        self.status.store(if serving { 1 } else { 2 }, Ordering::Relaxed);
    }
}

type Body = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(request: Request<Incoming>, status: u8) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_string();
    let asked = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (message, code) = match (&*path, &asked[..]) {
        ("/grpc.health.v1.Health/Check", b"\0\0\0\0\x07\x0a\x05users") => {
            (Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), "0")
        }
        ("/grpc.health.v1.Health/Check", _) => (Bytes::new(), "5"), // NOT_FOUND
        _ => (Bytes::from(path), "0"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    let frames = vec![Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    response.headers_mut().insert("Content-Type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}
