//! Requests that two servers could read in two ways are refused, before anything else happens to them.
//!
//! Pingora's parser reads what RFC 9112 lets a lenient recipient read. A gateway cannot be lenient for the servers
//! behind it: what it repairs silently, somebody before it may have understood differently, and the difference is
//! a smuggled request. So the head is judged as it was sent, on its raw bytes.

use http::{Version, header};
use memchr::memchr_iter;
use pingora::http::RequestHeader;
use pingora::http::authority::{RawTargetAuthority, is_http_family_scheme, raw_target_authority};

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
}

/// Judges a head. `raw` is what was sent, for HTTP/1.
///
/// # Errors
/// What is wrong with it first.
pub fn check(request: &RequestHeader, raw: Option<&[u8]>) -> Result<(), BadHead> {
    let headers = &request.headers;
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    match host.or_else(|| authority(request)) {
        Some(host) => is_host(host).then_some(()).ok_or(BadHead::Host)?,
        None if request.version == Version::HTTP_10 => {}
        None => return Err(BadHead::NoHost),
    }
    let Some(raw) = raw else { return Ok(()) };

    if host.is_none() && request.version == Version::HTTP_11 {
        return Err(BadHead::NoHost);
    }
    lines(raw)?;
    if headers.contains_key(header::TRANSFER_ENCODING) {
        coding(request, raw)?;
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next()
        && (lengths.next().is_some()
            || length.is_empty()
            || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(BadHead::Length);
    }
    // RFC 9112, section 3.2.2: an absolute form is to be accepted. Pingora has compared it with the Host.
    match raw_target_authority(request.raw_path()) {
        RawTargetAuthority::None if request.raw_path().first() == Some(&b'/') => Ok(()),
        RawTargetAuthority::Absolute { scheme, .. } if is_http_family_scheme(scheme) => Ok(()),
        _ => Err(BadHead::Target),
    }
}

/// The host that the target names, if it names one.
pub fn authority(request: &RequestHeader) -> Option<&[u8]> {
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    authority.or_else(|| raw_target_authority(request.raw_path()).authority())
}

/// Each line feed has its carriage return, and no line goes on in the next.
fn lines(raw: &[u8]) -> Result<(), BadHead> {
    for at in memchr_iter(b'\n', raw) {
        if at == 0 || raw[at - 1] != b'\r' {
            return Err(BadHead::BareLineFeed);
        }
        if matches!(raw.get(at + 1), Some(b' ' | b'\t')) {
            return Err(BadHead::Folded);
        }
    }
    Ok(())
}

/// Exactly `chunked`, and no length beside it. Pingora has taken the length away by now: only the raw bytes know.
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

/// Whether these bytes can be a host, with or without a port (RFC 3986, section 3.2.2). No user, no path, no list.
fn is_host(host: &[u8]) -> bool {
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'~' | b'%')
    };
    !host.is_empty() && host.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in ["a", "example.com:8080", "[::1]:80", "127.0.0.1", "a_b", "xn--bcher-kva.example"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["", "a b", "a,b", "user@a", "a/b", "a?b", "a#b", "a\\b"] {
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
}
