//! The hidden header of a lesson: `<!-- city: ports=6149 timeout=20s -->`.
//!
//! It carries what the runner needs and a reader does not. It may be spread over several comments; a key is
//! given once.

use std::time::Duration;

use crate::trouble::{Result, Trouble, nearest};

/// Where a place in a lesson is, as compilers say it: `lessons/09_path_routing.md:42`.
pub fn place(file: &str, line: usize) -> String {
    format!("{file}:{line}")
}

/// How long a foreground command, a shown line or a port may take unless the header says otherwise.
pub const STEP_DEADLINE: Duration = Duration::from_secs(15);

/// The grace period that every example has in its code and in its `conf/*.yaml`; 03 has a longer one.
const GRACE: Duration = Duration::from_secs(1);

/// What the keys say, or what holds without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The ports that the lesson's example opens, its private origins included.
    pub ports: Vec<u16>,
    /// Ports that the example names and never opens, such as one that must refuse.
    pub closed: Vec<u16>,
    /// The deadline of each step.
    pub timeout: Duration,
    /// Whether the gateway must pass this lesson too, and if not, why.
    pub gateway: Wanted,
    /// Whether random bytes are sent at its ports by `dev-check`, and if not, why.
    pub fuzz: Wanted,
    /// How long after SIGTERM the example may go on.
    pub grace: Duration,
    /// Why its verification may pass against a stand-in.
    pub standin_exempt: Option<String>,
    /// Why its example has more lines of code than others may have.
    pub long: Option<String>,
    /// The keys that were given, to notice one that is given twice.
    given: Vec<String>,
}

/// `yes`, or `no` with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// As for every lesson.
    Yes,
    /// Not this one; the reason as written after `no:`, possibly empty.
    No(String),
}

impl Default for Header {
    fn default() -> Header {
        Header {
            ports: Vec::new(),
            closed: Vec::new(),
            timeout: STEP_DEADLINE,
            gateway: Wanted::Yes,
            fuzz: Wanted::Yes,
            grace: GRACE,
            standin_exempt: None,
            long: None,
            given: Vec::new(),
        }
    }
}

const KEYS: [&str; 8] = ["ports", "closed", "timeout", "gateway", "fuzz", "grace", "standin-exempt", "long"];

impl Header {
    /// Takes in what stands between `city:` and `-->` in one comment.
    pub fn read(&mut self, settings: &str, file: &str, line: usize) -> Result {
        let here = place(file, line);
        let words = shlex::split(settings).ok_or_else(|| {
            Trouble::new(format!("{here}: a quote in the city header is never closed")).remedy("close it")
        })?;
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return Err(Trouble::new(format!("{here}: '{word}' in the city header has no value"))
                    .remedy(format!("write {word}=VALUE; the keys are {}", KEYS.join(", "))));
            };
            if self.given.iter().any(|given| given == key) {
                return Err(Trouble::new(format!("{here}: '{key}' is set twice in the city header"))
                    .remedy("keep one of them"));
            }
            self.set(key, value, &here)?;
            self.given.push(key.to_owned());
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, here: &str) -> Result {
        match key {
            "ports" => self.ports = ports(value, here)?,
            "closed" => self.closed = ports(value, here)?,
            "timeout" => self.timeout = duration(key, value, here)?,
            "grace" => self.grace = duration(key, value, here)?,
            "gateway" => self.gateway = wanted(key, value, here)?,
            "fuzz" => self.fuzz = wanted(key, value, here)?,
            "standin-exempt" => {
                self.standin_exempt = Some(reason(key, value, "why a pass-through proxy may pass", here)?);
            }
            "long" => self.long = Some(reason(key, value, "why the example cannot be shorter", here)?),
            unknown => {
                let remedy = match nearest(unknown, KEYS) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("the keys are {}", KEYS.join(", ")),
                };
                let what = format!("{here}: unknown key '{unknown}' in the city header");
                return Err(Trouble::new(what).remedy(remedy));
            }
        }
        Ok(())
    }
}

fn ports(value: &str, here: &str) -> Result<Vec<u16>> {
    value
        .split(',')
        .map(|port| {
            port.trim().parse().map_err(|_| {
                Trouble::new(format!("{here}: '{port}' is no port"))
                    .remedy("write ports=6149 or ports=6190,6191")
            })
        })
        .collect()
}

fn duration(key: &str, value: &str, here: &str) -> Result<Duration> {
    humantime::parse_duration(value).map_err(|error| {
        Trouble::new(format!("{here}: {key}={value} is no duration"))
            .cause(error)
            .remedy(format!("write {key}=20s"))
    })
}

/// What an exemption must have.
fn reason(key: &str, value: &str, wanted: &str, here: &str) -> Result<String> {
    if value.trim().is_empty() {
        return Err(Trouble::new(format!("{here}: {key} gives no reason"))
            .remedy(format!("write {key}=\"{wanted}\"")));
    }
    Ok(value.to_owned())
}

fn wanted(key: &str, value: &str, here: &str) -> Result<Wanted> {
    match value.split_once(':').unwrap_or((value, "")) {
        ("yes", "") => Ok(Wanted::Yes),
        ("no", reason) => Ok(Wanted::No(reason.trim().to_owned())),
        _ => Err(Trouble::new(format!("{here}: {key}={value} is neither yes nor no"))
            .remedy(format!("write {key}=yes or {key}=\"no: why\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &str) -> Result<Header> {
        let mut header = Header::default();
        header.read(settings, "lessons/09_x.md", 3).map(|()| header)
    }

    #[test]
    fn every_key_is_read() {
        let header = read(
            r#" ports=6190,6191 timeout=20s gateway="no: raw TCP" fuzz=no grace=25s standin-exempt="only a name"
                long="an origin of its own" "#,
        )
        .unwrap();
        assert_eq!(header.ports, [6190, 6191]);
        assert_eq!(header.timeout, Duration::from_secs(20));
        assert_eq!(header.gateway, Wanted::No("raw TCP".into()));
        assert_eq!(header.fuzz, Wanted::No(String::new()));
        assert_eq!(header.grace, Duration::from_secs(25));
        assert_eq!(header.standin_exempt.as_deref(), Some("only a name"));
        assert_eq!(header.long.as_deref(), Some("an origin of its own"));
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_a_remedy() {
        let cases = [
            ("prots=1", "lessons/09_x.md:3: unknown key 'prots' in the city header; did you mean 'ports'?"),
            ("ports=61490", ""),
            ("ports=614900", "lessons/09_x.md:3: '614900' is no port"),
            ("timeout=soon", "timeout=soon is no duration"),
            ("gateway=maybe", "gateway=maybe is neither yes nor no"),
            ("ports=1 ports=2", "'ports' is set twice"),
            ("standin-exempt=", "standin-exempt gives no reason; write standin-exempt=\"why"),
            ("long=' '", "long gives no reason; write long=\"why"),
            ("alone", "'alone' in the city header has no value"),
            ("standin-exempt=\"x", "a quote in the city header is never closed"),
        ];
        for (settings, expected) in cases {
            match read(settings) {
                Ok(_) => assert!(expected.is_empty(), "{settings} should be refused"),
                Err(trouble) => assert!(trouble.to_string().contains(expected), "{settings}: {trouble}"),
            }
        }
    }
}
