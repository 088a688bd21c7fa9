//! What HTTP itself asks of a proxy, whatever the route.
//!
//! **Owns** the shape that a request must have before anybody looks at it ([`head`]), the headers that end at each
//! hop ([`hop`]), those that tell the upstream about the client ([`forwarded`]), the request's id ([`request_id`]),
//! its [`cookies`], what else it has that somebody asks for ([`present`]), and the shape of a [`response`].
//!
//! **Knows nothing** of routes, upstreams and policies. Lessons 08, 23 and 40 are about it.

use http::HeaderValue;
use pingora::http::RequestHeader;

pub mod cookies;
pub mod forwarded;
pub mod head;
pub mod hop;
pub mod present;
pub mod request_id;
pub mod response;

/// Sets a header of ours. Out of line, since each place would otherwise have a copy of what it takes, and a request
/// that comes after a pause has to fetch every one of them.
///
/// # Errors
/// Never for a name that is one.
#[inline(never)]
pub fn set(request: &mut RequestHeader, name: &'static str, value: HeaderValue) -> pingora::Result<()> {
    request.insert_header(name, value)
}
