//! Certificates and keys, for both sides.
//!
//! **Owns** reading them, checking them before anything starts (that a key belongs to its certificate), and choosing
//! one by SNI; and to come: following their files when they change. `listen` asks it for what a listener presents.
//!
//! **Knows nothing** of listeners and peers beyond these types. Lessons 07, 20 and 21 are about it.

pub mod certificate;
pub mod peer;

pub use peer::PeerTls;
