//! `city pause`: freeze the processes of a host.

use std::process::ExitCode;

pub use super::act::Args;
use crate::lab::control::Action;
use crate::trouble::Result;

pub fn run(args: Args) -> Result<ExitCode> {
    super::act::run(&args, Action::Pause, "is paused: it accepts, and nothing answers")
}
