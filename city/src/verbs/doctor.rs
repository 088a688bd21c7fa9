//! `city doctor`: look the machine over.

use std::process::ExitCode;

use console::style;

use crate::machine::doctor::{Finding, examine, is_fit};
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// Succeeds if nothing has to be mended.
pub fn run(_args: Args) -> Result<ExitCode> {
    let findings = examine();
    for finding in &findings {
        match finding {
            Finding::Good(what) => println!("{}   {what}", style("ok").green()),
            Finding::Missing(what) => println!("{} {what}", style("none").yellow()),
            Finding::Bad(what) => println!("{}  {what}", style("bad").red()),
        }
    }
    Ok(if is_fit(&findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
