//! `city shell`: a shell on a host.

use std::fs;
use std::process::ExitCode;

use super::which::Which;
use crate::map;
use crate::trouble::{OrTrouble, Result};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The host: dev, client1, blue, …
    host: String,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let host = map::host(&args.host)?;
    let city = args.which.city()?;
    if city.docker().is_some() {
        // The images bring the prompt.
        return super::exec::enter(&city, host.name, vec!["bash".into()]);
    }
    // The prompt that the lessons print, after whatever the user's own settings do.
    let settings = city.host_folder(host.name).join("bashrc");
    let text = format!("[ -r ~/.bashrc ] && . ~/.bashrc\nPROMPT_COMMAND=\nPS1='{}$ '\n", host.name);
    fs::write(&settings, text).or_trouble(|| format!("cannot write {}", settings.display()))?;
    let command = ["bash".into(), "--rcfile".into(), settings.into(), "-i".into()];
    super::exec::enter(&city, host.name, command.into())
}
