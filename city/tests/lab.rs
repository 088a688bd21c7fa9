//! The local City, as a person uses it: the real tool, brought up, entered, hurt and taken down.
#![cfg(target_os = "linux")]

mod support;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Lab, eventually, repository, said};

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("the process is there");
}

#[test]
fn a_city_comes_up_answers_and_leaves_nothing() {
    let lab = Lab::new();
    assert!(lab.ok(&["up", "--detach"]).contains("172.28.0.20"));
    lab.ok(&["status"]);
    assert_eq!(
        lab.ok(&["exec", "client1", "curl", "-s", "http://172.28.0.20:8080/"]),
        "Response from BLUE\n"
    );
    assert_eq!(
        lab.ok(&["exec", "client2", "curl", "-s", "http://green.pingora.local:8080/"]),
        "Response from GREEN\n"
    );
    assert_eq!(lab.ok(&["exec", "blue", "hostname"]), "blue\n");
    lab.ok(&["down"]);
    lab.nothing_is_left();
}

#[test]
fn a_command_on_a_host_is_like_one_here() {
    let lab = Lab::new();
    lab.ok(&["up", "--detach"]);
    assert_eq!(lab.city(&["exec", "dev", "bash", "-c", "exit 7"]).0, 7);
    assert_eq!(lab.city(&["exec", "dev", "bash", "-c", "kill -TERM $$"]).0, 143);
    let (status, _, err) = lab.city(&["exec", "dev", "no-such-command"]);
    assert_eq!(status, 127, "{err}");

    let mut cat = lab.tool();
    let mut cat =
        cat.args(["exec", "dev", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"by way of stdin").unwrap();
    assert_eq!(said(cat.wait_with_output().unwrap()).1, "by way of stdin");

    // Nothing of the machine's environment, but what is named.
    let mut env = lab.tool();
    let env =
        env.args(["exec", "dev", "env"]).env("http_proxy", "http://192.0.2.1/").env("RUST_LOG", "debug");
    let seen = said(env.output().unwrap()).1;
    assert!(!seen.contains("http_proxy") && seen.contains("RUST_LOG=debug\n"), "{seen}");
    assert!(seen.contains("CITY_HOST=dev\n") && seen.contains("CARGO_NET_OFFLINE=true\n"), "{seen}");
}

#[test]
fn hosts_do_not_see_each_other() {
    let lab = Lab::new();
    lab.ok(&["up", "--detach"]);
    lab.ok(&["exec", "client1", "bash", "-c", "echo mine >/tmp/note"]);
    assert_eq!(lab.city(&["exec", "client2", "cat", "/tmp/note"]).0, 1);
    assert!(!std::path::Path::new("/tmp/note").exists());
    // pkill reaches one host only.
    assert_eq!(lab.city(&["exec", "client1", "pkill", "-f", "service blue"]).0, 1);
    lab.ok(&["status"]);
}

#[test]
fn signals_pass_and_a_killed_client_takes_its_command_along() {
    let lab = Lab::new();
    lab.ok(&["up", "--detach"]);
    let start = |mark: &str| {
        let script =
            format!("trap 'exit 9' TERM; echo ready; while :; do read -t 0.05 <> <(:); done # {mark}");
        let mut command = lab.tool();
        command.args(["exec", "dev", "bash", "-c", &script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert_eq!(line, "ready\n");
        child
    };
    let runs = |mark: &str| {
        lab.processes().iter().any(|(_, _, line)| line.contains("bash -c") && line.contains(mark))
    };

    let mut asked = start("asked-to-end");
    signal(&asked, Signal::SIGTERM);
    assert_eq!(asked.wait().unwrap().code(), Some(9));

    let mut killed = start("to-be-killed");
    assert!(runs("to-be-killed"));
    signal(&killed, Signal::SIGKILL);
    killed.wait().unwrap();
    eventually("the command ends with its client", || !runs("to-be-killed"));
}

#[test]
fn what_is_done_to_a_host_is_what_docker_would_do() {
    let lab = Lab::new();
    lab.ok(&["up", "--detach"]);
    let curl = |limit: &str| {
        let url = "http://172.28.0.20:8080/";
        lab.city(&[
            "exec",
            "client1",
            "curl",
            "-s",
            "-m",
            limit,
            "-w",
            "%{num_connects}",
            "-o",
            "/dev/null",
            url,
        ])
    };
    assert_eq!(curl("5").0, 0);

    lab.ok(&["stop", "blue"]);
    assert_ne!(curl("0.3").0, 0);
    assert_eq!(lab.city(&["status"]).0, 1);
    assert!(lab.ok(&["stop", "blue"]).contains("already"));
    assert!(lab.city(&["pause", "blue"]).2.contains("city start blue"));
    lab.ok(&["start", "blue"]);
    assert_eq!(curl("5").0, 0);

    lab.ok(&["pause", "blue"]);
    let (status, connected, _) = curl("0.3");
    assert_eq!((status, connected.as_str()), (28, "1"), "a frozen host accepts, and does not answer");
    lab.ok(&["unpause", "blue"]);
    assert_eq!(curl("5").0, 0);

    lab.ok(&["unplug", "blue"]);
    let (status, connected, _) = curl("0.3");
    assert_eq!((status, connected.as_str()), (28, "0"), "nobody is there");
    lab.ok(&["plug", "blue"]);
    assert_eq!(curl("5").0, 0);

    lab.ok(&["break", "blue", "--reset"]);
    lab.ok(&["dns", "remove", "blue"]);
    let said = lab.ok(&["status"]);
    assert!(
        said.contains("blue resets connections when a request arrives (undo: cargo city heal)"),
        "{said}"
    );
    assert!(said.contains("(undo: cargo city dns reset)"), "{said}");
    lab.ok(&["heal"]);
    lab.ok(&["dns", "reset"]);
    assert!(!lab.ok(&["status"]).contains("undo"));

    let nowhere = lab.city(&["exec", "client1", "curl", "-s", "-m", "4", "http://nowhere.pingora.local/"]);
    assert_eq!(nowhere.0, 28, "a timeout, and never 'no route', however long one waits");
}

#[test]
fn several_cities_live_side_by_side() {
    let lab = Lab::new();
    lab.ok(&["up", "--detach", "--name", "one"]);
    lab.ok(&["up", "--detach", "--name", "two"]);
    let (status, _, err) = lab.city(&["exec", "dev", "true"]);
    assert_eq!(status, 1);
    assert!(err.contains("one, two") && err.contains("--name"), "{err}");
    lab.ok(&["stop", "--name", "one", "blue"]);
    assert_eq!(
        lab.ok(&["exec", "--name", "two", "client1", "curl", "-s", "http://172.28.0.20:8080/"]),
        "Response from BLUE\n"
    );
    let (status, _, err) = lab.city(&["up", "--detach", "--name", "one"]);
    assert_eq!(status, 1);
    assert!(err.contains("already up"), "{err}");
    lab.ok(&["down", "--name", "one"]);
    lab.ok(&["down"]);
    lab.nothing_is_left();
}

#[test]
fn whatever_is_killed_nothing_stays() {
    let lab = Lab::new();
    // The keeper.
    lab.ok(&["up", "--detach"]);
    kill(Pid::from_raw(lab.keeper("city")), Signal::SIGKILL).unwrap();
    eventually("its processes end with the keeper", || lab.processes().is_empty());
    // The next one clears what is left of it.
    lab.ok(&["up", "--detach"]);
    lab.ok(&["down"]);
    lab.nothing_is_left();

    // The owner, at any moment of its City's coming up.
    for wait in [0, 20, 60, 120, 240, 480] {
        let mut owner = lab.tool().arg("up").stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        signal(&owner, Signal::SIGKILL);
        owner.wait().unwrap();
        eventually("the City ends with its owner", || lab.processes().is_empty());
    }
    lab.ok(&["up", "--detach"]);

    // The first process of a host, and with it the host: it comes back.
    let keeper = lab.keeper("city");
    let inits = || -> Vec<i32> {
        let all = lab.processes();
        let keepers =
            all.iter().filter(|(_, parent, line)| *parent == keeper && line.contains("keeper --name"));
        keepers.map(|(pid, ..)| *pid).collect()
    };
    assert_eq!(inits().len(), 8);
    for init in inits() {
        kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    }
    eventually("the hosts are back", || inits().len() == 8 && lab.city(&["status"]).0 == 0);
    assert_eq!(
        lab.ok(&["exec", "client1", "curl", "-s", "http://blue.pingora.local:8080/"]),
        "Response from BLUE\n"
    );

    // A service: it is started again.
    let service =
        || lab.processes().iter().find(|(_, _, line)| line.contains("service blue ")).map(|found| found.0);
    let before = service().unwrap();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    eventually("blue is served again", || {
        service().is_some_and(|now| now != before) && lab.city(&["status"]).0 == 0
    });
}

#[test]
fn ctrl_c_ends_a_city_in_the_foreground() {
    let lab = Lab::new();
    let mut up = lab.tool();
    let mut up = up.arg("up").stdout(Stdio::null()).process_group(0).spawn().unwrap();
    eventually("it is up", || lab.city(&["status"]).0 == 0);
    // As the terminal does it: to the whole group.
    kill(Pid::from_raw(-(up.id() as i32)), Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(0));
    lab.nothing_is_left();
}

#[test]
fn a_client_that_was_put_to_sleep_does_not_keep_the_city() {
    let lab = Lab::new();
    lab.ok(&["up", "--detach"]);
    let mut client = lab.tool().args(["exec", "dev", "tail", "-f", "/dev/null"]).spawn().unwrap();
    eventually("the command runs", || lab.processes().iter().any(|(_, _, line)| line.starts_with("tail -f")));
    signal(&client, Signal::SIGSTOP);
    lab.ok(&["down"]);
    assert!(!client.wait().unwrap().success());
    lab.nothing_is_left();
}

#[test]
fn cargos_runner_moves_numbered_examples_onto_dev() {
    let lab = Lab::new();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    std::fs::create_dir_all(&folder).unwrap();
    let example = folder.join("42_answer");
    // It has something to say after its end, as whoever copies its words may have.
    let script = "read line; echo \"$CITY_HOST said $line\"; (read -t 0.3 <> <(:); echo late) & exit 5";
    std::fs::write(&example, format!("#!/bin/bash\n{script}\n")).unwrap();
    std::fs::set_permissions(&example, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let runner = repository().join("scripts/cargo-runner");
    let run = |lab: &Lab| {
        let mut command = std::process::Command::new(&runner);
        command.arg(&example).env("CITY_STATE_ROOT", lab.root.path()).env_remove("CITY_HOST");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        said(child.wait_with_output().unwrap())
    };
    // With no City up, one lives until the example has ended.
    let (status, out, err) = run(&lab);
    assert_eq!((status, out.as_str()), (5, "dev said hello\nlate\n"), "{err}");
    assert!(err.contains("lives until its last command ends"), "{err}");
    eventually("it went with its last command", || lab.processes().is_empty());

    lab.ok(&["up", "--detach"]);
    let log = lab.folder("city").join("hosts/dev/log/42_answer.log");
    let other = log.with_file_name("41_question.log");
    std::fs::write(&other, "dev said hello\n").unwrap();
    let (status, out, err) = run(&lab);
    assert_eq!((status, out.as_str(), err.as_str()), (5, "dev said hello\nlate\n", ""));
    assert!(!other.exists(), "a condition would hold by what an earlier lesson has logged");
    eventually("its words are kept", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log == "dev said hello\nlate\n")
    });
}

#[test]
fn wrong_words_are_answered_with_the_nearest() {
    let lab = Lab::new();
    let (status, _, err) = lab.city(&["exec", "bleu", "true"]);
    assert_eq!(status, 2);
    assert!(err.contains("did you mean 'blue'?") && err.lines().count() == 1, "{err}");
    let (status, _, err) = lab.city(&["stauts"]);
    assert_eq!(status, 2);
    assert!(err.contains("status"), "{err}");
    let (status, _, err) = lab.city(&["up", "--name", "../there"]);
    assert_eq!(status, 2);
    assert!(err.contains("lower-case"), "{err}");
    let (_, _, err) = lab.city(&["status"]);
    assert!(err.contains("no City is up") && err.lines().count() == 1, "{err}");
}

/// The same as an ordinary user, where the tests themselves run as root.
#[test]
fn an_ordinary_user_needs_no_rights() {
    if !nix::unistd::geteuid().is_root() {
        return; // every other test has shown it
    }
    const NOBODY: u32 = 65534;
    let lab = Lab::new();
    let own = lab.root.path();
    // A clone of one's own: keys that another made cannot be read.
    let clone = own.join(".clone");
    let all = "mkdir -p $0/city $0/lessons && cp Cargo.toml $0/ && cp -r conf $0/ && chown -R 65534 $0/..";
    let made =
        std::process::Command::new("bash").args(["-c", all]).arg(&clone).current_dir(repository()).status();
    assert!(made.unwrap().success());
    let city = |args: &[&str]| {
        let mut command = lab.tool();
        command.args(args).current_dir(&clone).env("HOME", &clone).uid(NOBODY).gid(NOBODY);
        said(command.output().unwrap())
    };
    let (status, _, err) = city(&["up", "--detach"]);
    assert_eq!(status, 0, "{err}");
    let (_, out, err) = city(&["exec", "client1", "curl", "-s", "http://blue.pingora.local:8080/"]);
    assert_eq!(out, "Response from BLUE\n", "{err}");
    assert_eq!(city(&["exec", "dev", "bash", "-c", "echo written >made-inside"]).0, 0);
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(clone.join("made-inside")).unwrap());
    assert_eq!(owner, NOBODY, "what is written in the repository is its user's");
    assert_eq!(city(&["down"]).0, 0);
    assert!(lab.processes().is_empty());
}

/// On a machine whose `/` is shared, as most are, mounts of a City made as root must not show outside.
#[test]
fn no_mount_leaks_to_the_machine() {
    if !nix::unistd::geteuid().is_root() {
        return; // an ordinary user's mounts cannot leave their user namespace
    }
    let lab = Lab::new();
    let script = "count() { wc -l </proc/self/mountinfo; }; before=$(count); $0 up --detach >/dev/null || exit 1; \
                  during=$(count); $0 down >/dev/null || exit 2; [ $before = $during ] && [ $before = $(count) ]";
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "--propagation", "shared", "bash", "-c", script, env!("CARGO_BIN_EXE_city")]);
    let output = command.env("CITY_STATE_ROOT", lab.root.path()).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
