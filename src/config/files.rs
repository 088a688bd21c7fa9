//! Paths of files that the process makes: what could not be made is said before it starts, and tries.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::At;

/// The gateway in the background may stand elsewhere.
pub(super) fn is_whole(path: &Path, at: &At<'_>) -> bool {
    if !path.is_absolute() {
        at.error("this path depends on where the gateway is started", "begin it with `/`");
    }
    path.is_absolute()
}

/// The folder in which it will be, if there is one and the path itself is none.
fn folder<'p>(path: &'p Path, at: &At<'_>) -> Option<&'p Path> {
    let Some(folder) = path.parent().filter(|folder| folder.is_dir()) else {
        at.error("there is no folder for this file", "make the folder, or choose another");
        return None;
    };
    if path.is_dir() {
        at.error("this is a folder, and a file is wanted", "add the name of a file");
        return None;
    }
    Some(folder)
}

/// Says so if the file could not be made. `writes` is whether who asks is who makes it.
pub(super) fn can_be_made(path: &Path, writes: bool, at: &At<'_>) {
    if let Some(folder) = folder(path, at).filter(|_| writes && !at.asks())
        && let Err(error) = access(folder, AccessFlags::W_OK | AccessFlags::X_OK)
    {
        at.error(
            format!("this file cannot be made: {}", error.desc()),
            "let the gateway's user write to the folder, or choose another",
        );
    }
}

/// Says so if the file could neither be made nor, if it is there, be opened in this way.
pub(super) fn can_be_opened(path: &Path, how: AccessFlags, writes: bool, at: &At<'_>) {
    if !path.exists() {
        return can_be_made(path, writes, at);
    }
    if folder(path, at).is_some()
        && writes
        && !at.asks()
        && let Err(error) = access(path, how)
    {
        at.error(
            format!("this file cannot be written: {}", error.desc()),
            "let the gateway's user read and write it, or choose another",
        );
    }
}

/// Says so if no socket could be made there.
pub(super) fn can_be_socket(path: &Path, writes: bool, at: &At<'_>) {
    if path.symlink_metadata().is_ok_and(|found| !found.is_dir() && !found.file_type().is_socket()) {
        at.error(
            "there is something that is not a socket",
            "choose another path: what has this one would be removed",
        );
        return;
    }
    can_be_made(path, writes, at);
}
