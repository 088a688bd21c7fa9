//! `city certs`: make the City's certificate authority and all certificates in conf/keys/.

use std::process::ExitCode;

use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    Err(Trouble::new("`city certs` is not built yet"))
}
