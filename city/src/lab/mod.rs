//! The City itself: bringing it up from namespaces, reaching its hosts, taking it down.
//!
//! A City is one *keeper* (`keeper.rs`): the first process of a PID namespace of its own, so that the kernel
//! ends everything in it when the keeper ends, however it ends. The keeper makes the network (`network.rs`)
//! and the hosts (`host.rs`), runs their services, and answers on a Unix socket (`control.rs`). Commands
//! enter a host from outside (`enter.rs`), with a process handle that the keeper passes them.
//!
//! The Docker City (`docker/`) is the same hosts as containers, and the same [`City`] to everybody else.
//!
//! What is known of a City when its keeper is not asked stands in `record.rs`; what a command on a host finds
//! in its environment, in `environment.rs`.

pub mod control;
pub mod docker;
pub mod environment;
pub mod record;

#[cfg(target_os = "linux")]
pub mod enter;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
pub mod keeper;
#[cfg(target_os = "linux")]
mod network;
pub mod owner;
#[cfg(target_os = "linux")]
pub mod sockets;

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use control::{HostStatus, Reply, Request};
pub use owner::City;
use record::Record;

use crate::map;
use crate::trouble::{Result, Trouble};

/// How a City is to be brought up.
#[derive(Debug, Clone)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only namespaces ask for all of it"))]
pub struct UpOptions {
    /// Its name: lower-case letters, digits and dashes.
    pub name: String,
    /// A folder that its hosts see in place of the repository's `conf/`; none: the repository's own.
    pub conf: Option<PathBuf>,
    /// A real nginx as advanced.
    pub nginx: bool,
    /// When it ends.
    pub lifetime: Lifetime,
    /// Not to be found unless it is named: the workplace of a verification or a benchmark.
    pub private: bool,
}

/// When a City ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// With the process that brought it up, however that process ends, or when its [`City`] is dropped.
    Owner,
    /// Only by `down`.
    Detached,
    /// With the last command that runs on one of its hosts.
    LastCommand,
}

/// The exit status of the trouble that no City is up.
pub const NONE_IS_UP: u8 = 4;

/// The name of a City to which nobody gave one.
pub const DEFAULT_NAME: &str = "city";

/// Refuses a name that could not be a folder's, a socket's and a host name's part.
pub fn check_name(name: &str) -> Result {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(fits) || name.starts_with('-') {
        return Err(Trouble::new(format!("'{}' cannot be a City's name", name.escape_debug()))
            .remedy("use up to 32 lower-case letters, digits and dashes")
            .status(2));
    }
    Ok(())
}

impl City {
    /// The City that the user means: the one named (by `--name` or `CITY_NAME`), or the only one that is up.
    pub fn find(name: Option<&str>) -> Result<City> {
        let named =
            name.map(str::to_owned).or_else(|| std::env::var("CITY_NAME").ok().filter(|n| !n.is_empty()));
        if let Some(name) = named {
            check_name(&name)?;
            if name == docker::NAME {
                return docker::find();
            }
            return match Record::of(&name)? {
                Some(record) => Ok(City::found(record)),
                None => Err(Trouble::new(format!("no City named '{name}' is up"))
                    .remedy(format!("bring it up with: cargo city up --detach --name {name}"))),
            };
        }
        let mut up: Vec<Record> = Record::all()?.into_iter().filter(|record| !record.private).collect();
        let in_docker = docker::is_there();
        match (up.pop(), up.is_empty() && !in_docker) {
            (Some(record), true) => Ok(City::found(record)),
            (None, false) => docker::find(),
            (None, true) => Err(Trouble::new("no City is up")
                .remedy("bring one up with: cargo city up --detach")
                .status(NONE_IS_UP)),
            (Some(last), false) => {
                let mut names: Vec<_> = up.iter().chain([&last]).map(|record| record.name.clone()).collect();
                names.extend(in_docker.then(|| docker::NAME.to_owned()));
                names.sort();
                let remedy = match in_docker {
                    true => "say which with --name NAME, or with --docker",
                    false => "say which with --name NAME",
                };
                Err(Trouble::new(format!("several Cities are up: {}", names.join(", "))).remedy(remedy))
            }
        }
    }

