//! `city exec`: run a command on a host, as `docker exec` would.

use std::ffi::OsString;
use std::process::ExitCode;

use super::which::Which;
use crate::lab::{City, docker};
use crate::map;
use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The host: dev, client1, blue, …
    host: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let host = map::host(&args.host)?;
    let city = args.which.city()?;
    enter(&city, host.name, args.command)
}

/// Runs a command on a host; its exit status is ours.
pub fn enter(city: &City, host: &str, command: Vec<OsString>) -> Result<ExitCode> {
    if std::env::var_os("CITY_HOST").is_none()
        && let Some(docker) = city.docker()
    {
        return Ok(ExitCode::from(docker::exec::run(city, &docker, host, &command)?));
    }
    enter_namespaces(city, host, command)
}

#[cfg(target_os = "linux")]
fn enter_namespaces(city: &City, host: &str, command: Vec<OsString>) -> Result<ExitCode> {
    use crate::lab::enter;

    if let Some(record) = enter::inside() {
        return Err(Trouble::new(format!("this is a host of the City '{}' already", record.name))
            .remedy("run `cargo city exec` on the machine itself"));
    }
    let door = enter::knock(city, host)?;
    Ok(ExitCode::from(door.run(city, host, command)?))
}

/// Where there are no namespaces, there is no host to enter.
#[cfg(not(target_os = "linux"))]
fn enter_namespaces(_city: &City, _host: &str, _command: Vec<OsString>) -> Result<ExitCode> {
    Err(Trouble::new("the local City is made of Linux namespaces, and this is not Linux"))
}
