//! Without a verb: serves, or says whether it could.

use clap::Args;
use pingora_city::config::Environment;
use pingora_city::server::Start;
use pingora_city::{observe, server};

use super::File;

#[derive(Args)]
pub struct Serve {
    /// Say whether the configuration can be used, and end with 0 or 1. Opens no port.
    #[arg(short = 't', long)]
    validate: bool,

    /// Run in the background, as `server.daemon` does (lesson 02).
    #[arg(short, long)]
    daemon: bool,

    /// Take over the ports of the gateway that runs, which must get SIGQUIT for it (lesson 03).
    #[arg(short, long)]
    upgrade: bool,
}

impl Serve {
    pub fn run(&self, file: &File) -> anyhow::Result<()> {
        let environment = Environment::of_process();
        let config = file.load_in(&if self.daemon { environment.in_background() } else { environment })?;
        if self.validate {
            println!("{} can be used", file.path()?.display());
            return Ok(());
        }
        observe::start_log(&config);
        match server::run(&config, &Start { daemon: self.daemon, upgrade: self.upgrade })? {}
    }
}
