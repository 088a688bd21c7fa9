//! The clean environment that a command on a host starts with, as `docker exec` would give it.
//!
//! A proxy variable of the machine would send the City's traffic elsewhere, a certificate variable would
//! change whom curl trusts: so nothing is inherited but what is named here. What the tool builds for a lesson
//! it builds with the same variables, or cargo would build it again on the host.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::paths;

/// Names and values, in no particular order.
pub type Variables = Vec<(OsString, OsString)>;

/// The environment of a command on `host` of the City in `folder`.
pub fn on_host(folder: &Path, host: &str) -> Variables {
    let mut variables = base();
    let name = folder.file_name().unwrap_or_default().to_owned();
    let mut path = tools(folder).into_os_string();
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    set(&mut variables, "PATH", path);
    set(&mut variables, "CITY_NAME", name);
    set(&mut variables, "CITY_HOST", host.into());
    set(&mut variables, "CITY_STATE", paths::host(folder, host).into_os_string());
    if let Some(root) = folder.parent() {
        set(&mut variables, "CITY_STATE_ROOT", root.as_os_str().to_owned());
    }
    // No host of a City reaches a registry; without this, cargo finds out only after eleven seconds.
    set(&mut variables, "CARGO_NET_OFFLINE", "true".into());
    variables
}

/// The folder with the tool itself, for PATH.
pub fn tools(folder: &Path) -> PathBuf {
    folder.join("bin")
}

/// The environment in which lessons are built on the machine: that of a host, plus what reaches a registry.
pub fn for_building() -> Variables {
    let mut variables = base();
    variables.extend(env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        let lower = name.to_ascii_lowercase();
        lower.ends_with("_proxy")
            || ["SSL_CERT_", "GIT_", "DOCKER_", "COMPOSE_"].iter().any(|prefix| name.starts_with(prefix))
    }));
    variables
}

fn base() -> Variables {
    let mut variables: Variables = env::vars_os().filter(|(name, _)| kept(&name.to_string_lossy())).collect();
    if let Some(home) = home() {
        set(&mut variables, "HOME", home.into_os_string());
    }
    if !variables.iter().any(|(name, _)| name == "PATH") {
        set(&mut variables, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    }
    variables
}

fn kept(name: &str) -> bool {
    // What cargo sets for the program that it runs says nothing about the program that a host runs.
    let of_this_run = name == "CARGO"
        || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_MAKEFLAGS"].contains(&name);
    let wanted = ["PATH", "HOME", "TERM", "LANG", "RUST_LOG"].contains(&name)
        || name.starts_with("CARGO_")
        || name.starts_with("RUSTUP_");
    wanted && !of_this_run
}

/// The home of the person at the keyboard, under sudo too.
pub fn home() -> Option<PathBuf> {
    sudo_user().map(|user| user.dir).or_else(|| env::var_os("HOME").map(PathBuf::from))
}

/// Who called sudo, if we are root by it: commands on hosts run as that user, so that what they write in the
/// repository and in cargo's folders stays theirs.
pub fn sudo_user() -> Option<nix::unistd::User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let uid: u32 = env::var("SUDO_UID").ok()?.parse().ok()?;
    (uid != 0).then(|| nix::unistd::User::from_uid(uid.into()).ok().flatten()).flatten()
}

/// Cargo's home: where registry and tools are.
#[cfg(target_os = "linux")]
pub fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| home().map(|home| home.join(".cargo")))
}

/// Rustup's home: where the toolchains are.
#[cfg(target_os = "linux")]
pub fn rustup_home() -> Option<PathBuf> {
    env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| home().map(|home| home.join(".rustup")))
}

fn set(variables: &mut Variables, name: &str, value: OsString) {
    variables.retain(|(present, _)| present != name);
    variables.push((name.into(), value));
}
