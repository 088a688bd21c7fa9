//! `city listening`: what listens here, for a container's health check and for `status`.

use std::process::ExitCode;

use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Succeed only if every port of this host is open
    #[arg(long, value_name = "HOST")]
    of: Option<String>,
}

/// One port a line.
#[cfg(target_os = "linux")]
pub fn run(args: Args) -> Result<ExitCode> {
    use procfs::process::Process;

    use crate::lab::sockets;
    use crate::map;
    use crate::trouble::OrTrouble;

    let missing = match args.of.as_deref() {
        None => {
            let process = Process::myself().or_trouble(|| "cannot read /proc".into())?;
            for port in sockets::tcp(&process) {
                println!("{port}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        Some("nowhere") => {
            let open = Process::myself().map(|process| sockets::tcp(&process)).unwrap_or_default();
            crate::services::nowhere::PORTS.into_iter().filter(|port| !open.contains(port)).collect()
        }
        Some(host) => sockets::missing(map::host(host)?, Process::myself()),
    };
    for port in &missing {
        println!("nothing listens on {port}");
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Containers run Linux; nobody asks elsewhere.
#[cfg(not(target_os = "linux"))]
pub fn run(_args: Args) -> Result<ExitCode> {
    Err(crate::trouble::Trouble::new("`listening` runs on a host of the City"))
}
