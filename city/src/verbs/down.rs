//! `city down`: take a City down.

use std::process::ExitCode;

use super::which::Which;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let city = args.which.city()?;
    let name = city.name.clone();
    city.down()?;
    println!("The City '{name}' is down.");
    Ok(ExitCode::SUCCESS)
}
