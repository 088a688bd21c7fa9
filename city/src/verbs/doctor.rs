//! `city doctor`: check toolchain, ports, namespaces, Docker and stale Cities; one line each, with the fix.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city doctor` is not built yet"))
}
