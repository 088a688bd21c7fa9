//! Calling `docker`, and saying in one line what its complaints mean.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

use crate::trouble::{Result, Trouble};

/// What it said, if it succeeded.
pub fn said<I, A>(args: I) -> Result<String>
where
    I: IntoIterator<Item = A>,
    A: AsRef<OsStr>,
{
    let mut command = Command::new("docker");
    command.args(args);
    let output = output(&mut command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(complaint(&String::from_utf8_lossy(&output.stderr)))
}

/// Runs a command of Docker's to its end, whatever it says.
pub fn output(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().map_err(|error| not_started(&program, error))
}

/// Docker that cannot be started.
pub fn not_started(program: &str, error: std::io::Error) -> Trouble {
    if error.kind() == ErrorKind::NotFound && std::env::var_os("CITY_HOST").is_some() {
        return Trouble::new("a host of the Docker City has no engine to ask")
            .remedy("run it on the machine itself");
    }
    if error.kind() == ErrorKind::NotFound {
        return Trouble::new(format!("there is no {program} on PATH"))
            .remedy("install Docker with Compose: https://docs.docker.com/engine/install/");
    }
    Trouble::new(format!("cannot start {program}")).cause(error)
}

/// What docker wrote to its standard error, in one line.
pub fn complaint(stderr: &str) -> Trouble {
    let any = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if any(&["permission denied while trying to connect", "Got permission denied"]) {
        return Trouble::new("the Docker engine refuses you")
            .remedy("add yourself to its group: sudo usermod -aG docker $USER, and log in again");
    }
    if any(&[
        "Cannot connect to the Docker daemon",
        "failed to connect to the docker API",
        "Is the docker daemon",
    ]) || any(&["error during connect", "Couldn't connect to Docker daemon"])
    {
        return Trouble::new("no Docker engine answers")
            .remedy("start it: Docker Desktop, or sudo systemctl start docker");
    }
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
    Trouble::new(last.strip_prefix("Error response from daemon: ").unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_said_with_their_cure() {
        let cases = [
            ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n", "start it"),
            ("permission denied while trying to connect to the Docker daemon socket\n", "usermod"),
            ("Error response from daemon: No such container: x\n\n", "No such container: x"),
        ];
        for (stderr, expected) in cases {
            assert!(complaint(stderr).to_string().contains(expected), "{stderr}");
        }
    }
}
