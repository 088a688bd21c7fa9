//! `city down`: take a City down.

use std::process::ExitCode;

use crate::lab::City;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The City, where several are up
    #[arg(long)]
    name: Option<String>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let city = City::find(args.name.as_deref())?;
    let name = city.name.clone();
    city.down()?;
    println!("The City '{name}' is down.");
    Ok(ExitCode::SUCCESS)
}
