//! dev, client1 and client2 as one lesson's verification sees them.
//!
//! A local City is made anew for each lesson. The Docker City is not, so each lesson gets three containers of
//! its own beside it: they have the network of dev and of the clients, and with it their addresses, but their
//! own processes, their own `/tmp` and a private copy of `conf/`. When the lesson is over they go, and with
//! them whatever it left running: ending a `docker exec` does not end its command.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{engine, hosts, settings};
use crate::lab::City;
use crate::lesson::interrupt;
use crate::map::{self, Host};
use crate::services::fault::Fault;
use crate::services::journal;
use crate::services::zone::Changes;
use crate::trouble::{OrTrouble, Result, Trouble};

/// The hosts on which lessons run commands.
pub const HOSTS: [&str; 3] = ["dev", "client1", "client2"];
/// What marks the containers of a verification.
const LABEL: &str = "pingora-city.room";

/// The name of a host's container.
pub fn name(host: &Host) -> String {
    format!("{}_verify", host.container)
}

/// The containers of one lesson; they go when this is dropped.
#[derive(Debug)]
pub struct Rooms {
    city: City,
    _turn: Flock<File>,
}

impl Rooms {
    /// Resets the City, and opens rooms in which `conf` stands in the place of the repository's `conf/`.
    pub fn open(city: &City, conf: &Path) -> Result<Rooms> {
        let rooms = Rooms { _turn: turn(city)?, city: city.with_rooms() };
        close();
        reset(city)?;
        give_all(conf, settings::owner())?;
        thread::scope(|scope| {
            let opened = HOSTS.map(|host| scope.spawn(move || open_one(host, conf)));
            opened
                .into_iter()
                .try_for_each(|one| one.join().unwrap_or_else(|_| Err(Trouble::new("a thread panicked"))))
        })?;
        Ok(rooms)
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        close();
        // A lesson that was broken off has not put back what it did to the hosts.
        if interrupt::raised() {
            let _ = heal(&self.city);
        }
    }
}

/// Waits for the end of the lesson that another verification plays: there is one Docker City, and each would end
/// what the other has started.
fn turn(city: &City) -> Result<Flock<File>> {
    let path = city.folder.join("turn");
    let mut file = File::create(&path).or_trouble(|| format!("cannot write {}", path.display()))?;
    let mut told = false;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err(_) if interrupt::raised() => return Err(interrupt::trouble()),
            Err((same, Errno::EWOULDBLOCK)) => {
                if !std::mem::replace(&mut told, true) {
                    eprintln!(
                        "another verification plays a lesson in this City; this one waits for its turn"
                    );
                }
                file = same;
            }
            Err((_, error)) => {
                return Err(Trouble::new(format!("cannot lock {}", path.display())).cause(error));
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Removes the rooms of this verification, or of one that was killed.
pub fn close() {
    let filter = format!("label={LABEL}");
    let left = engine::said(["ps", "--all", "--quiet", "--filter", &filter]).unwrap_or_default();
    if !left.is_empty() {
        // Whoever opens rooms next finds what could not be removed.
        let _ = engine::said(["rm", "--force", "--volumes"].into_iter().chain(left.lines()));
    }
}

fn open_one(host: &str, conf: &Path) -> Result {
    let host = map::host(host)?;
    let about = hosts::inspect([host.container])?;
    let about =
        about.get(host.container).ok_or_else(|| Trouble::new(format!("there is no {}", host.container)))?;
    let mut command = Command::new("docker");
    command.args(["run", "--detach", "--init", "--tmpfs", "/tmp:mode=1777,exec"]);
    command.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]);
    command.args(["--name", &name(host), "--label", LABEL]);
    command.args(["--network", &format!("container:{}", host.container), "--volumes-from", host.container]);
    command.args(["--user", about["Config"]["User"].as_str().unwrap_or_default()]);
    for variable in about["Config"]["Env"].as_array().into_iter().flatten().filter_map(|value| value.as_str())
    {
        command.args(["--env", variable]);
    }
    // What a lesson needs was built before; a registry is not for it to reach.
    command.args(["--env", "CARGO_NET_OFFLINE=true", "--volume"]);
    let mut mount = conf.as_os_str().to_owned();
    mount.push(":/workspace/conf");
    command.arg(mount);
    command.arg(about["Image"].as_str().unwrap_or_default()).args(["sleep", "infinity"]);
    let output = engine::output(&mut command)?;
    if output.status.success() {
        return Ok(());
    }
    let why = engine::complaint(&String::from_utf8_lossy(&output.stderr));
    Err(Trouble::new(format!("cannot open a room beside {}: {why}", host.container)))
}

/// The City as it is when it has just come up. What received something is started anew, for it numbers its
/// connections.
fn reset(city: &City) -> Result {
    heal(city)?;
    thread::scope(|scope| {
        let used = |host: &&Host| {
            journal::read(&city.host_folder(host.name)).is_ok_and(|entries| !entries.is_empty())
        };
        let restarted: Vec<_> = map::HOSTS
            .iter()
            .filter(|host| host.name != "dns")
            .filter(used)
            .map(|host| scope.spawn(|| hosts::restart(host)))
            .collect();
        restarted
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err(Trouble::new("a thread panicked"))))
    })?;
    for host in map::HOSTS {
        let folder = city.host_folder(host.name);
        journal::clear(&folder)?;
        for entry in std::fs::read_dir(folder.join("log")).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// All hosts up, and doing what they are there for.
fn heal(city: &City) -> Result {
    hosts::all_up()?;
    for host in map::HOSTS {
        Fault::heal(&city.host_folder(host.name))?;
    }
    Changes::default().write(&city.host_folder("dns"))
}

fn give_all(path: &Path, owner: (u32, u32)) -> Result {
    settings::give(path, owner)?;
    if path.is_dir() {
        let entries = std::fs::read_dir(path).or_trouble(|| format!("cannot list {}", path.display()))?;
        for entry in entries.flatten() {
            give_all(&entry.path(), owner)?;
        }
    }
    Ok(())
}
