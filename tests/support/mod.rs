//! What the tests of the gateway stand on: the real program, real upstreams, and a client that sends what it is
//! told to.
//!
//! Everything listens on loopback, on ports that the system gives, and ends when it is dropped. Nothing waits
//! for a fixed time: who waits, asks again until it is so, or until [`PATIENCE`] is over.

mod certificates;
mod client;
mod dns;
mod forward;
pub mod frames;
mod gateway;
mod grpc;
mod h2;
mod origin;
mod scripted;
mod tls;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub use certificates::{Authority, Files};
pub use client::{Answer, exchange, get, get_with, post, read_all, send};
pub use dns::NameServer;
pub use forward::ForwardProxy;
pub use gateway::{Gateway, Outcome, run, run_in, run_with, validate};
pub use grpc::GrpcOrigin;
pub use h2::{H2Request, h2c};
pub use origin::{Origin, Reply};
pub use scripted::{Received, Scripted};
pub use tls::{Authority as UpstreamAuthority, TlsOrigin};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again until it is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of loopback on which nobody listens, and that no other test gets: the kernel gives it away again, and two
/// gateways that start at the same moment would both take it for free.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        if GIVEN.lock().expect("nobody panics with it").insert(port) {
            return port;
        }
    }
}
