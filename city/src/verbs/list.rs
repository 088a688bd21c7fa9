//! `city list`: list the lessons.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city list` is not built yet"))
}
