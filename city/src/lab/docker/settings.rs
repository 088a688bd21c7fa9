//! What `docker-compose.yml` is told in `.env`, and the folders in which its containers keep their state.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::engine;
use crate::lab::environment;
use crate::map::HOSTS;
use crate::trouble::{OrTrouble, Result};

/// Where the containers keep their journals, faults and logs. The same folders are mounted in
/// `docker-compose.yml`.
pub fn folder(repository: &Path) -> PathBuf {
    repository.join("target/docker-city")
}

/// Whether a clone was set up for Docker once.
pub fn is_set_up(repository: &Path) -> bool {
    repository.join(".env").is_file()
}

/// The user and the group that containers run as, so that what they write in the clone stays its owner's.
pub fn owner() -> (u32, u32) {
    if is_rootless() {
        // There, root in a container is the person who runs the engine, and everybody else is somebody else.
        return (0, 0);
    }
    match environment::sudo_user() {
        Some(user) => (user.uid.as_raw(), user.gid.as_raw()),
        None => (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()),
    }
}

fn is_rootless() -> bool {
    let options = engine::said(["info", "--format", "{{.SecurityOptions}}"]);
    options.is_ok_and(|options| options.contains("rootless"))
}

/// Writes `.env`, of which other people's lines stay, and makes the folders: a folder that is missing would be
/// made by the engine, as root.
pub fn write(repository: &Path) -> Result {
    let (uid, gid) = owner();
    let path = repository.join(".env");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let ours = |line: &&str| line.starts_with("CITY_UID=") || line.starts_with("CITY_GID=");
    let mut new: String = text.lines().filter(|line| !ours(line)).map(|line| format!("{line}\n")).collect();
    new.push_str(&format!("CITY_UID={uid}\nCITY_GID={gid}\n"));
    if new != text {
        let cannot = || format!("cannot write {}", path.display());
        let mut file = tempfile::NamedTempFile::new_in(repository).or_trouble(cannot)?;
        file.write_all(new.as_bytes()).or_trouble(cannot)?;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).or_trouble(cannot)?;
        give(file.path(), (uid, gid))?;
        file.persist(&path).or_trouble(cannot)?;
    }
    let hosts = HOSTS.iter().map(|host| host.name).chain(["nowhere"]);
    let folders = hosts.map(|host| crate::paths::host(&folder(repository), host));
    for folder in folders {
        let known = folder.is_dir();
        fs::create_dir_all(&folder).or_trouble(|| format!("cannot make {}", folder.display()))?;
        if !known {
            give(&folder, (uid, gid))?;
        }
    }
    Ok(())
}

/// Gives a file or folder to the user that containers run as; nothing to do but for root.
pub fn give(path: &Path, (uid, gid): (u32, u32)) -> Result {
    if !nix::unistd::geteuid().is_root() || uid == 0 {
        return Ok(());
    }
    chown(path, Some(uid), Some(gid)).or_trouble(|| format!("cannot give {} to its user", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_people_stay() {
        let repository = tempfile::tempdir().unwrap();
        let path = repository.path().join(".env");
        fs::write(&path, "CITY_UID=7\nMINE=1\n").unwrap();
        write(repository.path()).unwrap();
        let once = fs::read_to_string(&path).unwrap();
        assert!(once.starts_with("MINE=1\nCITY_UID="), "{once}");
        assert!(!once.contains("CITY_UID=7\n") || owner().0 == 7);
        write(repository.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), once);
        assert!(folder(repository.path()).join("hosts/nowhere").is_dir());
    }
}
