//! The command line: what can be typed, and one file for each verb.

mod explain;
mod routes;
mod schema;
mod serve;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use pingora_city::config::{Config, Environment};
use pingora_city::middleware::Registry;

/// An API gateway on Pingora. Without a verb, serves what the configuration says.
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    #[command(flatten)]
    file: File,

    #[command(flatten)]
    serve: serve::Serve,

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Schema),
    /// Say which route gets a request, and why.
    Explain(explain::Explain),
    /// Print all routes as a table.
    Routes(routes::Routes),
}

impl Arguments {
    /// Does what was typed.
    pub fn run(self) -> anyhow::Result<()> {
        let printed = match self.verb {
            None => return self.serve.run(&self.file),
            Some(Verb::Schema(schema)) => schema.run(),
            Some(Verb::Explain(explain)) => explain.run(&self.file),
            Some(Verb::Routes(routes)) => routes.run(&self.file),
        };
        match printed {
            // Whoever reads what is printed has read enough: `gateway routes | head`.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            printed => printed,
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Where the configuration is.
#[derive(Args)]
pub struct File {
    /// The configuration: a YAML file, or a folder of which every `*.yaml` and `*.yml` is a part.
    #[arg(short, long, value_name = "FILE", env = "CONFIG_PATH", global = true)]
    config: Option<PathBuf>,
}

impl File {
    fn path(&self) -> anyhow::Result<&Path> {
        self.config.as_deref().context("no configuration: give one with `--config FILE`, or set CONFIG_PATH")
    }

    /// Reads it. All that is wrong with it is the error.
    fn load(&self) -> anyhow::Result<Config> {
        self.load_in(&Environment::of_process().to_ask())
    }

    /// The same, in an environment.
    fn load_in(&self, environment: &Environment) -> anyhow::Result<Config> {
        Ok(Config::load_in(self.path()?, environment, &Registry::default())?)
    }
}
