//! One host of a local City: its namespaces, its first process, and what it sees of the machine.
//!
//! Every host has its own process list, hostname, `/etc`, `/tmp` and network; the repository, the target
//! folder, and cargo's and rustup's homes stay visible where they are, also when that is below `/tmp`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Pid, sethostname};

use super::environment;
use crate::map::{DOMAIN, HOSTS, Host};
use crate::trouble::{OrTrouble, Result, Trouble};

/// What is to be seen on a host.
pub struct View {
    /// The clone, with `conf/` replaced by another folder if one is given.
    pub repository: PathBuf,
    /// What stands in the place of the repository's `conf/`.
    pub conf: Option<PathBuf>,
    /// The state folder of the City.
    pub city_folder: PathBuf,
}

/// A host's first process, made and on its way; [`Born::ready`] waits until its mounts are done.
pub struct Born {
    /// The first process, as the keeper numbers it.
    pub init: Pid,
    word: File,
}

/// Makes the namespaces of a host and its first process.
pub fn create(host: &'static Host, view: &View) -> Result<Born> {
    let (read, write) = nix::unistd::pipe().or_trouble(|| "cannot make a pipe".into())?;
    let mut write = Some(write);
    let mut stack = vec![0u8; 512 * 1024];
    let flags = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID;
    let child = Box::new(|| match write.take() {
        Some(write) => first_process(host, view, write),
        None => 1,
    });
    // SAFETY: the keeper has a single thread, so the child may do whatever its parent could. Without CLONE_VM
    // it has a copy of the memory, the stack included.
    let init = unsafe { clone(child, &mut stack, flags, Some(Signal::SIGCHLD as i32)) }
        .or_trouble(|| format!("cannot make the namespaces of {}", host.name))?;
    drop(write);
    Ok(Born { init, word: File::from(read) })
}

impl Born {
    /// Waits until the host has its mounts, or says why it has not.
    pub fn ready(mut self, host: &Host) -> Result<Pid> {
        let mut word = String::new();
        self.word.read_to_string(&mut word).or_trouble(|| format!("no word from {}", host.name))?;
        match word.as_str() {
            "ready" => Ok(self.init),
            "" => Err(Trouble::new(format!("the first process of {} ended at once", host.name))),
            why => Err(Trouble::new(format!("cannot set up {}: {why}", host.name))),
        }
    }
}

/// The first process of a host: sets it up, and from then on only lets the kernel reap what others leave.
fn first_process(host: &Host, view: &View, word: OwnedFd) -> isize {
    let mut word = match alone_with(word) {
        Ok(word) => word,
        Err(_) => return 1,
    };
    if let Err(trouble) = set_up(host, view) {
        let _ = word.write_all(trouble.to_string().as_bytes());
        return 1;
    }
    // SAFETY: SIG_IGN runs no code of ours. With it the kernel reaps every orphan by itself.
    let reaping = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    if let Err(error) = reaping {
        let _ = word.write_all(error.to_string().as_bytes());
        return 1;
    }
    let _ = word.write_all(b"ready");
    drop(word);
    loop {
        nix::unistd::pause();
    }
}

/// Lets go of everything that this process has from the keeper, its lock and its pipes among them, but stderr
/// and the pipe given.
fn alone_with(word: OwnedFd) -> io::Result<File> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    drop(null);
    // SAFETY: whatever else was open here belongs to the keeper's copy of these objects, and this process
    // never returns to code that would use one of them.
    unsafe {
        const KEPT: libc::c_int = 3;
        let word = word.into_raw_fd();
        if word != KEPT && libc::dup2(word, KEPT) != KEPT {
            return Err(io::Error::last_os_error());
        }
        if libc::syscall(libc::SYS_close_range, KEPT + 1, libc::c_uint::MAX, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(KEPT))
    }
}

