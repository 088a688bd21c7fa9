//! A check by an HTTP request.

use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;

use super::{Failure, USER_AGENT, host};
use crate::config::HttpCheck;

/// How much of an answer is searched for the expected text.
const MOST: usize = 64 * 1024;

pub async fn ask(connector: &Connector, peer: &HttpPeer, check: &HttpCheck) -> Result<(), Failure> {
    let (mut session, _) = connector.get_http_session(peer).await?;
    let mut request = RequestHeader::build("GET", check.path.as_bytes(), None)?;
    let host = check.host.clone().unwrap_or_else(|| host(peer));
    request.insert_header(http::header::HOST, host)?;
    request.insert_header(http::header::USER_AGENT, USER_AGENT)?;
    request.insert_header(http::header::CONNECTION, "close")?;
    if matches!(session, HttpSession::H2(_)) {
        request.remove_header(&http::header::CONNECTION); // no such thing there (RFC 9113 section 8.2.2)
    }
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;

    let status = loop {
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        // Informational answers come before the real one.
        if !(100..200).contains(&status) {
            break status;
        }
    };
    if !check.expect_status.contains(&status) {
        return Err(Failure::Status(status));
    }
    if let Some(expected) = &check.expect_body {
        let mut body = Vec::new();
        while body.len() < MOST {
            let Some(piece) = session.read_response_body().await? else { break };
            body.extend_from_slice(&piece);
        }
        body.truncate(MOST);
        if memchr::memmem::find(&body, expected.as_bytes()).is_none() {
            return Err(Failure::Body);
        }
    }
    session.shutdown().await;
    Ok(())
}
