//! The access log: a line for each request, written by a thread of its own, see [`super::lines`].

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::lines::{Lines, ROOM, Sink, Trouble};
use crate::config::{AccessSink, LogFormat, LogSettings};

/// How many bytes of lines are collected at most before they are written.
const BUFFER: usize = 1 << 16;

/// Where requests put their lines.
pub struct AccessLog {
    format: LogFormat,
    lines: Lines,
    /// Where the lines go, if that can be opened again.
    file: Option<PathBuf>,
}

/// What is said of a request.
#[derive(Serialize)]
pub struct Entry<'e> {
    /// `INFO`, or `WARN` if an upstream failed.
    pub level: &'static str,
    /// Without the query, which may hold secrets.
    pub path: &'e str,
    /// The request's.
    pub method: &'e str,
    /// The host that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'e str>,
    /// Which HTTP the client speaks, such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// The route's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'e str>,
    /// The upstream's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'e str>,
    /// The server that was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
    /// How many servers were asked, one after another.
    #[serde(skip_serializing_if = "is_usual")]
    pub tries: u32,
    /// The answer's; 0 if there was none.
    pub status: u16,
    /// From the head's end to the answer's.
    pub duration_ms: u64,
    /// Of the answer's body.
    pub bytes: usize,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'e str>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Cow<'e, str>>,
    /// Which kind of error, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'e str>,
}

fn is_usual(tries: &u32) -> bool {
    *tries <= 1
}

impl Entry<'_> {
    fn json(&self, time: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'l> {
            time: &'l str,
            message: &'static str,
            #[serde(flatten)]
            entry: &'l Entry<'l>,
        }
        let mut line = Vec::with_capacity(320);
        // Writing text and numbers into memory does not fail.
        let _ = serde_json::to_writer(&mut line, &Line { time, message: "request", entry: self });
        line
    }

    fn text(&self, time: &str) -> Vec<u8> {
        let mut line = Vec::with_capacity(256);
        let Entry { level, path, method, status, duration_ms, bytes, .. } = self;
        // As above. What comes from a request has no spaces and no control characters, but may have quotes.
        let _ = write!(line, "{time} {level} request path={path} method={method}");
        for (name, value) in [("route", self.route), ("upstream", self.upstream)] {
            if let Some(value) = value {
                let _ = write!(line, " {name}={}", quoted(value));
            }
        }
        if let Some(server) = self.server {
            let _ = write!(line, " server={server}");
        }
        if !is_usual(&self.tries) {
            let _ = write!(line, " tries={}", self.tries);
        }
        let _ = write!(line, " status={status} duration_ms={duration_ms} bytes={bytes}");
        let _ = write!(line, " protocol={}", self.protocol);
        if let Some(host) = self.host {
            let _ = write!(line, " host={}", quoted(host));
        }
        if let Some(client) = self.client {
            let _ = write!(line, " client={client}");
        }
        for (name, value) in [("request_id", self.request_id), ("error", self.error)] {
            if let Some(value) = value {
                let _ = write!(line, " {name}={value}");
            }
        }
        // Whatever its client likes: it stands last, and always in quotes.
        if let Some(agent) = &self.user_agent {
            let _ = write!(line, " user_agent={agent:?}");
        }
        line
    }
}

/// In quotes, where somebody could take it for more than one value.
fn quoted(value: &str) -> Cow<'_, str> {
    if value.contains([' ', '"', '=']) { format!("{value:?}").into() } else { value.into() }
}

impl AccessLog {
    /// Opens it. `None` if it is off.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(settings: &LogSettings) -> io::Result<Option<AccessLog>> {
        let mut file = None;
        let sink: Sink = match &settings.access {
            AccessSink::Off => return Ok(None),
            AccessSink::Stdout => Box::new(io::stdout()),
            AccessSink::Stderr => Box::new(io::stderr()),
            AccessSink::File(path) => {
                // A daemon will stand elsewhere when it opens it again.
                let path = file.insert(std::path::absolute(path)?);
                Box::new(append(path)?)
            }
        };
        Ok(Some(AccessLog { file, ..AccessLog::new(settings.format, sink, ROOM) }))
    }

    fn new(format: LogFormat, sink: Sink, room: usize) -> AccessLog {
        AccessLog { format, lines: Lines::new(sink, room, BUFFER, say), file: None }
    }

    /// Starts the writer. Threads do not survive what makes a process a daemon, so this is later than the rest.
    pub fn start(&self) {
        if let Err(error) = self.lines.start("access-log") {
            log::error!("the access log cannot be written: {error}");
        }
    }

    /// Opens its file again, by its name: what had that name has another one now, and is complete. Waits for room
    /// among the lines.
    pub fn reopen(&self) {
        let Some(path) = &self.file else {
            log::warn!("SIGUSR1 changes nothing: the access log is no file that could be opened again");
            return;
        };
        match append(path) {
            Ok(file) => {
                self.lines.lead_into(Box::new(file));
                log::info!("the access log's file was opened again");
            }
            Err(error) => {
                log::warn!("the access log stays with the file that it has: {}: {error}", path.display());
            }
        }
    }

    /// Writes a line, or drops it.
    pub fn write(&self, entry: &Entry<'_>) {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let mut line = match self.format {
            LogFormat::Json => entry.json(&time),
            LogFormat::Text => entry.text(&time),
        };
        line.push(b'\n');
        self.lines.put(line);
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// Waits until all lines so far are written, but not for ever.
    pub fn flush(&self) {
        self.lines.flush();
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// It is said in the process's log.
fn say(trouble: &Trouble) -> Vec<u8> {
    match trouble {
        Trouble::Dropped(lines) => {
            log::warn!("the access log is read too slowly: {lines} lines were dropped");
        }
        Trouble::Failed(error) => log::error!("the access log cannot be written: {error}"),
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            level: "INFO",
            path: "/users",
            method: "GET",
            host: Some("t"),
            protocol: "HTTP/1.1",
            route: Some("all of them"),
            upstream: None,
            server: None,
            tries: 2,
            status: 200,
            duration_ms: 3,
            bytes: 2,
            client: None,
            request_id: Some("a"),
            user_agent: Some("a\t\"b\" status=500".into()),
            error: None,
        }
    }

    #[test]
    fn a_line_is_text_or_json() {
        let text = String::from_utf8(entry().text("now")).expect("text");
        let expected = "now INFO request path=/users method=GET route=\"all of them\" tries=2 status=200 duration_ms=3 bytes=2 protocol=HTTP/1.1 host=t request_id=a \
                        user_agent=\"a\\t\\\"b\\\" status=500\"";
        assert_eq!(text, expected);
        let json: serde_json::Value = serde_json::from_slice(&entry().json("now")).expect("JSON");
        assert_eq!((json["path"].as_str(), json["status"].as_u64()), (Some("/users"), Some(200)));
        assert!(json.get("upstream").is_none());
    }

    #[test]
    fn who_does_not_read_loses_lines_and_nobody_waits() {
        let log = AccessLog::new(LogFormat::Text, Box::new(io::sink()), 2); // whose writer is not started
        for _ in 0..5 {
            log.write(&entry());
        }
        assert_eq!(log.dropped(), 3);
    }
}
