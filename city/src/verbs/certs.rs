//! `city certs`: make the City's certificate authority and all certificates in conf/keys/.

use std::process::ExitCode;

use crate::certs;
use crate::lab::docker::settings;
use crate::paths;
use crate::trouble::Result;

const HELP: &str =
    "Makes what is missing and renews what expires within a week or does not fit; the rest is left
untouched.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Make all of them anew, the authority included
    #[arg(long)]
    renew: bool,
    /// Tell Docker Compose, in .env, whose they are, and make the folders that its containers share
    #[arg(long)]
    compose: bool,
    /// Say nothing when everything is good already
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    let report = if args.renew { certs::renew(&repository)? } else { certs::ensure(&repository)? };
    if report.changed() || !args.quiet {
        println!("{report}");
    }
    if args.compose {
        settings::write(&repository)?;
    }
    Ok(ExitCode::SUCCESS)
}
