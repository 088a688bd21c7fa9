//! `city unpause`: let a paused host go on.

use std::process::ExitCode;

pub use super::act::Args;
use crate::lab::control::Action;
use crate::trouble::Result;

pub fn run(args: Args) -> Result<ExitCode> {
    super::act::run(&args, Action::Unpause, "goes on")
}
