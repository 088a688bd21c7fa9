//! Running a command on a host: joining its namespaces with the handle that the keeper passes, one fork, exec.
//!
//! The process that joins must have a single thread. Joining a PID namespace takes effect for children only,
//! so the command is a child, and the process that joined waits for it and hands on signals and exit status.

use std::ffi::{CString, OsString};
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::cmsg_space;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::control::{self, Reply, Request};
use super::environment::{self, Variables};
use super::{City, record::Record};
use crate::trouble::{OrTrouble, Result, Trouble};

/// What to run on a host.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Its whole environment.
    pub variables: Variables,
    /// Where it starts.
    pub folder: PathBuf,
}

/// An open door to a host; the City counts it as in use until it is dropped.
pub struct Door {
    init: OwnedFd,
    user_namespace: bool,
    repository: PathBuf,
    _session: UnixStream,
}

/// Asks the keeper to let this process onto a host.
pub fn knock(city: &City, host: &str) -> Result<Door> {
    let mut session = control::connect(&city.folder)?;
    control::send(&mut session, &Request::Enter { host: host.into() })?;
    let (line, handle) =
        receive(&session).or_trouble(|| format!("the City '{}' gave no answer", city.name))?;
    match (control::parse(&line)?, handle) {
        (Reply::Enter { repository, user_namespace }, Some(init)) => {
            Ok(Door { init, user_namespace, repository, _session: session })
        }
        (other, _) => Err(other.unexpected()),
    }
}

/// One message with the handle that comes along.
fn receive(session: &UnixStream) -> nix::Result<(String, Option<OwnedFd>)> {
    let mut text = vec![0u8; 64 * 1024];
    let mut space = cmsg_space!([i32; 1]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(session.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut handle = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel just made these descriptors for us, and nobody else knows them.
            handle = received.first().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    let length = message.bytes;
    Ok((String::from_utf8_lossy(&text[..length]).into_owned(), handle))
}

impl Door {
    /// Runs a command on the host and returns its exit status, 128+n for a signal.
    ///
    /// It starts in `folder`, or in the repository. Must be called from a process with one thread; afterwards
    /// this process is in the host's namespaces, and should end.
    pub fn run(self, city: &City, host: &str, argv: Vec<OsString>) -> Result<u8> {
        let program = Program {
            argv,
            variables: environment::on_host(&city.folder, host),
            folder: self.repository.clone(),
        };
        let mark = Mark::new(&city.folder);
        join(&self.init, self.user_namespace)
            .or_trouble(|| format!("cannot enter {host} of the City '{}'", city.name))?;
        let exec = Exec::prepare(&program, environment::sudo_user())?;
        // SAFETY: this process has one thread.
        let child = match unsafe { fork() }.or_trouble(|| "cannot fork".into())? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                // Whatever kills this command's parent ends the command too.
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                exec.become_it()
            }
        };
        let status = wait(child);
        drop(mark);
        status
    }
}

