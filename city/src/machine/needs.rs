//! What building and running the lessons needs of the machine, and how it is installed there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::trouble::{OrTrouble, Result, Trouble};

/// One program, what it is needed for, and the package that brings it.
#[derive(Debug)]
pub struct Need {
    /// The program as it is called.
    pub program: &'static str,
    /// What for.
    pub why: &'static str,
    /// Its package, as apt, dnf, pacman, apk and brew call it, in this order.
    packages: [&'static str; 5],
}

const fn need(program: &'static str, why: &'static str, packages: [&'static str; 5]) -> Need {
    Need { program, why, packages }
}

/// Pingora compiles OpenSSL (C, perl, make) and zlib-ng (cmake); the lessons' commands use the rest.
pub const NEEDS: &[Need] = &[
    need("cc", "a C compiler, for OpenSSL", ["gcc", "gcc", "gcc", "gcc", "gcc"]),
    need("c++", "a C++ compiler, for cmake's checks", ["g++", "gcc-c++", "gcc", "g++", "gcc"]),
    need("make", "builds OpenSSL", ["make", "make", "make", "make", "make"]),
    need("perl", "configures OpenSSL", ["perl", "perl", "perl", "perl", "perl"]),
    need("cmake", "builds zlib-ng", ["cmake", "cmake", "cmake", "cmake", "cmake"]),
    need("curl", "used by the lessons", ["curl", "curl", "curl", "curl", "curl"]),
    need("openssl", "used by the lessons", ["openssl", "openssl", "openssl", "openssl", "openssl"]),
    need("pkill", "used by the lessons", ["procps", "procps-ng", "procps-ng", "procps", "proctools"]),
];

/// The package managers that are known here, and how each installs.
const MANAGERS: [(&str, &str); 5] = [
    ("apt-get", "apt-get install -y"),
    ("dnf", "dnf install -y"),
    ("pacman", "pacman -S --noconfirm"),
    ("apk", "apk add"),
    ("brew", "brew install"),
];

/// The programs that this machine lacks.
pub fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| find(need.program).is_none()).collect()
}

/// Where a program is on PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The command that installs what is missing, for this machine's package manager.
pub fn remedy(missing: &[&Need]) -> String {
    let manager = MANAGERS.iter().position(|(program, _)| find(program).is_some());
    let mut packages: Vec<_> = missing.iter().map(|need| need.packages[manager.unwrap_or(0)]).collect();
    packages.sort_unstable();
    packages.dedup();
    match manager {
        Some(4) => format!("{} {}", MANAGERS[4].1, packages.join(" ")),
        Some(which) => format!("sudo {} {}", MANAGERS[which].1, packages.join(" ")),
        None => format!("install {} with your package manager", packages.join(", ")),
    }
}

/// Installs what is missing where apt and the right to use it are there; names the command elsewhere.
pub fn provide() -> Result {
    let lacking = missing();
    if lacking.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lacking.iter().map(|need| need.program).collect();
    let lack = || Trouble::new(format!("this machine lacks {}", names.join(", ")));
    let Some(as_root) = root_command() else {
        return Err(lack().remedy(format!("run: {}", remedy(&lacking))));
    };
    if find("apt-get").is_none() {
        return Err(lack().remedy(format!("run: {}", remedy(&lacking))));
    }
    println!("This machine lacks {}; installing with apt.", names.join(", "));
    let mut packages: Vec<_> = lacking.iter().map(|need| need.packages[0]).collect();
    packages.dedup();
    let apt = |args: &[&str]| {
        let mut words = as_root.to_vec();
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
        // A machine that has just started often upgrades itself meanwhile, and holds apt's lock for it.
        words.extend(["-o", "DPkg::Lock::Timeout=120"]);
        words.extend(args);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        command.status().or_trouble(|| "cannot run apt-get".into())
    };
    let install: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages).collect();
    // The package lists of a fresh machine are often missing or old.
    if !apt(&install)?.success() {
        apt(&["update"])?;
        apt(&install)?;
    }
    let still = missing();
    if still.is_empty() { Ok(()) } else { Err(lack().remedy(format!("apt failed; run: {}", remedy(&still)))) }
}

/// What goes before a command to run it as root: nothing, or sudo where it asks nothing; none if neither.
fn root_command() -> Option<&'static [&'static str]> {
    if nix::unistd::geteuid().is_root() {
        return Some(&[]);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sudo.status().is_ok_and(|status| status.success()).then_some(&["sudo", "-n"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_named_once() {
        let all: Vec<&Need> = NEEDS.iter().collect();
        let text = remedy(&all);
        assert_eq!(text.matches(" curl").count(), 1, "{text}");
    }
}
