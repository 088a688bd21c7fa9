//! What operators see.
//!
//! **Owns** the process's log and the access log (each a bounded channel and one writer), and to come: metrics and
//! traces.
//!
//! **Offers** [`start_log`], [`say_panic`], [`open_access_log`], [`access`]; [`flush`] and [`last_words`] for the end.
//!
//! **Knows nothing** of how a request is served. What it writes down is given to it. Labels and fields come from
//! the configuration, never from a request alone.

pub mod access;
mod lines;
mod log;

use crate::config::{Config, Diagnostic, Report};
use access::AccessLog;
pub use log::{last_words, say_panic, start_log};

/// Waits until everything that was said is written, but not for ever: for the end of the process.
pub fn flush(access: Option<&AccessLog>) {
    // The process's log comes last: something may be said there of the other.
    if let Some(access) = access {
        access.flush();
    }
    log::flush_log();
}

/// Opens the access log, if there is to be one.
///
/// # Errors
/// If its file cannot be opened.
pub fn open_access_log(config: &Config) -> Result<Option<AccessLog>, Report> {
    AccessLog::open(&config.log).map_err(|error| {
        let found = Diagnostic {
            place: config.log.place.clone(),
            message: format!("the access log cannot be written: {error}"),
            fix: "name a file in a folder that exists and that the gateway may write to".to_string(),
        };
        Report::new(config.sources.clone(), vec![found])
    })
}
