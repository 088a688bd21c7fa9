//! `city raw`: send bytes exactly as given, in given pieces (run it on a host of the City).

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city raw` is not built yet"))
}
