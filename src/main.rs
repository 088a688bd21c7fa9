//! The gateway: `gateway --config FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pingora_city::gateway::Gateway;

/// An API gateway on Pingora.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, a YAML file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Say whether the configuration can be used, and end with 0 or 1. Opens no port.
    #[arg(short = 't', long)]
    validate: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let ready = Gateway::builder().file(&arguments.config)?;
    if arguments.validate {
        println!("{} can be used", arguments.config.display());
        return Ok(());
    }
    match ready.run()? {}
}
