//! grpc: health, reflection and an echo service, in plaintext and over TLS.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::service::Routes;
use tonic::{Code, Status, Streaming};
use tower_service::Service;

use self::pb::echo_server::{Echo, EchoServer};
use self::pb::{EchoRequest, EchoResponse, FailRequest};
use super::http::{Context, head_of};
use super::journal::{Connection, Record};
use super::port::{Port, Speaks};
use super::tls::{Settings, Terminator};
use crate::trouble::{self, OrTrouble};

/// The messages and stubs made from `proto/echo.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/city.echo.v1.rs"));

    /// The definition itself, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.bin"));
}

const TLS: Settings =
    Settings { certificate: "wildcard", expired: false, alpn: &[b"h2"], asks_clients: false };
/// Said of a call that took longer than its `grpc-timeout`.
pub const DEADLINE_EXCEEDED: &str = "deadline exceeded";

/// Its ports.
pub async fn ports(keys: &Path) -> trouble::Result<Vec<Port>> {
    let routes = routes().await?;
    Ok(vec![
        Port { number: 9000, about: "gRPC", tls: None, speaks: Speaks::Grpc(routes.clone()) },
        Port {
            number: 9001,
            about: "gRPC over TLS",
            tls: Some(Terminator::new(keys, TLS)?),
            speaks: Speaks::Grpc(routes),
        },
    ])
}

/// All its services.
pub async fn routes() -> trouble::Result<Routes> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<EchoServer<Echoes>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .or_trouble(|| "cannot set up gRPC reflection".into())?;
    let routes = Routes::new(EchoServer::new(Echoes)).add_service(health).add_service(reflection);
    Ok(routes.prepare())
}

/// Serves gRPC until the connection ends.
pub async fn serve<S>(stream: S, connection: Connection, context: Context, routes: Routes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let record = context.journal.begin(&connection, head_of(&request));
        answer(request, record, routes.clone())
    });
    // How the connection ends is the client's affair.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    record: Arc<Record>,
    mut routes: Routes,
) -> Result<Response<tonic::body::Body>, Infallible> {
    let deadline = deadline(request.headers());
    if request.body().is_end_stream() {
        record.complete();
    }
    let request = request.map(|body| Counted { body, record: Arc::clone(&record) });
    let call = routes.call(request);
    let mut response = match deadline {
        None => call.await?,
        Some(deadline) => match tokio::time::timeout(deadline, call).await {
            Ok(response) => response?,
            Err(_) => Status::deadline_exceeded(DEADLINE_EXCEEDED).into_http(),
        },
    };
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    if let Ok(value) = date.parse() {
        response.headers_mut().insert(http::header::DATE, value);
    }
    record.answered(response.status().as_u16(), Some(date));
    Ok(response)
}

/// The time that the client gives a call: `grpc-timeout`, up to eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = digits.parse::<u64>().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A request's body, with an eye on how much of it arrives.
struct Counted {
    body: Incoming,
    record: Arc<Record>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                this.record.body(frame.data_ref().map_or(0, Bytes::len) as u64);
                // Nobody need ask again.
                if this.body.is_end_stream() {
                    this.record.complete();
                }
            }
            Some(Err(_)) => {}
            None => this.record.complete(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The echo service.
#[derive(Debug)]
pub struct Echoes;

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

async fn wait(request: &EchoRequest) {
    if request.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
    }
}

#[tonic::async_trait]
impl Echo for Echoes {
    async fn unary(
        &self,
        request: tonic::Request<EchoRequest>,
    ) -> Result<tonic::Response<EchoResponse>, Status> {
        let request = request.into_inner();
        wait(&request).await;
        Ok(tonic::Response::new(EchoResponse { text: request.text, number: 1 }))
    }

    type ServerStreamStream = Answers;

    async fn server_stream(
        &self,
        request: tonic::Request<EchoRequest>,
    ) -> Result<tonic::Response<Answers>, Status> {
        let request = request.into_inner();
        let numbers = 1..=request.count.max(1);
        let answers = stream::iter(numbers).then(move |number| {
            let request = request.clone();
            async move {
                wait(&request).await;
                Ok(EchoResponse { text: request.text, number })
            }
        });
        Ok(tonic::Response::new(Box::pin(answers)))
    }

    async fn client_stream(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<EchoResponse>, Status> {
        let mut requests = request.into_inner();
        let mut texts = Vec::new();
        while let Some(request) = requests.next().await {
            let request = request?;
            wait(&request).await;
            texts.push(request.text);
        }
        let number = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        Ok(tonic::Response::new(EchoResponse { text: texts.join(" "), number }))
    }

    type BidiStream = Answers;

    async fn bidi(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<Answers>, Status> {
        let answers = request.into_inner().zip(stream::iter(1..)).then(|(request, number)| async move {
            let request = request?;
            wait(&request).await;
            Ok(EchoResponse { text: request.text, number })
        });
        Ok(tonic::Response::new(Box::pin(answers)))
    }

    async fn fail(
        &self,
        request: tonic::Request<FailRequest>,
    ) -> Result<tonic::Response<EchoResponse>, Status> {
        let FailRequest { code, message } = request.into_inner();
        match Code::from_i32(i32::try_from(code).unwrap_or(i32::MAX)) {
            Code::Ok => Ok(tonic::Response::new(EchoResponse { text: message, number: 1 })),
            code => Err(Status::new(code, message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_the_protocol_writes_them() {
        let read = |text: &str| {
            deadline(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]))
        };
        assert_eq!(read("1S"), Some(Duration::from_secs(1)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for nonsense in ["", "S", "1", "1s", "-1S", "999999999S"] {
            assert_eq!(read(nonsense), None, "{nonsense:?}");
        }
    }
}
