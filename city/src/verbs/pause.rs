//! `city pause`: freeze the processes of a host: its TCP stack still answers, nothing else does.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city pause` is not built yet"))
}
