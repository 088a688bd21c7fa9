//! What `server` says of the process, checked before it starts: Pingora panics where something is wrong with it.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::unistd::{Group, User};
use openssl::x509::X509;

use super::{At, all, raw};

/// Settings of the process. What is `None` is as Pingora has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Whether idle threads take over work of others.
    pub work_stealing: bool,
    /// How many tasks accept connections of each listener.
    pub listener_tasks_per_fd: usize,
    /// Whether it runs in the background.
    pub daemon: bool,
    /// Where its number is written, in the background.
    pub pid_file: Option<PathBuf>,
    /// Where standard error goes, in the background.
    pub error_log: Option<PathBuf>,
    /// Which user it becomes, in the background. The user exists.
    pub user: Option<String>,
    /// Which group it joins, in the background. The group exists.
    pub group: Option<String>,
    /// Where listeners are handed over.
    pub upgrade_sock: Option<PathBuf>,
    /// How long requests in flight may go on after SIGTERM, in seconds.
    pub grace_period_seconds: u64,
    /// How long threads may take to end after that, in seconds.
    pub graceful_shutdown_timeout_seconds: u64,
    /// Authorities for upstreams' certificates. The file can be read, and has some.
    pub ca_file: Option<PathBuf>,
    /// Addresses of this machine from which upstreams are connected to.
    pub client_bind_to_ipv4: Vec<Ipv4Addr>,
    /// The same for IPv6.
    pub client_bind_to_ipv6: Vec<Ipv6Addr>,
    /// How many servers may be tried for a request; at least 1.
    pub max_retries: Option<usize>,
}

/// What is wrong is reported, and nothing is built from this then.
pub(super) fn validate(raw: &raw::Server, at: &At<'_>) -> Process {
    for (key, path) in
        [("pid_file", &raw.pid_file), ("error_log", &raw.error_log), ("upgrade_sock", &raw.upgrade_sock)]
    {
        if let Some(path) = path {
            can_be_made(path, &at.key(key));
        }
    }
    if let Some(path) = &raw.upgrade_sock
        && path.symlink_metadata().is_ok_and(|found| !found.file_type().is_socket())
    {
        at.key("upgrade_sock").error(
            "there is something that is not a socket",
            "choose another path: what has this one would be removed",
        );
    }
    if let Some(path) = &raw.ca_file {
        authorities(path, &at.key("ca_file"));
    }
    if let Some(user) = &raw.user
        && !matches!(User::from_name(user), Ok(Some(_)))
    {
        at.key("user").error("this machine has no such user", "make the user, or name another");
    }
    if let Some(group) = &raw.group
        && !matches!(Group::from_name(group), Ok(Some(_)))
    {
        at.key("group").error("this machine has no such group", "make the group, or name another");
    }
    Process {
        work_stealing: raw.work_stealing.unwrap_or(true),
        listener_tasks_per_fd: raw.listener_tasks_per_fd.unwrap_or(1),
        daemon: raw.daemon,
        pid_file: raw.pid_file.clone(),
        error_log: raw.error_log.clone(),
        user: raw.user.clone(),
        group: raw.group.clone(),
        upgrade_sock: raw.upgrade_sock.clone(),
        grace_period_seconds: raw.grace_period_seconds.unwrap_or(30),
        graceful_shutdown_timeout_seconds: raw.graceful_shutdown_timeout_seconds.unwrap_or(1),
        ca_file: raw.ca_file.clone(),
        client_bind_to_ipv4: own(&raw.client_bind_to_ipv4, "192.0.2.7", &at.key("client_bind_to_ipv4")),
        client_bind_to_ipv6: own(&raw.client_bind_to_ipv6, "2001:db8::7", &at.key("client_bind_to_ipv6")),
        max_retries: raw.max_retries,
    }
}

/// The gateway in the background may stand elsewhere.
pub(super) fn is_whole(path: &Path, at: &At<'_>) -> bool {
    if !path.is_absolute() {
        at.error("this path depends on where the gateway is started", "begin it with `/`");
    }
    path.is_absolute()
}

/// Says so if the gateway in the background could not make this file.
fn can_be_made(path: &Path, at: &At<'_>) {
    if !is_whole(path, at) {
        return;
    }
    if !path.parent().is_some_and(Path::is_dir) {
        at.error("there is no folder for this file", "make the folder, or choose another");
    } else if path.is_dir() {
        at.error("this is a folder, and a file is wanted", "add the name of a file");
    }
}

fn authorities(path: &Path, at: &At<'_>) {
    match fs::read(path) {
        Err(error) => at.error(
            format!("cannot read this file: {error}"),
            "give its whole path, and let the gateway's user read it",
        ),
        Ok(text) if X509::stack_from_pem(&text).map_or(true, |found| found.is_empty()) => {
            at.error(
                "there is no certificate in this file",
                "give a file in PEM, with `-----BEGIN CERTIFICATE-----`",
            );
        }
        Ok(_) => {}
    }
}

/// Addresses that a connection can come from.
fn own<A: FromStr>(raw: &[String], example: &str, at: &At<'_>) -> Vec<A> {
    let addresses: Option<Vec<A>> = all(raw.iter().enumerate().map(|(index, text)| {
        let address = text.parse().ok();
        if address.is_none() {
            at.index(index).error(
                "this is not an address of this kind",
                format!("write it like `{example}`, without a port"),
            );
        }
        address
    }));
    addresses.unwrap_or_default()
}
