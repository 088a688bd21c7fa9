//! The program itself.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use super::{free_port, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gateway");

/// A gateway that serves.
pub struct Gateway {
    process: Child,
    address: SocketAddr,
    other: SocketAddr,
    folder: TempDir,
}

impl Gateway {
    /// Starts it, and returns when its port is open. In the text, `$LISTEN` is the address that it gets, `$OTHER` a
    /// second one, and `$FOLDER` a folder of its own.
    pub fn start(yaml: &str) -> Gateway {
        Gateway::start_with(yaml, |_| {})
    }

    /// The same with more arguments, or variables.
    pub fn start_with(yaml: &str, more: impl Fn(&mut Command)) -> Gateway {
        // Between choosing a port and opening it, somebody else may take it.
        for _ in 0..5 {
            if let Some(gateway) = Gateway::try_start(yaml, &more) {
                return gateway;
            }
        }
        panic!("five ports in a row were taken");
    }

    fn try_start(yaml: &str, more: &dyn Fn(&mut Command)) -> Option<Gateway> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = TempDir::new().expect("a folder");
        let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let yaml = yaml
            .replace("$LISTEN", &address.to_string())
            .replace("$OTHER", &other.to_string())
            .replace("$FOLDER", &folder.path().display().to_string());
        let config = write(folder.path(), &yaml);
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new(PROGRAM);
        command
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        more(&mut command);
        let process = command.spawn().expect("the program starts");
        let mut gateway = Gateway { process, address, other, folder };
        let mut ended = None;
        until("the gateway listens", || {
            ended = gateway.process.try_wait().expect("it is our child");
            ended.is_some() || listens(gateway.process.id(), address.port())
        });
        if ended.is_some() {
            let log = gateway.log();
            assert!(log.contains("cannot listen here"), "the gateway ended:\n{log}");
            return None;
        }
        Some(gateway)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens too.
    pub fn other(&self) -> SocketAddr {
        self.other
    }

    /// Its own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(self) -> ExitStatus {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("there is a `kill`");
        assert!(sent.success());
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> ExitStatus {
        let mut ended = None;
        until("the gateway ends", || {
            ended = self.process.try_wait().expect("it is our child");
            ended.is_some()
        });
        ended.expect("it has ended")
    }
}

/// Whether this process listens on the port. That somebody does says little: while it starts, others may have it.
fn listens(pid: u32, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the kernel lists sockets");
    let of_port = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
            && columns.nth(1) == Some(LISTEN)
    };
    let inodes: Vec<String> = sockets
        .lines()
        .filter(of_port)
        .filter_map(|line| Some(format!("socket:[{}]", line.split_whitespace().nth(9)?)))
        .collect();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|file| inodes.iter().any(|inode| file.as_os_str() == inode.as_str()))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log());
        }
    }
}

/// How a run ended that serves nothing.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program with this configuration as `gateway.yaml`, in its folder, until it ends.
pub fn run(yaml: &str, arguments: &[&str]) -> Outcome {
    let folder = TempDir::new().expect("a folder");
    write(folder.path(), yaml);
    start(folder.path(), "gateway.yaml", arguments)
}

/// Runs the program in an empty folder, with a configuration at this path.
pub fn run_with(config: &str, arguments: &[&str]) -> Outcome {
    let folder = TempDir::new().expect("a folder");
    start(folder.path(), config, arguments)
}

fn start(folder: &Path, config: &str, arguments: &[&str]) -> Outcome {
    run_in(folder, &[&["--config", config], arguments].concat(), &[])
}

/// Runs the program in a folder, with these arguments and variables, until it ends.
pub fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What `gateway --validate` says.
pub fn validate(yaml: &str) -> Outcome {
    run(yaml, &["--validate"])
}

fn write(folder: &Path, yaml: &str) -> PathBuf {
    let path = folder.join("gateway.yaml");
    std::fs::write(&path, yaml).expect("the file is written");
    path
}
