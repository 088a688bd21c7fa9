//! What the hosts of the City serve, the journal of what they received, and the faults they are told to show.
//!
//! ```text
//! run        opens a host's ports and serves until SIGTERM
//! http       one connection: requests in, recorded, answers out      tap, follow: HTTP/1 to the byte
//! echo       blue and green
//! dns        the City's name server                                  zone: what it answers
//! journal    what was received                                       wire: bytes, shown safely
//! fault      what blue and green do when they are broken
//! state      the folder in which all of this is kept
//! ```

pub mod dns;
pub mod echo;
pub mod fault;
pub mod follow;
pub mod http;
pub mod journal;
pub mod run;
pub mod state;
pub mod tap;
pub mod wire;
pub mod zone;
