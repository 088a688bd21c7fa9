//! What was verified last, with which result and when: a small file in the target folder, for `city list`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::workshop::target;
use crate::trouble::{OrTrouble, Result};

/// The last verification of one lesson.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Whether it passed.
    pub passed: bool,
    /// When it ended, in UTC.
    pub when: String,
    /// How long it took.
    pub seconds: f64,
}

impl Entry {
    /// An entry of this moment.
    pub fn now(passed: bool, took: Duration) -> Entry {
        let when = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Entry { passed, when, seconds: took.as_secs_f64() }
    }
}

/// The last verification of every lesson, by name.
pub type Progress = BTreeMap<String, Entry>;

fn file(repository: &Path) -> PathBuf {
    target(repository).join("city-progress.json")
}

/// Reads it. A file that is missing or damaged is an empty one: nothing but a memory is lost with it.
pub fn read(repository: &Path) -> Progress {
    let text = fs::read_to_string(file(repository)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Adds these entries to what the file holds by now.
pub fn remember(repository: &Path, entries: Progress) -> Result {
    let file = file(repository);
    let mut progress = read(repository);
    progress.extend(entries);
    let what = || format!("cannot write {}", file.display());
    let text = serde_json::to_string_pretty(&progress).or_trouble(what)?;
    // By rename, so that a reader never meets half of it.
    let half = file.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&half, text + "\n").or_trouble(what)?;
    fs::rename(&half, &file).or_trouble(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_add_up_and_a_damaged_file_is_an_empty_one() {
        let repository = tempfile::tempdir().unwrap();
        fs::create_dir(repository.path().join("target")).unwrap();
        assert!(read(repository.path()).is_empty());
        let entry = |passed| Entry::now(passed, Duration::from_millis(420));
        remember(repository.path(), Progress::from([("06_a".into(), entry(true))])).unwrap();
        remember(repository.path(), Progress::from([("07_b".into(), entry(false))])).unwrap();
        let progress = read(repository.path());
        assert!(progress["06_a"].passed && !progress["07_b"].passed);
        assert!((progress["06_a"].seconds - 0.42).abs() < 1e-9);
        fs::write(file(repository.path()), "{").unwrap();
        assert!(read(repository.path()).is_empty());
    }
}
