//! Requests that two servers could read in two ways are refused, before anything else happens to them.
//!
//! Pingora's parser reads what RFC 9112 lets a lenient recipient read. A gateway cannot be lenient for the servers
//! behind it: what it repairs silently, somebody before it may have understood differently, and the difference is
//! a smuggled request. So the head is judged as it was sent, on its raw bytes.

use std::net::SocketAddr;

use http::{HeaderValue, Version, header};
use memchr::{memchr_iter, memchr2_iter};
use pingora::http::RequestHeader;
use pingora::http::authority::{RawTargetAuthority, is_http_family_scheme, raw_target_authority};

use super::present::Present;

/// Why a request's head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// RFC 9112, section 3.2: a request of HTTP/1.1 has exactly one.
    #[error("there is no Host")]
    NoHost,
    /// A Host that is no host, with or without a port.
    #[error("the Host is not one")]
    Host,
    /// RFC 9112, section 2.2: lenient recipients end a line here, others do not.
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    /// RFC 9112, section 5.2.
    #[error("a header line is folded")]
    Folded,
    /// RFC 9112, section 6.1: possibly an attempt to smuggle.
    #[error("the body has both a length and a transfer coding")]
    LengthAndCoding,
    /// Any other than `chunked`, once.
    #[error("the body has a transfer coding that is not understood")]
    Coding,
    /// Anything but digits, once.
    #[error("the body's length is not a number")]
    Length,
    /// A target that is neither a path nor an address of HTTP.
    #[error("the target is neither a path nor an address of HTTP")]
    Target,
    /// RFC 9112, section 3.2: recipients disagree whether it is part of the path.
    #[error("the target has a fragment")]
    Fragment,
    /// RFC 9113, section 8.2.1: whoever reads it as HTTP/1 leaves the space out.
    #[error("a header's value begins or ends with a space")]
    Padded,
    /// HTTP/2 says by what name a client has called: it is `http` or `https` here.
    #[error("the scheme is not one of HTTP")]
    Scheme,
}

/// Judges a head. `raw` is what was sent, for HTTP/1, and `present` what it has.
///
/// # Errors
/// What is wrong with it first.
pub fn check(request: &RequestHeader, raw: Option<&[u8]>, present: Present) -> Result<(), BadHead> {
    let host = request.headers.get(header::HOST).map(|host| host.as_bytes());
    match host.or_else(|| authority(request)) {
        Some(host) => is_host(host).then_some(()).ok_or(BadHead::Host)?,
        None if request.version == Version::HTTP_10 => {}
        None => return Err(BadHead::NoHost),
    }
    if present.contains(Present::LENGTH) {
        lengths(request)?;
    }
    let Some(raw) = raw else {
        return frames(request);
    };

    if host.is_none() && request.version == Version::HTTP_11 {
        return Err(BadHead::NoHost);
    }
    lines(raw)?;
    if present.contains(Present::CODING) {
        coding(request, raw)?;
    }
    // RFC 9112, section 3.2.2: an absolute form is to be accepted. Pingora has compared it with the Host.
    match raw_target_authority(request.raw_path()) {
        RawTargetAuthority::None if request.raw_path().first() == Some(&b'/') => Ok(()),
        RawTargetAuthority::Absolute { scheme, .. } if is_http_family_scheme(scheme) => Ok(()),
        _ => Err(BadHead::Target),
    }
}

/// What HTTP/2 leaves to whoever reads its frames.
#[inline(never)]
fn frames(request: &RequestHeader) -> Result<(), BadHead> {
    if request.headers.values().any(is_padded) {
        return Err(BadHead::Padded);
    }
    // RFC 9113, section 8.3.1. Of a fragment nothing is left here, unlike in HTTP/1.
    if request.raw_path().first() != Some(&b'/') {
        return Err(BadHead::Target);
    }
    let scheme = request.uri.scheme_str().unwrap_or("http");
    is_http_family_scheme(scheme.as_bytes()).then_some(()).ok_or(BadHead::Scheme)
}

/// Whether a header's value has a space, or a tab, at its beginning or its end.
pub(super) fn is_padded(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
}

/// The host that the target names, if it names one.
pub fn authority(request: &RequestHeader) -> Option<&[u8]> {
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    authority.or_else(|| raw_target_authority(request.raw_path()).authority())
}

