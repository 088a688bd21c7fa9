//! A command in a container that behaves like one here: its terminal, its signals and its exit status.
//!
//! `docker exec` hands no signal on, and when it is killed its command lives on. So the command notes its own
//! number in the host's folder, and what this process is sent is sent to that number, in the container.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::{Docker, container, engine, hosts};
use crate::lab::City;
use crate::trouble::{OrTrouble, Result};

/// Notes the shell's number, and becomes the command.
const NOTE: &str = r#"mkdir -p "$CITY_STATE/run" && echo $$ >"$CITY_STATE/run/$1"; shift; exec "$@""#;
/// Of this machine's environment, what a command on a host is told.
const TOLD: [&str; 4] = ["TERM", "LANG", "RUST_LOG", "NO_COLOR"];

/// Runs a command on a host and returns its exit status, 128+n for a signal.
pub fn run(city: &City, docker: &Docker, host: &str, argv: &[OsString]) -> Result<u8> {
    let container = container(docker, host)?;
    // Numbers of processes are used again; together with the moment they are not.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let note = format!("{}-{}", process::id(), now.as_millis());
    let place = city.host_folder(host).join("run").join(&note);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.or_trouble(|| "cannot start a runtime".into())?;
    let status = runtime.block_on(wait(command(&container, &note, argv), &container, &place));
    let _ = fs::remove_file(&place);
    let status = status?;
    // The engine has had its say; what helps is ours to say.
    if status == 1
        && let Some(trouble) = hosts::not_up(crate::map::host(host)?)
    {
        eprintln!("city: {trouble}");
    }
    Ok(status)
}

fn command(container: &str, note: &str, argv: &[OsString]) -> Command {
    let at_keyboard = std::io::stdin().is_terminal();
    let terminal = at_keyboard && std::io::stdout().is_terminal();
    let mut command = Command::new("docker");
    command.arg("exec");
    if terminal {
        command.arg("-it");
    } else {
        // The terminal sends its Ctrl-C to this process only, which hands it on.
        command.process_group(0);
        if at_keyboard {
            command.stdin(process::Stdio::null());
        } else {
            command.arg("-i");
        }
    }
    for name in TOLD.iter().filter(|name| env::var_os(name).is_some()) {
        command.args(["--env", name]);
    }
    // What goes to one place here comes by one stream, or its lines would change places on the way.
    let script = if !terminal && is_one_place() { format!("{NOTE} 2>&1") } else { NOTE.to_owned() };
    command.args([container, "sh", "-c", &script, "city", note]).args(argv);
    #[cfg(target_os = "linux")]
    // SAFETY: prctl may be called between fork and exec, and touches nothing of this process.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).map_err(std::io::Error::from)
        });
    }
    command
}

/// Whether standard output and standard error are the same file or pipe.
fn is_one_place() -> bool {
    let place =
        |about: nix::Result<nix::sys::stat::FileStat>| about.map(|about| (about.st_dev, about.st_ino)).ok();
    let (out, err) = (nix::sys::stat::fstat(std::io::stdout()), nix::sys::stat::fstat(std::io::stderr()));
    place(out).is_some_and(|out| place(err) == Some(out))
}

async fn wait(mut command: Command, container: &str, place: &Path) -> Result<u8> {
    let listen = |kind| signal(kind).or_trouble(|| "cannot wait for signals".into());
    let mut int = listen(SignalKind::interrupt())?;
    let mut term = listen(SignalKind::terminate())?;
    let mut hup = listen(SignalKind::hangup())?;
    let mut quit = listen(SignalKind::quit())?;
    let mut usr1 = listen(SignalKind::user_defined1())?;
    let mut usr2 = listen(SignalKind::user_defined2())?;
    let mut child = command.spawn().map_err(|error| engine::not_started("docker", error))?;
    loop {
        let signal = tokio::select! {
            ended = child.wait() => {
                let status = ended.or_trouble(|| "cannot wait for docker".into())?;
                return Ok(crate::lesson::process::status(status).try_into().unwrap_or(u8::MAX));
            }
            _ = int.recv() => "INT",
            _ = term.recv() => "TERM",
            _ = hup.recv() => "HUP",
            _ = quit.recv() => "QUIT",
            _ = usr1.recv() => "USR1",
            _ = usr2.recv() => "USR2",
        };
        send(container, place.to_owned(), signal).await;
    }
}

/// Sends the command in the container a signal. One that has ended needs none; one that has not noted its
/// number yet, which takes it a moment, is waited for.
async fn send(container: &str, place: PathBuf, signal: &str) {
    let mut number = String::new();
    for _ in 0..100 {
        number = fs::read_to_string(&place).unwrap_or_default().trim().to_owned();
        if !number.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if number.is_empty() {
        return;
    }
    let mut kill = Command::new("docker");
    kill.args(["exec", container, "sh", "-c", r#"kill -s "$0" "$1""#, signal, &number]);
    let _ = kill
        .stdin(process::Stdio::null())
        .stdout(process::Stdio::null())
        .stderr(process::Stdio::null())
        .status()
        .await;
}
