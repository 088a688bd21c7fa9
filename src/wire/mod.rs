//! What HTTP itself asks of a proxy, whatever the route.
//!
//! **Owns** the shape that a request must have before anybody looks at it ([`head`]), and the headers that end at
//! each hop ([`hop`]).
//!
//! **Knows nothing** of routes, upstreams and policies. Lessons 08, 23 and 40 are about it.

pub mod head;
pub mod hop;
