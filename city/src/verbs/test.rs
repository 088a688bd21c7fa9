//! `city test`: the whole test suite.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::lab::environment;
use crate::machine::needs;
use crate::paths;
use crate::trouble::{OrTrouble, Result};

/// What tells cargo whether to keep what makes the next build quick.
const INCREMENTAL: &str = "CARGO_INCREMENTAL";

#[derive(Debug, clap::Args)]
pub struct Args {}

/// How many of one kind there were: what a part of the suite leaves for the closing lines.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What was counted, as it is said after a number.
    pub what: String,
    /// How many were as they should be.
    pub passed: usize,
    /// How many were not.
    pub failed: usize,
}

/// Leaves counts for the command that has asked for them, if one has.
pub fn leave(file: Option<&Path>, counts: &[Count]) -> Result {
    let Some(file) = file else { return Ok(()) };
    let what = || format!("cannot write {}", file.display());
    fs::write(file, serde_json::to_string(counts).or_trouble(what)?).or_trouble(what)
}

/// Each part is run whatever became of the one before, so that one run tells everything.
pub fn run(_args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    needs::provide()?;
    crate::certs::ensure(&repository)?;
    let begun = Instant::now();
    let tool = std::env::current_exe().or_trouble(|| "cannot find this tool".into())?;
    let folder = tempfile::tempdir().or_trouble(|| "cannot make a temporary folder".into())?;
    let counts = folder.path().join("counts");
    let city = |args: &[&str]| {
        let mut command = Command::new(&tool);
        command.args(args);
        command
    };
    let counting = |args: &[&str]| {
        let mut command = city(args);
        command.arg("--counts").arg(&counts);
        command
    };
    // With the variables that lessons are built with, or the examples would be compiled twice.
    let cargo = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.arg("test").args(args).env_clear().envs(environment::for_building());
        command
    };
    // What makes the second build of an example quick is of no use to one that is built once, and forty-nine of
    // them would fill another gigabyte. Cargo keeps such builds apart from those of whoever edits and runs.
    let once = |mut command: Command| {
        command.env(INCREMENTAL, std::env::var_os(INCREMENTAL).unwrap_or_else(|| "0".into()));
        command
    };
    let parts = [
        (
            "the City and its tool",
            cargo(&["--profile", "city", "--package", "city", "--package", "city-launch"]),
        ),
        ("the library and the examples", once(cargo(&[]))),
        ("texts agree with code", city(&["sync", "--check"])),
        ("verifications can fail, examples end", once(counting(&["dev-check"]))),
        ("lessons do what they show", once(counting(&["verify", "--all"]))),
    ];
    let mut failed = Vec::new();
    let mut all = Vec::new();
    for (what, mut command) in parts {
        println!("\n== {what}");
        let status = command.current_dir(&repository).stdin(Stdio::null()).status();
        if !status.or_trouble(|| format!("cannot start the tests: {what}"))?.success() {
            failed.push(what);
        }
        if let Ok(text) = fs::read_to_string(&counts) {
            all.extend(serde_json::from_str::<Vec<Count>>(&text).unwrap_or_default());
            let _ = fs::remove_file(&counts);
        }
    }
    println!("\n== {}", humantime::format_duration(Duration::from_secs(begun.elapsed().as_secs())));
    for count in &all {
        println!("{}", said(count));
    }
    if failed.is_empty() {
        println!("Everything passed.");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\ncity: failed: {}", failed.join("; "));
    Ok(ExitCode::FAILURE)
}

fn said(count: &Count) -> String {
    let Count { what, passed, failed } = count;
    match failed {
        0 => format!("{passed:>4} {what}"),
        _ => format!("{passed:>4} {what}, {failed} did not"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_left_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("counts");
        let count = |failed| Count { what: "lessons did what they show".into(), passed: 48, failed };
        leave(Some(&file), &[count(0), count(1)]).unwrap();
        let left: Vec<Count> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(said(&left[0]), "  48 lessons did what they show");
        assert_eq!(said(&left[1]), "  48 lessons did what they show, 1 did not");
        leave(None, &[]).unwrap();
    }
}
