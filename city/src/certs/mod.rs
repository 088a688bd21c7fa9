//! Making the City's certificate authority and its certificates, in `conf/keys/`.
//!
//! What is good is left alone, so that a proxy that has loaded a certificate goes on working: only what is
//! missing, broken, about to expire or signed by another authority is made anew. The authority is
//! constrained by name to the City (RFC 5280 section 4.2.1.10): even where somebody trusts it, nobody can
//! use it for a name outside.

mod check;
mod make;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Uid, chown};

use self::check::Condition;
use self::make::{Authority, IDENTITIES};
use crate::trouble::{OrTrouble, Result, Trouble};

/// What `ensure` did, in the order of the files.
#[derive(Debug)]
pub struct Report {
    /// The folder of the keys.
    pub folder: PathBuf,
    /// What became of each pair of key and certificate.
    pub pairs: Vec<Pair>,
}

/// One key and its certificate.
#[derive(Debug)]
pub struct Pair {
    /// The name of its files, without `.crt` and `.key`.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Why it was made anew; none: it was good and is untouched.
    pub made: Option<String>,
}

impl Report {
    /// Whether anything was made anew.
    pub fn changed(&self) -> bool {
        self.pairs.iter().any(|pair| pair.made.is_some())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pair in &self.pairs {
            let done = match &pair.made {
                Some(why) => format!("made ({why})"),
                None => "kept".into(),
            };
            writeln!(f, "{:<11} {:<64} {done}", pair.name, pair.about)?;
        }
        write!(f, "in {}", self.folder.display())
    }
}

/// Makes what is missing in `conf/keys/` of this repository and renews what is no good any more.
pub fn ensure(repository: &Path) -> Result<Report> {
    work(repository, false)
}

/// Makes everything anew.
pub fn renew(repository: &Path) -> Result<Report> {
    work(repository, true)
}

fn work(repository: &Path, anew: bool) -> Result<Report> {
    let folder = repository.join("conf/keys");
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&folder)
        .map_err(|error| no_access(&folder, "make", error))?;
    own(&folder)?;
    // Lessons that start side by side all come here first.
    let _alone = lock(&folder)?;

    let mut report = Report { folder: folder.clone(), pairs: Vec::new() };
    let mut authorities: Vec<Authority> = Vec::new();
    for identity in IDENTITIES {
        let issuer = authorities.iter().find(|authority| Some(authority.name) == identity.issuer);
        let condition = if anew {
            Condition::Bad("renewed as asked".into())
        } else {
            check::condition(&folder, identity, issuer)?
        };
        let (key, certificate, made) = match condition {
            Condition::Good { key, certificate } => (key, certificate, None),
            Condition::Bad(why) => {
                let cannot = || format!("cannot make the certificate of {}", identity.name);
                let (key, certificate) = make::pair(identity, issuer).or_trouble(cannot)?;
                // The key first: a certificate never lies there without its own key for longer than it takes
                // to write it.
                write(&folder.join(format!("{}.key", identity.name)), &key, 0o600)?;
                write(&folder.join(format!("{}.crt", identity.name)), &certificate, 0o644)?;
                (key, certificate, Some(why))
            }
        };
        if identity.is_authority() {
            let cannot = || format!("cannot use {}.key", identity.name);
            authorities.push(Authority::new(identity.name, &key, &certificate).or_trouble(cannot)?);
        }
        report.pairs.push(Pair { name: identity.name, about: identity.about, made });
    }
    Ok(report)
}

fn lock(folder: &Path) -> Result<Flock<File>> {
    let path = folder.join(".lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|error| no_access(&path, "open", error))?;
    own(&path)?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| Trouble::new(format!("cannot lock {}", path.display())).cause(error))
}

/// Writes a file so that whoever reads it sees the old or the new one, and never one that others may read
/// for a moment.
fn write(path: &Path, text: &str, mode: u32) -> Result {
    let cannot = |error| no_access(path, "write", error);
    let folder = path.parent().ok_or_else(|| Trouble::new(format!("{} has no folder", path.display())))?;
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    // The umask may have taken bits away.
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(cannot)?;
    own(file.path())?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    Ok(())
}

/// What is made under sudo belongs to the user who called it.
fn own(path: &Path) -> Result {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else { return Ok(()) };
    chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .or_trouble(|| format!("cannot give {} to user {uid}", path.display()))
}

/// A failure to reach a file, which nearly always is one that another user made.
fn no_access(path: &Path, what: &str, error: io::Error) -> Trouble {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let owner = [Some(path), path.parent()]
        .into_iter()
        .flatten()
        .find_map(|path| fs::metadata(path).ok())
        .map_or(0, |about| about.uid());
    let trouble = Trouble::new(format!("cannot {what} {}", path.display())).cause(error);
    if denied && owner != Uid::effective().as_raw() {
        let folder = path.parent().unwrap_or(path).display();
        return trouble.remedy(format!("it belongs to user {owner}: `sudo chown -R $(id -u) {folder}`"));
    }
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(report: &Report) -> Vec<&'static str> {
        report.pairs.iter().filter(|pair| pair.made.is_some()).map(|pair| pair.name).collect()
    }

    #[test]
    fn what_is_good_is_left_alone() {
        let repository = tempfile::tempdir().unwrap();
        let first = ensure(repository.path()).unwrap();
        assert_eq!(made(&first).len(), IDENTITIES.len());
        let second = ensure(repository.path()).unwrap();
        assert!(!second.changed(), "{second}");
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_made_anew() {
        let repository = tempfile::tempdir().unwrap();
        let keys = ensure(repository.path()).unwrap().folder;

        fs::remove_file(keys.join("server.crt")).unwrap();
        fs::copy(keys.join("client.key"), keys.join("client2.key")).unwrap();
        fs::write(keys.join("wildcard.crt"), "nonsense").unwrap();
        // The expired one must be expired.
        fs::copy(keys.join("client.crt"), keys.join("expired.crt")).unwrap();
        fs::copy(keys.join("client.key"), keys.join("expired.key")).unwrap();
        let report = ensure(repository.path()).unwrap();
        assert_eq!(made(&report), ["server", "wildcard", "client2", "expired"], "{report}");

        fs::remove_file(keys.join("ca.key")).unwrap();
        let report = ensure(repository.path()).unwrap();
        let kept: Vec<_> = report.pairs.iter().filter(|pair| pair.made.is_none()).map(|p| p.name).collect();
        assert_eq!(kept, ["foreign-ca", "foreign"], "{report}");
    }

    #[test]
    fn keys_are_nobody_elses_to_read() {
        let repository = tempfile::tempdir().unwrap();
        let keys = ensure(repository.path()).unwrap().folder;
        for identity in IDENTITIES {
            let about = fs::metadata(keys.join(format!("{}.key", identity.name))).unwrap();
            assert_eq!(about.permissions().mode() & 0o777, 0o600, "{}", identity.name);
        }
    }

    #[test]
    fn calls_side_by_side_agree() {
        let repository = tempfile::tempdir().unwrap();
        let path = repository.path();
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| ensure(path).unwrap().changed())).collect();
            let changed = calls.into_iter().filter(|_| true).map(|call| call.join().unwrap());
            assert_eq!(changed.filter(|changed| *changed).count(), 1);
        });
        assert!(!ensure(path).unwrap().changed());
    }
}
