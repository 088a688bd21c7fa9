//! `servers` and `discovery` of an upstream: which servers there are, and who says so.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::check::Check;
use super::diagnostic::{Report, Source};
use super::document::Document;
use super::files::is_whole;
use super::{At, all, raw, schema};

/// One server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests; at least 1.
    pub weight: u32,
    /// Whether it gets requests only when no other server can take them.
    pub backup: bool,
}

/// Who says which servers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where to look.
    pub source: ServerSource,
    /// How long to wait until looking again.
    pub refresh: Duration,
}

/// Where servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSource {
    /// In this file.
    File(PathBuf),
    /// At all addresses of this name.
    Dns {
        /// The name.
        name: String,
        /// Where they listen.
        port: u16,
        /// Who is asked; the system's if it is empty.
        name_servers: Vec<SocketAddr>,
    },
    /// Wherever this service is.
    Srv {
        /// Its name.
        name: String,
        /// Who is asked; the system's if it is empty.
        name_servers: Vec<SocketAddr>,
    },
}

/// `daemon` is whether the gateway runs in the background.
pub(super) fn source(
    raw: &raw::Upstream,
    daemon: bool,
    at: &At<'_>,
) -> Option<(Vec<UpstreamServer>, Option<Discovery>)> {
    match (&raw.servers, &raw.discovery) {
        (Some(list), None) => Some((servers(list, &at.key("servers"))?, None)),
        (None, Some(found)) => Some((Vec::new(), Some(discovery(found, daemon, &at.key("discovery"))?))),
        // What is wrong with the one that stands here was said.
        (None, None) if !(at.key("servers").is_sound() && at.key("discovery").is_sound()) => None,
        (None, None) => {
            at.error_at_key("there are no servers", "add `servers: [{ address: 172.28.0.20:8080 }]`");
            None
        }
        (Some(_), Some(_)) => {
            at.key("discovery")
                .error_at_key("servers are either listed or found", "keep one of `servers` and `discovery`");
            None
        }
    }
}

fn discovery(raw: &raw::Discovery, daemon: bool, at: &At<'_>) -> Option<Discovery> {
    let (source, refresh) = match (&raw.file, &raw.dns, &raw.srv) {
        (Some(file), None, None) => (file_source(file, daemon, &at.key("file"))?, 1),
        (None, Some(dns), None) => {
            let at = at.key("dns");
            let name = dns_name(&dns.name, &at.key("name"));
            let name_servers = name_servers(&dns.name_servers, &at.key("name_servers"));
            (ServerSource::Dns { name: name?, port: dns.port, name_servers: name_servers? }, 30)
        }
        (None, None, Some(srv)) => {
            let at = at.key("srv");
            let name = dns_name(&srv.name, &at.key("name"));
            let name_servers = name_servers(&srv.name_servers, &at.key("name_servers"));
            (ServerSource::Srv { name: name?, name_servers: name_servers? }, 30)
        }
        _ => {
            at.error_at_key(
                "servers are looked for in exactly one place",
                "keep one of `file: { path: servers.yaml }`, `dns` and `srv`",
            );
            return None;
        }
    };
    let refresh = raw.refresh.map_or(Duration::from_secs(refresh), |raw::Duration(time)| time);
    Some(Discovery { source, refresh })
}

fn is_name(name: &str) -> bool {
    let known = hickory_resolver::proto::rr::Name::from_ascii(name);
    known.is_ok() && !name.trim_end_matches('.').is_empty() && name.parse::<IpAddr>().is_err()
}

fn dns_name(name: &str, at: &At<'_>) -> Option<String> {
    if !is_name(name) {
        at.error("this is not a DNS name", "write a name such as `users.internal`");
        return None;
    }
    Some(name.to_string())
}

fn name_servers(raw: &[String], at: &At<'_>) -> Option<Vec<SocketAddr>> {
    all(raw.iter().enumerate().map(|(index, address)| {
        let parsed = address.parse().ok();
        if parsed.is_none() {
            at.index(index).error("this is not an IP address with a port", "write it like `172.28.0.2:53`");
        }
        parsed
    }))
}

fn file_source(raw: &raw::FileSource, daemon: bool, at: &At<'_>) -> Option<ServerSource> {
    let path = PathBuf::from(&raw.path);
    let at = at.key("path");
    // The folder of a daemon is `/`: this file would be found now, and never again.
    if daemon && !is_whole(&path, &at) {
        return None;
    }
    match std::fs::read_to_string(&path) {
        Err(error) => {
            at.error(
                format!("this file cannot be read: {error}"),
                "give the path of a file that the gateway may read",
            );
            None
        }
        Ok(text) => match read_servers(&raw.path, &text) {
            Err(report) => {
                for found in report.diagnostics() {
                    let (file, line, column) = report.position(&found.place);
                    at.error(format!("{file}:{line}:{column}: {}", found.message), &*found.fix);
                }
                None
            }
            Ok(_) => Some(ServerSource::File(path)),
        },
    }
}

/// Servers from a text of their own: a list like that of `servers`.
///
/// # Errors
/// All that is wrong with it.
pub fn read_servers(name: &str, text: &str) -> Result<Vec<UpstreamServer>, Report> {
    let (document, mut found) = Document::read_part(Source { name: name.to_owned(), text: text.to_owned() });
    if !document.is_readable() {
        return Err(Report::new(document.sources, found));
    }
    let findings = schema::check(&document, &schema::of_servers());
    found.extend(findings.diagnostics);
    let mut read = None;
    if let Some(list) = findings.rest.and_then(|rest| serde_json::from_value::<Vec<_>>(rest).ok()) {
        let check = Check::new(&document, findings.doubtful);
        read = servers(&list, &check.root());
        found.extend(check.into_found());
    }
    match read {
        Some(servers) if found.is_empty() => Ok(servers),
        _ => Err(Report::new(document.sources, found)),
    }
}

fn servers(raw: &[raw::UpstreamServer], at: &At<'_>) -> Option<Vec<UpstreamServer>> {
    let mut seen = HashMap::new();
    all(raw.iter().enumerate().map(|(index, server)| {
        let address = address(&server.address, index, &mut seen, &at.index(index).key("address"))?;
        Some(UpstreamServer { address, weight: server.weight.unwrap_or(1), backup: server.backup })
    }))
}

/// Where a server listens, if no other of its group does.
pub(super) fn address(
    written: &str,
    index: usize,
    seen: &mut HashMap<SocketAddr, usize>,
    at: &At<'_>,
) -> Option<SocketAddr> {
    let Ok(address) = written.parse::<SocketAddr>() else {
        let name = written.rsplit_once(':').map_or(written, |(name, _)| name);
        let fix = match name.contains(|c: char| c.is_ascii_alphabetic()) && is_name(name) {
            true => {
                "write it like `172.28.0.20:8080`; names belong under `discovery`, as `dns: { name: …, port: … }`"
            }
            false => "write it like `172.28.0.20:8080`",
        };
        at.error("this is not an IP address with a port", fix);
        return None;
    };
    if address.port() == 0 {
        at.error("no server listens on port 0", "write the port that it has");
        return None;
    }
    if let Some(first) = seen.insert(address, index) {
        at.error(
            format!("server {} of this group has this address already", first + 1),
            "remove one of the two",
        );
        return None;
    }
    Some(address)
}
