//! A line for each request, what the process says of itself, and its end.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use crate::support::{Gateway, Scripted, free_port, get_with, run, until};

fn before(origin: &Scripted, log: &str) -> Gateway {
    before_with(origin, log, |_| {})
}

fn before_with(origin: &Scripted, log: &str, more: impl Fn(&mut Command)) -> Gateway {
    let yaml = format!(
        "
log: {{ {log} }}
listeners: [{{ address: $LISTEN }}]
upstreams:
  origin: {{ servers: [{{ address: {} }}] }}
  gone: {{ servers: [{{ address: 127.0.0.1:{} }}] }}
routes:
  - {{ name: users, match: {{ path_prefix: /users }}, upstream: origin }}
  - {{ name: gone, match: {{ path: /gone }}, upstream: gone }}
",
        origin.address(),
        free_port()
    );
    Gateway::start_with(&yaml, more)
}

/// A gateway whose standard output and error are the writer's.
fn says_to(writer: PipeWriter, origin: &Scripted, log: &str) -> Gateway {
    before_with(origin, log, |command| {
        let handle = || writer.try_clone().expect("a second handle");
        command.stdout(handle()).stderr(handle());
    })
}

/// A pipe that is full soon.
fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a page is enough for a pipe");
    (reader, writer)
}

/// Reads until nobody can write any more.
fn read_all(mut reader: PipeReader) -> JoinHandle<String> {
    spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("the log is text");
        text
    })
}

fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    until("the lines are written", || read().lines().count() >= count);
    read().lines().map(str::to_string).collect()
}

#[test]
fn a_request_is_a_line() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "format: json, access: $FOLDER/access");
    for target in ["/users/7?secret=1", "/gone", "/nowhere", "/%zz"] {
        get_with(gateway.address(), target, &["X-Request-Id: mine", "User-Agent: tea \"pot\"\t1"]);
    }
    let lines = lines(&gateway.folder().join("access"), 4);
    let entries: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or("-").to_string();
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            let keys = ["level", "path", "method", "route", "upstream", "request_id", "client"];
            (keys.map(|key| text(entry, key)), entry["status"].as_u64().expect("a number"))
        })
        .collect();
    let expected = [
        (["INFO", "/users/7", "GET", "users", "origin", "mine", "127.0.0.1"], 200),
        (["WARN", "/gone", "GET", "gone", "gone", "mine", "127.0.0.1"], 502),
        (["INFO", "/nowhere", "GET", "-", "-", "mine", "127.0.0.1"], 404),
        (["INFO", "/%zz", "GET", "-", "-", "mine", "127.0.0.1"], 400),
    ];
    assert_eq!(seen, expected.map(|(words, status)| (words.map(str::to_string), status)));
    assert_eq!(text(&entries[0], "server"), origin.address().to_string());
    assert!(text(&entries[1], "server").starts_with("127.0.0.1:"), "who has failed is named, too");
    assert_eq!(
        (entries[0]["bytes"].as_u64(), text(&entries[1], "error")),
        (Some(2), "ConnectRefused".to_string())
    );
    assert!(entries[0]["duration_ms"].is_u64());
    assert_eq!(text(&entries[0], "user_agent"), "tea \"pot\"\t1");
    // The process's own lines have the same form.
    let log = gateway.log();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
}

