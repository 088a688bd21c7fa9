//! Looking the machine over: one line a finding, each with its cure.

use std::process::{Command, Stdio};

use super::needs;
use crate::lab::docker::compose;
use crate::lab::{City, Lifetime, UpOptions, record};
use crate::paths;
use crate::trouble::Result;

/// How one thing is.
#[derive(Debug)]
pub enum Finding {
    /// As it should be.
    Good(String),
    /// Not needed for everything: what is lost without it, and how to get it.
    Missing(String),
    /// Something will not work: what, and the cure.
    Bad(String),
}

/// The oldest Rust that builds the course.
const RUST: (u32, u32) = (1, 88);
/// What the target folder grows to with everything built.
const ROOM: u64 = 6 << 30;

/// Looks at everything; stale Cities are cleared on the way.
pub fn examine() -> Vec<Finding> {
    let mut findings = vec![rust()];
    findings.extend(programs());
    findings.extend(room());
    findings.push(certificates());
    findings.push(stale_cities());
    findings.push(namespaces());
    findings.extend(taken_ports());
    findings.push(docker());
    findings
}

fn rust() -> Finding {
    let Some(version) = first_line("rustc", &["--version"]) else {
        return Finding::Bad("no rustc on PATH: install Rust with https://rustup.rs".into());
    };
    let mut numbers =
        version.split_whitespace().nth(1).unwrap_or("").split('.').map_while(|n| n.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= RUST => Finding::Good(version),
        _ => Finding::Bad(format!(
            "{version} is too old: {}.{} or newer, with `rustup update`",
            RUST.0, RUST.1
        )),
    }
}

fn programs() -> Vec<Finding> {
    let missing = needs::missing();
    if missing.is_empty() {
        let all: Vec<_> = needs::NEEDS.iter().map(|need| need.program).collect();
        return vec![Finding::Good(format!("found {}", all.join(", ")))];
    }
    let cure = needs::remedy(&missing);
    missing.iter().map(|need| Finding::Bad(format!("no {} ({}): {cure}", need.program, need.why))).collect()
}

fn room() -> Option<Finding> {
    let repository = paths::repository().ok()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(repository.join("target"), Into::into);
    let about = nix::sys::statvfs::statvfs(if target.exists() { &target } else { &repository }).ok()?;
    let free = about.blocks_available() as u64 * about.fragment_size() as u64;
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    // What is there already does not need to be found again.
    let built = target.join("debug/examples").exists();
    Some(if free > ROOM || built && free > ROOM / 6 {
        Finding::Good(format!("{:.0} GiB free for {}", gib(free), target.display()))
    } else {
        let cure = "free some, or set CARGO_TARGET_DIR to a larger disk";
        Finding::Bad(format!(
            "{:.1} GiB free for {}, up to 6 are needed: {cure}",
            gib(free),
            target.display()
        ))
    })
}

fn certificates() -> Finding {
    match paths::repository().and_then(|repository| crate::certs::ensure(&repository)) {
        Ok(_) => Finding::Good("certificates in conf/keys are there and valid".into()),
        Err(trouble) => Finding::Bad(trouble.to_string()),
    }
}

fn stale_cities() -> Finding {
    let stale = match record::stale() {
        Ok(stale) => stale,
        Err(trouble) => return Finding::Bad(trouble.to_string()),
    };
    for name in &stale {
        if let Ok(folder) = paths::city(name) {
            record::clear_stale(&folder);
        }
    }
    match stale.as_slice() {
        [] => Finding::Good("no City was left behind".into()),
        names => Finding::Good(format!("cleared what was left of: {}", names.join(", "))),
    }
}

/// A City of its own, up and down again: nothing tells better what this machine allows.
fn namespaces() -> Finding {
    let options = UpOptions {
        name: format!("doctor-{}", std::process::id()),
        conf: None,
        nginx: false,
        lifetime: Lifetime::Owner,
        private: true,
    };
    let who = if nix::unistd::geteuid().is_root() { "as root" } else { "as an ordinary user" };
    match City::up(&options).and_then(City::down) {
        Ok(()) => Finding::Good(format!("a City comes up and goes, {who}")),
        // The Docker City does all that this one does.
        Err(trouble) if cfg!(not(target_os = "linux")) => Finding::Missing(trouble.to_string()),
        Err(trouble) => Finding::Bad(trouble.to_string()),
    }
}

/// What listens on dev, of each City that is up: an example of a port that is taken would not start.
fn taken_ports() -> Vec<Finding> {
    let up = record::Record::all().unwrap_or_default();
    let named = up.iter().filter(|record| !record.private).map(|record| record.name.as_str());
    let taken = |name: &str| -> Result<Option<Finding>> {
        let ports = City::find(Some(name))?.listening("dev")?;
        let list: Vec<_> = ports.iter().map(u16::to_string).collect();
        Ok((!ports.is_empty()).then(|| {
            let who = format!("see `cargo city exec --name {name} dev ps aux`");
            Finding::Good(format!(
                "on dev of the City '{name}' something listens on {}: {who}",
                list.join(", ")
            ))
        }))
    };
    named
        .filter_map(|name| taken(name).unwrap_or_else(|trouble| Some(Finding::Bad(trouble.to_string()))))
        .collect()
}

fn docker() -> Finding {
    if needs::find("docker").is_none() {
        return Finding::Missing("no Docker: only the Docker City needs it".into());
    }
    match paths::repository().and_then(|repository| compose::look(&repository)) {
        Ok(what) => Finding::Good(what),
        Err(trouble) => Finding::Missing(format!("no Docker City, which nothing else needs: {trouble}")),
    }
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Whether anything must be mended before lessons can run.
pub fn is_fit(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| matches!(finding, Finding::Bad(_)))
}
