//! Where things are: the repository, and the folder in which running Cities keep their state.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::lab::environment;
use crate::trouble::{OrTrouble, Result, Trouble};

/// The root of the repository: the nearest folder upwards that holds the workspace and its `lessons/`.
pub fn repository() -> Result<PathBuf> {
    let here = env::current_dir().or_trouble(|| "cannot tell the current folder".into())?;
    if let Some(root) = here.ancestors().find(|folder| is_repository(folder)) {
        return Ok(root.to_owned());
    }
    // Not below it: the tool lies in its target folder.
    let tool = env::current_exe().or_trouble(|| "cannot tell where this tool lies".into())?;
    tool.ancestors().find(|folder| is_repository(folder)).map(Path::to_owned).ok_or_else(|| {
        Trouble::new(format!("{} is not inside a clone of pingora-city", here.display()))
            .remedy("cd to the clone and try again")
    })
}

fn is_repository(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file() && folder.join("lessons").is_dir() && folder.join("city").is_dir()
}

/// The folder of all Cities of this user: mode 0700, and nobody else's, or it is refused.
///
/// It is deliberately not in `XDG_RUNTIME_DIR`, which differs between a login, `su` and `sudo`: a City must
/// be found again from any of one's shells.
pub fn state() -> Result<PathBuf> {
    // Under sudo it stays that user's: commands on hosts run as that user and write there.
    let person = environment::sudo_user();
    let uid = person.as_ref().map_or_else(nix::unistd::getuid, |user| user.uid).as_raw();
    let folder = match env::var_os("CITY_STATE_ROOT") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(format!("/tmp/pingora-city-{uid}")),
    };
    let made = DirBuilder::new().mode(0o700).create(&folder);
    if let Err(error) = &made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(Trouble::new(format!("cannot make the state folder {}", folder.display())).cause(error));
    }
    if made.is_ok() && person.is_some() {
        std::os::unix::fs::chown(&folder, Some(uid), None)
            .or_trouble(|| format!("cannot give {} to its user", folder.display()))?;
    }
    let about = fs::symlink_metadata(&folder).or_trouble(|| format!("cannot read {}", folder.display()))?;
    if !about.is_dir() || about.uid() != uid {
        return Err(Trouble::new(format!("{} is not a folder of yours (uid {uid})", folder.display()))
            .remedy("somebody else made it: remove it, or set CITY_STATE_ROOT to a folder of your own"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
            .or_trouble(|| format!("cannot close {} to others", folder.display()))?;
    }
    Ok(folder)
}

/// The folder of one City.
pub fn city(name: &str) -> Result<PathBuf> {
    Ok(state()?.join(name))
}

/// The folder in which one host of one City keeps what it records and what it is told:
/// `journal.ndjson`, `fault.json`, `zone.json`, its services' log and the logs of examples run on it.
///
/// A service on that host finds it in `CITY_STATE`, in both Cities.
pub fn host(city_folder: &Path, host: &str) -> PathBuf {
    city_folder.join("hosts").join(host)
}
