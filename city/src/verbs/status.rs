//! `city status`: the hosts, their addresses, and how their services are.

use std::process::ExitCode;

use console::style;

use super::which::Which;
use crate::lab::control::State;
use crate::map;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// Succeeds only if every host is up and every service answers.
pub fn run(args: Args) -> Result<ExitCode> {
    let city = args.which.city()?;
    let mut healthy = true;
    println!("The City '{}'", city.name);
    for status in city.status()? {
        let host = map::host(&status.name)?;
        let missing: Vec<u16> =
            host.tcp.iter().copied().filter(|port| !status.listening.contains(port)).collect();
        let state = match status.state {
            State::Up if missing.is_empty() => style("up").green(),
            State::Up => style("unhealthy").red(),
            State::Stopped => style("stopped").yellow(),
            State::Paused => style("paused").yellow(),
            State::Unplugged => style("unplugged").yellow(),
        };
        healthy &= status.state == State::Up && missing.is_empty();
        let services = match (host.tcp, missing.as_slice()) {
            ([], _) if status.processes == 1 => "1 process".into(),
            ([], _) => format!("{} processes", status.processes),
            (all, []) if status.state == State::Paused => {
                format!("accepts on {}, and answers nothing", ports(all))
            }
            (all, []) => format!("answers on {}", ports(all)),
            (_, missing) => format!("does not answer on {}", ports(missing)),
        };
        println!("  {:<9} {:<13} {:<10} {services}", host.name, host.address(), state);
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ports(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
