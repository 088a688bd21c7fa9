//! `city service`: run the services of one host, here and in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::services;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host whose services to run: blue, green, advanced, grpc, dns or nowhere
    host: String,
    /// The folder with the City's keys and certificates
    #[arg(long, value_name = "DIR", default_value = "conf/keys")]
    keys: PathBuf,
}

pub fn run(args: Args) -> Result<ExitCode> {
    services::run::run(&args.host, &args.keys)?;
    Ok(ExitCode::SUCCESS)
}
