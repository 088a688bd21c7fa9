//! `city heal`: undo every `break`.

use std::env;
use std::process::ExitCode;

use super::which::Which;
use crate::map;
use crate::services::fault::Fault;
use crate::services::state;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host; without it both blue and green
    host: Option<String>,
    #[command(flatten)]
    which: Which,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let here = env::var("CITY_HOST").unwrap_or_default();
    let hosts = match &args.host {
        Some(host) => vec![map::host(host)?.name],
        // In a container there is no City to look around in: it heals itself.
        None if env::var_os("CITY_STATE").is_some() && matches!(&*here, "blue" | "green") => {
            vec![map::host(&here)?.name]
        }
        None => vec!["blue", "green"],
    };
    let mut healed = Vec::new();
    for host in hosts {
        if Fault::heal(&state::host_folder(host, args.which.name())?)? {
            healed.push(host);
        }
    }
    match healed.as_slice() {
        [] => println!("nothing was broken"),
        [one] => println!("{one} is well again"),
        several => println!("{} are well again", several.join(" and ")),
    }
    Ok(ExitCode::SUCCESS)
}
