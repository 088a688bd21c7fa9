//! What operators see.
//!
//! **Owns** the process's log and the access log (a bounded channel and one writer), and to come: metrics and
//! traces.
//!
//! **Offers** [`start_log`], [`open_access_log`] and [`access`].
//!
//! **Knows nothing** of how a request is served. What it writes down is given to it. Labels and fields come from
//! the configuration, never from a request alone.

pub mod access;

use std::io::Write;
use std::time::SystemTime;

use env_logger::Env;

use crate::config::{Config, Diagnostic, LogFormat, LogLevel, LogSettings, Report};
use access::AccessLog;

/// Begins to write the process's log to standard error, as the settings say, unless `RUST_LOG` says otherwise.
pub fn start_log(settings: &LogSettings) {
    let level = match settings.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let mut builder = env_logger::Builder::from_env(Env::default().default_filter_or(level));
    if settings.format == LogFormat::Json {
        builder.format(|line, record| {
            let object = serde_json::json!({
                "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
                "level": record.level().as_str(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            writeln!(line, "{object}")
        });
    }
    builder.init();
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
