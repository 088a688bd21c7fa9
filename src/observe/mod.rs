//! What operators see.
//!
//! **Owns** the process's log and, to come, the access log (a bounded channel and one writer), metrics and
//! traces.
//!
//! **Offers** [`start_log`].
//!
//! **Knows nothing** of how a request is served. What it writes down is given to it. Labels and fields come from
//! the configuration, never from a request alone.

use env_logger::Env;

/// Begins to write the process's log to standard error, from level `info` unless `RUST_LOG` says otherwise.
pub fn start_log() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();
}
