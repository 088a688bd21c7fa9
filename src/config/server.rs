//! `server`: settings of the process.

use std::thread::available_parallelism;

use super::raw;

/// Settings of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// How many threads serve requests.
    pub threads: usize,
}

pub(super) fn validate(raw: &raw::Server) -> ServerSettings {
    let cores = || available_parallelism().map_or(1, usize::from);
    ServerSettings { threads: raw.threads.unwrap_or_else(cores) }
}
