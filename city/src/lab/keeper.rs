//! The keeper: the first process of a City. Everything in the City ends when it ends.
//!
//! It is started by `owner.rs` as `city keeper`, makes the namespaces, the network and the hosts, runs their
//! services, tells its owner that they answer, and then waits on its socket. It has one thread throughout.

mod serve;
mod services;

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork, setsid};
use rustix::process::{PidfdFlags, pidfd_open};

use super::control::State;
use super::environment;
use super::host::{self, View};
use super::network::Network;
use super::record::{self, Lock, Record};
use super::{Lifetime, UpOptions};
use crate::map::{HOSTS, Host};
use crate::paths;
use crate::trouble::{OrTrouble, Result, Trouble};

/// What the owner reads on the keeper's standard output, one line of JSON.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Every service answers.
    Ready,
    /// It did not come up, and why.
    Failed(String),
}

/// The City, as its keeper sees it.
pub struct Keeper {
    options: UpOptions,
    folder: PathBuf,
    record: Record,
    network: Network,
    /// The keeper's own network namespace, to come back to.
    own: File,
    view: View,
    hosts: Vec<Live>,
    /// How many commands run on hosts now.
    visitors: Cell<usize>,
    /// Where an action on a host waits for the one before it.
    turn: tokio::sync::Mutex<()>,
}

/// One host that exists.
struct Live {
    host: &'static Host,
    body: RefCell<Body>,
    state: Cell<State>,
    /// The process that runs its services, if it runs.
    service: Cell<Option<Pid>>,
    /// Times at which its services ended by themselves, to tell an accident from a loop.
    ended: RefCell<Vec<std::time::Instant>>,
}

/// The namespaces of a host, by way of the first process in them.
struct Body {
    init: Pid,
    handle: OwnedFd,
    /// The inode of its PID namespace, by which its processes are told from others'.
    namespace: u64,
}

/// Becomes the keeper of a City and returns when it is over.
pub fn keep(options: UpOptions) -> ExitCode {
    let folder = match paths::city(&options.name) {
        Ok(folder) => folder,
        Err(trouble) => return tell(&Word::Failed(trouble.to_string()), 1),
    };
    let lock = match Lock::take(&folder) {
        Ok(lock) => lock,
        Err(trouble) => return tell(&Word::Failed(trouble.to_string()), 1),
    };
    match isolate() {
        // The process that was started only made the namespaces; its child is the first one in them.
        Ok(Side::Outside) => {
            // Dropping it would unlock for the keeper too, which has inherited it.
            std::mem::forget(lock);
            return ExitCode::SUCCESS;
        }
        Ok(Side::Inside) => {}
        Err(trouble) => {
            record::remove(&folder);
            return tell(&Word::Failed(trouble.to_string()), 1);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, run(options, folder.clone())),
        Err(error) => Err(Trouble::new("cannot start a runtime").cause(error)),
    };
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => tell(&Word::Failed(trouble.to_string()), 1),
    };
    record::remove(&folder);
    drop(lock);
    code
}

fn tell(word: &Word, status: u8) -> ExitCode {
    let line = serde_json::to_string(word).unwrap_or_default();
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::from(status)
}

enum Side {
    Outside,
    Inside,
}

/// Makes the City's namespaces and its first process.
///
/// Each step has its own words: on restricted machines a namespace can often be made, and then is hollow.
fn isolate() -> Result<Side> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if !uid.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| refused("making a user namespace", error))?;
        let mapped = fs::write("/proc/self/setgroups", "deny")
            .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {uid} 1")))
            .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {gid} 1")));
        mapped.map_err(|error| refused("mapping a user into a user namespace", error))?;
    }
    let flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(flags).map_err(|error| refused("making network, mount and process namespaces", error))?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.or_trouble(|| "cannot fork".into())? {
        ForkResult::Parent { .. } => return Ok(Side::Outside),
        ForkResult::Child => {}
    }
    setsid().or_trouble(|| "cannot start a session".into())?;
    // Before any other mount: on a machine whose `/` is shared, as most are, ours would show there otherwise.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| refused("making mounts private", error))?;
    host::mount_proc().map_err(|_| refused("mounting /proc", nix::Error::EPERM))?;
    host::set_sysctls();
    let _ = fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    Ok(Side::Inside)
}

/// What to do where namespaces are refused; `doctor` says more.
pub fn refused(step: &str, error: impl std::error::Error) -> Trouble {
    let sysctl =
        |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default().trim().to_owned();
    let cure = if sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1" {
        "AppArmor keeps them hollow: `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    } else if sysctl("kernel/unprivileged_userns_clone") == "0" {
        "they are switched off: `sudo sysctl kernel.unprivileged_userns_clone=1`"
    } else if sysctl("user/max_user_namespaces") == "0" {
        "none are allowed: `sudo sysctl user.max_user_namespaces=15000`"
    } else if std::path::Path::new("/.dockerenv").exists() {
        "this container's seccomp profile refuses them: run it with --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
    } else {
        "a security profile of this machine refuses it"
    };
    Trouble::new(format!("this machine refuses {step}"))
        .cause(error)
        .remedy(format!("{cure}; or run `sudo target/city/city up`, or use the Docker City"))
}

