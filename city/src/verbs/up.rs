//! `city up`: bring a City up.

use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

use crate::lab::{City, DEFAULT_NAME, Lifetime, UpOptions, docker};
use crate::machine::progress;
use crate::map::{DOMAIN, HOSTS, NOWHERE};
use crate::trouble::{OrTrouble, Result};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Return as soon as every service answers; the City lives until `down`
    #[arg(long, short)]
    detach: bool,
    /// The City's name, where several live side by side
    #[arg(long, env = "CITY_NAME", default_value = DEFAULT_NAME)]
    name: String,
    /// A real nginx as advanced, if this machine has one
    #[arg(long)]
    nginx: bool,
    /// The Docker City: the same hosts as containers; it always lives until `down`
    #[arg(long, conflicts_with = "nginx")]
    docker: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    if args.docker || args.name == docker::NAME {
        let city = progress::while_it_takes("bringing the Docker City up", City::up_in_docker)?;
        print_map(&city.name);
        println!("It is up, with all containers healthy. Take it down with: cargo city down --docker");
        return Ok(ExitCode::SUCCESS);
    }
    crate::certs::ensure(&crate::paths::repository()?)?;
    let lifetime = if args.detach { Lifetime::Detached } else { Lifetime::Owner };
    let options = UpOptions { name: args.name, conf: None, nginx: args.nginx, lifetime, private: false };
    let city = progress::while_it_takes("bringing the City up", || City::up(&options))?;
    print_map(&city.name);
    if args.detach {
        println!("It is up. Take it down with: cargo city down{}", name_flag(&city.name));
        return Ok(ExitCode::SUCCESS);
    }
    println!("It is up, and ends with Ctrl-C. Use it from another terminal.");
    wait_for_the_end()?;
    let name = city.name.clone();
    city.down()?;
    println!("The City '{name}' is down.");
    Ok(ExitCode::SUCCESS)
}

fn print_map(name: &str) {
    println!("The City '{name}', 172.28.0.0/24, {DOMAIN}\n");
    for host in HOSTS {
        println!("  {:<9}{:<14}{}", host.name, host.address(), host.about);
    }
    println!("  {:<9}{:<14}nobody: never answers\n", "nowhere", NOWHERE);
    let flag = name_flag(name);
    println!(
        "  cargo city shell dev{flag}\n  cargo city exec client1{flag} curl -s http://172.28.0.20:8080/"
    );
    println!("  cargo city journal blue{flag}\n");
}

fn name_flag(name: &str) -> String {
    match name {
        DEFAULT_NAME => String::new(),
        docker::NAME => " --docker".into(),
        _ => format!(" --name {name}"),
    }
}

/// Waits for Ctrl-C, or for whatever else asks this process to end.
pub fn wait_for_the_end() -> Result {
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ends.add(signal);
    }
    ends.thread_block().or_trouble(|| "cannot wait for signals".into())?;
    ends.wait().or_trouble(|| "cannot wait for signals".into())?;
    Ok(())
}
