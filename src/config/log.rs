//! `log`: what operators read.

use std::path::PathBuf;

use nix::unistd::AccessFlags;

pub use super::raw::{LogFormat, LogLevel};
use super::{At, Place, Process, files, raw};

/// What operators read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines are written.
    pub format: LogFormat,
    /// Where there is a line for each request.
    pub access: AccessSink,
    /// Where that was written.
    pub place: Place,
    /// The least that is said.
    pub level: LogLevel,
}

/// Where lines about requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessSink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// To the end of a file.
    File(PathBuf),
}

pub(super) fn validate(raw: &raw::Log, process: &Process, at: &At<'_>) -> Option<LogSettings> {
    let access = match raw.access.as_deref() {
        None | Some("off") => AccessSink::Off,
        // With an `error_log`, Pingora leads standard output nowhere. Without one, whoever starts it may have led it
        // somewhere.
        Some("stdout") if process.daemon && process.error_log.is_some() => {
            at.key("access").error(
                "in the background, with an `error_log`, there is no standard output",
                "name a file, or choose `stderr`: that goes to the `error_log`",
            );
            return None;
        }
        Some("stdout") => AccessSink::Stdout,
        Some("stderr") => AccessSink::Stderr,
        Some(path) if path.contains('/') => {
            let path = PathBuf::from(path);
            files::can_be_opened(&path, AccessFlags::W_OK, process.writes(), &at.key("access"));
            AccessSink::File(path)
        }
        Some(_) => {
            at.key("access").error(
                "this is no place for lines",
                "choose `stdout`, `stderr`, `off`, or the path of a file, with at least one `/`",
            );
            return None;
        }
    };
    Some(LogSettings { format: raw.format, access, place: at.key("access").place(), level: raw.level })
}
