//! `city run`: set up what is missing, run a lesson in dev with its log in view, and show what to try.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city run` is not built yet"))
}