#[test]
fn text_is_for_people_and_off_is_off() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "access: stdout, level: error");
    get_with(gateway.address(), "/users", &["X-Request-Id: mine", "User-Agent: tea\" status=500"]);
    until("the line is written", || gateway.log().contains("request_id=mine"));
    let log = gateway.log();
    let part = "INFO request path=/users method=GET route=users upstream=origin server=";
    assert!(log.contains(part) && log.contains(" status=200 duration_ms="), "{log}");
    assert!(log.contains(" protocol=HTTP/1.1 host=test client=127.0.0.1 request_id=mine"), "{log}");
    assert!(log.contains(r#" user_agent="tea\" status=500""#), "a client does not write fields: {log}");
    assert!(!log.contains("listening on"), "only errors are said: {log}");

    let quiet = before(&origin, "format: text");
    get_with(quiet.address(), "/users", &["X-Request-Id: mine"]);
    assert!(quiet.stop().success());
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let gateway = before(&Scripted::plain(), "access: $FOLDER/access");
    let path = gateway.folder().join("access");
    let kept = tempfile::NamedTempFile::new().expect("a file");
    std::fs::hard_link(&path, kept.path().with_extension("access")).expect("a second name");
    for _ in 0..50 {
        get_with(gateway.address(), "/users", &[]);
    }
    assert!(gateway.stop().success());
    let path = kept.path().with_extension("access");
    let written = std::fs::read_to_string(&path).expect("it is there");
    std::fs::remove_file(path).expect("it is there");
    assert_eq!(written.lines().count(), 50);
}

#[test]
fn a_log_that_cannot_be_written_is_said_before_anything_starts() {
    let yaml = |access: &str| {
        format!(
            "log: {{ access: {access} }}\nlisteners: [{{ address: 127.0.0.1:{} }}]\nroutes: [{{ name: r, respond: {{}} }}]\n",
            free_port()
        )
    };
    for (access, says) in
        [("console", "this is no place for lines"), ("/no/such/folder", "there is no folder for this file")]
    {
        let outcome = run(&yaml(access), &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        let said = outcome.stderr;
        assert!(said.contains(says) && said.contains("gateway.yaml:1:"), "{said}");
    }
}

#[test]
fn a_process_leaves_as_soon_as_nothing_is_under_way_and_no_sooner() {
    let slow = Scripted::start(|_| {
        std::thread::sleep(Duration::from_secs(2)); // time is the subject
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let gateway = before(&slow, "");
    // Idle: a connection that waits for a request is nothing, a moment after it was made.
    let _idle = TcpStream::connect(gateway.address()).expect("the gateway listens");
    let begun = Instant::now();
    assert!(gateway.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    let gateway = before(&slow, "");
    let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    stream.write_all(b"GET /users HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
    until("the origin is asked", || !slow.seen().is_empty());
    let begun = Instant::now();
    assert!(gateway.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
}

/// Who is to read it may be there and not do so: a shipper that waits for a network, a terminal that was stopped.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let origin = Scripted::plain();
    for access in ["off", "stderr", "stdout"] {
        let (reader, writer) = small_pipe();
        let gateway = says_to(writer, &origin, &format!("access: {access}"));
        // Each of them is at least a line.
        for _ in 0..100 {
            assert_eq!(get_with(gateway.address(), "/gone", &[]).status, 502);
        }
        assert_eq!(get_with(gateway.address(), "/users", &[]).status, 200);
        let begun = Instant::now();
        assert!(gateway.stop().success(), "SIGTERM is heard, too");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        drop(reader);
    }
}

#[test]
fn a_log_that_is_read_late_is_complete() {
    let origin = Scripted::plain();
    let (reader, writer) = small_pipe();
    let gateway = says_to(writer, &origin, "format: json");
    for _ in 0..50 {
        assert_eq!(get_with(gateway.address(), "/gone", &[]).status, 502);
    }
    let log = read_all(reader);
    assert!(gateway.stop().success());
    let log = log.join().expect("it is read");
    let entries: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let with = |text: &str| {
        let message =
            |entry: &&serde_json::Value| entry["message"].as_str().is_some_and(|m| m.contains(text));
        entries.iter().filter(message).count()
    };
    assert!(with("ConnectRefused") >= 50, "{log}");
    assert_eq!((with("listening on"), with("nothing is left to do"), with("dropped")), (1, 1, 0), "{log}");
}

#[test]
fn what_is_missing_in_a_log_is_said_there() {
    let origin = Scripted::plain();
    let (reader, writer) = small_pipe();
    // Enough to be said for each connection that there are soon more lines than may wait.
    let gateway = says_to(writer, &origin, "format: json, level: trace");
    for _ in 0..1500 {
        get_with(gateway.address(), "/gone", &[]);
    }
    let log = read_all(reader);
    assert!(gateway.stop().success());
    let log = log.join().expect("it is read");
    let says = |line: &str| line.contains("\"the log could not be written for a while: ");
    let said = log.lines().find(|line| says(line)).unwrap_or_else(|| panic!("{} lines", log.lines().count()));
    let entry: serde_json::Value = serde_json::from_str(said).expect("JSON");
    assert_eq!(entry["level"], "WARN", "{said}");
}

/// Sends SIGUSR1, once it would not end the process any more.
fn turn_over(gateway: &Gateway) {
    let status = || std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap_or_default();
    until("it listens to the signal", || {
        let status = status();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
        caught.is_some_and(|mask| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 << (10 - 1) != 0))
    });
    let sent = Command::new("kill").args(["-USR1", &gateway.pid().to_string()]).status();
    assert!(sent.expect("there is a `kill`").success());
}

/// The numbers of the requests that have a line in a file.
fn asked(path: &Path) -> Vec<usize> {
    let number = |line: &str| line.split("path=/users/").nth(1)?.split(' ').next()?.parse().ok();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| number(line).expect("the line is whole")).collect()
}

#[test]
fn a_log_that_is_turned_over_loses_nothing() {
    let gateway = before(&Scripted::plain(), "access: $FOLDER/access");
    let (now, old) = (gateway.folder().join("access"), gateway.folder().join("access.1"));
    let ask = |numbers: std::ops::Range<usize>| {
        numbers.for_each(|number| drop(get_with(gateway.address(), &format!("/users/{number}"), &[])));
    };
    ask(0..20);
    std::fs::rename(&now, &old).expect("it is there");
    ask(20..40);
    turn_over(&gateway);
    ask(40..60);
    until("it has opened its file again", || {
        gateway.log().contains("the access log's file was opened again")
    });
    ask(60..80);
    until("the lines are written", || asked(&old).len() + asked(&now).len() == 80);
    assert_eq!([asked(&old), asked(&now)].concat(), Vec::from_iter(0..80));
    assert!(asked(&old).len() >= 40, "what was asked before the signal is in the old one: {:?}", asked(&old));
    assert!(asked(&now).len() >= 20, "what was asked behind it is in the new one: {:?}", asked(&now));
}

#[test]
fn a_log_that_cannot_be_turned_over_stays_where_it_is() {
    let gateway = before(&Scripted::plain(), "access: $FOLDER/access");
    let (now, old) = (gateway.folder().join("access"), gateway.folder().join("access.1"));
    std::fs::rename(&now, &old).expect("it is there");
    std::fs::create_dir(&now).expect("its name is free");
    turn_over(&gateway);
    until("it says so", || gateway.log().contains("the access log stays with the file that it has: "));
    get_with(gateway.address(), "/users/7", &[]);
    until("the line is written", || asked(&old) == [7]);
}

#[test]
fn who_has_no_file_to_turn_over_is_told_so() {
    for (log, says) in [("", "there is no access log"), ("access: stdout", "the access log is no file")] {
        let gateway = before(&Scripted::plain(), log);
        assert_eq!(
            get_with(gateway.address(), "/users", &[]).status,
            200,
            "it is up, and so listens to signals"
        );
        turn_over(&gateway);
        until("it says so", || gateway.log().contains(&format!("SIGUSR1 changes nothing: {says}")));
        assert_eq!(get_with(gateway.address(), "/users", &[]).status, 200);
    }
}
