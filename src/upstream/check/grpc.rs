//! A check by the gRPC health checking protocol: `grpc.health.v1.Health/Check`.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use prost::Message;

use super::{Failure, USER_AGENT, host};

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(enumeration = "Status", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum Status {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// The answer is a few bytes; who sends more is something else.
const MOST: usize = 4 * 1024;

pub async fn ask(connector: &Connector, mut peer: HttpPeer, service: &str) -> Result<(), Failure> {
    peer.options.set_http_version(2, 2);
    let (session, _) = connector.get_http_session(&peer).await?;
    let HttpSession::H2(mut session) = session else { return Err(Failure::NotH2) };

    let mut request = RequestHeader::build("POST", b"/grpc.health.v1.Health/Check", None)?;
    request.insert_header(http::header::HOST, host(&peer))?;
    request.insert_header(http::header::CONTENT_TYPE, "application/grpc")?;
    request.insert_header(http::header::TE, "trailers")?;
    request.insert_header(http::header::USER_AGENT, USER_AGENT)?;
    session.write_request_header(Box::new(request), false)?;
    session.write_request_body(frame(&Request { service: service.to_string() }), true).await?;

    session.read_response_header().await?;
    let (status, in_head) = match session.response_header() {
        Some(head) => (head.status.as_u16(), grpc_status(&head.headers)),
        None => (0, None),
    };
    if status != 200 {
        return Err(Failure::Status(status));
    }
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_response_body().await? {
        body.extend_from_slice(&piece);
        if body.len() > MOST {
            return Err(Failure::NotServing("not a health service"));
        }
    }
    // An answer without a body has its trailers in the head.
    let status = match in_head {
        Some(status) => Some(status),
        None => session.read_trailers().await?.as_ref().and_then(grpc_status),
    };
    match status.as_deref() {
        Some("0") => serving(&body),
        Some(status) => Err(Failure::GrpcStatus(status.to_string())),
        None => Err(Failure::GrpcStatus("none".to_string())),
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().ok()?.to_string())
}

/// A message as gRPC sends it: not compressed, and behind its length.
fn frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn serving(body: &[u8]) -> Result<(), Failure> {
    let status = body.get(5..).and_then(|message| Response::decode(message).ok());
    match status.map(|response| response.status()) {
        Some(Status::Serving) => Ok(()),
        Some(Status::NotServing) => Err(Failure::NotServing("not serving")),
        Some(Status::ServiceUnknown) => Err(Failure::NotServing("unknown")),
        Some(Status::Unknown) => Err(Failure::NotServing("in an unknown state")),
        None => Err(Failure::NotServing("not a health service")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_as_on_the_wire() {
        assert_eq!(&frame(&Request { service: "a".to_string() })[..], b"\0\0\0\0\x03\x0a\x01a");
        assert_eq!(&frame(&Request::default())[..], [0; 5]);
        assert!(serving(b"\0\0\0\0\x02\x08\x01").is_ok());
        for body in [&b"\0\0\0\0\x02\x08\x02"[..], b"\0\0\0\0\0", b"", b"\0\0\0\0\x02\xff\xff"] {
            assert!(serving(body).is_err(), "{body:?}");
        }
    }
}
