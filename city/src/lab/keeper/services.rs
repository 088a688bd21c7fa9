//! Running the hosts' services: starting, stopping, freezing them, and starting one again that fell over.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::Process;
use tokio::signal::unix::{SignalKind, signal};

use super::{Keeper, Live};
use crate::lab::control::{Action, HostStatus, State};
use crate::lab::enter::{self, Program};
use crate::lab::network;
use crate::lab::{environment, sockets};
use crate::machine::needs;
use crate::trouble::{OrTrouble, Result, Trouble};

/// How often a condition is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// What a process gets before it is killed, by `stop` or with its City. (`docker stop` gives ten seconds.)
const PATIENCE: Duration = Duration::from_secs(5);

impl Keeper {
    /// Starts what a host serves; nothing for a host that only sends.
    pub(super) fn start_services(&self, live: &Live) -> Result {
        if !live.host.serves() {
            return Ok(());
        }
        let folder = crate::paths::host(&self.folder, live.host.name);
        let log = OpenOptions::new().append(true).create(true).open(folder.join("service.log"));
        let log = log.or_trouble(|| format!("cannot write the log of {}", live.host.name))?;
        let argv: Vec<OsString> = if self.options.nginx && live.host.name == "advanced" {
            let conf = self.record.repository.join("conf/nginx/nginx.conf");
            // Journal, pid and temporary files go to the host's own folder.
            vec![nginx()?, "-e".into(), "stderr".into(), "-p".into(), folder.into(), "-c".into(), conf.into()]
        } else {
            // Not this process's own file, which is gone once the tool has been built anew: this leads to its successor.
            let tool = self.folder.join("bin/city");
            vec![tool.into(), "service".into(), live.host.name.into()]
        };
        let variables = environment::on_host(&self.folder, live.host.name);
        let program = Program { argv, variables, folder: self.record.repository.clone() };
        let pid = enter::spawn(&live.body.borrow().handle, &program, &OwnedFd::from(log))
            .map_err(|why| Trouble::new(format!("cannot start the services of {}: {why}", live.host.name)))?;
        live.service.set(Some(pid));
        Ok(())
    }

