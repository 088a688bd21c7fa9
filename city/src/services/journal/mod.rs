//! The journal: what an upstream really received, and what it answered.
//!
//! A host's journal is one file, `journal.ndjson` in the host's folder. The service appends to it (`writer`),
//! everybody else only reads it, so it outlives the service, is readable while the service is frozen, and
//! needs no protocol. Each request is one line when its head has arrived, and another when its answer leaves
//! or the request broke off.

mod writer;

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::writer::{Connection, Head, Journal, Record};
use super::wire::Wire;
use crate::trouble::{OrTrouble, Result, Trouble};

/// Health probes carry this as their User-Agent, and are left out of lines and counts.
pub const PROBE: &str = "city-health";

/// The file in a host's folder that holds its journal.
pub fn path(host_folder: &Path) -> PathBuf {
    host_folder.join("journal.ndjson")
}

/// One request, exactly as an upstream received it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Which start of the service: its time in milliseconds.
    pub run: u64,
    /// Counts from 1 within that run.
    pub number: u64,
    /// When its head had arrived, RFC 3339 with milliseconds.
    pub time: String,
    /// The connection it came over; counts from 1 within the run.
    pub connection: u64,
    /// Whom it came from.
    pub peer: SocketAddr,
    /// The port it came to.
    pub port: u16,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`, `DNS/UDP`, `DNS/TCP`; `?` if it was no valid HTTP.
    pub version: String,
    /// The method; of a DNS query its type.
    pub method: Wire,
    /// The target as it was received; of a DNS query the name. Of what was no valid HTTP: all of it.
    pub target: Wire,
    /// Names and values in the order in which they came; HTTP/1 names in their own case.
    pub headers: Vec<(Wire, Wire)>,
    /// What TLS told, if it came over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// What a TLS handshake told of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The name that the client asked for.
    pub sni: Option<String>,
    /// The protocol that both agreed on by ALPN.
    pub alpn: Option<String>,
    /// The certificate that the client presented.
    pub client: Option<Client>,
}

/// Whom a client's certificate names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The common name of its subject.
    pub cn: String,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Whether the City's authority has signed it.
    pub trusted: bool,
}

impl Received {
    /// As a server writes it that has a form to fill in: what it left empty did not come.
    fn filled_in(mut self) -> Received {
        self.headers.retain(|(_, value)| !value.bytes().is_empty());
        if let Some(tls) = &mut self.tls {
            tls.sni = tls.sni.take().filter(|name| !name.is_empty());
            tls.alpn = tls.alpn.take().filter(|protocol| !protocol.is_empty());
            tls.client = tls.client.take().filter(|client| !client.serial.is_empty());
        }
        self
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&Wire> {
        let named = |known: &Wire| known.bytes().eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().find(|(known, _)| named(known)).map(|(_, value)| value)
    }

    /// The host that was asked for: `Host`, or in HTTP/2 `:authority`.
    pub fn host(&self) -> Option<&Wire> {
        self.header("host").or_else(|| self.header(":authority"))
    }

    /// The target up to its query.
    pub fn path(&self) -> &[u8] {
        let target = self.target.bytes();
        target.split(|byte| *byte == b'?').next().unwrap_or(target)
    }

    /// Whether this is one of the City's own requests: a health probe, or a question to `/_city/…`.
    pub fn is_citys_own(&self) -> bool {
        self.header("user-agent").is_some_and(|agent| agent.bytes() == PROBE.as_bytes())
            || self.target.bytes().starts_with(b"/_city/")
    }

    /// Whether its target is this one, or its path, up to a `?`, is. `PURGE /file` asks for the method too.
    pub fn is_to(&self, target: &str) -> bool {
        match target.split_once(' ') {
            Some((method, target)) => self.method.is(method) && self.is_to(target),
            None => self.target.is(target) || self.path() == target.as_bytes(),
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The status answered; of a DNS query its response code. None: not answered.
    pub status: Option<u16>,
    /// The answer's `Date`.
    pub date: Option<String>,
    /// Bytes of the body that arrived, without the framing of chunks.
    pub body: u64,
    /// Whether the request arrived whole, its body included.
    pub complete: bool,
    /// Whether it has come to an end: answered, or broken off.
    pub ended: bool,
}

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What arrived.
    #[serde(flatten)]
    pub request: Received,
    /// What became of it, as far as it is known.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Entry {
    /// The request in one line: `GET /green/leaf  host=green.pingora.local  from=172.28.0.10`.
    pub fn line(&self) -> String {
        let request = &self.request;
        let mut line = if request.version == "?" {
            // It can be long, and binary: its first line tells enough.
            let first = request.target.bytes().split(|byte| *byte == b'\n').next().unwrap_or_default();
            format!("no valid HTTP: {}", Wire::from(first.trim_ascii_end()))
        } else {
            format!("{} {}", request.method, request.target)
        };
        // Writing to a string cannot fail.
        if let Some(host) = request.host() {
            let _ = write!(line, "  host={host}");
        }
        let _ = write!(line, "  from={}", request.peer.ip());
        if let Some(tls) = &request.tls {
            let _ = write!(line, "  sni={}", Wire::from(tls.sni.as_deref().unwrap_or("-")));
            if let Some(client) = &tls.client {
                let _ = write!(line, "  client={}", Wire::from(&client.cn));
            }
        }
        line
    }

    /// The request as it was received, then one line that says what became of it.
    pub fn full(&self) -> String {
        let request = &self.request;
        let mut text = if request.version == "?" {
            format!("no valid HTTP: {}\n", request.target)
        } else {
            format!("{} {} {}\n", request.method, request.target, request.version)
        };
        for (name, value) in &request.headers {
            // A pseudo-header's name brings its own colon.
            let _ = writeln!(text, "{name}: {value}");
        }
        let outcome = &self.outcome;
        match outcome.status {
            Some(status) if request.version.starts_with("DNS") => {
                let _ = write!(text, "-> response code {status}");
            }
            Some(status) => {
                let _ = write!(text, "-> {status}, body {} bytes", outcome.body);
            }
            None if outcome.ended => {
                let _ = write!(text, "-> no answer, body {} bytes", outcome.body);
            }
            None => text.push_str("-> not answered yet"),
        }
        if outcome.ended && !outcome.complete && request.version != "?" {
            text.push_str(" (broken off)");
        }
        let _ = write!(text, ", connection {} from {}", request.connection, request.peer);
        if let Some(tls) = &request.tls {
            let _ = write!(text, ", SNI {}", Wire::from(tls.sni.as_deref().unwrap_or("none")));
            if let Some(alpn) = &tls.alpn {
                let _ = write!(text, ", ALPN {}", Wire::from(alpn));
            }
            if let Some(client) = &tls.client {
                let _ = write!(text, ", client {} (serial {})", Wire::from(&client.cn), client.serial);
            }
        }
        if let Some(date) = &outcome.date {
            let _ = write!(text, ", Date: {date}");
        }
        text
    }
}

/// The lines of which the file consists; `R` is a [`Received`], by reference or owned.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<R> {
    /// A request's head has arrived.
    Request(R),
    /// It was answered, or broke off. A later one about the same request replaces it.
    Outcome {
        run: u64,
        number: u64,
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// Both at once, by a server that tells of requests when they are over: nginx.
    Entry {
        #[serde(flatten)]
        request: R,
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// The journal has reached its limit; nothing more is recorded until it is cleared.
    Full(String),
}

/// Follows a journal that grows, or that somebody clears.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    offset: u64,
    /// How the file begins. The first line names its run and number, so another beginning is another journal.
    beginning: Vec<u8>,
    tail: Vec<u8>,
}

/// Enough of a first line to know it again.
const BEGINNING: usize = 64;

/// What [`Reader::news`] found.
#[derive(Debug, Default)]
pub struct News {
    /// The journal was cleared since the last look; all that follows is new.
    pub cleared: bool,
    /// Requests whose head has arrived, with an outcome if it is known already.
    pub begun: Vec<Entry>,
    /// Outcomes of requests reported earlier, by run and number.
    pub ended: Vec<((u64, u64), Outcome)>,
    /// Why nothing more is recorded.
    pub full: Option<String>,
}

impl Reader {
    /// A reader that starts at the beginning of a host's journal.
    pub fn new(host_folder: &Path) -> Reader {
        Reader { path: path(host_folder), offset: 0, beginning: Vec::new(), tail: Vec::new() }
    }

    /// What has been recorded since the last call. A journal that does not exist yet is empty.
    pub fn news(&mut self) -> Result<News> {
        let mut news = News::default();
        let cannot = || format!("cannot read {}", self.path.display());
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(news),
            Err(error) => return Err(Trouble::new(cannot()).cause(error)),
        };
        let mut beginning = Vec::new();
        file.by_ref().take(BEGINNING as u64).read_to_end(&mut beginning).or_trouble(cannot)?;
        // It may have been cleared, and have grown again beyond where we were.
        let shrunk = file.metadata().or_trouble(cannot)?.len() < self.offset;
        if shrunk || !beginning.starts_with(&self.beginning) {
            news.cleared = true;
            self.offset = 0;
            self.tail.clear();
        }
        self.beginning = beginning;
        file.seek(SeekFrom::Start(self.offset)).or_trouble(cannot)?;
        let read = file.read_to_end(&mut self.tail).or_trouble(cannot)?;
        self.offset += read as u64;

        let mut places = HashMap::new();
        // The last line may still be on its way: what has no line end waits for the next call.
        let whole = self.tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in self.tail[..whole].split(|byte| *byte == b'\n') {
            // A full disk can leave half a line behind. The others still tell the truth.
            let Ok(line) = serde_json::from_slice::<Line<Received>>(line) else { continue };
            match line {
                Line::Entry { request, mut outcome } => {
                    outcome.date = outcome.date.filter(|date| !date.is_empty());
                    news.begun.push(Entry { request: request.filled_in(), outcome });
                }
                Line::Request(request) => {
                    places.insert((request.run, request.number), news.begun.len());
                    news.begun.push(Entry { request, outcome: Outcome::default() });
                }
                Line::Outcome { run, number, outcome } => match places.get(&(run, number)) {
                    Some(place) => news.begun[*place].outcome = outcome,
                    None => news.ended.push(((run, number), outcome)),
                },
                Line::Full(why) => news.full = Some(why),
            }
        }
        self.tail.drain(..whole);
        Ok(news)
    }
}

/// Every request in a host's journal, the oldest first, the City's own included.
pub fn read(host_folder: &Path) -> Result<Vec<Entry>> {
    Ok(Reader::new(host_folder).news()?.begun)
}

/// How many requests had exactly this target, or this path before a `?`. The City's own are not counted.
pub fn count(entries: &[Entry], target: &str) -> usize {
    entries.iter().filter(|entry| !entry.request.is_citys_own() && entry.request.is_to(target)).count()
}

/// Empties a host's journal.
pub fn clear(host_folder: &Path) -> Result {
    let path = path(host_folder);
    match File::options().write(true).truncate(true).open(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Trouble::new(format!("cannot clear {}", path.display())).cause(error))
        }
        _ => Ok(()),
    }
}
