//! `city keeper`: the first process of a local City. Nobody types this: see `lab/owner.rs`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::lab::Lifetime;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    name: String,
    #[arg(long)]
    lifetime: Lifetime,
    #[arg(long)]
    conf: Option<PathBuf>,
    #[arg(long)]
    nginx: bool,
    #[arg(long)]
    private: bool,
}

#[cfg(target_os = "linux")]
pub fn run(args: Args) -> Result<ExitCode> {
    use crate::lab::{UpOptions, keeper};

    let Args { name, lifetime, conf, nginx, private } = args;
    Ok(keeper::keep(UpOptions { name, conf, nginx, lifetime, private }))
}

#[cfg(not(target_os = "linux"))]
pub fn run(_args: Args) -> Result<ExitCode> {
    Err(crate::trouble::Trouble::new("there is no local City here"))
}
