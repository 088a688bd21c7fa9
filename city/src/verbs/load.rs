//! `city load`: steady requests from a host, counted by status and by server.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Uri};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::which::Which;
use crate::clients::block_on;
use crate::clients::dial::TlsArgs;
use crate::load::client::Target;
use crate::load::tally::{By, Tally};
use crate::load::{Pace, Plan, drive};
use crate::map;
use crate::trouble::{OrTrouble, Result, Trouble};

/// Where requests come from, and how many, unless that is said.
const FROM: &str = "client1";
const RATE: u32 = 50;
const LASTING: Duration = Duration::from_secs(10);

const HELP: &str =
    "With --rate, requests are due at fixed moments, whatever becomes of those before, and latency is
counted from the moment at which a request was due (to about a millisecond). With --clients, each
client asks again when it has its answer, and waits 100ms after a failure. Connections are kept; a
kept one that the server has closed is replaced, as browsers and curl do it.

A server is known by a body `Response from NAME`, or by the header X-Served-By. It ends by itself,
or by Ctrl-C: then what is under way is waited for (not after a second one). The exit status is 0
when every request was answered, whatever the status, else 1.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// What to ask for: http://172.28.0.10:6170/, or https://…
    url: Uri,
    /// So many requests a second; 50 unless something is said
    #[arg(long, value_name = "N", conflicts_with = "clients", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
    /// So many clients, each with one request at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    clients: Option<u32>,
    /// For how long; 10s unless --requests is given
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    lasting: Option<Duration>,
    /// Until so many were made
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// The host that asks; client1, or the one on which this runs
    #[arg(long, value_name = "HOST")]
    from: Option<String>,
    /// Tell answers apart only by this, and show it while it runs; both, unless it is said
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,
    /// A further header of each request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = super::ws::header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    which: Which,
}

/// A time that is more than none, as it is typed.
fn time(text: &str) -> std::result::Result<Duration, String> {
    let time = humantime::parse_duration(text).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| "write it like 10s or 500ms".into())
}

impl Args {
    fn plan(&self) -> Plan {
        let pace = self.clients.map_or(Pace::Rate(self.rate.unwrap_or(RATE)), Pace::Clients);
        let lasting = if self.requests.is_some() { self.lasting } else { self.lasting.or(Some(LASTING)) };
        Plan { pace, lasting, requests: self.requests }
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    let target = Target::new(&args.url, args.headers.clone(), args.tls.clone(), args.timeout)?;
    match env::var("CITY_HOST").ok().filter(|host| !host.is_empty()) {
        Some(here) => block_on(load(target, &args, &here)),
        None => on_host(&args),
    }
}

/// Enters the host and does there what was typed here: on a host, `CITY_HOST` is set.
fn on_host(args: &Args) -> Result<ExitCode> {
    let host = map::host(args.from.as_deref().unwrap_or(FROM))?;
    let city = args.which.city()?;
    let tool = match city.docker() {
        // A container has this tool of its own.
        Some(_) => "city".into(),
        None => env::current_exe().or_trouble(|| "cannot tell where this tool lies".into())?,
    };
    let typed = env::args_os().skip(1);
    super::exec::enter(&city, host.name, std::iter::once(tool.into()).chain(typed).collect())
}

async fn load(target: Target, args: &Args, here: &str) -> Result<ExitCode> {
    if let Some(from) = &args.from
        && map::host(from)?.name != here
    {
        return Err(Trouble::new(format!("this is {here}, and not {from}"))
            .remedy("run it on the machine itself, or without --from")
            .status(2));
    }
    let plan = args.plan();
    println!("{}, from {here} to {}", announce(&plan), args.url);

    let cannot_watch = || "cannot watch for Ctrl-C".to_string();
    let mut interrupt = signal(SignalKind::interrupt()).or_trouble(cannot_watch)?;
    let mut terminate = signal(SignalKind::terminate()).or_trouble(cannot_watch)?;
    let (done, mut results) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let mut live = Live::new(args.by.unwrap_or(By::Server));
    let mut tally = Tally::default();
    let start = Instant::now();
    tokio::spawn(drive(Arc::new(target), plan, done, stopped));
    loop {
        tokio::select! {
            result = results.recv() => match result {
                Some((latency, outcome)) => {
                    tally.add(latency, &outcome);
                    live.last.add(latency, &outcome);
                }
                None => break,
            },
            () = live.second() => live.show(&tally, start.elapsed()),
            _ = interrupt.recv() => if stop.send_replace(true) { break },
            _ = terminate.recv() => if stop.send_replace(true) { break },
        }
    }
    live.line.finish_and_clear();
    println!("{}", tally.summary(args.by, start.elapsed()));
    Ok(if tally.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is going to happen: `50 requests a second for 10s`.
fn announce(plan: &Plan) -> String {
    let pace = match plan.pace {
        Pace::Rate(rate) => format!("{rate} requests a second"),
        Pace::Clients(1) => "1 client".into(),
        Pace::Clients(clients) => format!("{clients} clients"),
    };
    let lasting = plan.lasting.map(|lasting| format!(" for {}", humantime::format_duration(lasting)));
    let requests = plan.requests.map(|requests| format!(", {requests} requests in all"));
    format!("{pace}{}{}", lasting.unwrap_or_default(), requests.unwrap_or_default())
}

/// The line that shows the last second while it runs; where there is no terminal, nothing.
struct Live {
    line: ProgressBar,
    ticks: tokio::time::Interval,
    by: By,
    last: Tally,
}

impl Live {
    fn new(by: By) -> Live {
        let line = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            line.set_style(style);
        }
        let second = Duration::from_secs(1);
        let ticks = tokio::time::interval_at(tokio::time::Instant::now() + second, second);
        Live { line, ticks, by, last: Tally::default() }
    }

    async fn second(&mut self) {
        self.ticks.tick().await;
    }

    fn show(&mut self, whole: &Tally, elapsed: Duration) {
        let last = std::mem::take(&mut self.last).line(self.by);
        let (seconds, requests, failed) = (elapsed.as_secs(), whole.requests(), whole.failed());
        self.line.set_message(format!("{seconds}s  {last}  (in all: {requests} requests, {failed} errors)"));
        self.line.tick();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn plan(words: &str) -> std::result::Result<Plan, clap::Error> {
        let words = format!("load http://dev:6170/ {words}");
        Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.args.plan())
    }

    #[test]
    fn what_is_typed_is_announced() {
        let cases = [
            ("", "50 requests a second for 10s"),
            ("--rate 20 --for 3s", "20 requests a second for 3s"),
            ("--clients 1", "1 client for 10s"),
            ("--clients 16 --requests 400", "16 clients, 400 requests in all"),
            ("--rate 5 --requests 10 --for 1m", "5 requests a second for 1m, 10 requests in all"),
        ];
        for (words, expected) in cases {
            assert_eq!(announce(&plan(words).unwrap()), expected, "{words}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "--rate 5 --clients 2",
            "--rate 0",
            "--clients 501",
            "--requests 0",
            "--for 0s",
            "--for 5",
            "--by x",
        ] {
            assert!(plan(wrong).is_err(), "{wrong}");
        }
    }
}
