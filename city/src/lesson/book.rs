//! The book of all lessons, made by mdBook.
//!
//! mdBook is a program of its own here and no part of this tool: it would bring a hundred crates, and everybody
//! who brings a City up would have to compile them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::workshop::target;
use crate::trouble::{OrTrouble, Result, Trouble};

/// The version that is installed where there is none. Others of its series do as well.
const VERSION: &str = "0.5.4";
const SERIES: &str = "0.5.";

/// mdBook, and the book that it makes.
#[derive(Debug)]
pub struct Book<'a> {
    repository: &'a Path,
    program: PathBuf,
    /// Where the finished pages are.
    pub folder: PathBuf,
}

impl<'a> Book<'a> {
    /// Finds mdBook, or has cargo install it into the target folder.
    pub fn open(repository: &'a Path) -> Result<Book<'a>> {
        let folder = target(repository).join("book");
        let own = target(repository).join("mdbook");
        let there =
            [PathBuf::from("mdbook"), own.join("bin/mdbook")].into_iter().find(|program| fits(program));
        let program = match there {
            Some(program) => program,
            None => install(&own)?,
        };
        Ok(Book { repository, program, folder })
    }

    /// Makes the book, and returns what mdBook complained of.
    ///
    /// mdBook begins by removing what was there. So it works in a folder beside: whoever reads meanwhile has the
    /// old book, and keeps it if there is no new one.
    pub fn make(&self) -> Result<Vec<String>> {
        let made = self.folder.with_extension("new");
        let mut command = Command::new(&self.program);
        command.arg("build").arg("--dest-dir").arg(&made).arg(self.repository).stdin(Stdio::null());
        command.env_remove("RUST_LOG");
        if let Some(forge) = forge(self.repository) {
            command.env("MDBOOK_OUTPUT__HTML__GIT_REPOSITORY_URL", forge);
        }
        let output = command.output().or_trouble(|| "cannot start mdBook".into())?;
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let lines = said.lines().map(|line| console::strip_ansi_codes(line).trim().to_owned());
        let complaints: Vec<_> =
            lines.filter(|line| !line.is_empty() && !line.starts_with("INFO ")).collect();
        if !output.status.success() {
            return Err(Trouble::new(format!("mdBook cannot make the book: {}", complaints.join("; "))));
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Trouble::new(format!("cannot replace {}", self.folder.display())).cause(error));
            }
            _ => {}
        }
        fs::rename(&made, &self.folder).or_trouble(|| format!("cannot replace {}", self.folder.display()))?;
        Ok(complaints)
    }
}

fn fits(program: &Path) -> bool {
    let mut command = Command::new(program);
    let version = command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    version.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .last()
            .is_some_and(|version| version.trim_start_matches('v').starts_with(SERIES))
    })
}

/// Without the parts that serve and watch, which this tool does itself, and without optimization: it takes a
/// second longer for each book and several minutes less to be there.
fn install(own: &Path) -> Result<PathBuf> {
    println!("Building mdBook {VERSION} first: a minute or two, once.");
    let build = own.join("build");
    let mut command = Command::new("cargo");
    command
        .args(["install", "mdbook", "--version", &format!("={VERSION}"), "--locked", "--debug"])
        .args(["--no-default-features", "--features", "search", "--quiet", "--root"])
        .arg(own)
        .arg("--target-dir")
        .arg(&build)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .stdin(Stdio::null());
    let status = command.status().or_trouble(|| "cannot start cargo".into())?;
    if !status.success() {
        return Err(Trouble::new("mdBook cannot be installed: cargo's message is above")
            .remedy("it comes from crates.io, once; an mdbook 0.5 on PATH does as well"));
    }
    // Only the program is needed from now on.
    let _ = std::fs::remove_dir_all(&build);
    Ok(own.join("bin/mdbook"))
}

/// Where the clone came from, as a browser finds it. Links to examples lead there.
fn forge(repository: &Path) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(["remote", "get-url", "origin"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    address(String::from_utf8_lossy(&output.stdout).trim())
}

fn address(origin: &str) -> Option<String> {
    let origin = origin.strip_suffix(".git").unwrap_or(origin);
    if let Some((scheme, rest)) = origin.split_once("://") {
        // A name or a token before the host is for git alone.
        let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
        return matches!(scheme, "https" | "ssh").then(|| format!("https://{rest}"));
    }
    // git@host:owner/name
    let (host, path) = origin.split_once('@')?.1.split_once(':')?;
    Some(format!("https://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forge_is_told_from_other_origins() {
        let expected = Some("https://forge.example/a/city".to_owned());
        for origin in [
            "https://forge.example/a/city.git",
            "https://forge.example/a/city",
            "https://token:x@forge.example/a/city.git",
            "git@forge.example:a/city.git",
            "ssh://git@forge.example/a/city.git",
        ] {
            assert_eq!(address(origin), expected, "{origin}");
        }
        for origin in ["", "/srv/git/city.git", "../city", "file:///srv/city"] {
            assert_eq!(address(origin), None, "{origin}");
        }
    }
}
