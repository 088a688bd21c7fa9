//! The City itself: bringing it up from namespaces, reaching its hosts, taking it down.

use std::path::PathBuf;
use std::process::Command;

use crate::trouble::Result;

/// How a City is to be brought up.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Its name: lower-case letters, digits and dashes.
    pub name: String,
    /// A folder that its hosts see in place of the repository's `conf/`; none: the repository's own.
    pub conf: Option<PathBuf>,
    /// A real nginx as advanced.
    pub nginx: bool,
    /// When it ends.
    pub lifetime: Lifetime,
}

/// When a City ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// With the process that brought it up, however that process ends, or when its [`City`] is dropped.
    Owner,
    /// Only by `down`.
    Detached,
    /// With the last command that runs on one of its hosts.
    LastCommand,
}

/// A City that is up.
#[derive(Debug)]
pub struct City {
    /// Its name.
    pub name: String,
    /// Its state folder.
    pub folder: PathBuf,
}

impl City {
    /// Brings one up and returns when every service listens.
    pub fn up(_options: &UpOptions) -> Result<City> {
        todo!()
    }

    /// The City that the user means: the one named, or the only one that is up.
    pub fn find(_name: Option<&str>) -> Result<City> {
        todo!()
    }

    /// A command on one of its hosts, to which the program and its arguments are still to be added. It runs in
    /// the repository's root with the clean environment of `city exec`; stdio and waiting are the caller's.
    pub fn exec(&self, _host: &str) -> Command {
        todo!()
    }

    /// The TCP ports on which something listens on a host, read from its `/proc/net/tcp`.
    pub fn listening(&self, _host: &str) -> Result<Vec<u16>> {
        todo!()
    }

    /// The folder in which a host keeps its journal, its faults and its logs.
    pub fn host_folder(&self, host: &str) -> PathBuf {
        crate::paths::host(&self.folder, host)
    }

    /// Takes it down, and returns when nothing of it is left.
    pub fn down(self) -> Result {
        todo!()
    }
}
