//! `city setup`: install what this machine lacks for building the course, or name it.

use std::process::ExitCode;

use crate::machine::needs;
use crate::paths;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    needs::provide()?;
    crate::certs::ensure(&paths::repository()?)?;
    println!("This machine has what the course needs.");
    Ok(ExitCode::SUCCESS)
}