fn set_up(host: &Host, view: &View) -> Result {
    sethostname(host.name).or_trouble(|| "cannot set its hostname".into())?;
    mount_proc()?;
    set_sysctls();
    // Opened before /tmp is covered, bound back after.
    let kept = hold(&visible_under_tmp(view))?;
    let conf = match &view.conf {
        Some(folder) => Some(open_path(folder)?),
        None => None,
    };
    mount_over_etc(host, &view.city_folder)?;
    mount_tmpfs("/tmp", "mode=1777")?;
    for (path, folder) in &kept {
        fs::create_dir_all(path).or_trouble(|| format!("cannot make {}", path.display()))?;
        bind(folder, path)?;
    }
    if let Some(conf) = conf {
        bind(&conf, &view.repository.join("conf"))?;
    }
    // Resolvers that some machines ask before they read resolv.conf.
    for daemon in ["/run/nscd", "/run/systemd/resolve"] {
        if Path::new(daemon).is_dir() {
            mount_tmpfs(daemon, "mode=0755,size=4k")?;
        }
    }
    std::env::set_current_dir("/").or_trouble(|| "cannot enter /".into())
}

/// Mounts a fresh `/proc` for the PID namespace that this process is in.
pub fn mount_proc() -> Result {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
        .or_trouble(|| "cannot mount a /proc of its own".into())
}

/// The City has no IPv6 but on loopback, and its users bind port 80 without being root.
pub fn set_sysctls() {
    // A kernel without IPv6 has no such file, and needs none.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    // A host that is plugged in again says so: see `network::announce`.
    let _ = fs::write("/proc/sys/net/ipv4/conf/default/arp_notify", "1");
}

/// `/etc` as the machine has it, below four files of the City's.
///
/// An overlay, because a bind mount over `resolv.conf` alone fails where that is a dangling link, and vanishes
/// when the machine replaces the file by rename.
fn mount_over_etc(host: &Host, city_folder: &Path) -> Result {
    let etc = crate::paths::host(city_folder, host.name).join("etc");
    let dns = HOSTS.iter().find(|host| host.name == "dns").map(|host| host.address());
    let nameserver = dns.map(|address| format!("nameserver {address}\n")).unwrap_or_default();
    let files = [
        // Names come from the City's DNS only; a hosts file would hide a record that a lesson changes.
        ("hosts", format!("127.0.0.1 localhost\n::1 localhost\n{} {} {}\n", host.address(), host.fqdn(), host.name)),
        ("resolv.conf", format!("{nameserver}search {DOMAIN}\noptions timeout:1 attempts:2\n")),
        ("hostname", format!("{}\n", host.name)),
        ("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n".into()),
    ];
    fs::create_dir_all(&etc).or_trouble(|| format!("cannot make {}", etc.display()))?;
    for (name, text) in files {
        fs::write(etc.join(name), text).or_trouble(|| format!("cannot write {}/{name}", etc.display()))?;
    }
    let layers = format!("lowerdir={}:/etc", etc.display());
    mount(Some("city"), "/etc", Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .or_trouble(|| "cannot lay its own files over /etc (overlay)".into())
}

fn mount_tmpfs(path: &str, options: &str) -> Result {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options))
        .or_trouble(|| format!("cannot mount a {path} of its own"))
}

fn bind(folder: &File, path: &Path) -> Result {
    let source = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    mount(Some(&source), path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .or_trouble(|| format!("cannot bring {} into its view", path.display()))
}

/// What must stay visible and lies below `/tmp`, outermost first and none inside another.
fn visible_under_tmp(view: &View) -> Vec<PathBuf> {
    let tool = std::env::current_exe().ok().and_then(|tool| tool.parent().map(Path::to_owned));
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let wanted = [environment::home(), environment::cargo_home(), environment::rustup_home(), tool, target];
    let mut folders: Vec<PathBuf> = [view.repository.clone(), view.city_folder.clone()]
        .into_iter()
        .chain(wanted.into_iter().flatten())
        .filter(|folder| folder.is_dir() && folder.starts_with("/tmp") && folder != Path::new("/tmp"))
        .collect();
    folders.sort();
    folders.dedup_by(|inner, outer| inner.starts_with(outer));
    folders
}

fn hold(folders: &[PathBuf]) -> Result<Vec<(PathBuf, File)>> {
    folders.iter().map(|folder| Ok((folder.clone(), open_path(folder)?))).collect()
}

fn open_path(folder: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(folder);
    opened.or_trouble(|| format!("cannot open {}", folder.display()))
}
