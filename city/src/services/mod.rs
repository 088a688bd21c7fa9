//! What the hosts of the City serve, the journal of what they received, and the faults they are told to show.
//!
//! ```text
//! run        opens a host's ports and serves until SIGTERM
//! port       one port: who connects, what is spoken, who answers    tls: certificates, clients, ALPN
//! http       one connection: requests in, recorded, answers out     tap, follow: HTTP/1 to the byte
//! echo       blue and green                                         fault, piecemeal: what they do when broken
//! advanced   HTTP, HTTPS, h2c, mutual TLS
//! grpc       health, reflection, echo
//! dns        the City's name server                                 zone: what it answers
//! nowhere    the black hole of the Docker City
//! journal    what was received                                      wire: bytes, shown safely
//! state      the folder in which all of this is kept
//! ```

pub mod advanced;
pub mod dns;
pub mod echo;
pub mod fault;
mod follow;
pub mod grpc;
pub mod http;
pub mod journal;
pub mod nowhere;
mod piecemeal;
pub mod port;
pub mod run;
pub mod state;
mod tap;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wire;
pub mod zone;
