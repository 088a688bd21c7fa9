//! `city status`: the hosts, their addresses, and how their services are.

use std::process::ExitCode;

use console::style;

use super::which::Which;
use crate::lab::City;
use crate::lab::control::State;
use crate::map;
use crate::services::fault::Fault;
use crate::services::zone::Changes;
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
    let amiss = amiss(&city)?;
    if !amiss.is_empty() {
        println!("\n{}", amiss.join("\n"));
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What somebody has done to a City and not undone, one line for each, with its end.
pub fn amiss(city: &City) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for status in city.status()? {
        let (state, end) = match status.state {
            State::Up => continue,
            State::Stopped => ("stopped", "start"),
            State::Paused => ("paused", "unpause"),
            State::Unplugged => ("unplugged", "plug"),
        };
        lines.push(format!("{0} is {state} (undo: cargo city {end} {0})", status.name));
    }
    for host in ["blue", "green"] {
        if let Some(fault) = Fault::read(&city.host_folder(host)) {
            lines.push(format!("{host} {fault} (undo: cargo city heal)"));
        }
    }
    if Changes::read(&city.host_folder("dns"))? != Changes::default() {
        lines.push("the zone is not as it was built (undo: cargo city dns reset)".into());
    }
    Ok(lines)
}

fn ports(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