/// A client of HTTP/1.0 may name no host, but the upstream is asked in a version that has to (RFC 9112, section 3.2):
/// it is asked by its own address.
///
/// # Errors
/// Never: an address is a host.
pub fn complete(request: &mut RequestHeader, server: SocketAddr) -> pingora::Result<()> {
    if request.headers.contains_key(header::HOST) || request.uri.authority().is_some() {
        return Ok(());
    }
    request.insert_header(header::HOST, server.to_string())
}

/// One length, of digits alone. HTTP/2 knows where a body ends, but HTTP/1 behind us may not.
#[inline(never)]
fn lengths(request: &RequestHeader) -> Result<(), BadHead> {
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(length), None) if is_number(length.as_bytes()) => Ok(()),
        _ => Err(BadHead::Length),
    }
}

/// Digits, and nothing else.
pub(super) fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Each line feed has its carriage return, no line goes on in the next, and the first of them, which has the target, has
/// no fragment: Pingora leaves that out of the target. (A space in it has been escaped by now, in the raw bytes too:
/// what is matched is what goes on.)
fn lines(raw: &[u8]) -> Result<(), BadHead> {
    let (mut begin, mut is_first) = (0, true);
    for at in memchr2_iter(b'\n', b'#', raw) {
        if raw[at] == b'#' {
            if is_first {
                return Err(BadHead::Fragment);
            }
            continue;
        }
        if at == 0 || raw[at - 1] != b'\r' {
            return Err(BadHead::BareLineFeed);
        }
        if matches!(raw.get(at + 1), Some(b' ' | b'\t')) {
            return Err(BadHead::Folded);
        }
        // RFC 9112, section 2.2: empty lines before the first do not count.
        is_first &= at == begin + 1;
        begin = at + 1;
    }
    Ok(())
}

/// Exactly `chunked`, and no length beside it. Pingora has taken the length away by now: only the raw bytes know.
#[cold]
fn coding(request: &RequestHeader, raw: &[u8]) -> Result<(), BadHead> {
    const LENGTH: &[u8] = b"content-length";
    let has_length = memchr_iter(b'\n', raw).any(|at| {
        raw.get(at + 1..at + 1 + LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH))
    });
    if has_length {
        return Err(BadHead::LengthAndCoding);
    }
    let mut codings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(BadHead::Coding),
    }
}

/// Whether these bytes can be a host, with or without a port (RFC 3986, section 3.2.2): a name, or an address in
/// brackets. No user, no path, no list, and no escapes, which no name in DNS has.
pub(super) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let in_brackets = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            (rest[..end].iter().all(in_brackets).then_some(&rest[..end]), &rest[end + 1..])
        }
        _ => {
            let in_name = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~');
            let end = host.iter().position(|byte| !in_name(byte)).unwrap_or(host.len());
            (Some(&host[..end]), &host[end..])
        }
    };
    name.is_some_and(|name| !name.is_empty()) && is_port(port)
}

/// Nothing, or a colon and a number that a port can have. The number may be missing (RFC 3986, section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    let [b':', digits @ ..] = port else { return port.is_empty() };
    digits.is_empty()
        || (is_number(digits) && std::str::from_utf8(digits).is_ok_and(|port| port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in [
            "a",
            "example.com:8080",
            "[::1]:80",
            "[::1]",
            "127.0.0.1",
            "a_b",
            "a.",
            "a:",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", "a b", "a,b", "user@a", "a/b", "a?b", "a#b", "a\\b", ":80", "a:b", "a:65536", "a:1:2",
            "[::1", "::1", "[]", "[a]b", "[x]", "%61",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn lines_end_in_one_way() {
        assert_eq!(lines(b"GET / HTTP/1.1\r\nA: b\r\n\r\n"), Ok(()));
        assert_eq!(lines(b"GET / HTTP/1.1\nA: b\r\n\r\n"), Err(BadHead::BareLineFeed));
        assert_eq!(lines(b"\nGET / HTTP/1.1\r\nA: b\r\n\r\n"), Err(BadHead::BareLineFeed));
        assert_eq!(lines(b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), Err(BadHead::Folded));
    }

    #[test]
    fn a_fragment_is_one_in_the_first_line_alone() {
        assert_eq!(lines(b"GET /#a HTTP/1.1\r\nA: b\r\n\r\n"), Err(BadHead::Fragment));
        assert_eq!(lines(b"\r\n\r\nGET /#a HTTP/1.1\r\nA: b\r\n\r\n"), Err(BadHead::Fragment));
        assert_eq!(lines(b"GET / HTTP/1.1\r\nA: #\r\n\r\n"), Ok(()));
        assert_eq!(lines(b"\r\nGET / HTTP/1.1\r\nA: #\r\n\r\n"), Ok(()));
    }
}