/// Puts this process into the namespaces of the process behind `init`, with one call: step by step, each
/// namespace but the first would have to be entered with rights that the step before gave away.
fn join(init: impl AsFd, user_namespace: bool) -> nix::Result<()> {
    let mut flags = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC;
    if user_namespace {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    setns(init, flags)
}

/// Starts a program on a host from the keeper, which stays where it is. The program becomes the keeper's child.
pub fn spawn(init: impl AsFd, program: &Program, output: &OwnedFd) -> Result<Pid> {
    // The City's own services stay what the keeper is.
    let exec = Exec::prepare(program, None)?;
    let (read, write) = nix::unistd::pipe().or_trouble(|| "cannot make a pipe".into())?;
    // SAFETY: the keeper has one thread.
    match unsafe { fork() }.or_trouble(|| "cannot fork".into())? {
        ForkResult::Parent { child } => {
            drop(write);
            let mut number = [0u8; 4];
            let told = nix::unistd::read(&read, &mut number);
            let _ = waitpid(child, None);
            match told {
                Ok(4) => Ok(Pid::from_raw(i32::from_ne_bytes(number))),
                _ => Err(Trouble::new("cannot enter the host")),
            }
        }
        ForkResult::Child => {
            // Not the keeper's any more: no return, no destructor, only the way to exec or out.
            if join(init, false).is_err() {
                leave(1);
            }
            // SAFETY: one thread, as above.
            match unsafe { fork() } {
                Ok(ForkResult::Parent { child }) => {
                    let told = std::fs::File::from(write).write_all(&child.as_raw().to_ne_bytes());
                    leave(if told.is_ok() { 0 } else { 1 });
                }
                Ok(ForkResult::Child) => {
                    if let Ok(null) = std::fs::File::open("/dev/null") {
                        let _ = nix::unistd::dup2_stdin(&null);
                    }
                    let _ = nix::unistd::dup2_stdout(output);
                    let _ = nix::unistd::dup2_stderr(output);
                    exec.become_it()
                }
                Err(_) => leave(1),
            }
        }
    }
}

/// Ends this process without running anything that belongs to the one it was copied from.
fn leave(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Everything that exec needs, made before the fork.
struct Exec {
    argv: Vec<CString>,
    variables: Vec<CString>,
    /// Where the program may be found, in the order of PATH.
    candidates: Vec<CString>,
    folder: CString,
    drop_to: Option<nix::unistd::User>,
}

impl Exec {
    fn prepare(program: &Program, drop_to: Option<nix::unistd::User>) -> Result<Exec> {
        let nul = |error| Trouble::new("a NUL byte in a command").cause(error);
        let c = |text: &[u8]| CString::new(text).map_err(nul);
        let argv = program.argv.iter().map(|word| c(word.as_bytes())).collect::<Result<Vec<_>>>()?;
        let name = program.argv.first().ok_or_else(|| Trouble::new("no command to run").status(2))?;
        let candidates = if name.as_bytes().contains(&b'/') {
            vec![c(name.as_bytes())?]
        } else {
            let path =
                program.variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
            std::env::split_paths(&path.unwrap_or_default())
                .map(|folder| c(folder.join(name).as_os_str().as_bytes()))
                .collect::<Result<Vec<_>>>()?
        };
        let variables = program
            .variables
            .iter()
            .map(|(name, value)| c(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Exec { argv, variables, candidates, folder: c(program.folder.as_os_str().as_bytes())?, drop_to })
    }

    /// Becomes the program, or says as a shell would why it cannot, with a shell's exit status.
    fn become_it(&self) -> ! {
        let quit = |what: &str, error: nix::Error, status: i32| -> ! {
            let _ = writeln!(std::io::stderr(), "city: {what}: {}", error.desc());
            leave(status)
        };
        // Rust ignores SIGPIPE; a program expects the default.
        // SAFETY: the default action runs no code of ours.
        let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        if let Err(error) = nix::unistd::chdir(self.folder.as_c_str()) {
            quit(&self.folder.to_string_lossy(), error, 126);
        }
        if let Some(user) = &self.drop_to {
            let name = CString::new(user.name.as_str()).unwrap_or_default();
            let dropped = nix::unistd::initgroups(&name, user.gid)
                .and_then(|()| nix::unistd::setgid(user.gid))
                .and_then(|()| nix::unistd::setuid(user.uid));
            if let Err(error) = dropped {
                quit(&user.name, error, 126);
            }
        }
        let mut last = nix::Error::ENOENT;
        for candidate in &self.candidates {
            let Err(error) = nix::unistd::execve(candidate, &self.argv, &self.variables);
            // A folder of PATH that this user may not search does not hold the command, as for a shell.
            if nix::sys::stat::stat(candidate.as_c_str()).is_ok() {
                last = error;
            }
        }
        let what = self.argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match last {
            nix::Error::ENOENT => quit(&format!("{what}: no such command here"), last, 127),
            error => quit(&what, error, 126),
        }
    }
}

static CHILD: AtomicI32 = AtomicI32::new(0);

extern "C" fn forward(signal: libc::c_int) {
    let child = CHILD.load(Ordering::Relaxed);
    if child > 0 {
        // SAFETY: kill may be called in a signal handler, and the child is ours: it is reaped only after CHILD
        // has been taken back.
        unsafe { libc::kill(child, signal) };
    }
}

/// Waits for the command. The terminal sends Ctrl-C to it as well, so here it is ignored; what is sent to this
/// process alone is handed on.
fn wait(child: Pid) -> Result<u8> {
    CHILD.store(child.as_raw(), Ordering::Relaxed);
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    let hand_on = SigAction::new(SigHandler::Handler(forward), SaFlags::SA_RESTART, SigSet::empty());
    for (signal, action) in [
        (Signal::SIGINT, &ignore),
        (Signal::SIGQUIT, &ignore),
        (Signal::SIGTERM, &hand_on),
        (Signal::SIGHUP, &hand_on),
        (Signal::SIGUSR1, &hand_on),
        (Signal::SIGUSR2, &hand_on),
    ] {
        // SAFETY: the handler only loads an atomic and calls kill.
        unsafe { sigaction(signal, action) }.or_trouble(|| "cannot set a signal handler".into())?;
    }
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(status.try_into().unwrap_or(u8::MAX)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128u8.wrapping_add(signal as u8)),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Trouble::new("cannot wait for the command").cause(error)),
        }
    }
}

/// A note that this process waits for a command on a host.
///
/// One that is stopped (Ctrl-Z) would not reap its command, and a PID namespace does not end before everything
/// in it is reaped: so `down` finds these and lets them go on.
struct Mark(PathBuf);

impl Mark {
    fn new(city_folder: &Path) -> Mark {
        let path = city_folder.join("clients").join(std::process::id().to_string());
        let _ = std::fs::write(&path, "");
        Mark(path)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The processes that wait for a command on a host of this City.
pub fn clients(city_folder: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir(city_folder.join("clients")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Lets those of them go on that were stopped, so that what they wait for can end with its City.
pub fn release_stopped(clients: &[i32]) {
    for pid in clients {
        let Ok(process) = procfs::process::Process::new(*pid) else { continue };
        let ours = process.exe().ok() == std::env::current_exe().ok();
        let stopped = process.stat().is_ok_and(|stat| stat.state == 'T');
        if ours && stopped {
            let _ = nix::sys::signal::kill(Pid::from_raw(*pid), Signal::SIGCONT);
        }
    }
}

/// The City in which this very process is, if it is on one of its hosts.
pub fn inside() -> Option<Record> {
    std::env::var_os("CITY_HOST")?;
    Record::of(&std::env::var("CITY_NAME").ok()?).ok().flatten()
}
