//! `city dns`: show or change the zone of the City's DNS.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::which::Which;
use crate::map::DOMAIN;
use crate::services::state;
use crate::services::zone::{self, Changes, Fault, Holds, Service, TTL};
use crate::trouble::{Result, Trouble};

const HELP: &str =
    "A NAME is relative to pingora.local (blue, v3.api, _http._tcp.shop) or a full name within it.
Every change holds from the next query on; resolvers may keep what they have for 2 seconds, the
TTL of every record.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the zone as it is now, and mark what has been changed
    List,
    /// Give NAME these addresses; with none it exists, and has no address
    Set {
        /// The name
        #[arg(value_name = "NAME")]
        host: String,
        /// Its IPv4 addresses
        #[arg(value_name = "ADDR", conflicts_with = "srv")]
        addresses: Vec<Ipv4Addr>,
        /// SRV records instead of addresses
        #[arg(long, value_name = "HOST:PORT", num_args = 1..)]
        srv: Vec<String>,
    },
    /// Make NAME unknown: queries for it are answered with NXDOMAIN
    Remove {
        /// The name
        #[arg(value_name = "NAME")]
        host: String,
    },
    /// Answer queries for NAME only after DURATION, such as 800ms
    Delay {
        /// The name
        #[arg(value_name = "NAME")]
        host: String,
        /// How long to wait
        #[arg(value_parser = humantime::parse_duration)]
        duration: Duration,
    },
    /// Never answer queries for NAME
    Drop {
        /// The name
        #[arg(value_name = "NAME")]
        host: String,
    },
    /// Answer queries for NAME with SERVFAIL
    Fail {
        /// The name
        #[arg(value_name = "NAME")]
        host: String,
    },
    /// Undo every change of NAME
    Unset {
        /// The name
        #[arg(value_name = "NAME")]
        host: String,
    },
    /// Undo every change
    Reset,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let folder = state::host_folder("dns", args.which.name())?;
    let mut changes = Changes::read(&folder)?;
    let said = match args.verb {
        Verb::List => {
            print!("{}", table(&changes));
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Set { host, addresses, srv } => {
            let name = in_zone(&host)?;
            let services = srv.iter().map(|text| service(text)).collect::<Result<Vec<_>>>()?;
            let holds = Holds { addresses, services };
            let said = format!("{} is now {}", full(&name), held(&holds));
            changes.records.insert(name, Some(holds));
            said
        }
        Verb::Remove { host } => {
            let name = in_zone(&host)?;
            let said = format!("{} is unknown now", full(&name));
            changes.records.insert(name, None);
            said
        }
        Verb::Delay { host, duration } => {
            let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let name = in_zone(&host)?;
            let said = format!("queries for {} are answered after {ms} ms", full(&name));
            changes.faults.insert(name, Fault::Delay(ms));
            said
        }
        Verb::Drop { host } => {
            let name = in_zone(&host)?;
            let said = format!("queries for {} are never answered", full(&name));
            changes.faults.insert(name, Fault::Drop);
            said
        }
        Verb::Fail { host } => {
            let name = in_zone(&host)?;
            let said = format!("queries for {} are answered with SERVFAIL", full(&name));
            changes.faults.insert(name, Fault::Fail);
            said
        }
        Verb::Unset { host } => {
            let name = in_zone(&host)?;
            changes.records.remove(&name);
            changes.faults.remove(&name);
            match changes.applied().get(&name) {
                Some(holds) => format!("{} is {} again", full(&name), held(holds)),
                None => format!("{} is unknown again", full(&name)),
            }
        }
        Verb::Reset => {
            changes = Changes::default();
            "the zone is as it was built".into()
        }
    };
    changes.write(&folder)?;
    println!("{said}");
    Ok(ExitCode::SUCCESS)
}

