//! A folder of Cities of a test's own, and the tool run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Cities with state of their own, so that tests disturb neither each other nor the person at the keyboard.
pub struct Lab {
    pub root: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Lab {
        let root = tempfile::Builder::new().prefix("cities-").tempdir_in("/tmp").expect("a temporary folder");
        Lab { root }
    }

    pub fn tool(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_city"));
        command.env("CITY_STATE_ROOT", self.root.path()).env_remove("CITY_NAME").env_remove("CITY_HOST");
        command.current_dir(repository()).stdin(Stdio::null());
        command
    }

    /// Runs the tool and returns its exit status, what it printed, and what it complained of.
    pub fn city(&self, args: &[&str]) -> (i32, String, String) {
        said(self.tool().args(args).output().expect("the tool starts"))
    }

    /// Runs the tool, which must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let (status, out, err) = self.city(args);
        assert_eq!(status, 0, "city {args:?}: {out}{err}");
        out
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The pid of a City's keeper.
    pub fn keeper(&self, name: &str) -> i32 {
        let all = self.processes();
        let keepers = all.iter().filter(|(_, _, line)| line.contains(&format!("keeper --name {name} ")));
        // The hosts' first processes are copies of the keeper, and its children.
        let pids: Vec<_> = keepers.clone().map(|(pid, ..)| *pid).collect();
        let first = keepers.clone().find(|(_, parent, _)| !pids.contains(parent));
        first.expect("a keeper").0
    }

    /// Every process that belongs to a City of this folder: pid, parent, command line.
    pub fn processes(&self) -> Vec<(i32, i32, String)> {
        let mark = format!("CITY_STATE_ROOT={}", self.root.path().display());
        procfs::process::all_processes()
            .expect("/proc")
            .flatten()
            .filter(|process| {
                let environ = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
                environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .filter_map(|process| {
                let stat = process.stat().ok()?;
                Some((stat.pid, stat.ppid, process.cmdline().ok()?.join(" ") + " "))
            })
            .collect()
    }

    /// Waits until no process and no folder of any City is left.
    pub fn nothing_is_left(&self) {
        eventually("everything is gone", || self.processes().is_empty() && self.is_empty());
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(self.root.path()).expect("the state folder").next().is_none()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in std::fs::read_dir(self.root.path()).into_iter().flatten().flatten() {
            let _ = self.city(&["down", "--name", &name.file_name().to_string_lossy()]);
        }
        // A test that failed leaves what it was about.
        for (pid, ..) in self.processes() {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

pub fn said(output: Output) -> (i32, String, String) {
    use std::os::unix::process::ExitStatusExt;

    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let status = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
    (status, text(output.stdout), text(output.stderr))
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository is above the crate")
}

/// Waits for a condition, for ten seconds at the most.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
