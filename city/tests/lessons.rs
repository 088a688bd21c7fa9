//! Lessons, verified and checked by the real tool in real Cities.
#![cfg(target_os = "linux")]

#[path = "support/course.rs"]
mod course;
#[allow(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::process::Stdio;

use course::Course;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{eventually, said};

const LESSON: &str = "lessons/06_tiny.md";

#[test]
fn a_lesson_that_shows_what_happens_passes_and_leaves_nothing() {
    let course = Course::new();
    let (status, out, err) = course.city(&["verify", "6"]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.starts_with("ok   06_tiny"), "{out}");
    assert!(out.ends_with("\nverify: 1 passed, 0 failed\n"), "{out}");
    assert_eq!(course.read("conf/note"), "as it was\n", "lessons change a copy");
    assert_eq!(course.leftovers(), 0);
    course.lab.nothing_is_left();
    assert!(course.city(&["list"]).1.contains("06  Tiny                             passed just now"));
}

#[test]
fn a_step_that_fails_says_all_that_is_known() {
    let course = Course::new();
    course.edit(LESSON, "GET /tea  host=tiny", "GET /tea  host=blue.pingora.local");
    let (status, out, _) = course.city(&["verify", "--all"]);
    assert_eq!(status, 1, "{out}");
    let place = format!("{LESSON}:{}\n", course.line(LESSON, "host$ cargo city journal"));
    assert!(out.contains(&place), "{place}{out}");
    for expected in [
        "FAIL 06_tiny                      step 3 of 6",
        "host$ cargo city journal blue --last 1",
        "- GET /tea  host=blue.pingora.local  from=172.28.0.10",
        "+ GET /tea  host=tiny  from=172.28.0.10",
        "blue      GET /tea  host=tiny  from=172.28.0.10",
        "nothing: green",
        "INFO /tea -> blue",
        "hint: the upstream did not see host=blue.pingora.local",
        "verify: 0 passed, 1 failed",
    ] {
        assert!(out.contains(expected), "{expected}\n{out}");
    }
}

#[test]
fn who_reads_in_between_takes_time() {
    let course = Course::new();
    let commands = "client2$ date +%s >/tmp/before\nclient2$ [ $(($(date +%s) - $(cat /tmp/before))) -ge 2 ]";
    course.edit(LESSON, "client2$ curl -s http://172.28.0.10:6147/\n? 7", commands);
    let (status, out, err) = course.city(&["verify", "6", "--pace", "2"]);
    assert_eq!(status, 0, "{out}{err}");
}

#[test]
fn an_example_that_does_not_compile_or_come_up_says_so() {
    let course = Course::new();
    course.edit("examples/06_tiny.rs", "0.0.0.0:6146\").expect", "0.0.0.0:6145\").expect");
    course.edit(LESSON, "timeout=8s", "timeout=1s");
    let (_, out, _) = course.city(&["verify", "6"]);
    assert!(out.contains("hint: dev listens on 6145, not on 6146"), "{out}");
    course.edit("examples/06_tiny.rs", "fn main() {", "fn main() { nonsense");
    let (status, out, err) = course.city(&["verify", "6"]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("nonsense"), "{err}");
    assert!(err.trim_end().ends_with("mend that, and try again"), "{err}");
}

#[test]
fn blessing_writes_what_is_printed_now() {
    let course = Course::new();
    let before = course.read(LESSON);
    course.edit(LESSON, "Response from BLUE", "Response from [..]");
    course.edit(LESSON, "as it was\nchanged", "something else");
    assert_eq!(course.city(&["verify", "6", "--bless"]).0, 0);
    assert_eq!(course.read(LESSON), before.replace("from BLUE", "from [..]"));
    assert_eq!(course.city(&["verify", "6"]).0, 0);
}

#[test]
fn ctrl_c_ends_everything() {
    let course = Course::new();
    course.edit(LESSON, "? 7", "? 7\ndev$ sleep 60");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut tool = course.tool();
        let tool = tool.args(["verify", "6"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let tool = tool.spawn().expect("the tool starts");
        eventually("the last step runs", || {
            course.lab.processes().iter().any(|(_, _, line)| line.starts_with("sleep 60"))
        });
        kill(Pid::from_raw(tool.id() as i32), signal).expect("it runs");
        let (status, _, err) = said(tool.wait_with_output().expect("it ends"));
        assert_eq!(status, 130, "{err}");
        assert!(err.trim_end().ends_with("verify: interrupted"), "{err}");
        course.lab.nothing_is_left();
        assert_eq!(course.leftovers(), 0);
    }
}

#[test]
fn dev_check_tells_a_proven_lesson_from_one_that_is_not() {
    let course = Course::new();
    let (status, out, err) = course.city(&["dev-check", "--seed", "7"]);
    assert_eq!(status, 0, "{out}{err}");
    let step =
        format!("at line {}: host$ cargo city journal", course.line(LESSON, "host$ cargo city journal"));
    let expected = format!("ok   fails as it should   06_tiny                      proxy   {step}");
    assert!(out.contains(&expected), "{out}");
    assert!(out.contains("ends cleanly") || out.contains("ends as it should"), "{out}");

    // Without the journal, only the log tells the example from any proxy; and a port is forgotten.
    course.edit(
        LESSON,
        "host$ cargo city journal blue --last 1\nGET /tea  host=tiny  from=172.28.0.10\n",
        "",
    );
    course.edit(LESSON, "dev$ cat", "host$ cargo city wait-for 'dev log \"never\"'\ndev$ cat");
    course.edit("examples/06_tiny.rs", "//! 06 · Tiny", "//! 06 · Tiny, on 127.0.0.1:9090");
    let (status, out, _) = course.city(&["dev-check"]);
    assert_eq!(status, 1);
    assert!(out.contains("NOT PROVEN           06_tiny"), "{out}");
    assert!(out.contains("examples/06_tiny.rs names port 9090, the header does not"), "{out}");
    assert!(out.trim_end().ends_with(", 2 failed"), "{out}");
}

#[test]
fn usage_errors_are_told_apart() {
    let course = Course::new();
    for (args, expected) in [
        (&["verify"][..], "no lesson is named"),
        (&["verify", "06_tinny"], "did you mean '06_tiny'?"),
        (&["verify", "--all", "--gateway"], "comes with a later version"),
        (&["wait-for", "dev is fine"], "is no condition"),
    ] {
        let (status, _, err) = course.city(args);
        assert_eq!(status, 2, "{args:?}: {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
    course.edit(LESSON, "timeout=8s", "timeuot=8s");
    let (status, _, err) = course.city(&["verify", "6"]);
    assert_eq!(status, 1);
    assert!(err.contains("lessons/06_tiny.md:5: unknown key 'timeuot'"), "{err}");
}
