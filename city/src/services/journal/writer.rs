//! The side of the journal that records.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Line, Outcome, Received, Tls};
use crate::services::wire::Wire;

/// Beyond this size nothing more is recorded: a load test must not fill the disk.
const LIMIT: u64 = 256 * 1024 * 1024;

/// Records requests. Without a file it only numbers them.
#[derive(Debug)]
pub struct Journal {
    file: Option<File>,
    run: u64,
    numbers: AtomicU64,
    connections: AtomicU64,
    full: AtomicBool,
    limit: u64,
}

/// A connection over which requests come.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Counts from 1 within one run of the service.
    pub number: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// The port it came to.
    pub port: u16,
    /// What TLS told, if there was any.
    pub tls: Option<Tls>,
}

/// A request's head, as it stood on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `HTTP/1.1` and so on; `?` if it was no valid HTTP.
    pub version: &'static str,
    /// The method.
    pub method: Wire,
    /// The target.
    pub target: Wire,
    /// The headers, in order.
    pub headers: Vec<(Wire, Wire)>,
}

impl Journal {
    /// Opens the journal in a host's folder; with no folder nothing is kept.
    pub fn open(host_folder: Option<&Path>) -> io::Result<Arc<Journal>> {
        Journal::with_limit(host_folder, LIMIT)
    }

    pub(in crate::services) fn with_limit(
        host_folder: Option<&Path>,
        limit: u64,
    ) -> io::Result<Arc<Journal>> {
        let open = |folder: &Path| File::options().create(true).append(true).open(super::path(folder));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Arc::new(Journal {
            file: host_folder.map(open).transpose()?,
            run: u64::try_from(since.as_millis()).unwrap_or_default(),
            numbers: AtomicU64::new(1),
            connections: AtomicU64::new(1),
            full: AtomicBool::new(false),
            limit,
        }))
    }

    /// A connection has been accepted.
    pub fn connection(&self, peer: SocketAddr, port: u16, tls: Option<Tls>) -> Connection {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        Connection { number, peer, port, tls }
    }

    /// A request's head has arrived.
    pub fn begin(self: &Arc<Journal>, connection: &Connection, head: Head) -> Arc<Record> {
        let request = Received {
            run: self.run,
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            connection: connection.number,
            peer: connection.peer,
            port: connection.port,
            version: head.version.into(),
            method: head.method,
            target: head.target,
            headers: head.headers,
            tls: connection.tls.clone(),
        };
        self.append(&Line::Request(&request));
        Arc::new(Record { journal: Arc::clone(self), request, progress: Mutex::default() })
    }

    fn append(&self, line: &Line<&Received>) {
        let Some(file) = &self.file else { return };
        let size = file.metadata().map_or(0, |about| about.len());
        if size > self.limit {
            if !self.full.swap(true, Ordering::Relaxed) {
                let why =
                    format!("over {} MiB: nothing more is recorded until it is cleared", self.limit >> 20);
                write_line(file, &Line::Full(why));
            }
            return;
        }
        self.full.store(false, Ordering::Relaxed);
        write_line(file, line);
    }
}

/// One write a line: O_APPEND keeps lines whole. A disk that is full must not keep the upstream from serving.
fn write_line(mut file: &File, line: &Line<&Received>) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        let _ = file.write_all(&text);
    }
}

/// A request on its way. When the last holder lets go of it without an answer, it has broken off.
#[derive(Debug)]
pub struct Record {
    journal: Arc<Journal>,
    /// What arrived.
    pub request: Received,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    outcome: Outcome,
    recorded: Outcome,
}

impl Record {
    /// More of the body has arrived.
    pub fn body(&self, bytes: u64) {
        self.progress().outcome.body += bytes;
    }

    /// The whole request has arrived.
    pub fn complete(&self) {
        self.progress().outcome.complete = true;
    }

    /// How much of the body has arrived so far.
    pub fn body_so_far(&self) -> u64 {
        self.progress().outcome.body
    }

    /// Whether [`Record::answered`] has been told.
    pub fn is_answered(&self) -> bool {
        self.progress().outcome.status.is_some()
    }

    /// The answer is about to leave. It is recorded now, so that a client that has it also finds it here.
    pub fn answered(&self, status: u16, date: Option<String>) {
        let mut progress = self.progress();
        progress.outcome.status = Some(status);
        progress.outcome.date = date;
        self.record(&mut progress);
    }

    fn record(&self, progress: &mut Progress) {
        progress.outcome.ended = true;
        if progress.outcome != progress.recorded {
            progress.recorded = progress.outcome.clone();
            let outcome = progress.outcome.clone();
            self.journal.append(&Line::Outcome {
                run: self.request.run,
                number: self.request.number,
                outcome,
            });
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut progress = std::mem::take(&mut *self.progress());
        self.record(&mut progress);
    }
}
