//! Paths of files that the process makes, or looks at again: what could not be made or found is said beforehand.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Outcome, run_in};

/// What `gateway --validate` says in this folder, with this section `server`, and what else there is.
fn validate(folder: &Path, server: &str, more: &str, arguments: &[&str]) -> Outcome {
    let yaml = format!("server: {{ {server} }}\n{more}\n");
    fs::write(folder.join("gateway.yaml"), yaml).expect("it is written");
    run_in(folder, &[&["--validate", "--config", "gateway.yaml"], arguments].concat(), &[])
}

/// Says all of these, and that nothing else is wrong.
fn refused(outcome: &Outcome, parts: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{parts:?}: {}", outcome.stderr);
    for part in parts.iter().chain(&["1 problem"]) {
        assert!(outcome.stderr.contains(part), "`{part}` is not said: {}", outcome.stderr);
    }
}

fn good(outcome: &Outcome) {
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
}

#[test]
fn a_daemon_finds_its_servers_again_only_by_a_whole_path() {
    let folder = TempDir::new().expect("a folder");
    let whole = folder.path().join("servers.yaml");
    fs::write(&whole, "- address: 127.0.0.1:9001\n").expect("it is written");
    let found_at = |path: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:6210 }}]\nroutes: [{{ name: r, upstream: u }}]\n\
             upstreams: {{ u: {{ discovery: {{ file: {{ path: {path} }} }} }} }}"
        )
    };
    let (relative, whole) = (found_at("servers.yaml"), found_at(&whole.display().to_string()));
    let says = ["depends on where the gateway is started", "gateway.yaml:4:46\n", "begin it with `/`"];
    for (server, arguments) in
        [("daemon: true", &[][..]), ("threads: 1", &["--daemon"]), ("daemon: false", &["--daemon"])]
    {
        refused(&validate(folder.path(), server, &relative, arguments), &says);
        good(&validate(folder.path(), server, &whole, arguments));
    }
    // In the foreground, the folder stays what it is.
    good(&validate(folder.path(), "threads: 1", &relative, &[]));
}
