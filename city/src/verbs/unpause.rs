//! `city unpause`: let a paused host go on.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city unpause` is not built yet"))
}