async fn run(options: UpOptions, folder: PathBuf) -> Result {
    let repository = paths::repository()?;
    furnish(&folder)?;
    let view =
        View { repository: repository.clone(), conf: options.conf.clone(), city_folder: folder.clone() };
    let record = Record {
        name: options.name.clone(),
        lifetime: options.lifetime,
        private: options.private,
        repository,
        user_namespace: fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.contains("4294967295")),
    };
    let keeper = Rc::new(Keeper {
        hosts: create_hosts(&view)?,
        network: Network::new().await?,
        own: open_namespace("self")?,
        view,
        visitors: Cell::new(0),
        turn: tokio::sync::Mutex::new(()),
        options,
        folder,
        record,
    });
    for live in &keeper.hosts {
        keeper.connect(live).await?;
    }
    tokio::task::spawn_local(services::reap(keeper.clone()));
    for live in &keeper.hosts {
        keeper.start_services(live)?;
    }
    let all_listen = async {
        for live in &keeper.hosts {
            keeper.until_listening(live, Duration::from_secs(20)).await?;
        }
        Ok(())
    };
    tokio::select! {
        // An owner that left in the midst of it, as by Ctrl-C, is not told: nobody should find this City.
        biased;
        () = serve::owner_is_gone(), if keeper.options.lifetime == Lifetime::Owner => return Ok(()),
        listening = all_listen => listening?,
    }
    let socket = serve::listen(&keeper.folder)?;
    keeper.record.write(&keeper.folder)?;
    tell(&Word::Ready, 0);
    serve::serve(keeper, socket).await
}

/// What a City keeps in its folder.
fn furnish(folder: &std::path::Path) -> Result {
    let cannot = || format!("cannot furnish {}", folder.display());
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).or_trouble(cannot)?;
    for host in HOSTS {
        fs::create_dir_all(paths::host(folder, host.name).join("log")).or_trouble(cannot)?;
    }
    fs::create_dir_all(folder.join("clients")).or_trouble(cannot)?;
    // So that lessons can say `city raw …` on any host, as they can in a container.
    fs::create_dir_all(folder.join("bin")).or_trouble(cannot)?;
    let tool = std::env::current_exe().or_trouble(cannot)?;
    symlink(tool, folder.join("bin/city")).or_trouble(cannot)?;
    if let Some(user) = environment::sudo_user() {
        let hosts = HOSTS.iter().map(|host| paths::host(folder, host.name));
        let inner = hosts.flat_map(|host| [host.join("log"), host]);
        for folder in inner.chain([folder.to_owned(), folder.join("clients")]) {
            chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).or_trouble(cannot)?;
        }
    }
    Ok(())
}

/// All hosts at once: making a network namespace takes the kernel a while.
fn create_hosts(view: &View) -> Result<Vec<Live>> {
    let born = HOSTS.iter().map(|host| Ok((host, host::create(host, view)?))).collect::<Result<Vec<_>>>()?;
    born.into_iter()
        .map(|(host, born)| {
            Ok(Live {
                host,
                body: RefCell::new(Body::new(host, born)?),
                state: Cell::new(State::Up),
                service: Cell::new(None),
                ended: RefCell::default(),
            })
        })
        .collect()
}

fn open_namespace(process: &str) -> Result<File> {
    let path = format!("/proc/{process}/ns/net");
    File::open(&path).or_trouble(|| format!("cannot open {path}"))
}

impl Keeper {
    fn live(&self, name: &str) -> Result<&Live> {
        let host = crate::map::host(name)?;
        self.hosts
            .iter()
            .find(|live| live.host.name == host.name)
            .ok_or_else(|| Trouble::new(format!("{name} is not in this City")))
    }

    async fn connect(&self, live: &Live) -> Result {
        let netns = open_namespace(&live.init().to_string())?;
        self.network.connect(live.host, &netns, &self.own).await
    }

    /// A host whose first process was killed, and with it everything on it, is made anew.
    async fn revive(&self, live: &Live) -> Result {
        let _turn = self.turn.lock().await;
        self.network.disconnect(live.host).await;
        let born = host::create(live.host, &self.view)?;
        live.body.replace(Body::new(live.host, born)?);
        self.connect(live).await?;
        live.state.set(State::Up);
        self.start_services(live)
    }

    /// The end, by the owner's going, by `down`, or by the last visitor's leaving. As this is the first process
    /// of its PID namespace, the kernel ends the others.
    fn is_over(&self) -> bool {
        self.options.lifetime == Lifetime::LastCommand && self.visitors.get() == 0
    }
}

impl Body {
    fn new(host: &Host, born: host::Born) -> Result<Body> {
        let init = born.ready(host)?;
        let process = rustix::process::Pid::from_raw(init.as_raw())
            .ok_or_else(|| Trouble::new(format!("{} has no process", host.name)))?;
        let handle = pidfd_open(process, PidfdFlags::empty())
            .or_trouble(|| format!("cannot get a handle of {}", host.name))?;
        let namespace = fs::metadata(format!("/proc/{init}/ns/pid"))
            .or_trouble(|| format!("cannot see the namespace of {}", host.name))?
            .ino();
        Ok(Body { init, handle, namespace })
    }
}

impl Live {
    /// Its first process, as the keeper numbers it.
    fn init(&self) -> Pid {
        self.body.borrow().init
    }

    /// The processes on this host, its first one not among them, as the keeper numbers them.
    fn processes(&self) -> Vec<Pid> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let body = self.body.borrow();
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| *pid != body.init.as_raw())
            .filter(|pid| {
                fs::metadata(format!("/proc/{pid}/ns/pid")).is_ok_and(|ns| ns.ino() == body.namespace)
            })
            .map(Pid::from_raw)
            .collect()
    }

    fn signal_all(&self, signal: Signal) -> Vec<Pid> {
        let processes = self.processes();
        for pid in &processes {
            // One that has ended meanwhile needs no signal.
            let _ = nix::sys::signal::kill(*pid, signal);
        }
        processes
    }
}
