//! What `server` says of the process, checked before it starts: Pingora panics where something is wrong with it.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::unistd::{AccessFlags, Group, User, geteuid, getuid};
use openssl::x509::X509;

use super::{At, all, files, raw};

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
    /// Which user it becomes; only in the background. The user exists.
    pub user: Option<String>,
    /// Which group it joins; only in the background. The group exists.
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

impl Process {
    /// Whether what this process may write is what the gateway may.
    pub(super) fn writes(&self) -> bool {
        writes(self.daemon, self.user.as_deref())
    }

    /// The ports below this one are not for the gateway: Pingora opens its listeners when it has become somebody else,
    /// who has none of the rights of root. Whoever is not root to begin with becomes nobody else, and finds out what
    /// he may when the ports are tried.
    pub(super) fn first_port(&self) -> u16 {
        let other = |name: &str| !matches!(User::from_name(name), Ok(Some(user)) if user.uid.is_root());
        match self.daemon && geteuid().is_root() && self.user.as_deref().is_some_and(other) {
            true => first_for_everybody(),
            false => 0,
        }
    }
}

/// What the kernel leaves to those who are not root.
fn first_for_everybody() -> u16 {
    let set = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    // It may say 65536.
    set.ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or(1024, |port| port.try_into().unwrap_or(u16::MAX))
}

/// In the background, it may become somebody else.
fn writes(daemon: bool, user: Option<&str>) -> bool {
    let own = |name| matches!(User::from_name(name), Ok(Some(user)) if user.uid == getuid());
    !daemon || user.is_none_or(own)
}

/// What is wrong is reported, and nothing is built from this then.
pub(super) fn validate(raw: &raw::Server, at: &At<'_>) -> Process {
    let writes = writes(raw.daemon, raw.user.as_deref());
    let whole = |key: &str, path: &Option<PathBuf>| {
        let at = at.key(key);
        path.clone().filter(|path| files::is_whole(path, &at)).map(|path| (path, at))
    };
    // In the foreground, nobody writes the first two.
    if let Some((path, at)) = whole("pid_file", &raw.pid_file) {
        files::can_be_made(&path, writes && raw.daemon, &at);
    }
    if let Some((path, at)) = whole("error_log", &raw.error_log) {
        // Pingora opens it for reading too.
        files::can_be_opened(&path, AccessFlags::R_OK | AccessFlags::W_OK, writes && raw.daemon, &at);
    }
    if let Some((path, at)) = whole("upgrade_sock", &raw.upgrade_sock) {
        files::can_be_socket(&path, writes, &at);
    }
    if let Some(path) = &raw.ca_file {
        authorities(path, &at.key("ca_file"));
    }
    let known = |name: &str| matches!(User::from_name(name), Ok(Some(_)));
    becomes("user", raw.user.as_deref(), known, raw.daemon, at);
    let known = |name: &str| matches!(Group::from_name(name), Ok(Some(_)));
    becomes("group", raw.group.as_deref(), known, raw.daemon, at);
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

/// Says so if the gateway could not become this user, or belong to this group; or would not, and go on with all the
/// rights of who has started it.
fn becomes(what: &str, name: Option<&str>, known: impl Fn(&str) -> bool, daemon: bool, at: &At<'_>) {
    let Some(name) = name else { return };
    if !known(name) {
        let fix = format!("make the {what}, or name another");
        at.key(what).error(format!("this machine has no such {what}"), fix);
    } else if !daemon && !at.asks() {
        at.key(what).error_at_key(
            format!("in the foreground, the gateway keeps the {what} of whoever starts it"),
            format!("add `daemon: true`, or `--daemon`; or remove it, and start the gateway as that {what}"),
        );
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
