//! The gateway: `gateway --config FILE`.

mod command;

use std::io;
use std::process::ExitCode;

use clap::Parser;
// Requests allocate and free on several threads at once, which the system's allocator is slow at. To be linked is
// enough: it takes the place of `malloc`, for OpenSSL as for Rust.
use mimalloc as _;

fn main() -> ExitCode {
    match command::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads what we print has read enough: `gateway routes | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
