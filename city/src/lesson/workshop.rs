//! A folder in the target folder for the time of one verification: the `cargo` and the `city` that a lesson's
//! commands find, and private copies of `conf/`.
//!
//! It lies there because every host of a City sees the target folder, wherever it is, and each has a `/tmp` of
//! its own.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::trouble::{OrTrouble, Result};

/// Where cargo puts what it builds.
pub fn target(repository: &Path) -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => repository.join(folder),
        None => repository.join("target"),
    }
}

/// The folder; removed when this is dropped.
#[derive(Debug)]
pub struct Workshop {
    folder: PathBuf,
    /// Where cargo puts the examples.
    built: PathBuf,
}

/// What answers in the place of a lesson's example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// The ports it opens: the lesson's.
    pub ports: Vec<u16>,
    /// The words by which cargo is told to start what it stands in for.
    pub command: String,
    /// `proxy` or `accept`: see the verb.
    pub mode: &'static str,
    /// Whether lines of the example's log count as seen.
    pub logs_count: bool,
}

impl Workshop {
    /// Makes one, and removes those of verifications that were killed.
    pub fn open(repository: &Path) -> Result<Workshop> {
        let all = target(repository).join("city-verify");
        fs::create_dir_all(&all).or_trouble(|| format!("cannot make {}", all.display()))?;
        sweep(&all);
        let folder = all.join(process::id().to_string());
        fs::create_dir_all(&folder).or_trouble(|| format!("cannot make {}", folder.display()))?;
        let workshop = Workshop { folder, built: target(repository).join("debug/examples") };
        workshop.keep_tool()?;
        Ok(workshop)
    }

    /// Where the tool lies that is verifying: a second name of the very file, so that building the tool anew
    /// in the midst of a verification changes nothing.
    pub fn tool(&self) -> PathBuf {
        self.folder.join("tool").join("city")
    }

    fn keep_tool(&self) -> Result {
        let running = env::current_exe().or_trouble(|| "cannot tell where this tool lies".into())?;
        let kept = self.tool();
        let what = || format!("cannot keep this tool as {}", kept.display());
        fs::create_dir_all(self.folder.join("tool")).or_trouble(what)?;
        if fs::hard_link(&running, &kept).is_err() {
            // Another filesystem.
            fs::copy(&running, &kept).or_trouble(what)?;
        }
        Ok(())
    }

    /// A folder for the front of PATH, in which `cargo city` and `city` are this tool and, during dev-check, the
    /// example of the lesson is a stand-in. Every other use of cargo is the real one.
    pub fn shims(&self, lesson: &str, stand_in: Option<&StandIn>) -> Result<PathBuf> {
        let mode = stand_in.map_or("verify", |stand_in| stand_in.mode);
        let folder = self.folder.join(format!("{lesson}-{mode}"));
        let what = || format!("cannot write the shims in {}", folder.display());
        fs::create_dir_all(&folder).or_trouble(what)?;
        for (name, script) in [
            ("cargo", cargo_shim(&folder, &self.tool(), &self.built, stand_in)),
            ("city", city_shim(&self.tool(), stand_in)),
        ] {
            let path = folder.join(name);
            fs::write(&path, script).or_trouble(what)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).or_trouble(what)?;
        }
        Ok(folder)
    }

    /// A private copy of `conf/`, so that lessons that edit it run side by side and never touch the learner's.
    pub fn conf(&self, repository: &Path, lesson: &str) -> Result<PathBuf> {
        let copy = self.folder.join(format!("{lesson}-conf"));
        // What an earlier run of the same lesson has edited is not for this one.
        if copy.exists() {
            fs::remove_dir_all(&copy).or_trouble(|| format!("cannot remove {}", copy.display()))?;
        }
        copy_folder(&repository.join("conf"), &copy)?;
        Ok(copy)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the next verification sweeps.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders of processes that are gone.
fn sweep(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if owner.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result {
    let what = || format!("cannot copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to).or_trouble(what)?;
    if !from.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(from).or_trouble(what)? {
        let entry = entry.or_trouble(what)?;
        let copy = to.join(entry.file_name());
        if entry.file_type().or_trouble(what)?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), &copy).or_trouble(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    // Only a path with a NUL cannot be quoted, and there is none.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), |quoted| quoted.into_owned())
}

fn logs_count(stand_in: Option<&StandIn>) -> &'static str {
    match stand_in {
        Some(StandIn { logs_count: true, .. }) => "export CITY_LOGS_COUNT_AS_SEEN=1\n",
        _ => "",
    }
}

/// What has just been built is started as cargo would start it, and is announced as cargo would, but without
/// cargo's own check, which may have to wait for the locks of every other cargo on the machine. A source that has
/// changed since is cargo's business.
const START_WHAT_IS_BUILT: &str = r#"if [ "$1" = run ]; then
    words=("$@") program= source= quiet=
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        -q | --quiet) quiet=yes; shift ;;
        --example) program=${2:+$built/$2} source=examples/${2:-}.rs; shift 2 ;;
        --bin) program=${2:+${built%/examples}/$2} source=src; shift 2 ;;
        --) shift; break ;;
        *) program=; break ;;
        esac
    done
    if [ -n "$program" ] && [ -x "$program" ] && [ -z "$(find "$source" -newer "$program" 2>/dev/null)" ]; then
        [ -n "$quiet" ] || printf '     Running `%s`\n' "$program" >&2
        exec scripts/cargo-runner "$program" "$@"
    fi
    set -- "${words[@]}"
