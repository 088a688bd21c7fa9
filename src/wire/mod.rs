//! What HTTP itself asks of a proxy, whatever the route.
//!
//! **Owns** the shape that a request must have before anybody looks at it ([`head`]), the headers that end at each
//! hop ([`hop`]), those that tell the upstream about the client ([`forwarded`]), the request's id ([`request_id`]),
//! its [`cookies`], what else it has that somebody asks for ([`present`]), and the shape of a [`response`].
//!
//! **Knows nothing** of routes, upstreams and policies. Lessons 08, 23 and 40 are about it.

use std::mem;

use http::{HeaderValue, Version};
use pingora::http::RequestHeader;

pub mod cookies;
pub mod forwarded;
pub mod head;
pub mod hop;
pub mod present;
pub mod request_id;
pub mod response;

/// Adds a header of ours to a request that has none of this name. Out of line, since each place would otherwise have a
/// copy of what it takes, and a request that comes after a pause has to fetch every one of them. Added and not set,
/// since what adds a header has been used for reading the request, and is at hand.
///
/// # Errors
/// Never for a name that is one.
#[inline(never)]
pub fn add(request: &mut RequestHeader, name: &'static str, value: HeaderValue) -> pingora::Result<()> {
    request.append_header(name, value).map(drop)
}

/// How many headers the gateway adds to a request.
const ADDED: usize = 5;
/// With up to so many, a head is small.
const SMALL: usize = 3;

/// Makes room for what the gateway adds to a small head, which has none, and which would grow up to three times in each
/// of the two maps that a head is. To write it anew takes less. Larger ones grow once.
///
/// # Errors
/// Never: it has been a head before.
pub fn make_room(request: &mut RequestHeader) -> pingora::Result<()> {
    let is_plain =
        request.version == Version::HTTP_11 && request.has_case() && request.uri.authority().is_none();
    if request.headers.len() > SMALL || !is_plain {
        return Ok(());
    }
    let room = Some(request.headers.len() + ADDED);
    let mut roomy = RequestHeader::build(request.method.clone(), request.raw_path(), room)?;
    *roomy.extensions_mut() = mem::take(request.extensions_mut());
    for (name, value) in request.case_header_iter() {
        roomy.append_header(name.clone(), value.clone())?;
    }
    *request = roomy;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roomier_head_is_the_same_head() {
        for (method, target, lines) in [
            ("GET", "/", &[("host", "a.test")][..]),
            ("POST", "/a%20b?c=d&e", &[("HOST", "a.test"), ("x-A", "1"), ("X-a", "2")]),
            ("GET", "http://a.test/b?c", &[("Host", "a.test"), ("Accept", "*/*")]),
            ("OPTIONS", "*", &[]),
            ("GET", "/", &[("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")]),
        ] {
            let mut request =
                RequestHeader::build(method, target.as_bytes(), Some(lines.len())).expect("it is a request");
            for (name, value) in lines {
                request.append_header(*name, *value).expect("it is a header");
            }
            request.extensions_mut().insert(7_u8);
            let written = |request: &RequestHeader| {
                let mut head = Vec::new();
                request.header_to_h1_wire(&mut head);
                let seven = request.extensions.get::<u8>().copied();
                (
                    request.method.clone(),
                    request.uri.clone(),
                    request.raw_path().to_vec(),
                    request.version,
                    seven,
                    head,
                )
            };
            let before = written(&request);
            make_room(&mut request).expect("it has been a head");
            assert_eq!(written(&request), before, "{method} {target}");
        }
    }
}
