//! Answers that clients could read in two ways, or that nobody asked for.
//!
//! What an upstream sends is judged like what a client sends, with one difference: its fault is not the client's,
//! so what has only one sensible reading is repaired, and the rest is a bad gateway. Of a length beside a transfer
//! coding, nothing is left to judge: Pingora has taken the coding and removed the length, as RFC 9112, section 6.3
//! asks.

use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::prelude::*;

use super::head::{is_number, is_padded};
use super::present::Present;

/// Why an answer is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// RFC 9110, section 7.8: only to what was asked for.
    #[error("the upstream switches to a protocol that nobody has asked for")]
    Switch,
    /// Any other than `chunked`, once, in HTTP/1.1 (RFC 9112, section 6.1).
    #[error("the answer has a transfer coding that is not understood")]
    Coding,
    /// Lengths that differ, or are no numbers.
    #[error("the answer's length is not a number")]
    Length,
    /// RFC 9113, section 8.2.1: HTTP/2 has no way to write it, and whoever reads it as HTTP/1 leaves it out.
    #[error("a header's value begins or ends with a space")]
    Padded,
    /// Answers before the answer, and no end of them.
    #[error("the upstream sends nothing but informational answers")]
    Flood,
}

impl BadAnswer {
    /// As Pingora's hooks return it: the upstream's fault.
    pub fn into_error(self) -> Box<Error> {
        Error::explain(InvalidHTTPHeader, self.to_string()).into_up()
    }
}

/// Judges and repairs an answer's head. `present`: what it has; `asked`: whether the upstream was asked to switch
/// protocols.
///
/// # Errors
/// What cannot be passed on.
pub fn check(response: &mut ResponseHeader, present: Present, asked: bool) -> Result<(), BadAnswer> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !(asked && is_to_websocket(response)) {
        return Err(BadAnswer::Switch);
    }
    if response.version == Version::HTTP_2 && response.headers.values().any(is_padded) {
        return Err(BadAnswer::Padded);
    }
    // RFC 9112, section 6.1 and RFC 9110, section 8.6: these have no body, and announce none.
    if response.status.is_informational() || response.status == StatusCode::NO_CONTENT {
        response.remove_header(&header::TRANSFER_ENCODING);
        response.remove_header(&header::CONTENT_LENGTH);
    }
    if present.contains(Present::CODING) && response.headers.contains_key(header::TRANSFER_ENCODING) {
        let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
        match (codings.next(), codings.next()) {
            (Some(coding), None)
                if coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                    && response.version >= Version::HTTP_11 => {}
            _ => return Err(BadAnswer::Coding),
        }
    }
    if present.contains(Present::LENGTH) {
        length(response)?;
    }
    // RFC 9110, section 6.2: a version is between neighbours, and ours is this one.
    if response.version < Version::HTTP_11 {
        response.set_version(Version::HTTP_11);
    }
    Ok(())
}

/// Whether the answer is still to come (RFC 9110, section 15.2). One that switches protocols is an answer.
pub fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The one protocol that upstreams are asked for (RFC 6455, section 4.2.2).
fn is_to_websocket(response: &ResponseHeader) -> bool {
    let protocol = response.headers.get(header::UPGRADE);
    protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// One number. The same one many times is one (RFC 9112, section 6.3).
fn length(response: &mut ResponseHeader) -> Result<(), BadAnswer> {
    let mut values = response.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return Ok(()) };
    if values.next().is_none() && is_number(first.as_bytes()) {
        return Ok(());
    }
    let lists = response.headers.get_all(header::CONTENT_LENGTH).iter();
    let mut lengths =
        lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let one = lengths.next().filter(|one| is_number(one) && lengths.all(|other| other == *one));
    let one = one.and_then(|one| HeaderValue::from_bytes(one).ok()).ok_or(BadAnswer::Length)?;
    response.insert_header(header::CONTENT_LENGTH, one).map_err(|_| BadAnswer::Length)
}

/// Leaves out what a client of HTTP/1.0 cannot read (RFC 9112, section 6.1). Returns whether the answer now ends
/// with the connection.
pub fn unframe(response: &mut ResponseHeader, client: Version) -> bool {
    client <= Version::HTTP_10 && response.remove_header(&header::TRANSFER_ENCODING).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &mut ResponseHeader, asked: bool) -> Result<(), BadAnswer> {
        let present = Present::of(&head.headers);
        super::check(head, present, asked)
    }

    fn head(status: u16, lines: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).expect("it is a status");
        for (name, value) in lines {
            head.append_header(*name, *value).expect("it is a header");
        }
        head
    }

    #[test]
    fn what_has_one_reading_is_repaired() {
        for (status, lines, left) in [
            (200, &[("Content-Length", "5")][..], &["5"][..]),
            (200, &[("Content-Length", "5"), ("Content-Length", "5")], &["5"]),
            (200, &[("Content-Length", "5, 5")], &["5"]),
            (200, &[("Transfer-Encoding", "Chunked")], &["Chunked"]),
            (204, &[("Content-Length", "5")], &[]),
            (204, &[("Transfer-Encoding", "gzip")], &[]),
            (103, &[("Content-Length", "5")], &[]),
            (304, &[("Content-Length", "5")], &["5"]),
        ] {
            let mut head = head(status, lines);
            assert_eq!(check(&mut head, false), Ok(()), "{status} {lines:?}");
            let values: Vec<_> = head.headers.values().map(|value| value.to_str().expect("text")).collect();
            assert_eq!(values, left, "{status} {lines:?}");
        }
    }

    #[test]
    fn what_has_several_is_not_passed_on() {
        for (lines, error) in [
            (&[("Content-Length", "5"), ("Content-Length", "6")][..], BadAnswer::Length),
            (&[("Content-Length", "5, 6")], BadAnswer::Length),
            (&[("Content-Length", "+5")], BadAnswer::Length),
            (&[("Content-Length", "")], BadAnswer::Length),
            (&[("Transfer-Encoding", "gzip, chunked")], BadAnswer::Coding),
            (&[("Transfer-Encoding", "identity")], BadAnswer::Coding),
            (&[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], BadAnswer::Coding),
        ] {
            assert_eq!(check(&mut head(200, lines), false), Err(error), "{lines:?}");
        }
        let websocket = &[("Upgrade", "WebSocket")];
        assert_eq!(check(&mut head(101, websocket), false), Err(BadAnswer::Switch));
        assert_eq!(check(&mut head(101, websocket), true), Ok(()));
        for other in [&[][..], &[("Upgrade", "h2c")]] {
            assert_eq!(check(&mut head(101, other), true), Err(BadAnswer::Switch));
        }
    }

    #[test]
    fn the_version_is_ours() {
        let mut old = head(200, &[("Content-Length", "5")]);
        old.set_version(Version::HTTP_10);
        assert_eq!(check(&mut old, false), Ok(()));
        assert_eq!(old.version, Version::HTTP_11);
        // HTTP/1.0 has no codings.
        let mut old = head(200, &[("Transfer-Encoding", "chunked")]);
        old.set_version(Version::HTTP_10);
        assert_eq!(check(&mut old, false), Err(BadAnswer::Coding));
    }
}
