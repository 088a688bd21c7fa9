//! Paths of files that the process makes, or looks at again: what could not be made or found is said beforehand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Outcome, run_in};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gateway");

const MINIMAL: &str = "listeners: [{ address: 127.0.0.1:6210 }]\nroutes: [{ name: r, respond: {} }]";

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

/// What is written into a configuration of which the file has this path.
type Named = fn(&str) -> (String, String);

const NAMED: [Named; 5] = [
    |path| (String::new(), format!("{MINIMAL}\nlog: {{ access: {path} }}")),
    |path| (String::new(), MINIMAL.replace("127.0.0.1:6210", &format!("\"unix:{path}\""))),
    |path| (format!("upgrade_sock: {path}"), MINIMAL.to_string()),
    |path| (format!("daemon: true, pid_file: {path}"), MINIMAL.to_string()),
    |path| (format!("daemon: true, error_log: {path}"), MINIMAL.to_string()),
];

#[test]
fn a_file_needs_a_folder_that_is_there() {
    let folder = TempDir::new().expect("a folder");
    for named in NAMED {
        for (path, says) in [("none/x", "there is no folder for this file"), ("", "this is a folder")] {
            let path = folder.path().join(path);
            let (server, more) = named(&path.display().to_string());
            refused(&validate(folder.path(), &server, &more, &[]), &[says, "gateway.yaml:"]);
        }
        let (server, more) = named(&folder.path().join("x").display().to_string());
        good(&validate(folder.path(), &server, &more, &[]));
    }
    // The short form has the same addresses, and what is no socket would be removed.
    let service = |path: &str| {
        format!("services: [{{ name: s, bind_address: \"unix:{path}\", upstreams: [\"127.0.0.1:1\"] }}]")
    };
    refused(
        &validate(folder.path(), "", &service("/no/such/socket"), &[]),
        &["there is no folder", "2:37\n"],
    );
    refused(&validate(folder.path(), "", &service("/etc/passwd"), &[]), &["not a socket", "another path"]);
}

/// Everybody is told what root may always do, so this is asked as somebody else.
#[test]
fn a_file_needs_a_folder_that_may_be_written_to() {
    let folder = TempDir::new().expect("a folder");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open.clone()).expect("it is ours");
    let (closed, program) = (folder.path().join("closed"), folder.path().join("gateway"));
    fs::create_dir(&closed).expect("a folder");
    fs::write(closed.join("there"), "").expect("it is written");
    fs::set_permissions(closed.join("there"), fs::Permissions::from_mode(0o444)).expect("it is ours");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("it is ours");
    let is_root = nix::unistd::getuid().is_root();
    if is_root {
        // Where it was built, others may not go. Copied by somebody else: a file that this process has open to write,
        // or that a child has which another test has just forked, cannot be run.
        let copied = Command::new("cp").arg(PROGRAM).arg(&program).status();
        assert!(copied.expect("there is a `cp`").success());
        fs::set_permissions(&program, open).expect("it is ours");
    }
    let run = |verb: &str, (server, more): (String, String)| {
        fs::write(folder.path().join("gateway.yaml"), format!("server: {{ {server} }}\n{more}\n"))
            .expect("it is written");
        let mut command = Command::new(if is_root { program.as_os_str() } else { PROGRAM.as_ref() });
        command.args([verb, "-c", "gateway.yaml"]).current_dir(folder.path()).stdin(Stdio::null());
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = command.output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    };
    let validate = |named| run("-t", named);
    let (new, there) = (closed.join("x").display().to_string(), closed.join("there").display().to_string());
    for named in NAMED {
        let says = ["this file cannot be made: Permission denied", "gateway.yaml:", "write to the folder"];
        refused(&validate(named(&new)), &says);
    }
    for named in [NAMED[0], NAMED[4]] {
        let says = ["this file cannot be written: Permission denied", "gateway.yaml:", "read and write it"];
        refused(&validate(named(&there)), &says);
    }
    // Nobody writes it in the foreground; and what another user may is not known before the start.
    good(&validate((format!("pid_file: {new}, error_log: {there}"), MINIMAL.to_string())));
    let (server, more) = NAMED[4](&there);
    good(&validate((format!("{server}, user: root"), more)));
    // Who asks what the file means need not be who serves with it.
    for named in NAMED {
        assert_eq!(run("routes", named(&new)).code, Some(0));
    }
}

#[test]
fn a_daemon_with_an_error_log_has_no_standard_output() {
    let folder = TempDir::new().expect("a folder");
    let error_log = format!("error_log: {}", folder.path().join("error.log").display());
    let (daemon, both) = ("daemon: true".to_string(), format!("daemon: true, {error_log}"));
    let to = |access: &str| format!("{MINIMAL}\nlog: {{ access: {access} }}");
    let says = ["there is no standard output", "gateway.yaml:4:16\n", "choose `stderr`"];
    refused(&validate(folder.path(), &both, &to("stdout"), &[]), &says);
    refused(&validate(folder.path(), &error_log, &to("stdout"), &["--daemon"]), &says);
    for (server, access) in
        [(&both, "stderr"), (&both, "off"), (&both, "./access"), (&daemon, "stdout"), (&error_log, "stdout")]
    {
        good(&validate(folder.path(), server, &to(access), &[]));
    }
}
