//! Calls the services of the host grpc, and prints what a gRPC client gets to see.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::body::Body;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tower_service::Service;

use super::dial::{self, TlsArgs};
use crate::services::grpc::DEADLINE_EXCEEDED;
use crate::services::grpc::pb::echo_client::EchoClient;
use crate::services::grpc::pb::{EchoRequest, EchoResponse, FailRequest};
use crate::trouble::{OrTrouble, Result};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// One call.
#[derive(Debug)]
pub enum Call {
    /// Asks for the health of a service; of none: of the server.
    Health(String),
    /// Lists the services, by reflection.
    List,
    /// One message, one answer.
    Unary(EchoRequest),
    /// One message, several answers.
    ServerStream(EchoRequest),
    /// Several messages, one answer.
    ClientStream(Vec<EchoRequest>),
    /// Several messages, each answered.
    Bidi(Vec<EchoRequest>),
    /// Asks for a status.
    Fail(FailRequest),
}

/// Where to, and with what.
#[derive(Debug)]
pub struct Options {
    /// `host:port`.
    pub address: String,
    /// TLS, if wanted.
    pub tls: Option<TlsArgs>,
    /// `:authority`, if not the address.
    pub authority: Option<String>,
    /// How long the whole call may take; also sent, as `grpc-timeout`.
    pub deadline: Option<Duration>,
    /// Further metadata.
    pub metadata: Vec<(String, String)>,
}

/// One HTTP/2 connection as tonic wants it.
#[derive(Debug, Clone)]
struct Channel(SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Status>> {
        self.0.poll_ready(cx).map_err(unavailable)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sending = self.0.send_request(request);
        Box::pin(async move { sending.await.map_err(unavailable) })
    }
}

/// A connection that fails is UNAVAILABLE to a gRPC client, unless HTTP/2 gave a reason that has a status.
fn unavailable(error: hyper::Error) -> Status {
    let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    match Status::from_error(Box::new(error)) {
        status if status.code() == Code::Unknown => Status::unavailable(format!("connection lost: {cause}")),
        status => status,
    }
}

/// Makes the call, prints each message as it comes, and returns the status in which it ended.
pub async fn call(options: &Options, call: Call, out: &mut impl Write) -> Result<Status> {
    let channel = connect(options).await?;
    let calling = talk(options, channel, call, out);
    let ended = match options.deadline {
        None => calling.await,
        // The server has the deadline too, but may be the very one that does not answer.
        Some(deadline) => match tokio::time::timeout(deadline, calling).await {
            Ok(ended) => ended,
            Err(_) => Ok(Err(Status::deadline_exceeded(DEADLINE_EXCEEDED))),
        },
    };
    let ended = ended.or_trouble(|| "cannot print what came".into())?;
    Ok(ended.err().unwrap_or_else(|| Status::ok("")))
}

/// The last line: `grpc-status: 5 (NotFound) no such leaf`.
pub fn status_line(status: &Status) -> String {
    let code = status.code();
    let name = if code == Code::Ok { "OK".into() } else { format!("{code:?}") };
    let line = format!("grpc-status: {} ({name}) {}", i32::from(code), status.message());
    line.trim_end().into()
}

async fn connect(options: &Options) -> Result<(Channel, Uri)> {
    let address = &options.address;
    let stream = dial::tcp(address, CONNECT).await?;
    let stream: Box<dyn dial::Stream> = match &options.tls {
        Some(tls) => Box::new(dial::tls(stream, address, tls, &["h2"]).await?.0),
        None => Box::new(stream),
    };
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .or_trouble(|| format!("no HTTP/2 with {address}"))?;
    // Whatever ends the connection ends the call too, and is told there.
    tokio::spawn(connection);

    let sni = options.tls.as_ref().and_then(|tls| tls.sni.clone());
    let authority = options.authority.clone().or(sni).unwrap_or_else(|| address.clone());
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let origin = Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query("/").build();
    Ok((Channel(sender), origin.or_trouble(|| format!("'{authority}' is no authority"))?))
}

/// The outer error is ours (printing), the inner one the call's.
type Ended = io::Result<std::result::Result<(), Status>>;

async fn talk(
    options: &Options,
    (channel, origin): (Channel, Uri),
    call: Call,
    out: &mut impl Write,
) -> Ended {
    let mut echo = EchoClient::with_origin(channel.clone(), origin.clone());
    match call {
        Call::Health(service) => {
            let mut health = HealthClient::with_origin(channel, origin);
            match health.check(request(options, HealthCheckRequest { service })).await {
                Ok(response) => {
                    let status = response.into_inner().status;
                    let status = ServingStatus::try_from(status).unwrap_or(ServingStatus::Unknown);
                    writeln!(out, "{}", status.as_str_name())?;
                    Ok(Ok(()))
                }
                Err(status) => Ok(Err(status)),
            }
        }
        Call::List => {
            let ask = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut reflection = ServerReflectionClient::with_origin(channel, origin);
            let asked = reflection.server_reflection_info(request(options, stream::iter([ask]))).await;
            match asked {
                Ok(response) => list(response.into_inner(), out).await,
                Err(status) => Ok(Err(status)),
            }
        }
        Call::Unary(message) => one(echo.unary(request(options, message)).await, out),
        Call::Fail(message) => one(echo.fail(request(options, message)).await, out),
        Call::ClientStream(messages) => {
            one(echo.client_stream(request(options, stream::iter(messages))).await, out)
        }
        Call::ServerStream(message) => match echo.server_stream(request(options, message)).await {
            Ok(response) => several(response.into_inner(), out).await,
            Err(status) => Ok(Err(status)),
        },
        Call::Bidi(messages) => match echo.bidi(request(options, stream::iter(messages))).await {
            Ok(response) => several(response.into_inner(), out).await,
            Err(status) => Ok(Err(status)),
        },
    }
}

fn request<T>(options: &Options, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(deadline) = options.deadline {
        request.set_timeout(deadline);
    }
    for (name, value) in &options.metadata {
        // Both were checked when they were typed.
        if let (Ok(name), Ok(value)) =
            (MetadataKey::from_bytes(name.as_bytes()), MetadataValue::try_from(value))
        {
            let metadata: &mut MetadataMap = request.metadata_mut();
            metadata.append(name, value);
        }
    }
    request
}

fn one(answer: std::result::Result<tonic::Response<EchoResponse>, Status>, out: &mut impl Write) -> Ended {
    match answer {
        Ok(response) => print(&response.into_inner(), out).map(Ok),
        Err(status) => Ok(Err(status)),
    }
}

async fn several(
    mut answers: impl Stream<Item = std::result::Result<EchoResponse, Status>> + Unpin,
    out: &mut impl Write,
) -> Ended {
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => print(&answer, out)?,
            Err(status) => return Ok(Err(status)),
        }
    }
    Ok(Ok(()))
}

async fn list(
    mut answers: Streaming<tonic_reflection::pb::v1::ServerReflectionResponse>,
    out: &mut impl Write,
) -> Ended {
    while let Some(answer) = answers.next().await {
        match answer.map(|answer| answer.message_response) {
            Ok(Some(MessageResponse::ListServicesResponse(list))) => {
                for service in list.service {
                    writeln!(out, "{}", service.name)?;
                }
            }
            Ok(_) => {}
            Err(status) => return Ok(Err(status)),
        }
    }
    Ok(Ok(()))
}

fn print(answer: &EchoResponse, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}: {}", answer.number, answer.text)?;
    out.flush()
}
