//! Which City a verb is about.

use crate::lab::{City, docker};
use crate::trouble::Result;

/// Without either it is the only City that is up.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// The City, where several are up
    #[arg(long, value_name = "CITY", global = true)]
    name: Option<String>,
    /// The Docker City
    #[arg(long, conflicts_with = "name", global = true)]
    docker: bool,
}

impl Which {
    /// The name that was given.
    pub fn name(&self) -> Option<&str> {
        if self.docker { Some(docker::NAME) } else { self.name.as_deref() }
    }

    /// The City that is meant.
    pub fn city(&self) -> Result<City> {
        City::find(self.name())
    }

    /// Whether the Docker City was asked for.
    pub fn is_docker(&self) -> bool {
        self.name() == Some(docker::NAME)
    }
}
