//! The gateway: `gateway --config FILE`.

mod command;

use std::process::ExitCode;

use clap::Parser;
// Requests allocate and free on several threads at once, which the system's allocator is slow at. To be linked is
// enough: it takes the place of `malloc`, for OpenSSL as for Rust.
use mimalloc as _;

fn main() -> ExitCode {
    match command::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pingora_city::observe::last_words(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
