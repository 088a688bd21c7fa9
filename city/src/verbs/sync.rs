//! `city sync`: bring the code in lessons, the index and the summary up to date with the examples.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city sync` is not built yet"))
}
