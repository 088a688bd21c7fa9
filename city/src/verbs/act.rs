//! What stop, start, pause, unpause, plug and unplug have in common: one host, one action, one sentence.

use std::process::ExitCode;

use crate::lab::City;
use crate::lab::control::{Action, Reply, Request};
use crate::map;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The City, where several are up
    #[arg(long)]
    name: Option<String>,
    /// The host
    host: String,
}

pub fn run(args: &Args, action: Action, done: &str) -> Result<ExitCode> {
    let host = map::host(&args.host)?;
    let city = City::find(args.name.as_deref())?;
    match city.ask(&Request::Act { host: host.name.into(), action })? {
        Reply::Done(None) => println!("{} {done}", host.name),
        Reply::Done(Some(instead)) => println!("{instead}"),
        other => return Err(other.unexpected()),
    }
    Ok(ExitCode::SUCCESS)
}
