//! What HTTP itself asks of a proxy, whatever the route.
//!
//! **Owns** the shape that a request must have before anybody looks at it ([`head`]) and that its chunks must have
//! ([`framing`]), the headers that end at each hop ([`hop`]), those that tell the upstream about the client
//! ([`forwarded`]), the request's id ([`request_id`]), its [`cookies`], what else it has that somebody asks for
//! ([`present`]), and the shape of a [`response`].
//!
//! **Knows nothing** of routes, upstreams and policies. Lessons 08, 23 and 40 are about it.

use http::HeaderValue;
use pingora::http::RequestHeader;

pub mod cookies;
pub mod forwarded;
pub mod framing;
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
