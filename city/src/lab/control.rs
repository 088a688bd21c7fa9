//! How the tool talks with a City's keeper: one line of JSON each way, on a Unix socket.
//!
//! Entering a host is the one request with more to it: the reply brings a handle of the host's first process
//! along, and the connection stays open for as long as the command runs, which is how the keeper counts.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::trouble::{OrTrouble, Result, Trouble};

/// The exit status of the trouble that is raised when nobody answers on the socket.
pub const NO_ANSWER: u8 = 3;

/// What can be asked of a keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// How each host is.
    Status,
    /// On which TCP ports something listens on a host.
    Listening {
        /// The host's short name.
        host: String,
    },
    /// A handle with which to enter a host.
    Enter {
        /// The host's short name.
        host: String,
    },
    /// Something done to a host.
    Act {
        /// The host's short name.
        host: String,
        /// What is done to it.
        action: Action,
    },
    /// The end of the City.
    Down,
}

/// What can be done to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SIGTERM to what runs on it, then its link goes down.
    Stop,
    /// Its link and its services come back.
    Start,
    /// Its processes freeze.
    Pause,
    /// They go on.
    Unpause,
    /// Its link goes down; its processes go on.
    Unplug,
    /// Its link comes back.
    Plug,
}

/// What a keeper answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done; there may be something to tell.
    Done(Option<String>),
    /// How each host is.
    Status(Vec<HostStatus>),
    /// The ports on which something listens.
    Listening(Vec<u16>),
    /// The handle follows; the command starts in this folder.
    Enter {
        /// The repository, as the host sees it.
        repository: std::path::PathBuf,
        /// Whether the City has a user namespace of its own that must be entered too.
        user_namespace: bool,
    },
    /// It cannot be done, and why.
    Refused(String),
}

impl Reply {
    /// An answer to another question than the one asked: two versions of the tool are talking.
    pub fn unexpected(self) -> Trouble {
        match self {
            Reply::Refused(why) => Trouble::new(why),
            _ => Trouble::new("the City answers as another version of this tool would")
                .remedy("take it down and bring it up again"),
        }
    }
}

/// One host, as `status` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its short name.
    pub name: String,
    /// Up, stopped, paused or unplugged.
    pub state: State,
    /// The ports of the map on which its services answer now.
    pub listening: Vec<u16>,
    /// How many processes run on it, its first one not counted.
    pub processes: usize,
}

/// The state of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its link is up and its services were started.
    Up,
    /// Its services ended and its link is down.
    Stopped,
    /// Its processes are frozen.
    Paused,
    /// Its link is down.
    Unplugged,
}

/// Connects to the keeper of the City in `folder`.
pub fn connect(folder: &Path) -> Result<UnixStream> {
    UnixStream::connect(folder.join("control.sock"))
        .map_err(|error| Trouble::new("no answer").cause(error).status(NO_ANSWER))
}

/// Sends one request and reads the answer.
pub fn ask(folder: &Path, request: &Request) -> Result<Reply> {
    let mut stream = connect(folder)?;
    // Stopping a host waits for its processes, so the limit is generous; it is there for a frozen keeper.
    stream.set_read_timeout(Some(Duration::from_secs(20))).or_trouble(|| "control socket".into())?;
    send(&mut stream, request)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(|error| Trouble::new("no answer").cause(error).status(NO_ANSWER))?;
    parse(&line)
}

/// Writes one request.
pub fn send(stream: &mut UnixStream, request: &Request) -> Result {
    let mut line = serde_json::to_string(request).or_trouble(|| "control socket".into())?;
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .map_err(|error| Trouble::new("no answer").cause(error).status(NO_ANSWER))
}

/// Reads an answer; a refusal becomes a trouble.
pub fn parse(line: &str) -> Result<Reply> {
    match serde_json::from_str(line) {
        Ok(Reply::Refused(why)) => Err(Trouble::new(why)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(Trouble::new("no answer").cause(error).status(NO_ANSWER)),
    }
}
