//! `city wait-for`: wait until a condition holds.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use super::which::Which;
use crate::lab::City;
use crate::lesson::condition::Condition;
use crate::trouble::{OrTrouble, Result, Trouble};

/// How often the condition is asked.
const TICK: Duration = Duration::from_millis(30);

/// The conditions:
///
///   HOST log "TEXT"               the example last started on that host has logged a line with this text
///   HOST listens PORT             something listens on that TCP port
///   HOST closed PORT              nothing does
///   journal HOST has TARGET [N]   that upstream received a request for it, or N of them
///   file PATH                     that file exists here
///   HOST file PATH                that file exists on that host
///
/// Nothing is printed when it holds. When the time runs out, one line says what was to be seen instead.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The condition, as one argument, such as 'dev listens 6149'
    condition: String,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    within: Duration,
    #[command(flatten)]
    which: Which,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let condition = Condition::parse(&args.condition)?;
    let city = if condition.is_local() { None } else { Some(args.which.city()?) };
    if let (Condition::HostFile(host, path), Some(city)) = (&condition, &city) {
        return on_host(city, host, path, args.within);
    }
    let deadline = Instant::now() + args.within;
    loop {
        let Some(seen) = condition.unmet(city.as_ref())? else { return Ok(ExitCode::SUCCESS) };
        if Instant::now() >= deadline {
            let within = humantime::format_duration(args.within);
            return Err(Trouble::new(format!("'{}' did not hold within {within}: {seen}", args.condition)));
        }
        thread::sleep(TICK);
    }
}

/// A host's files are its own: the waiting is done by this tool on that host, in one process.
fn on_host(city: &City, host: &str, path: &str, within: Duration) -> Result<ExitCode> {
    let quoted = shlex::try_quote(path).or_trouble(|| format!("'{}' is no path", path.escape_debug()))?;
    let condition = format!("file {quoted}");
    let within = humantime::format_duration(within).to_string().replace(' ', "");
    let tool = std::env::current_exe().or_trouble(|| "cannot tell where this tool lies".into())?;
    let here = std::env::var("CITY_HOST").is_ok_and(|here| here == host);
    let mut command = if here { std::process::Command::new(&tool) } else { city.exec(host) };
    if !here {
        // A container has this tool of its own.
        command.arg(if city.docker().is_some() { "city".as_ref() } else { tool.as_path() });
    }
    let status = command
        .args(["wait-for", &condition, "--within", &within])
        .status()
        .or_trouble(|| format!("cannot wait on {host}"))?;
    Ok(ExitCode::from(u8::try_from(crate::lesson::process::status(status)).unwrap_or(1)))
}
