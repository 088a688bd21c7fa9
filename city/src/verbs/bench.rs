//! `city bench`: measure how fast a City comes up, what it weighs, and what verify adds.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city bench` is not built yet"))
}