/// A name as typed, relative to the domain, if it can stand in the zone.
fn in_zone(typed: &str) -> Result<String> {
    let foreign = |why: &str| {
        Trouble::new(format!("'{typed}' {why}"))
            .remedy(format!("name it as 'shop' or 'shop.{DOMAIN}'"))
            .status(2)
    };
    let relative = zone::relative(typed).ok_or_else(|| foreign(&format!("is not in {DOMAIN}")))?;
    if relative == "@" {
        return Err(foreign("is the domain itself, which cannot be changed"));
    }
    // A name that only looks relative, such as example.org, would land in the zone unnoticed.
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        label == "*" || (!label.is_empty() && label.len() <= 63 && label.chars().all(plain))
    };
    if !relative.split('.').all(label) || relative.len() + DOMAIN.len() > 250 {
        return Err(foreign("is no name"));
    }
    Ok(relative)
}

fn service(typed: &str) -> Result<Service> {
    let wrong =
        || Trouble::new(format!("'{typed}' is not HOST:PORT")).remedy("write it as blue:8080").status(2);
    let (host, port) = typed.rsplit_once(':').ok_or_else(wrong)?;
    Ok(Service { host: in_zone(host)?, port: port.parse().map_err(|_| wrong())? })
}

fn full(relative: &str) -> String {
    format!("{relative}.{DOMAIN}")
}

fn held(holds: &Holds) -> String {
    let addresses = holds.addresses.iter().map(ToString::to_string);
    let services = holds.services.iter().map(|service| format!("{}:{}", service.host, service.port));
    let all: Vec<_> = addresses.chain(services).collect();
    if all.is_empty() { "without a record".into() } else { all.join(", ") }
}

/// The zone, one record a line, in the notation of zone files, with what is not built in beside it.
fn table(changes: &Changes) -> String {
    let mut lines: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
    let mut line = |name: &str, data: &str, note: &str| {
        let text = format!("{:<32} {TTL} IN {data:<34} {note}", full(name));
        // Plain names before those with underscores and dots.
        lines.entry((name.matches('.').count(), name.into())).or_default().push(text.trim_end().into());
    };
    let names = changes.applied();
    for (name, holds) in &names {
        let fault = match changes.faults.get(name) {
            Some(Fault::Delay(ms)) => format!("answered after {ms} ms"),
            Some(Fault::Drop) => "never answered".into(),
            Some(Fault::Fail) => "answered with SERVFAIL".into(),
            None => String::new(),
        };
        let changed = if changes.records.contains_key(name) { "changed" } else { "" };
        let note =
            [changed, &fault].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", ");
        for address in &holds.addresses {
            line(name, &format!("A    {address}"), &note);
        }
        for service in &holds.services {
            line(name, &format!("SRV  0 1 {} {}", service.port, full(&service.host)), &note);
        }
        if holds.addresses.is_empty() && holds.services.is_empty() {
            line(name, "     no records", &note);
        }
    }
    for (name, _) in changes.records.iter().filter(|(name, _)| !names.contains_key(*name)) {
        line(name, "     removed", "changed");
    }
    for (name, fault) in changes.faults.iter().filter(|(name, _)| !names.contains_key(*name)) {
        let note = format!("{fault:?}").to_lowercase();
        line(name, "     unknown name", &note);
    }
    lines.into_values().flatten().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_lie_in_the_zone() {
        assert_eq!(in_zone("Blue").unwrap(), "blue");
        assert_eq!(in_zone("_http._tcp.shop.pingora.local").unwrap(), "_http._tcp.shop");
        assert_eq!(in_zone("*.api").unwrap(), "*.api");
        for wrong in ["blue.example.", "", "a..b", "a b", "pingora.local", "bl\u{fc}e"] {
            assert_eq!(in_zone(wrong).unwrap_err().status, 2, "{wrong}");
        }
    }

    #[test]
    fn the_table_tells_what_is_changed() {
        let mut changes = Changes::default();
        changes.records.insert("green".into(), None);
        changes.records.insert(
            "blue".into(),
            Some(Holds { addresses: vec![Ipv4Addr::new(172, 28, 0, 21)], services: vec![] }),
        );
        changes.faults.insert("blue".into(), Fault::Delay(800));
        let table = table(&changes);
        let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("blue.").ends_with("changed, answered after 800 ms"), "{table}");
        assert!(line("green.").contains("removed"), "{table}");
        assert!(line("_http._tcp.app.").contains("SRV  0 1 8080 blue.pingora.local"), "{table}");
    }
}
