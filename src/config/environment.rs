//! What comes into a configuration from outside of its files: variables and other files, named in its values,
//! and variables that take the place of a value.
//!
//! | written | stands for |
//! |---|---|
//! | `${NAME}` | the variable; that it is not set is an error |
//! | `${NAME:-8080}` | the variable, or this if it is not set or empty |
//! | `${file:/run/secrets/key}` | what is in the file, without the line's end behind it |
//! | `$${` | `${` itself |
//! | `GATEWAY__SERVER__THREADS=4` | a variable that sets the key `server.threads` |
//! | `WORKER_THREADS=4` | the same key, for those who know it by this name |
//!
//! Everything that comes in this way may be a secret: it is never shown, see [`super::document`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What begins the names of variables that set a key.
const PREFIX: &str = "GATEWAY__";
/// More than any secret has, and no device that never ends.
const FILE_LIMIT: u64 = 1 << 20;

/// Whatever could mean something, also where it is written wrongly. What a default or a file's name may not have
/// is a closing brace.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?<literal>\$\$\{)|\$\{(?:file:(?<file>[^}]+)|(?<name>[A-Za-z_][A-Za-z0-9_]*)(?<default>:-[^}]*)?)\}|\$\{")
        .expect("it is the same for every configuration, and the tests use it")
});

/// The variables that a configuration may name.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Whether somebody only asks.
    pub(super) asks: bool,
}

/// A value in which something was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// What it is now.
    pub text: String,
    /// Each text that came from outside, and how the configuration calls it.
    pub parts: Vec<(String, String)>,
}

/// Why nothing could be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    pub message: String,
    pub fix: String,
}

/// A variable that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Override<'e> {
    /// The variable's name.
    pub name: &'e str,
    /// The key and those above it, as the variable's name has them.
    pub path: Vec<&'e str>,
    /// What the variable is.
    pub value: &'e str,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// For somebody who asks what a configuration means, and may have fewer rights than who serves with it.
    #[must_use]
    pub fn to_ask(self) -> Environment {
        Environment { asks: true, ..self }
    }

    /// With `server.daemon`, as if the configuration said so: much that can be used elsewhere is none for a daemon.
    #[must_use]
    pub fn in_background(mut self) -> Environment {
        self.variables.insert(format!("{PREFIX}SERVER__DAEMON"), "true".to_string());
        self
    }

    /// Puts in what a value names. `None` if it names nothing.
    pub(super) fn fill(&self, text: &str) -> Result<Option<Filled>, Unfilled> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut parts = Vec::new();
        let mut trouble = None;
        let filled = REFERENCE.replace_all(text, |found: &Captures<'_>| {
            let written = &found[0];
            if found.name("literal").is_some() {
                return "${".to_string();
            }
            match self.look_up(found) {
                Ok(value) => {
                    parts.push((value.clone(), written.to_string()));
                    value
                }
                Err(error) => {
                    trouble.get_or_insert(error);
                    String::new()
                }
            }
        });
        match trouble {
            Some(error) => Err(error),
            None => Ok(Some(Filled { text: filled.into_owned(), parts })),
        }
    }

    fn look_up(&self, found: &Captures<'_>) -> Result<String, Unfilled> {
        if let Some(path) = found.name("file") {
            return read(path.as_str()).map_err(|error| Unfilled {
                message: format!("cannot read the file `{}`: {error}", path.as_str()),
                fix: "give its whole path, and let the gateway's user read it".to_string(),
            });
        }
        let Some(name) = found.name("name") else {
            return Err(Unfilled {
                message: "`${` begins a name that is none, or that does not end".to_string(),
                fix: "write `${NAME}`, `${NAME:-default}` or `${file:/path}`; for the two characters themselves, `$${`"
                    .to_string(),
            });
        };
        let value = self.variables.get(name.as_str());
        match (value, found.name("default")) {
            (Some(value), None) => Ok(value.clone()),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
            (_, Some(default)) => Ok(default.as_str()[2..].to_string()),
            (None, None) => Err(Unfilled {
                message: format!("the variable `{}` is not set", name.as_str()),
                fix: format!("set it, or write `${{{}:-default}}`", name.as_str()),
            }),
        }
    }

    /// The variables that set keys, by name, except that the more exact name comes last and so wins.
    pub(super) fn overrides(&self) -> Vec<Override<'_>> {
        let worker_threads = self.variables.get_key_value("WORKER_THREADS").map(|(name, value)| Override {
            name,
            path: vec!["SERVER", "THREADS"],
            value,
        });
        let exact = self.variables.iter().filter_map(|(name, value)| {
            let path = name.strip_prefix(PREFIX)?.split("__").collect();
            Some(Override { name, path, value })
        });
        worker_threads.into_iter().chain(exact).collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Environment {
        Environment { variables: variables.into_iter().collect(), asks: false }
    }
}

/// Without the values.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    let line = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(line.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn environment() -> Environment {
        [
            ("KEY", "s3cret"),
            ("EMPTY", ""),
            ("PORT", "8080"),
            ("GATEWAY__A__0__B", "1"),
            ("WORKER_THREADS", "2"),
        ]
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .into_iter()
        .collect()
    }

    #[test]
    fn names_become_what_they_stand_for() {
        let environment = environment();
        for (written, filled) in [
            ("${KEY}", "s3cret"),
            ("127.0.0.1:${PORT}", "127.0.0.1:8080"),
            ("${NONE:-a:b-c}", "a:b-c"),
            ("${NONE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${PORT}${PORT:-1}", "80808080"),
            ("$${KEY}", "${KEY}"),
            ("a$${", "a${"),
        ] {
            let found = environment.fill(written).expect(written).expect("it names something");
            assert_eq!(found.text, filled, "{written}");
        }
        for literal in ["", "plain", "$KEY", "^/a$", "$$", "{KEY}"] {
            assert_eq!(environment.fill(literal), Ok(None), "{literal}");
        }
    }

    #[test]
    fn what_stands_for_nothing_is_said() {
        for (written, message) in [
            ("${NONE}", "`NONE` is not set"),
            ("${", "does not end"),
            ("${KEY", "does not end"),
            ("${K Y}", "is none"),
            ("${}", "is none"),
            ("${1A}", "is none"),
            ("${file:}", "is none"),
            ("${file:/nowhere/to/be/found}", "cannot read the file `/nowhere/to/be/found`"),
            ("${file:/dev/zero}", "larger than 1 MiB"),
        ] {
            let error = environment().fill(written).expect_err(written);
            assert!(error.message.contains(message), "{written}: {}", error.message);
        }
    }

    #[test]
    fn a_file_loses_only_the_end_of_its_last_line() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b" one\ntwo \r\n").expect("it is written");
        let filled = environment().fill(&format!("${{file:{}}}", file.path().display()));
        assert_eq!(filled.expect("it is read").expect("it names it").text, " one\ntwo ");
    }

    #[test]
    fn variables_that_set_keys_are_found_and_values_do_not_print() {
        let environment = environment();
        let overrides = environment.overrides();
        let paths: Vec<_> = overrides.iter().map(|o| o.path.join(".")).collect();
        assert_eq!(paths, ["SERVER.THREADS", "A.0.B"]);
        assert!(!format!("{environment:?}").contains("s3cret"));
    }
}
