//! The zone `pingora.local`: what is built in, and what has been changed at run time.
//!
//! The changes are a file, `zone.json` in the folder of the host dns, read for every query: no file, no
//! changes. Names in it are relative to the domain; `@` is the domain itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state;
use crate::map;
use crate::trouble::{OrTrouble, Result, Trouble};

/// Seconds for which an answer may be kept: short, so that lessons see a change at once.
pub const TTL: u32 = 2;

/// The names of one zone, relative to its domain, and what they hold.
pub type Names = BTreeMap<String, Holds>;

/// What a name holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<Ipv4Addr>,
    /// Its services: SRV records.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// One SRV record's host and port; all have the same priority and weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// A name relative to the domain.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What has been changed of the zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Names whose records were set; `null` are names that were removed.
    #[serde(default)]
    pub records: BTreeMap<String, Option<Holds>>,
    /// Names that are answered badly.
    #[serde(default)]
    pub faults: BTreeMap<String, Fault>,
}

/// How a name is answered badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// After this many milliseconds.
    Delay(u64),
    /// Never.
    Drop,
    /// With SERVFAIL.
    Fail,
}

impl Changes {
    fn path(host_folder: &Path) -> PathBuf {
        host_folder.join("zone.json")
    }

    /// The changes made to the zone of a City.
    pub fn read(host_folder: &Path) -> Result<Changes> {
        let path = Changes::path(host_folder);
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).or_trouble(|| format!("cannot read {}", path.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Changes::default()),
            Err(error) => Err(Trouble::new(format!("cannot read {}", path.display())).cause(error)),
        }
    }

    /// Puts these changes in force.
    pub fn write(&self, host_folder: &Path) -> Result {
        state::write(&Changes::path(host_folder), self)
    }

    /// All names as they are now.
    pub fn applied(&self) -> Names {
        let mut names = built_in();
        for (name, holds) in &self.records {
            match holds {
                Some(holds) => names.insert(name.clone(), holds.clone()),
                None => names.remove(name),
            };
        }
        names
    }
}

/// The zone as it is when nobody has changed it.
pub fn built_in() -> Names {
    let advanced = map::HOSTS.iter().find(|host| host.name == "advanced").map(map::Host::address);
    let mut names = Names::new();
    let mut address = |name: &str, address| {
        names.insert(name.into(), Holds { addresses: vec![address], services: Vec::new() });
    };
    for host in map::HOSTS {
        address(host.name, host.address());
    }
    address("nowhere", map::NOWHERE);
    if let Some(advanced) = advanced {
        for name in ["*.api", "v1.api", "v2.api"] {
            address(name, advanced);
        }
    }
    for (name, hosts) in [("_http._tcp.app", &["blue", "green"][..]), ("_grpc._tcp.grpc", &["grpc"])] {
        let offered = map::HOSTS.iter().filter(|host| hosts.contains(&host.name));
        let services = offered.map(|host| Service { host: host.name.into(), port: host.tcp[0] }).collect();
        names.insert(name.into(), Holds { addresses: Vec::new(), services });
    }
    names
}

/// A name as typed, relative to the domain: `blue`, `blue.pingora.local` and `Blue.Pingora.Local.` are one.
/// None: it lies in another domain.
pub fn relative(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let absolute = name.ends_with('.');
    let name = name.trim_end_matches('.');
    if name == map::DOMAIN || name == "@" {
        return Some("@".into());
    }
    match name.strip_suffix(map::DOMAIN).and_then(|name| name.strip_suffix('.')) {
        Some(relative) => Some(relative.into()),
        None if absolute || name.is_empty() => None,
        None => Some(name.into()),
    }
}

/// What the zone says of a relative name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name exists and holds this.
    Holds(&'a Holds),
    /// It exists only because there are names below it.
    Nothing,
    /// There is no such name.
    NoName,
}

/// Looks a relative name up, wildcards included (RFC 4592).
pub fn find<'a>(names: &'a Names, name: &str) -> Found<'a> {
    let exists = |name: &str| {
        let below = format!(".{name}");
        name == "@" || names.keys().any(|known| known.ends_with(&below))
    };
    if let Some(holds) = names.get(name) {
        return Found::Holds(holds);
    }
    if exists(name) {
        return Found::Nothing;
    }
    // A wildcard answers for what does not exist below the closest name that does.
    let mut rest = name;
    while let Some((_, parent)) = rest.split_once('.') {
        if let Some(holds) = names.get(&format!("*.{parent}")) {
            return Found::Holds(holds);
        }
        if names.contains_key(parent) || exists(parent) {
            break;
        }
        rest = parent;
    }
    Found::NoName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_as_they_are_typed() {
        for typed in ["blue", "blue.pingora.local", "BLUE.Pingora.local."] {
            assert_eq!(relative(typed).as_deref(), Some("blue"), "{typed}");
        }
        assert_eq!(relative("pingora.local.").as_deref(), Some("@"));
        assert_eq!(relative("blue.example."), None);
        assert_eq!(relative("notpingora.local."), None);
    }

    #[test]
    fn a_name_is_found_or_not() {
        let names = built_in();
        let address = |name| match find(&names, name) {
            Found::Holds(holds) => holds.addresses.first().map(ToString::to_string),
            _ => None,
        };
        assert_eq!(address("blue").as_deref(), Some("172.28.0.20"));
        assert_eq!(address("v9.api").as_deref(), Some("172.28.0.22"));
        assert_eq!(address("deep.v9.api").as_deref(), Some("172.28.0.22"));
        assert_eq!(find(&names, "api"), Found::Nothing);
        assert_eq!(find(&names, "app"), Found::Nothing);
        assert_eq!(find(&names, "deep.v1.api"), Found::NoName);
        assert_eq!(find(&names, "purple"), Found::NoName);
        assert_eq!(find(&names, "deep.blue"), Found::NoName);
    }

    #[test]
    fn changes_replace_add_and_remove() {
        let mut changes = Changes::default();
        let green = Holds { addresses: vec![Ipv4Addr::new(172, 28, 0, 21)], ..Holds::default() };
        changes.records.insert("blue".into(), Some(green.clone()));
        changes.records.insert("green".into(), None);
        let names = changes.applied();
        assert_eq!(find(&names, "blue"), Found::Holds(&green));
        assert_eq!(find(&names, "green"), Found::NoName);
    }
}
