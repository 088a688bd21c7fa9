//! The other side of the keeper: starting one, and waiting until nothing of it is left.

use std::path::PathBuf;
use std::process::Child;

use super::UpOptions;
use super::docker::{self, Docker};
use super::record::Record;
use crate::paths;
use crate::trouble::Result;

/// A City that is up.
#[derive(Debug)]
pub struct City {
    /// Its name.
    pub name: String,
    /// Its state folder.
    pub folder: PathBuf,
    /// The keeper, if this process is its owner: dropping the lifeline ends the City.
    keeper: Option<Child>,
    /// It is the Docker City, which has containers in the place of a keeper.
    pub(super) docker: Option<Docker>,
}

impl City {
    pub(super) fn found(record: Record) -> City {
        let folder = paths::city(&record.name).unwrap_or_default();
        City { name: record.name, folder, keeper: None, docker: None }
    }

    pub(super) fn in_docker(folder: PathBuf, docker: Docker) -> City {
        City { name: docker::NAME.into(), folder, keeper: None, docker: Some(docker) }
    }

    /// Brings the Docker City up, and returns when every container is healthy.
    pub fn up_in_docker() -> Result<City> {
        docker::compose::up(&paths::repository()?)
    }

    /// Brings one up and returns when every service listens.
    #[cfg(target_os = "linux")]
    pub fn up(options: &UpOptions) -> Result<City> {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        use super::Lifetime;
        use super::keeper::Word;
        use crate::trouble::{OrTrouble, Trouble};

        super::check_name(&options.name)?;
        if options.name == docker::NAME {
            return Err(Trouble::new(format!("the name '{}' is the Docker City's", docker::NAME))
                .remedy("bring that one up with: cargo city up --docker")
                .status(2));
        }
        let folder = paths::city(&options.name)?;
        let tool = std::env::current_exe().or_trouble(|| "cannot find this tool".into())?;
        let mut command = Command::new(tool);
        command.args(["keeper", "--name", &options.name]);
        let lifetime = clap::ValueEnum::to_possible_value(&options.lifetime);
        command.args(["--lifetime", lifetime.as_ref().map_or("owner", |value| value.get_name())]);
        if let Some(conf) = &options.conf {
            command.arg("--conf").arg(conf);
        }
        for (flag, given) in [("--nginx", options.nginx), ("--private", options.private)] {
            if given {
                command.arg(flag);
            }
        }
        let owned = options.lifetime == Lifetime::Owner;
        command.stdin(if owned { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped());
        let log = super::record::log(&folder);
        let stderr = std::fs::File::create(&log).or_trouble(|| format!("cannot write {}", log.display()))?;
        let mut child =
            command.stderr(stderr).spawn().or_trouble(|| "cannot start the City's keeper".into())?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).or_trouble(|| "no word from the keeper".into())?;
        }
        // The process that was started made the namespaces and left; the keeper is its child.
        let lifeline = child.stdin.take();
        let _ = child.wait();
        child.stdin = lifeline;
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        match serde_json::from_str(&line) {
            Ok(Word::Ready) => {
                let keeper = owned.then_some(child);
                Ok(City { name: options.name.clone(), folder, keeper, docker: None })
            }
            Ok(Word::Failed(why)) => Err(Trouble::new(why)),
            Err(_) => Err(Trouble::new(format!(
                "the City's keeper ended before it was up: {}",
                said.lines().last().unwrap_or("it said nothing")
            ))
            .remedy("`cargo city doctor` tries each step by itself")),
        }
    }

    /// Where there are no namespaces, there is Docker.
    #[cfg(not(target_os = "linux"))]
    pub fn up(_options: &UpOptions) -> Result<City> {
        Err(super::not_linux())
    }

    /// Takes it down, and returns when nothing of it is left.
    pub fn down(mut self) -> Result {
        match &mut self.docker {
            Some(docker) => {
                docker.owned = false;
                docker::compose::down(&self.folder)
            }
            None => self.end(),
        }
    }

    /// Takes it down if this process brought it up; another's City stays.
    ///
    /// Returns whether it was taken down.
    pub fn leave(self) -> Result<bool> {
        let owned = self.keeper.is_some() || self.docker.is_some_and(|docker| docker.owned);
        if owned {
            self.down()?;
        }
        Ok(owned)
    }

    /// Where there are no namespaces, none is up.
    #[cfg(not(target_os = "linux"))]
    fn end(&mut self) -> Result {
        Err(super::not_linux())
    }

    #[cfg(target_os = "linux")]
    fn end(&mut self) -> Result {
        use std::time::{Duration, Instant};

        use rustix::process::{Signal, pidfd_send_signal};

        use crate::trouble::Trouble;

        let Some(handle) = handle(&self.folder) else {
            // Nobody listens: it is over already, or its keeper is; what it left is cleared by name.
            self.keeper = None;
            super::record::clear_stale(&self.folder);
            return Ok(());
        };
        // Read now: the keeper takes the list along when it goes.
        let waiting = super::enter::clients(&self.folder);
        let started = Instant::now();
        match &mut self.keeper {
            Some(keeper) => drop(keeper.stdin.take()),
            None => drop(self.ask(&super::control::Request::Down)),
        }
        let mut killed = false;
        while !ended(&handle, Duration::from_millis(50)) {
            super::enter::release_stopped(&waiting);
            if started.elapsed() > Duration::from_secs(3) && !killed {
                killed = true;
                let _ = pidfd_send_signal(&handle, Signal::KILL);
            }
            if started.elapsed() > Duration::from_secs(10) {
                return Err(Trouble::new(format!("the City '{}' does not end", self.name))
                    .remedy("one of its processes is stuck in the kernel: see `cargo city doctor`"));
            }
        }
        self.keeper = None;
        super::record::clear_stale(&self.folder);
        Ok(())
    }
}

impl Drop for City {
    fn drop(&mut self) {
        // Whoever wants to know whether it worked calls `down`.
        if self.docker.is_some_and(|docker| docker.owned) {
            let _ = docker::compose::down(&self.folder);
        } else if self.keeper.is_some() {
            let _ = self.end();
        }
    }
}

/// The keeper's pid, as this side numbers it: the kernel translates who listens on the socket.
#[cfg(target_os = "linux")]
pub fn keeper_pid(folder: &std::path::Path) -> Option<i32> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

    let stream = super::control::connect(folder).ok()?;
    getsockopt(&stream, PeerCredentials).ok().map(|peer| peer.pid())
}

#[cfg(target_os = "linux")]
fn handle(folder: &std::path::Path) -> Option<std::os::fd::OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    pidfd_open(Pid::from_raw(keeper_pid(folder)?)?, PidfdFlags::empty()).ok()
}

/// Whether the process behind the handle, and with it its whole PID namespace, has ended within that time.
#[cfg(target_os = "linux")]
fn ended(handle: &std::os::fd::OwnedFd, within: std::time::Duration) -> bool {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    let mut waited = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
    let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::ZERO);
    poll(&mut waited, within).is_ok_and(|ready| ready > 0)
}
