//! The faults that blue and green show when they are told to.
//!
//! A fault is a file, `fault.json` in the host's folder, looked at for every request: no file, no fault.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::state;
use crate::trouble::{Result, Trouble};

/// What is wrong with a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// How long it waits, in milliseconds, before it answers or does whatever else it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<u64>,
    /// Whether what it sends leaves it in pieces of a few bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pieces: bool,
    /// What it does in place of an ordinary answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
}

/// What a broken host does in place of an ordinary answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    /// Answers every request with this status.
    Status(u16),
    /// Resets the connection as soon as a request's head has arrived.
    Reset,
    /// Closes its sending side when a head has arrived, and goes on reading.
    HalfClose,
    /// Answers with bytes that are no HTTP.
    Garbage,
    /// Promises a body, sends half of it and closes.
    Cut,
    /// Answers as soon as the head has arrived, while the body is still coming.
    Early,
    /// Resets every connection for this many milliseconds, serves for as long, and so on.
    Flap(u64),
}

impl Fault {
    fn path(host_folder: &Path) -> PathBuf {
        host_folder.join("fault.json")
    }

    /// The fault that a host shows now, if any.
    pub fn read(host_folder: &Path) -> Option<Fault> {
        let text = fs::read(Fault::path(host_folder)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Makes a host show this fault from its next request on.
    pub fn write(&self, host_folder: &Path) -> Result {
        state::write(&Fault::path(host_folder), self)
    }

    /// Makes a host well again; tells whether anything was wrong with it.
    pub fn heal(host_folder: &Path) -> Result<bool> {
        let path = Fault::path(host_folder);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Trouble::new(format!("cannot remove {}", path.display())).cause(error)),
        }
    }

    /// How long to wait first.
    pub fn delay(&self) -> Option<Duration> {
        self.slow.map(Duration::from_millis)
    }

    /// Whether connections are reset at this moment, which for a flapping host the wall clock decides.
    pub fn resets_at(&self, now: SystemTime) -> bool {
        match self.instead {
            Some(Instead::Reset) => true,
            Some(Instead::Flap(period)) => {
                let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
                since / u128::from(period.max(1)) % 2 == 1
            }
            _ => false,
        }
    }
}

/// What a host does, to be read after its name: `answers after 800 ms`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = match self.slow {
            Some(ms) => format!(" after {ms} ms"),
            None => String::new(),
        };
        self.answer(&after, f)?;
        f.write_str(if self.pieces { ", a few bytes at a time" } else { "" })
    }
}

impl Fault {
    fn answer(&self, after: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instead {
            None => write!(f, "answers{after}"),
            Some(Instead::Status(status)) => write!(f, "answers {status}{after}"),
            Some(Instead::Reset) => write!(f, "resets connections{after} when a request arrives"),
            Some(Instead::HalfClose) => write!(f, "closes its side{after} without an answer, and reads on"),
            Some(Instead::Garbage) => write!(f, "answers with what is not HTTP{after}"),
            Some(Instead::Cut) => write!(f, "breaks off{after} in the middle of the body"),
            Some(Instead::Early) => write!(f, "answers{after} on the head, while the body still comes"),
            Some(Instead::Flap(ms)) => {
                write!(f, "resets connections for {ms} ms, serves for {ms} ms{after}, and so on")
            }
        }
    }
}
