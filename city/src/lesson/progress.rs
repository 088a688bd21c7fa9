//! What was verified last, with which result and when: a small file that git ignores, for `city list` and
//! `city next`.
//!
//! It lies beside the repository's files and not in the target folder, which people delete when a disk is full.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::text::Lesson;
use crate::lab::environment;
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
    /// What its files held: see [`fingerprint`].
    #[serde(default)]
    pub of: String,
    /// How many were remembered before it. Clocks are set back, and so tell no order.
    #[serde(default)]
    pub nth: u64,
}

impl Entry {
    /// An entry of this moment.
    pub fn now(passed: bool, took: Duration, of: String) -> Entry {
        let when = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Entry { passed, when, seconds: took.as_secs_f64(), of, nth: 0 }
    }

    /// Whether it speaks of what the files of the lesson hold now.
    pub fn is_of(&self, repository: &Path, lesson: &Lesson) -> bool {
        self.of == fingerprint(repository, lesson)
    }
}

/// What the text and the example of a lesson hold, in a few letters. Dates of files would not do: git sets them
/// anew, and a clock may have been wrong.
pub fn fingerprint(repository: &Path, lesson: &Lesson) -> String {
    let mut digest = Context::new(&SHA256);
    let mut files = vec![lesson.file.clone(), lesson.example(), lesson.opener()];
    files.dedup();
    for file in files {
        let held = fs::read(repository.join(file)).unwrap_or_default();
        digest.update(&(held.len() as u64).to_le_bytes());
        digest.update(&held);
    }
    digest.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last verification of every lesson, by name.
pub type Progress = BTreeMap<String, Entry>;

/// The folder for what the tool remembers about this clone; made if it is not there.
pub fn folder(repository: &Path) -> Result<PathBuf> {
    let folder = repository.join(".city");
    fs::create_dir_all(&folder).or_trouble(|| format!("cannot make {}", folder.display()))?;
    belongs_to_its_user(&folder);
    Ok(folder)
}

/// Under sudo, what is written here stays the user's. If that fails, the user learns of it when it matters.
pub fn belongs_to_its_user(file: &Path) {
    if let Some(user) = environment::sudo_user() {
        let _ = chown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    }
}

fn file(repository: &Path) -> PathBuf {
    repository.join(".city/progress.json")
}

/// Reads it. A file that is missing or damaged is an empty one: nothing but a memory is lost with it.
pub fn read(repository: &Path) -> Progress {
    let text = fs::read_to_string(file(repository)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Puts an entry into what the file holds by now.
pub fn remember(repository: &Path, lesson: &str, mut entry: Entry) -> Result {
    let folder = folder(repository)?;
    let file = file(repository);
    let what = || format!("cannot write {}", file.display());
    // Another verification may be about to write its own.
    let lock = File::open(&folder).or_trouble(what)?;
    let _locked = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).or_trouble(what)?;
    let mut progress = read(repository);
    entry.nth = progress.values().map(|entry| entry.nth + 1).max().unwrap_or(0);
    progress.insert(lesson.to_owned(), entry);
    let text = serde_json::to_string_pretty(&progress).or_trouble(what)?;
    // By rename, and only once it is on the disk: a reader never meets half of it, whatever is interrupted.
    let half = file.with_extension("json.new");
    let mut written = File::create(&half).or_trouble(what)?;
    written.write_all(text.as_bytes()).and_then(|()| written.write_all(b"\n")).or_trouble(what)?;
    written.sync_all().or_trouble(what)?;
    belongs_to_its_user(&half);
    fs::rename(&half, &file).or_trouble(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(passed: bool) -> Entry {
        Entry::now(passed, Duration::from_millis(420), "x".into())
    }

    #[test]
    fn entries_add_up_and_a_damaged_file_is_an_empty_one() {
        let repository = tempfile::tempdir().unwrap();
        assert!(read(repository.path()).is_empty());
        remember(repository.path(), "06_a", entry(true)).unwrap();
        remember(repository.path(), "07_b", entry(false)).unwrap();
        let progress = read(repository.path());
        assert!(progress["06_a"].passed && !progress["07_b"].passed);
        assert!((progress["06_a"].seconds - 0.42).abs() < 1e-9);
        assert_eq!((progress["06_a"].nth, progress["07_b"].nth), (0, 1));
        fs::write(file(repository.path()), "{").unwrap();
        assert!(read(repository.path()).is_empty());
    }

    #[test]
    fn half_a_file_that_was_never_renamed_is_in_nobodys_way() {
        let repository = tempfile::tempdir().unwrap();
        remember(repository.path(), "06_a", entry(true)).unwrap();
        fs::write(repository.path().join(".city/progress.json.new"), "{\"06_a\": {\"pas").unwrap();
        assert!(read(repository.path())["06_a"].passed);
        remember(repository.path(), "07_b", entry(true)).unwrap();
        assert_eq!(read(repository.path()).len(), 2);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let repository = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let repository = repository.path();
                scope.spawn(move || remember(repository, &format!("{number:02}_x"), entry(true)).unwrap());
            }
        });
        assert_eq!(read(repository.path()).len(), 16);
    }

    #[test]
    fn an_entry_is_of_what_the_files_held() {
        let repository = tempfile::tempdir().unwrap();
        for folder in ["lessons", "examples"] {
            fs::create_dir(repository.path().join(folder)).unwrap();
        }
        let lesson = Lesson::parse("06_a", "lessons/06_a.md", "# 06 · A\n").unwrap();
        let of = fingerprint(repository.path(), &lesson);
        let entry = Entry::now(true, Duration::ZERO, of);
        assert!(entry.is_of(repository.path(), &lesson));
        fs::write(repository.path().join("examples/06_a.rs"), "fn main() {}").unwrap();
        assert!(!entry.is_of(repository.path(), &lesson));
    }
}
