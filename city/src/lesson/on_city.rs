//! A lesson's stage when it is played for real: a City of its own.

use std::env;
use std::path::Path;
use std::process::Command;

use super::console::Place;
use super::stage::Stage;
use crate::lab::{City, environment};
use crate::map;
use crate::services::journal;
use crate::trouble::Result;

/// A City that is up, and the shims that its hosts find first.
pub struct OnCity<'a> {
    /// The City.
    pub city: &'a City,
    /// The repository's root, where every command starts.
    pub repository: &'a Path,
    /// The folder that goes before everything else in PATH.
    pub shims: &'a Path,
}

impl Stage for OnCity<'_> {
    fn command(&self, place: Place, line: &str) -> Command {
        match place {
            // A container has its own PATH, with this tool in it.
            Place::Host(host) if self.city.docker().is_some() => {
                let mut command = self.city.exec(host);
                command.args(["bash", "-c", line]);
                command
            }
            Place::Host(host) => {
                let variables = environment::on_host(&self.city.folder, host);
                let mut command = self.city.exec(host);
                command.arg("env").arg(self.path(&variables)).args(["bash", "-c", line]);
                command
            }
            Place::Machine => {
                let variables = environment::for_building();
                let path = self.path(&variables);
                let mut command = Command::new("env");
                command.arg(path).args(["bash", "-c", line]);
                command
                    .env_clear()
                    .envs(variables)
                    .env("CITY_NAME", &self.city.name)
                    .current_dir(self.repository);
                self.city.tell(&mut command);
                if let Some(root) = env::var_os("CITY_STATE_ROOT") {
                    command.env("CITY_STATE_ROOT", root);
                }
                command
            }
        }
    }

    fn listening(&self, place: Place) -> Result<Vec<u16>> {
        match place {
            Place::Host(host) => self.city.listening(host),
            // Nothing of a lesson listens on the machine.
            Place::Machine => Ok(Vec::new()),
        }
    }

    fn journals(&self) -> Vec<(String, Vec<String>)> {
        // The City has been up for as long as the lesson runs: all that its journals hold is the lesson's.
        let upstreams = map::HOSTS.iter().filter(|host| host.serves() && host.name != "dns");
        upstreams
            .filter_map(|host| {
                let entries = journal::read(&self.city.host_folder(host.name)).ok()?;
                let lines = entries.iter().filter(|entry| !entry.request.is_citys_own());
                Some((host.name.to_owned(), lines.map(journal::Entry::line).collect()))
            })
            .collect()
    }
}

impl OnCity<'_> {
    /// PATH as an argument of `env`: the shims, then what there was.
    fn path(&self, variables: &environment::Variables) -> std::ffi::OsString {
        let mut path = std::ffi::OsString::from("PATH=");
        path.push(self.shims);
        if let Some((_, rest)) = variables.iter().find(|(name, _)| name == "PATH") {
            path.push(":");
            path.push(rest);
        }
        path
    }
}
