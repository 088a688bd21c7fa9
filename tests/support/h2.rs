//! A client of HTTP/2 without TLS.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// What came back.
#[derive(Debug)]
pub struct H2Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Method, target, headers, and the pieces of the body.
pub type H2Request<'r> = (&'r str, &'r str, &'r [(&'r str, &'r str)], &'r [&'static [u8]]);

/// Sends requests on one connection, one after another.
pub fn h2c(address: SocketAddr, requests: &[H2Request<'_>]) -> Result<Vec<H2Answer>, hyper::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.expect("the gateway listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for (method, target, headers, pieces) in requests {
            let pieces: Vec<Result<Frame<Bytes>, Infallible>> =
                pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
            let mut request = Request::builder().method(*method).uri(format!("http://t{target}"));
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let request = request.body(StreamBody::new(stream::iter(pieces))).expect("it is a request");
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            answers.push(H2Answer { status: head.status, headers: head.headers, body });
        }
        Ok(answers)
    })
}
