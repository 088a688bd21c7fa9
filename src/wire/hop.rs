//! Headers that end at each hop (RFC 9110, section 7.6.1). Pingora removes those of requests; those of answers are
//! removed here.

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};

use super::present::Present;

/// Whether a request's `Connection` says that its `Upgrade` is for us (RFC 9110, section 7.8).
pub fn names_upgrade(request: &RequestHeader) -> bool {
    let values = request.headers.get_all(header::CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Servers of gRPC ask for `TE: trailers`, and some refuse what comes without it. From a client of HTTP/1, Pingora has
/// taken it away.
///
/// # Errors
/// Never: it is a header.
pub fn announce_trailers(request: &mut RequestHeader) -> pingora::Result<()> {
    if request.version != Version::HTTP_2 || request.headers.contains_key(header::TE) {
        return Ok(());
    }
    let kind = request.headers.get(header::CONTENT_TYPE);
    match kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        true => request.insert_header(header::TE, "trailers"),
        false => Ok(()),
    }
}

/// Takes them from an answer, with those that its `Connection` names. `present`: what it has; `h2`: whether the client
/// speaks HTTP/2.
///
/// Not `Transfer-Encoding`, from which Pingora knows how the client's answer is to be framed.
pub fn remove_from_response(response: &mut ResponseHeader, present: Present, h2: bool) {
    if present.contains(Present::ENDING) || present.contains(Present::CONNECTION) && !names_nothing(response)
    {
        remove(response, h2);
    } else if present.contains(Present::CONNECTION) {
        // Also where Pingora writes another one in its place: until then, its room is that of the request's id, and
        // most answers come in maps that have no more.
        response.remove_header(&header::CONNECTION);
    }
}

/// Whether it says no more than what becomes of the connection. Most answers do.
fn names_nothing(response: &ResponseHeader) -> bool {
    let mut lines = response.headers.get_all(header::CONNECTION).iter();
    lines.next().is_some_and(|line| is_no_name(line.as_bytes())) && lines.next().is_none()
}

fn is_no_name(line: &[u8]) -> bool {
    [&b"close"[..], b"keep-alive"].iter().any(|word| line.eq_ignore_ascii_case(word))
}

#[cold]
fn remove(response: &mut ResponseHeader, h2: bool) {
    // From HTTP/2 to HTTP/2, trailers go on, and so does what announces them.
    let trailers = h2 && response.version == Version::HTTP_2;
    // RFC 9110, section 15.5.22: what is required is said to those who can do it.
    let required = !h2 && response.status == StatusCode::UPGRADE_REQUIRED;
    // RFC 9110, section 15.2.2: here they are what the answer is about.
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    // One look at each name, instead of one for each that it could be.
    let ends = |name: &&HeaderName| match **name {
        header::UPGRADE => !required,
        header::TRAILER => !trailers,
        _ => ends_here(name),
    };
    while let Some(name) = response.headers.keys().find(ends).cloned() {
        if name == header::CONNECTION {
            for name in nominated(response).into_iter().filter(|name| *name != header::UPGRADE || !required) {
                response.remove_header(&name);
            }
        }
        response.remove_header(&name);
    }
}

fn ends_here(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::TE | header::PROXY_AUTHENTICATE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn nominated(response: &ResponseHeader) -> Vec<HeaderName> {
    let lines = response.headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    lines
        .filter(|line| !is_no_name(line))
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        // What frames the body is never up to whoever sends it.
        .filter(|name| ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(response: &mut ResponseHeader, h2: bool) {
        let present = Present::of(&response.headers);
        remove_from_response(response, present, h2);
    }

    #[test]
    fn grpc_is_told_that_its_trailers_are_understood() {
        for (version, kind, told) in [
            (Version::HTTP_2, "application/grpc+proto", true),
            (Version::HTTP_2, "application/json", false),
            (Version::HTTP_11, "application/grpc", false),
        ] {
            let mut request = RequestHeader::build("POST", b"/", None).expect("it is a request");
            request.set_version(version);
            request.insert_header(header::CONTENT_TYPE, kind).expect("it is a header");
            announce_trailers(&mut request).expect("it fits");
            assert_eq!(request.headers.contains_key(header::TE), told, "{version:?} {kind}");
        }
    }

    /// RFC 9110, section 15.5.22. HTTP/2 has no `Upgrade`.
    #[test]
    fn what_is_required_is_said_to_those_who_can_do_it() {
        for (status, h2, left) in [(426, false, true), (426, true, false), (200, false, false)] {
            let mut response = ResponseHeader::build(status, None).expect("it is a status");
            response.append_header("Upgrade", "websocket").expect("it is a header");
            response.append_header("Connection", "Upgrade").expect("it is a header");
            end(&mut response, h2);
            assert_eq!(response.headers.contains_key(header::UPGRADE), left, "{status}, {h2}");
        }
    }

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
        end(&mut response, true);
        let mut left: Vec<&str> = response.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "x-end"]);
    }

    #[test]
    fn a_connection_goes_and_takes_what_it_names() {
        for (status, lines) in [
            (200, &["keep-alive"][..]),
            (200, &["Close"]),
            (103, &["keep-alive"]),
            (200, &["close, X-Hop"]),
            (200, &["X-Hop"]),
            (200, &["close", "X-Hop"]),
            (200, &["close", "keep-alive"]),
        ] {
            for h2 in [false, true] {
                let mut response = ResponseHeader::build(status, None).expect("it is a status");
                response.append_header("X-Hop", "1").expect("it is a header");
                for line in lines {
                    response.append_header("Connection", *line).expect("it is a header");
                }
                end(&mut response, h2);
                assert!(!response.headers.contains_key(header::CONNECTION), "{status} {lines:?} {h2}");
                let named = lines.iter().any(|line| line.contains("X-Hop"));
                assert_eq!(response.headers.contains_key("x-hop"), !named, "{status} {lines:?} {h2}");
            }
        }
    }
}
