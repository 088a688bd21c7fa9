//! What HTTP itself asks of a proxy, whatever the route.
//!
//! **Owns** the shape that a request must have before anybody looks at it ([`head`]), the headers that end at each
//! hop ([`hop`]), those that tell the upstream about the client ([`forwarded`]), the request's id ([`request_id`]),
//! its [`cookies`], what else it has that somebody asks for ([`present`]), and the shape of a [`response`].
//!
//! **Knows nothing** of routes, upstreams and policies. Lessons 08, 23 and 40 are about it.

pub mod cookies;
pub mod forwarded;
pub mod head;
pub mod hop;
pub mod present;
pub mod request_id;
pub mod response;