    /// Waits until every port of the map is open on a host.
    pub(super) async fn until_listening(&self, live: &Live, within: Duration) -> Result {
        let deadline = Instant::now() + within;
        loop {
            let missing = missing_ports(live);
            if missing.is_empty() {
                return Ok(());
            }
            let failed = live.service.get().is_none() && live.host.serves();
            if failed || Instant::now() > deadline {
                let log = crate::paths::host(&self.folder, live.host.name).join("service.log");
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(Trouble::new(format!(
                    "{} does not serve port {}: {last}",
                    live.host.name,
                    missing.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Does something to a host, one thing at a time.
    pub(super) async fn act(&self, live: &Live, action: Action) -> Result<Option<String>> {
        let _turn = self.turn.lock().await;
        let name = live.host.name;
        let to = match (action, live.state.get()) {
            (Action::Stop, State::Stopped) => return Ok(Some(format!("{name} is stopped already"))),
            (Action::Start, State::Up) => return Ok(Some(format!("{name} is up already"))),
            (Action::Unpause, State::Up) => return Ok(Some(format!("{name} is not paused"))),
            (Action::Plug, State::Up) => return Ok(Some(format!("{name} is plugged in already"))),
            (Action::Pause, State::Paused) => return Ok(Some(format!("{name} is paused already"))),
            (Action::Unplug, State::Unplugged) => return Ok(Some(format!("{name} is unplugged already"))),

            (Action::Stop, State::Up | State::Unplugged) => self.stop(live).await?,
            (Action::Start, State::Stopped) => self.start(live).await?,
            (Action::Pause, State::Up) => self.pause(live).await,
            (Action::Unpause, State::Paused) => {
                live.signal_all(Signal::SIGCONT);
                State::Up
            }
            (Action::Unplug, State::Up) => {
                self.network.set_link(live.host, false).await?;
                State::Unplugged
            }
            (Action::Plug, State::Unplugged) => {
                self.plug_in(live).await?;
                State::Up
            }
            (_, State::Paused) => return Err(first(name, "paused", "unpause")),
            (_, State::Stopped) => return Err(first(name, "stopped", "start")),
            (_, State::Unplugged) => return Err(first(name, "unplugged", "plug")),
        };
        live.state.set(to);
        Ok(None)
    }

    /// SIGTERM, a wait, SIGKILL for what is left, and then the link goes: open connections end, new ones find
    /// nobody, as after `docker stop`.
    async fn stop(&self, live: &Live) -> Result<State> {
        live.service.set(None);
        let deadline = Instant::now() + PATIENCE;
        let mut running = live.signal_all(Signal::SIGTERM);
        while !running.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            running = live.processes();
        }
        while !live.signal_all(Signal::SIGKILL).is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        self.network.set_link(live.host, false).await?;
        Ok(State::Stopped)
    }

    /// Waits until what a command has left on its host is done: `tee`, say, which has yet to hand on the last words.
    /// Who goes on serving is not waited for much longer.
    pub(super) async fn let_finish(&self, live: &Live) {
        let deadline = Instant::now() + PATIENCE;
        while self.is_over() && !live.processes().is_empty() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn plug_in(&self, live: &Live) -> Result {
        self.network.set_link(live.host, true).await?;
        let netns = super::open_namespace(&live.init().to_string())?;
        network::announce(live.host, &netns, &self.own).await
    }

    async fn start(&self, live: &Live) -> Result<State> {
        self.plug_in(live).await?;
        live.ended.borrow_mut().clear();
        self.start_services(live)?;
        self.until_listening(live, Duration::from_secs(10)).await?;
        Ok(State::Up)
    }

    /// Freezes what runs on a host. A process may fork while it is being frozen, so this goes on until a whole
    /// round finds nobody awake.
    async fn pause(&self, live: &Live) -> State {
        loop {
            let awake: Vec<Pid> = live.processes().into_iter().filter(|pid| !is_frozen(*pid)).collect();
            if awake.is_empty() {
                return State::Paused;
            }
            for pid in awake {
                let _ = nix::sys::signal::kill(pid, Signal::SIGSTOP);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How a host is, as `status` shows it.
    pub(super) fn status_of(&self, live: &Live) -> HostStatus {
        let missing = missing_ports(live);
        HostStatus {
            name: live.host.name.into(),
            state: live.state.get(),
            listening: live.host.tcp.iter().copied().filter(|port| !missing.contains(port)).collect(),
            processes: live.processes().len(),
        }
    }
}

/// Where nginx lies; for ordinary users it often is not on PATH.
fn nginx() -> Result<OsString> {
    let elsewhere = || std::path::PathBuf::from("/usr/sbin/nginx");
    let found = needs::find("nginx").or_else(|| Some(elsewhere()).filter(|path| path.is_file()));
    found.map(OsString::from).ok_or_else(|| {
        Trouble::new("there is no nginx on this machine")
            .remedy("install it (apt-get install nginx-light), or leave out --nginx")
    })
}

fn first(name: &str, state: &str, verb: &str) -> Trouble {
    Trouble::new(format!("{name} is {state}")).remedy(format!("first: cargo city {verb} {name}"))
}

fn is_frozen(pid: Pid) -> bool {
    let stat = Process::new(pid.as_raw()).and_then(|process| process.stat());
    // One that is gone, or about to be, does nothing any more.
    stat.is_ok_and(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X')) || stat_is_gone(pid)
}

fn stat_is_gone(pid: Pid) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// The TCP ports on which something listens on a host.
pub(super) fn listening(live: &Live) -> Vec<u16> {
    Process::new(live.init().as_raw()).map(|process| sockets::tcp(&process)).unwrap_or_default()
}

fn missing_ports(live: &Live) -> Vec<u16> {
    sockets::missing(live.host, Process::new(live.init().as_raw()))
}

/// Reaps the keeper's children. What ended though nobody stopped it comes back, as a container with a restart
/// policy would: a host whose first process was killed, and a service, unless it does nothing but end.
pub(super) async fn reap(keeper: Rc<Keeper>) {
    let Ok(mut children) = signal(SignalKind::child()) else { return };
    loop {
        loop {
            let pid = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => continue,
            };
            let of = |live: &Live| live.service.get() == Some(pid) || live.init() == pid;
            let Some(index) = keeper.hosts.iter().position(of) else { continue };
            let live = &keeper.hosts[index];
            let recent = {
                let mut ended = live.ended.borrow_mut();
                ended.retain(|when| when.elapsed() < Duration::from_secs(10));
                ended.push(Instant::now());
                ended.len()
            };
            if live.init() == pid {
                live.state.set(State::Stopped);
                let keeper = keeper.clone();
                tokio::task::spawn_local(async move {
                    let _ = keeper.revive(&keeper.hosts[index]).await;
                });
                continue;
            }
            live.service.set(None);
            if live.state.get() == State::Up && recent <= 4 {
                // A failure is seen by `status`; there is nobody here to tell.
                let _ = keeper.start_services(live);
            }
        }
        if children.recv().await.is_none() {
            return;
        }
    }
}
