//! `city dev-check`: check that every verification can fail, and that names, ports, files and indexes agree.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city dev-check` is not built yet"))
}
