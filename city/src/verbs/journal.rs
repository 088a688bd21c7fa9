//! `city journal`: show the requests that an upstream really received.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::which::Which;
use crate::map;
use crate::services::journal::{self, Entry, Reader};
use crate::services::state;
use crate::trouble::{OrTrouble, Result, Trouble};

/// How often a journal that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

const HELP: &str = r"Each request is one line, printed when its head has arrived:

  GET /green/leaf?in=autumn  host=green.pingora.local  from=172.28.0.10

with `sni=` over TLS and `client=` for a client certificate. The target is shown as it was
received, with control characters as \xNN and a backslash as \\. Health probes (User-Agent
city-health) and requests to /_city/ are left out. The journal of dns has one line a query.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The host: blue, green, advanced, grpc or dns
    host: String,
    /// Print requests as they come, until Ctrl-C
    #[arg(long, short, conflicts_with_all = ["count", "clear"])]
    follow: bool,
    /// Print only the last N
    #[arg(long, value_name = "N", conflicts_with_all = ["count", "clear"])]
    last: Option<usize>,
    /// Print how many requests had this target, or this path before a `?` (`PURGE /x`: and this method); without
    /// TARGET, how many there were
    #[arg(long, value_name = "TARGET", num_args = 0..=1, conflicts_with_all = ["clear", "full", "json"])]
    count: Option<Option<String>>,
    /// Empty the journal
    #[arg(long)]
    clear: bool,
    /// Print each request whole, with its headers, and what became of it
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Show with each request over which connection it came, counted from 1 in this journal
    #[arg(long, conflicts_with_all = ["count", "clear", "full", "json"])]
    connections: bool,
    /// Health probes and requests to /_city/ too
    #[arg(long)]
    probes: bool,
    #[command(flatten)]
    which: Which,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let host = map::host(&args.host)?;
    if !host.serves() {
        return Err(Trouble::new(format!("{} has no journal: it serves nothing", host.name))
            .remedy("blue, green, advanced, grpc and dns have one")
            .status(2));
    }
    let folder = state::host_folder(host.name, args.which.name())?;
    if args.clear {
        journal::clear(&folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = |entry: &Entry| args.probes || !entry.request.is_citys_own();
    if let Some(target) = &args.count {
        let entries = journal::read(&folder)?;
        let number = match target {
            Some(target) if !args.probes => journal::count(&entries, target),
            Some(target) => entries.iter().filter(|entry| entry.request.is_to(target)).count(),
            None => entries.iter().filter(|entry| shown(entry)).count(),
        };
        println!("{number}");
        return Ok(ExitCode::SUCCESS);
    }
    match show(&args, &folder) {
        // Somebody piped it into `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).or_trouble(|| "cannot print the journal".into()),
        Ok(result) => result.map(|()| ExitCode::SUCCESS),
    }
}

fn show(args: &Args, folder: &Path) -> io::Result<Result> {
    let shown = |entry: &Entry| args.probes || !entry.request.is_citys_own();
    let mut out = io::stdout().lock();
    let mut reader = Reader::new(folder);
    // What is followed in full is printed when its outcome is known.
    let mut waiting: VecDeque<Entry> = VecDeque::new();
    let mut connections = Connections::default();
    let mut first = true;
    loop {
        let mut news = match reader.news() {
            Ok(news) => news,
            Err(trouble) => return Ok(Err(trouble)),
        };
        news.begun.retain(shown);
        if news.cleared {
            connections = Connections::default();
        }
        news.begun.iter().for_each(|entry| _ = connections.number(entry));
        if first && let Some(last) = args.last {
            news.begun.drain(..news.begun.len().saturating_sub(last));
        }
        first = false;
        if news.cleared {
            waiting.clear();
        }
        for (key, outcome) in news.ended {
            let is_it = |entry: &Entry| (entry.request.run, entry.request.number) == key;
            if let Some(place) = waiting.iter().position(is_it)
                && let Some(mut entry) = waiting.remove(place)
            {
                entry.outcome = outcome;
                print(args, &mut connections, &entry, &mut out)?;
            }
        }
        for entry in news.begun {
            if args.follow && (args.full || args.json) && !entry.outcome.ended {
                waiting.push_back(entry);
            } else {
                print(args, &mut connections, &entry, &mut out)?;
            }
        }
        if let Some(why) = news.full {
            writeln!(out, "(the journal is {why}: cargo city journal {} --clear)", args.host)?;
        }
        out.flush()?;
        if !args.follow {
            return Ok(Ok(()));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The connections of a journal in the order of their first requests. Their numbers in the journal's file are
/// the host's own: unique in its run, but they begin anywhere.
#[derive(Default)]
struct Connections(HashMap<(u64, u64), usize>);

impl Connections {
    fn number(&mut self, entry: &Entry) -> usize {
        let next = self.0.len() + 1;
        *self.0.entry((entry.request.run, entry.request.connection)).or_insert(next)
    }
}

fn print(args: &Args, connections: &mut Connections, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    if args.json {
        serde_json::to_writer(&mut *out, entry)?;
        writeln!(out)
    } else if args.full {
        writeln!(out, "{}\n", entry.full())
    } else if args.connections {
        writeln!(out, "{}  connection={}", entry.line(), connections.number(entry))
    } else {
        writeln!(out, "{}", entry.line())
    }
}
