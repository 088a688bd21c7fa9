//! `city down`: take a City down.

use std::process::ExitCode;

use super::which::Which;
use crate::lab::NONE_IS_UP;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let city = match args.which.city() {
        Err(none) if none.status == NONE_IS_UP => {
            println!("No City is up.");
            return Ok(ExitCode::SUCCESS);
        }
        found => found?,
    };
    let name = city.name.clone();
    city.down()?;
    println!("The City '{name}' is down.");
    Ok(ExitCode::SUCCESS)
}