    /// Brings one up, or joins the one of that name that somebody else is bringing up at this very moment.
    pub fn up_or_join(options: &UpOptions) -> Result<City> {
        let refused = match City::up(options) {
            Ok(city) => return Ok(city),
            Err(trouble) => trouble,
        };
        let folder = crate::paths::city(&options.name)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while record::Lock::is_held(&folder) && Instant::now() < deadline {
            if let Some(record) = Record::of(&options.name)? {
                return Ok(City::found(record));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(refused)
    }

    /// A command on one of its hosts, to which the program and its arguments are still to be added. It runs in
    /// the repository's root with the clean environment of `city exec`; stdio and waiting are the caller's.
    pub fn exec(&self, host: &str) -> Command {
        let tool = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("city"));
        let mut command = Command::new(tool);
        command.args(["exec", "--name", &self.name, host, "--"]);
        self.tell(&mut command);
        command
    }

    /// Has a command of this tool, which names this City, find all of it.
    pub fn tell(&self, command: &mut Command) {
        if let Some(docker) = &self.docker {
            docker::tell(docker, command);
        }
    }

    /// Whether its hosts are containers, and how.
    pub fn docker(&self) -> Option<docker::Docker> {
        self.docker
    }

    /// The Docker City, brought up by this process for its own use: see [`City::leave`].
    pub fn owned(mut self) -> City {
        self.docker = self.docker.map(|docker| docker::Docker { owned: true, ..docker });
        self
    }

    /// The Docker City as one lesson's verification sees it: see `docker::rooms`.
    pub fn with_rooms(&self) -> City {
        City::in_docker(self.folder.clone(), docker::Docker { owned: false, rooms: true })
    }

    /// Whether there is a City of this name, and it answers.
    pub fn status(&self) -> Result<Vec<HostStatus>> {
        if self.docker.is_some() {
            return docker::hosts::status(self);
        }
        match self.ask(&Request::Status)? {
            Reply::Status(hosts) => Ok(hosts),
            other => Err(other.unexpected()),
        }
    }

    /// The TCP ports on which something listens on a host, read from its `/proc/net/tcp`.
    pub fn listening(&self, host: &str) -> Result<Vec<u16>> {
        let host = map::host(host)?;
        if self.docker.is_some() {
            // In a container there is no engine to ask, and of its own sockets it knows.
            #[cfg(target_os = "linux")]
            if std::env::var_os("CITY_HOST").is_some_and(|here| here == host.name) {
                return Ok(procfs::process::Process::myself()
                    .map(|own| sockets::tcp(&own))
                    .unwrap_or_default());
            }
            return docker::hosts::listening(host);
        }
        match self.ask(&Request::Listening { host: host.name.into() })? {
            Reply::Listening(ports) => Ok(ports),
            other => Err(other.unexpected()),
        }
    }

    /// Does something to a host; says so if there was nothing to be done.
    pub fn act(&self, host: &str, action: control::Action) -> Result<Option<String>> {
        let host = map::host(host)?;
        if self.docker.is_some() {
            return docker::hosts::act(host, action);
        }
        match self.ask(&Request::Act { host: host.name.into(), action })? {
            Reply::Done(said) => Ok(said),
            other => Err(other.unexpected()),
        }
    }

    /// The folder in which a host keeps its journal, its faults and its logs.
    pub fn host_folder(&self, host: &str) -> PathBuf {
        crate::paths::host(&self.folder, host)
    }

    /// Sends the keeper a request and waits for what it says to it.
    pub fn ask(&self, request: &Request) -> Result<Reply> {
        control::ask(&self.folder, request).map_err(|trouble| trouble.of_city(&self.name))
    }
}

#[cfg(not(target_os = "linux"))]
fn not_linux() -> Trouble {
    Trouble::new("the local City is made of Linux namespaces, and this is not Linux")
        .remedy("use the Docker City: cargo city up --docker")
}

impl Trouble {
    fn of_city(self, name: &str) -> Trouble {
        if self.status == control::NO_ANSWER {
            return Trouble::new(format!("the City '{name}' does not answer"))
                .remedy("`cargo city doctor` says why and clears what is stale");
        }
        self
    }
}
