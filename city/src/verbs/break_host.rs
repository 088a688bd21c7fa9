//! `city break`: make blue or green misbehave until `heal`.

use std::process::ExitCode;
use std::time::Duration;

use super::which::Which;
use crate::map;
use crate::services::fault::{Fault, Instead};
use crate::services::state;
use crate::trouble::{Result, Trouble};

const HELP: &str =
    "The host shows the fault from its next request on, to health checks as to everybody; its journal
goes on recording. --slow and --pieces go with any of the others. A host has one fault at a time:
another `break` replaces it.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
#[command(group = clap::ArgGroup::new("instead").multiple(false))]
pub struct Args {
    /// The host: blue or green
    host: String,
    /// Wait this long before answering, such as 800ms or 2s
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    slow: Option<Duration>,
    /// Send what is sent a few bytes at a time
    #[arg(long)]
    pieces: bool,
    /// Answer with this status
    #[arg(long, value_name = "N", group = "instead", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// Reset the connection as soon as a request's head has arrived
    #[arg(long, group = "instead")]
    reset: bool,
    /// When a request's head has arrived, close the sending side without an answer, and read on
    #[arg(long, group = "instead")]
    half_close: bool,
    /// Answer with bytes that are not HTTP, and close
    #[arg(long, group = "instead")]
    garbage: bool,
    /// Announce the whole body, send half of it, and close
    #[arg(long, group = "instead")]
    cut: bool,
    /// Answer as soon as a request's head has arrived, while its body is still coming
    #[arg(long, group = "instead")]
    early: bool,
    /// Serve for PERIOD, reset every connection for PERIOD, and so on, by the clock
    #[arg(long, value_name = "PERIOD", group = "instead", num_args = 0..=1, default_missing_value = "1s",
          value_parser = humantime::parse_duration)]
    flap: Option<Duration>,
    #[command(flatten)]
    which: Which,
}

impl Args {
    fn fault(&self) -> Fault {
        let instead = match self {
            Args { status: Some(status), .. } => Some(Instead::Status(*status)),
            Args { reset: true, .. } => Some(Instead::Reset),
            Args { half_close: true, .. } => Some(Instead::HalfClose),
            Args { garbage: true, .. } => Some(Instead::Garbage),
            Args { cut: true, .. } => Some(Instead::Cut),
            Args { early: true, .. } => Some(Instead::Early),
            Args { flap: Some(period), .. } => Some(Instead::Flap(millis(*period))),
            _ => None,
        };
        Fault { slow: self.slow.map(millis), pieces: self.pieces, instead }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub fn run(args: Args) -> Result<ExitCode> {
    let host = map::host(&args.host)?.name;
    if !matches!(host, "blue" | "green") {
        return Err(Trouble::new(format!("{host} cannot be broken"))
            .remedy(if host == "advanced" {
                "no lesson breaks advanced; break works on blue and green"
            } else {
                "break works on blue and green"
            })
            .status(2));
    }
    let fault = args.fault();
    if fault == Fault::default() {
        return Err(Trouble::new(format!("no fault was named for {host}"))
            .remedy(
                "say --slow, --pieces, --status, --reset, --half-close, --garbage, --cut, --early or --flap",
            )
            .status(2));
    }
    fault.write(&state::host_folder(host, args.which.name())?)?;
    println!("{host} {fault} (undo: cargo city heal)");
    Ok(ExitCode::SUCCESS)
}
