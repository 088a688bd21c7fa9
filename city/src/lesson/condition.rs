//! What `wait-for` waits for: one condition, asked again and again without starting a process.

use std::fs;
use std::path::{Path, PathBuf};

use super::play::joined;
use crate::lab::City;
use crate::map;
use crate::services::journal;
use crate::trouble::{Result, Trouble};

/// Set by dev-check where lines of a log count as seen, for no stand-in prints them.
pub const LOGS_COUNT_AS_SEEN: &str = "CITY_LOGS_COUNT_AS_SEEN";

/// The conditions there are, as help shows them.
pub const FORMS: &str = "HOST log TEXT, HOST listens PORT, HOST closed PORT, journal HOST has TARGET [N], \
                         file PATH or HOST file PATH";

/// Something that holds or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A log of an example that runs, or ran last, on the host has a line with this text.
    Log(&'static str, String),
    /// Something listens on the port.
    Listens(&'static str, u16),
    /// Nothing listens on the port.
    Closed(&'static str, u16),
    /// The host received at least so many requests for the target.
    Journal(&'static str, String, usize),
    /// The file exists where this is asked.
    File(PathBuf),
    /// The file exists on the host.
    HostFile(&'static str, String),
}

impl Condition {
    /// Reads one as it is typed.
    pub fn parse(text: &str) -> Result<Condition> {
        let words = shlex::split(text).ok_or_else(|| {
            Trouble::new(format!("a quote is never closed in: {text}")).remedy("close it").status(2)
        })?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let host = |name: &str| map::host(name).map(|host| host.name);
        match words.as_slice() {
            [name, "log", line] => Ok(Condition::Log(host(name)?, (*line).to_owned())),
            [name, "listens", number] => Ok(Condition::Listens(host(name)?, port(number)?)),
            [name, "closed", number] => Ok(Condition::Closed(host(name)?, port(number)?)),
            ["journal", name, "has", target] => Ok(Condition::Journal(host(name)?, (*target).to_owned(), 1)),
            ["journal", name, "has", target, times] => {
                let times = times.parse().map_err(|_| no_number("count", times))?;
                Ok(Condition::Journal(host(name)?, (*target).to_owned(), times))
            }
            ["file", path] => Ok(Condition::File(PathBuf::from(path))),
            [name, "file", path] => Ok(Condition::HostFile(host(name)?, (*path).to_owned())),
            _ => Err(Trouble::new(format!("'{text}' is no condition"))
                .remedy(format!("the conditions are {FORMS}; quote what holds a space"))
                .status(2)),
        }
    }

    /// Whether it can be asked without a City.
    pub fn is_local(&self) -> bool {
        matches!(self, Condition::File(_))
    }

    /// None if it holds; otherwise what is to be seen instead.
    pub fn unmet(&self, city: Option<&City>) -> Result<Option<String>> {
        match (self, city) {
            (Condition::File(path), _) => {
                Ok((!path.exists()).then(|| format!("there is no {}", path.display())))
            }
            (Condition::Log(host, line), Some(city)) => {
                if std::env::var_os(LOGS_COUNT_AS_SEEN).is_some() {
                    return Ok(None);
                }
                Ok(not_logged(&city.host_folder(host).join("log"), host, line))
            }
            (Condition::Listens(host, port), Some(city)) => {
                let listening = city.listening(host)?;
                Ok((!listening.contains(port)).then(|| match listening.as_slice() {
                    [] => format!("nothing listens on {host}"),
                    ports => format!("{host} listens on {}", joined(ports)),
                }))
            }
            (Condition::Closed(host, port), Some(city)) => {
                let open = city.listening(host)?.contains(port);
                Ok(open.then(|| format!("{host} still listens on {port}")))
            }
            (Condition::Journal(host, target, times), Some(city)) => {
                let entries = journal::read(&city.host_folder(host))?;
                let got = journal::count(&entries, target);
                Ok((got < *times).then(|| {
                    let last =
                        entries.iter().rfind(|entry| !entry.request.is_citys_own()).map(journal::Entry::line);
                    let last = last
                        .map_or("it received nothing".into(), |line| format!("the last it received: {line}"));
                    format!("{host} received {target} {got} times, not {times}; {last}")
                }))
            }
            (Condition::HostFile(..), _) | (_, None) => {
                Err(Trouble::new("this condition is asked on a host").remedy("use `cargo city wait-for`"))
            }
        }
    }
}

fn port(text: &str) -> Result<u16> {
    text.parse().map_err(|_| no_number("port", text))
}

fn no_number(what: &str, text: &str) -> Trouble {
    Trouble::new(format!("'{text}' is no {what}")).remedy("write a number").status(2)
}

/// None if a log in the folder has the text; otherwise what the logs end with.
fn not_logged(folder: &Path, host: &str, text: &str) -> Option<String> {
    let mut last = None;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let Ok(log) = fs::read(&path) else { continue };
        let log = String::from_utf8_lossy(&log);
        if log.lines().any(|line| line.contains(text)) {
            return None;
        }
        last = log.lines().last().map(|line| format!("the last line of {host}'s log: {line}")).or(last);
    }
    Some(last.unwrap_or_else(|| format!("no example has logged anything on {host}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let cases = [
            ("dev log 'becomes unhealthy'", Condition::Log("dev", "becomes unhealthy".into())),
            ("dev listens 6149", Condition::Listens("dev", 6149)),
            ("dev closed 6149", Condition::Closed("dev", 6149)),
            ("journal green has /x", Condition::Journal("green", "/x".into(), 1)),
            ("journal green has '/x y' 3", Condition::Journal("green", "/x y".into(), 3)),
            ("file /tmp/a.pid", Condition::File("/tmp/a.pid".into())),
            ("dev file /tmp/a.pid", Condition::HostFile("dev", "/tmp/a.pid".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(Condition::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for (text, expected) in [
            ("dev is fine", "'dev is fine' is no condition; the conditions are HOST log TEXT"),
            ("bleu listens 1", "did you mean 'blue'?"),
            ("dev listens x", "'x' is no port"),
            ("dev log a b", "quote what holds a space"),
            ("dev log 'a", "a quote is never closed"),
        ] {
            let trouble = Condition::parse(text).unwrap_err();
            assert!(trouble.to_string().contains(expected), "{trouble}");
            assert_eq!(trouble.status, 2);
        }
    }

    #[test]
    fn logs_are_searched_by_line() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(not_logged(folder.path(), "dev", "up").unwrap(), "no example has logged anything on dev");
        fs::write(folder.path().join("09_x.log"), "starting\nup on 6149\n").unwrap();
        fs::write(folder.path().join("09_x.txt"), "down\n").unwrap();
        assert_eq!(not_logged(folder.path(), "dev", "up on"), None);
        assert_eq!(
            not_logged(folder.path(), "dev", "down").unwrap(),
            "the last line of dev's log: up on 6149"
        );
    }

    #[test]
    fn a_file_needs_no_city() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let condition = Condition::File(path.clone());
        assert!(condition.is_local() && condition.unmet(None).unwrap().is_some());
        fs::write(path, "").unwrap();
        assert_eq!(condition.unmet(None).unwrap(), None);
    }
}
