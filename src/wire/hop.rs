//! Headers that end at each hop (RFC 9110, section 7.6.1). Pingora removes those of requests; those of answers are
//! removed here.

use http::{HeaderName, StatusCode, header};
use pingora::http::ResponseHeader;

/// Takes them from an answer, with those that its `Connection` names. `trailers`: whether the client could get
/// trailers that are announced.
///
/// Not `Transfer-Encoding`, from which Pingora knows how the client's answer is to be framed.
pub fn remove_from_response(response: &mut ResponseHeader, trailers: bool) {
    // RFC 9110, section 15.2.2: here they are what the answer is about.
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    // One look at each name, instead of one for each that it could be.
    let ends = |name: &&HeaderName| ends_here(name) || (!trailers && **name == header::TRAILER);
    while let Some(name) = response.headers.keys().find(ends).cloned() {
        if name == header::CONNECTION {
            for name in nominated(response) {
                response.remove_header(&name);
            }
        }
        response.remove_header(&name);
    }
}

fn ends_here(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::UPGRADE | header::TE | header::PROXY_AUTHENTICATE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn nominated(response: &ResponseHeader) -> Vec<HeaderName> {
    let values = response.headers.get_all(header::CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // These are no names, and the most frequent of all.
        .filter(|token| ![&b"close"[..], b"keep-alive"].iter().any(|word| token.eq_ignore_ascii_case(word)))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        // What frames the body is never up to whoever sends it.
        .filter(|name| ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_here_goes_no_further() {
        let mut response = ResponseHeader::build(200, None).expect("it is a status");
        for (name, value) in [
            ("Connection", "close, X-Hop, , Content-Length"),
            ("X-Hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "close"),
            ("Upgrade", "h2c"),
            ("Trailer", "X-Sum"),
            ("Content-Length", "2"),
            ("X-End", "1"),
        ] {
            response.append_header(name, value).expect("it is a header");
        }
        remove_from_response(&mut response, false);
        let mut left: Vec<&str> = response.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "x-end"]);
    }
}
