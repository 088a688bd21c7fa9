//! The City and its tool. See ARCHITECTURE.md for the map.
//!
//! `main` is deliberately not async and starts no thread: the verbs that make or enter namespaces need a
//! single-threaded process, and each of the others starts the runtime that it needs.

mod certs;
mod cli;
mod clients;
mod lab;
mod lesson;
mod load;
mod machine;
mod map;
mod paths;
mod services;
mod trouble;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("city: {trouble}");
            ExitCode::from(trouble.status)
        }
    }
}
