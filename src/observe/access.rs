//! The access log: a line for each request, written by a thread of its own.
//!
//! A request puts its line into a channel that has room for so many, and goes on; if there is no room, the line is
//! dropped and counted. So the slowest reader stops nobody.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::config::{AccessSink, LogFormat, LogSettings};

/// How many lines wait for the writer at most.
const ROOM: usize = 8192;
/// How long the end waits for the last lines.
const LAST: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where requests put their lines.
pub struct AccessLog {
    format: LogFormat,
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    /// What the writer will need, until it is started.
    writer: Mutex<Option<Writer>>,
}

/// Where lines come from and where they go.
type Writer = (Receiver<Message>, Box<dyn Write + Send>);

/// What is said of a request.
#[derive(Serialize)]
pub struct Entry<'e> {
    /// `INFO`, or `WARN` if an upstream failed.
    pub level: &'static str,
    /// Without the query, which may hold secrets.
    pub path: &'e str,
    /// The request's.
    pub method: &'e str,
    /// The route's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'e str>,
    /// The upstream's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'e str>,
    /// The server that was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
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
    /// Which kind of error, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'e str>,
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
                let quotes =
                    if value.contains([' ', '"', '=']) { format!("{value:?}") } else { value.to_string() };
                let _ = write!(line, " {name}={quotes}");
            }
        }
        if let Some(server) = self.server {
            let _ = write!(line, " server={server}");
        }
        let _ = write!(line, " status={status} duration_ms={duration_ms} bytes={bytes}");
        if let Some(client) = self.client {
            let _ = write!(line, " client={client}");
        }
        for (name, value) in [("request_id", self.request_id), ("error", self.error)] {
            if let Some(value) = value {
                let _ = write!(line, " {name}={value}");
            }
        }
        line
    }
}

impl AccessLog {
    /// Opens it. `None` if it is off.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(settings: &LogSettings) -> io::Result<Option<AccessLog>> {
        let sink: Box<dyn Write + Send> = match &settings.access {
            AccessSink::Off => return Ok(None),
            AccessSink::Stdout => Box::new(io::stdout()),
            AccessSink::Stderr => Box::new(io::stderr()),
            AccessSink::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        Ok(Some(AccessLog::new(settings.format, sink, ROOM)))
    }

    fn new(format: LogFormat, sink: Box<dyn Write + Send>, room: usize) -> AccessLog {
        let (sender, receiver) = sync_channel(room);
        let writer = Mutex::new(Some((receiver, sink)));
        AccessLog { format, sender, dropped: Arc::default(), writer }
    }

    /// Starts the writer. Threads do not survive what makes a process a daemon, so this is later than the rest.
    pub fn start(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((receiver, sink)) = writer else { return };
        let dropped = self.dropped.clone();
        let started = thread::Builder::new()
            .name("access-log".to_string())
            .spawn(move || write_all(&receiver, BufWriter::with_capacity(1 << 16, sink), &dropped));
        if let Err(error) = started {
            log::error!("the access log cannot be written: {error}");
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
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, but not for ever.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(LAST);
        }
    }
}

fn write_all(receiver: &Receiver<Message>, mut sink: impl Write, dropped: &AtomicU64) {
    let mut told = 0;
    let mut failed = false;
    loop {
        // While lines come, they are collected; when none comes for a moment, what there is goes out.
        let message = match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let written = match message {
            Some(Message::Line(line)) => sink.write_all(&line),
            Some(Message::Flush(done)) => {
                let flushed = sink.flush();
                let _ = done.send(());
                flushed
            }
            None => sink.flush(),
        };
        match written {
            Ok(()) => failed = false,
            Err(error) if !failed => {
                failed = true;
                log::error!("the access log cannot be written: {error}");
            }
            Err(_) => {}
        }
        let now = dropped.load(Ordering::Relaxed);
        if now > told {
            log::warn!("the access log is read too slowly: {} lines were dropped", now - told);
            told = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            level: "INFO",
            path: "/users",
            method: "GET",
            route: Some("all of them"),
            upstream: None,
            server: None,
            status: 200,
            duration_ms: 3,
            bytes: 2,
            client: None,
            request_id: Some("a"),
            error: None,
        }
    }

    #[test]
    fn a_line_is_text_or_json() {
        let text = String::from_utf8(entry().text("now")).expect("text");
        let expected = "now INFO request path=/users method=GET route=\"all of them\" status=200 duration_ms=3 bytes=2 request_id=a";
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
