//! `city plug`: put the link of a host back.

use std::process::ExitCode;

pub use super::act::Args;
use crate::lab::control::Action;
use crate::trouble::Result;

pub fn run(args: Args) -> Result<ExitCode> {
    super::act::run(&args, Action::Plug, "is plugged in again")
}
