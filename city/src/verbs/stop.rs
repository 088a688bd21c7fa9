//! `city stop`: end the services of a host and take its link down, as `docker stop` would.

use std::process::ExitCode;

pub use super::act::Args;
use crate::lab::control::Action;
use crate::trouble::Result;

pub fn run(args: Args) -> Result<ExitCode> {
    super::act::run(&args, Action::Stop, "is stopped: its services ended, its link is down")
}
