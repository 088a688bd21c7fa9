//! What stop, start, pause, unpause, plug and unplug have in common: one host, one action, one sentence.

use std::process::ExitCode;

use super::which::Which;
use crate::lab::control::Action;
use crate::machine::progress;
use crate::map;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The host
    host: String,
}

pub fn run(args: &Args, action: Action, done: &str) -> Result<ExitCode> {
    let host = map::host(&args.host)?;
    let city = args.which.city()?;
    match progress::while_it_takes(host.name, || city.act(host.name, action))? {
        None => println!("{} {done}", host.name),
        Some(instead) => println!("{instead}"),
    }
    Ok(ExitCode::SUCCESS)
}
