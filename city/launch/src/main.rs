//! Behind `cargo city`: builds the tool where it must, says so first, and then becomes the tool.
//!
//! Cargo's alias can only run something, quietly or with a line of noise at every call. This is small enough
//! to be built in an instant, so that the minute which the tool itself takes is announced and seen.

use std::env;
use std::error::Error;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

fn main() -> ExitCode {
    match launch() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("city: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns only if it fails.
fn launch() -> Result<std::convert::Infallible, Box<dyn Error>> {
    // This program lies in target/city/, and so will the tool.
    let tool = env::current_exe()?.with_file_name("city");
    let root =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
    // On a host of the City the tool is what it is: somebody is using it there.
    if env::var_os("CITY_HOST").is_none() || !tool.exists() {
        build(&root, &tool)?;
    }
    let error = Command::new(&tool).args(env::args_os().skip(1)).exec();
    Err(format!("cannot run {}: {error}", tool.display()).into())
}

fn build(root: &Path, tool: &Path) -> Result<(), Box<dyn Error>> {
    let built = fs::metadata(tool).and_then(|about| about.modified()).ok();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", "city", "--package", "city"]).current_dir(root);
    // The build of the tool must not depend on who asks for it.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    match built {
        None => eprintln!("Building the City's tool first: about a minute, once."),
        Some(built) if newer(&root.join("city"), built) || newer(&root.join("Cargo.lock"), built) => {
            eprintln!("Building the City's tool again: its sources have changed.");
        }
        Some(_) => return Ok(()),
    }
    if command.status()?.success() {
        // A build that had nothing to do leaves the old time, and would be announced again and again. Opened for
        // reading: a tool that runs somewhere, and with a City up one does, cannot be opened for writing.
        if let Ok(file) = fs::File::open(tool) {
            let _ = file.set_modified(SystemTime::now());
        }
        return Ok(());
    }
    Err("the City's tool does not compile: see above".into())
}

/// Whether something at or below `path` was written after `when`.
fn newer(path: &Path, when: SystemTime) -> bool {
    let Ok(about) = fs::metadata(path) else { return false };
    if about.is_file() {
        return about.modified().is_ok_and(|modified| modified > when);
    }
    fs::read_dir(path).into_iter().flatten().flatten().any(|entry| newer(&entry.path(), when))
}
