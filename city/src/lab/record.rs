//! What is written down of a City: enough to find it, and to tell a living one from one whose keeper is gone.
//!
//! Alive means that somebody holds the lock, not that a recorded pid exists: pids are used again.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::Lifetime;
use crate::paths;
use crate::trouble::{OrTrouble, Result, Trouble};

/// One City, as its keeper wrote it down when it came up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// When it ends by itself.
    pub lifetime: Lifetime,
    /// Found only by its name.
    pub private: bool,
    /// The clone that its hosts see.
    pub repository: PathBuf,
    /// Whether it lives in a user namespace: brought up by an ordinary user.
    pub user_namespace: bool,
}

impl Record {
    /// The City of this name, if it is up.
    pub fn of(name: &str) -> Result<Option<Record>> {
        let folder = paths::city(name)?;
        if !Lock::is_held(&folder) {
            return Ok(None);
        }
        // Held but not yet written down: it is coming up.
        let Ok(text) = fs::read_to_string(folder.join("city.json")) else { return Ok(None) };
        let record = serde_json::from_str(&text).or_trouble(|| format!("{}/city.json", folder.display()))?;
        Ok(Some(record))
    }

    /// Every City of this user that is up, by name.
    pub fn all() -> Result<Vec<Record>> {
        let mut found = Vec::new();
        for name in names()? {
            found.extend(Record::of(&name)?);
        }
        found.sort_by(|a: &Record, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Writes it down, whole or not at all.
    #[cfg(target_os = "linux")]
    pub fn write(&self, folder: &Path) -> Result {
        let text = serde_json::to_string_pretty(self).or_trouble(|| "city.json".into())?;
        let new = folder.join("city.json.new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, folder.join("city.json")))
            .or_trouble(|| format!("cannot write {}/city.json", folder.display()))
    }
}

fn names() -> Result<Vec<String>> {
    let state = paths::state()?;
    let entries = fs::read_dir(&state).or_trouble(|| format!("cannot list {}", state.display()))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| super::check_name(name).is_ok())
        .collect())
}

/// The lock that a keeper holds for as long as it lives. The kernel drops it with the keeper, whatever ended it.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, never read")] Flock<File>);

impl Lock {
    /// Takes the name for this process, or says that another City has it.
    ///
    /// What a dead City of that name left in its folder is removed.
    pub fn take(folder: &Path) -> Result<Lock> {
        // Somebody who merely looks whether it is held holds it for an instant. And one that is not yet written
        // down is coming up, or going, as after Ctrl-C in the midst of it: a moment later more is known.
        let begun = Instant::now();
        let patience = || Duration::from_millis(if folder.join("city.json").exists() { 100 } else { 10_000 });
        loop {
            fs::create_dir_all(folder).or_trouble(|| format!("cannot make {}", folder.display()))?;
            let path = folder.join("lock");
            let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = match opened {
                Ok(file) => file,
                // Its last owner removed the folder between the two lines above.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Trouble::new(format!("cannot open {}", path.display())).cause(error));
                }
            };
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
                if begun.elapsed() < patience() {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                return Err(Trouble::new(format!("a City named '{name}' is already up")).remedy(format!(
                    "use it, take it down with `cargo city down --name {name}`, or choose another --name"
                )));
            };
            // The file that was locked may have been removed meanwhile, and its successor be another's.
            let ours = lock.metadata().map(|m| m.ino()).ok();
            if ours.is_some() && fs::metadata(&path).map(|m| m.ino()).ok() == ours {
                clear(folder);
                return Ok(Lock(lock));
            }
        }
    }

    /// Whether a living process holds the lock of this folder.
    pub fn is_held(folder: &Path) -> bool {
        match OpenOptions::new().write(true).open(folder.join("lock")) {
            Ok(file) => Flock::lock(file, FlockArg::LockSharedNonblock).is_err(),
            Err(_) => false,
        }
    }
}

/// Removes everything in the folder of a City but its lock.
fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() != "lock" {
            let path = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

/// Where the keeper of a City complains until it is up.
pub fn log(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.log"))
}

/// Removes the folder of a City that is over. The lock goes last, so that a successor finds all or nothing.
pub fn remove(folder: &Path) {
    clear(folder);
    // Its owner reads and removes this, unless it was killed in the midst of bringing it up.
    let _ = fs::remove_file(log(folder));
    let _ = fs::remove_file(folder.join("lock"));
    let _ = fs::remove_dir(folder);
}

/// Removes the folder of a City whose keeper is gone, unless another of that name has come up since.
pub fn clear_stale(folder: &Path) {
    if folder.exists()
        && let Ok(_lock) = Lock::take(folder)
    {
        remove(folder);
    }
}

/// The names of Cities whose keeper is gone and whose folder is still there.
pub fn stale() -> Result<Vec<String>> {
    let state = paths::state()?;
    Ok(names()?.into_iter().filter(|name| !Lock::is_held(&state.join(name))).collect())
}
