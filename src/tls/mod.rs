//! Certificates and keys, for both sides.
//!
//! **Will own** reading them, checking them before anything starts (that a key belongs to its certificate, that
//! it has not expired), choosing one by SNI, and following their files when they change. `listen` asks it for
//! what a listener presents, `upstream` for what a peer presents and believes.
//!
//! **Will know nothing** of listeners and peers beyond these types. Lessons 07, 20 and 21 are about it.

pub mod peer;

pub use peer::PeerTls;
