//! `city unplug`: take the link of a host down.

use std::process::ExitCode;

pub use super::act::Args;
use crate::lab::control::Action;
use crate::trouble::Result;

pub fn run(args: Args) -> Result<ExitCode> {
    super::act::run(&args, Action::Unplug, "is unplugged: nothing reaches it")
}