fi
"#;

fn cargo_shim(folder: &Path, tool: &Path, built: &Path, stand_in: Option<&StandIn>) -> String {
    let built = quoted(built);
    let tool = quoted(tool);
    let folder = quoted(folder);
    let in_its_place = stand_in.map_or(String::new(), |stand_in| {
        let ports: Vec<_> = stand_in.ports.iter().map(u16::to_string).collect();
        let (ports, mode, command) = (ports.join(","), stand_in.mode, &stand_in.command);
        format!(
            "case \" $* \" in\n    ' run '*'{command} '*) exec {tool} stand-in --mode {mode} --ports '{ports}' ;;\nesac\n"
        )
    });
    let logs_count = logs_count(stand_in);
    format!(
        "#!/usr/bin/env bash\n\
         # Written for one verification: `cargo city` is the tool that verifies, whatever is built meanwhile.\n\
         {logs_count}if [ \"$1\" = city ]; then shift; exec {tool} \"$@\"; fi\n\
         {in_its_place}built={built}\n\
         {START_WHAT_IS_BUILT}export PATH=\"${{PATH#{folder}:}}\"\n\
         exec cargo \"$@\"\n"
    )
}

fn city_shim(tool: &Path, stand_in: Option<&StandIn>) -> String {
    format!("#!/usr/bin/env bash\n{}exec {} \"$@\"\n", logs_count(stand_in), quoted(tool))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("conf/keys")).unwrap();
        fs::write(folder.path().join("conf/keys/ca.crt"), "x").unwrap();
        folder
    }

    #[test]
    fn the_copy_of_conf_is_whole_and_the_folder_goes_with_its_owner() {
        let repository = repository();
        let workshop = Workshop::open(repository.path()).unwrap();
        let copy = workshop.conf(repository.path(), "09_x").unwrap();
        assert_eq!(fs::read_to_string(copy.join("keys/ca.crt")).unwrap(), "x");
        assert!(workshop.tool().exists());
        drop(workshop);
        assert!(!copy.exists());
    }

    #[test]
    fn the_folders_of_the_dead_are_swept() {
        let repository = repository();
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let stale = target(repository.path()).join("city-verify").join(child.id().to_string());
        fs::create_dir_all(&stale).unwrap();
        let _workshop = Workshop::open(repository.path()).unwrap();
        assert!(!stale.exists());
    }

    #[test]
    fn the_shims_tell_the_tool_the_example_and_the_real_cargo_apart() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let shims = folder.path().join("shims");
        let tool = folder.path().join("the tool");
        for (path, says) in [(real.join("cargo"), "real"), (tool.clone(), "tool")] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/bash\necho {says} $*\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(&shims).unwrap();
        let stand_in = StandIn {
            ports: vec![6149, 6150],
            command: "--example 09_x".into(),
            mode: "proxy",
            logs_count: true,
        };
        let shim = shims.join("cargo");
        let said = |stand_in: Option<&StandIn>, arguments: &str| {
            fs::write(&shim, cargo_shim(&shims, &tool, &shims, stand_in)).unwrap();
            fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
            let path = format!("{}:{}:/usr/bin:/bin", shims.display(), real.display());
            let output =
                Command::new("bash").args(["-c", &format!("cargo {arguments}")]).env("PATH", path).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        assert_eq!(said(None, "city journal blue"), "tool journal blue\n");
        assert_eq!(said(None, "run --example 09_x"), "real run --example 09_x\n");
        assert_eq!(
            said(Some(&stand_in), "run --example 09_x -- -c a"),
            "tool stand-in --mode proxy --ports 6149,6150\n"
        );
        assert_eq!(
            said(Some(&stand_in), "run -q --example 09_x"),
            "tool stand-in --mode proxy --ports 6149,6150\n"
        );
        assert_eq!(said(Some(&stand_in), "run --example 09_xy"), "real run --example 09_xy\n");
        assert_eq!(said(Some(&stand_in), "build"), "real build\n");
        let gateway = StandIn { command: "--bin gateway -- --config conf/gateway.yaml".into(), ..stand_in };
        assert_eq!(
            said(Some(&gateway), "run --bin gateway -- --config conf/gateway.yaml"),
            "tool stand-in --mode proxy --ports 6149,6150\n"
        );
        let asks = "run -q --bin gateway -- -t --config conf/gateway.yaml";
        assert_eq!(said(Some(&gateway), asks), format!("real {asks}\n"));
    }
}
