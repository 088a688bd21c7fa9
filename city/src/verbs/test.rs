//! `city test`: the whole test suite.

use std::process::{Command, ExitCode, Stdio};

use crate::lab::environment;
use crate::machine::needs;
use crate::paths;
use crate::trouble::{OrTrouble, Result};

#[derive(Debug, clap::Args)]
pub struct Args {}

/// Each part is run whatever became of the one before, so that one run tells everything.
pub fn run(_args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    needs::provide()?;
    crate::certs::ensure(&repository)?;
    let tool = std::env::current_exe().or_trouble(|| "cannot find this tool".into())?;
    let city = |args: &[&str]| {
        let mut command = Command::new(&tool);
        command.args(args);
        command
    };
    // With the variables that lessons are built with, or the examples would be compiled twice.
    let cargo = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.arg("test").args(args).env_clear().envs(environment::for_building());
        command
    };
    let parts = [
        (
            "the City and its tool",
            cargo(&["--profile", "city", "--package", "city", "--package", "city-launch"]),
        ),
        ("the library and the examples", cargo(&[])),
        ("texts agree with code", city(&["sync", "--check"])),
        ("verifications can fail, examples end", city(&["dev-check"])),
        ("lessons do what they show", city(&["verify", "--all"])),
    ];
    let mut failed = Vec::new();
    for (what, mut command) in parts {
        println!("\n== {what}");
        let status = command.current_dir(&repository).stdin(Stdio::null()).status();
        if !status.or_trouble(|| format!("cannot start the tests: {what}"))?.success() {
            failed.push(what);
        }
    }
    if failed.is_empty() {
        println!("\nEverything passed.");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\ncity: failed: {}", failed.join("; "));
    Ok(ExitCode::FAILURE)
}
