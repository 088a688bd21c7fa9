//! What a learner's own edits, and interruptions, do to the course: the real tool in a course of one lesson.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "support/course.rs"]
mod course;
#[allow(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use course::Course;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{eventually, said};

const EXAMPLE: &str = "examples/06_tiny.rs";
const LESSON: &str = "lessons/06_tiny.md";

fn git(course: &Course, args: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(course.path("")).args(["-c", "user.name=A", "-c", "user.email=a@city.example"]);
    command.args(["-c", "core.hooksPath=/dev/null"]).args(args);
    let output = command.output().expect("git is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn committed() -> Course {
    let course = Course::new();
    git(&course, &["init", "--quiet"]);
    git(&course, &["add", "README.md", "examples", "lessons", "conf"]);
    git(&course, &["commit", "--quiet", "--message", "The course"]);
    course
}

#[test]
fn next_goes_on_until_there_is_nothing_left() {
    let course = Course::new();
    course.edit(LESSON, "## The idea\n", "## The idea\n\nAs *little* as `can` be.\n");
    let (status, out, _) = course.city(&["next"]);
    assert_eq!(status, 0);
    for expected in [
        "06 · Tiny\nAs little as can be.\n\nAs little as can be.\n",
        "read    lessons/06_tiny.md",
        "cargo city run 06",
        "cargo city verify 06",
        "0 of 1 lessons are verified",
    ] {
        assert!(out.contains(expected), "{expected}\n{out}");
    }
    assert_eq!(course.city(&["verify", "6"]).0, 0);
    assert_eq!(course.city(&["next"]).1, "That was the last one: all 1 lessons are verified.\n");
    course.edit(EXAMPLE, "-> blue", "-> Blue");
    assert!(course.city(&["next"]).1.contains("Changed since, and worth another: cargo city verify 06"));
    assert!(course.city(&["list"]).1.contains("passed just now, changed since"));
    assert_eq!(course.city(&["verify", "6"]).0, 1);
    let (_, out, _) = course.city(&["next"]);
    assert!(out.contains("It was verified before, and failed."), "{out}");
}

#[test]
fn a_reset_keeps_what_the_learner_has_made() {
    let course = committed();
    let original = course.read(EXAMPLE);
    assert!(course.city(&["reset", "6"]).1.ends_with("nothing to do.\n"));
    course.edit(EXAMPLE, "-> blue", "-> mine");
    // The lesson edits this one, so it belongs to it.
    course.edit("conf/note", "as it was", "as I want it");
    let mine = course.read(EXAMPLE);

    let (status, out, err) = course.city(&["reset", "6"]);
    assert_eq!(status, 1, "nobody can be asked");
    assert!(out.contains("+    eprintln!(\"INFO {target} -> mine\");"), "{out}");
    assert!(err.contains("nobody is there to be asked, so nothing is changed"), "{err}");
    assert_eq!(course.read(EXAMPLE), mine);

    let (status, out, err) = course.city(&["reset", "06", "--yes"]);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(course.read(EXAMPLE), original);
    assert_eq!(course.read("conf/note"), "as it was\n");
    let kept = out.lines().find_map(|line| line.strip_prefix("Your examples/06_tiny.rs is kept as "));
    assert_eq!(course.read(kept.expect("it is named")), mine);

    fs::remove_file(course.path(EXAMPLE)).expect("it is there");
    assert_eq!(course.city(&["reset", "6", "--yes"]).0, 0);
    assert_eq!(course.read(EXAMPLE), original);
}

#[test]
fn a_reset_that_cannot_be_says_so_in_one_line() {
    let course = Course::new();
    course.edit(EXAMPLE, "-> blue", "-> mine");
    let (status, out, err) = course.city(&["reset", "6", "--yes"]);
    assert_eq!((status, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
    assert!(err.contains("is no git clone"), "{err}");
    git(&course, &["init", "--quiet"]);
    git(&course, &["commit", "--quiet", "--allow-empty", "--message", "Empty"]);
    let (status, _, err) = course.city(&["reset", "6", "--yes"]);
    assert_eq!((status, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains("examples/06_tiny.rs was never committed"), "{err}");
    let nowhere = course.tool().args(["reset", "6"]).env("PATH", "/nonexistent").output().expect("it starts");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("install git; nothing is changed"));
    assert!(course.read(EXAMPLE).contains("-> mine"));
}

#[test]
fn half_an_edit_keeps_no_other_lesson_from_being_verified() {
    let course = Course::new();
    fs::write(course.path("examples/07_half.rs"), "fn main( {").expect("a file");
    fs::write(course.path("lessons/07_half.md"), "# 07 · Half\n\n```console\ndev$ true\n```\n")
        .expect("a file");
    let (status, out, err) = course.city(&["verify", "--all"]);
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.contains("ok   06_tiny"), "{out}");
    assert!(out.contains("FAIL 07_half                      its example does not compile"), "{out}");
    assert!(out.contains("cargo city reset 07"), "{out}");
    assert!(out.ends_with("\nverify: 1 passed, 1 failed\n"), "{out}");
    let (_, _, err) = course.city(&["sync", "--check"]);
    assert!(err.contains("examples/07_half.rs:1: this is no Rust"), "{err}");
}

#[test]
fn dead_links_and_stale_maps_fail_the_check() {
    let course = Course::new();
    assert_eq!(course.city(&["sync", "--check"]).0, 0);
    course.edit(LESSON, "As little as can be.", "As little as [can](07_none.md) be.");
    course.edit(
        EXAMPLE,
        "fn main() {",
        "struct P;\ntrait ProxyHttp {}\nimpl ProxyHttp for P {}\nfn main() {",
    );
    let (status, out, _) = course.city(&["sync", "--check"]);
    assert_eq!(status, 1);
    assert!(out.contains("lessons/06_tiny.md:3: the link to 07_none.md leads nowhere"), "{out}");
    course.edit(EXAMPLE, "impl ProxyHttp for P {}", "impl ProxyHttp for P { fn logging() {} }");
    assert!(course.city(&["sync", "--check"]).1.contains("stale: lessons/hooks.md"));
}

#[test]
fn a_machine_that_slept_is_no_failure() {
    let course = Course::new();
    course.edit(LESSON, "? 7", "? 7\ndev$ sleep 1.25");
    course.edit(LESSON, "timeout=8s", "timeout=4s");
    let mut tool = course.tool();
    let tool = tool.args(["verify", "6"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let tool = tool.spawn().expect("the tool starts");
    let all = || course.lab.processes().into_iter().map(|(pid, ..)| pid);
    let runs = || course.lab.processes().iter().any(|(_, _, line)| line.starts_with("sleep 1.25"));
    eventually("the last step runs", runs);
    // The tool first, so that it does not see the others stop.
    let stopped: Vec<_> = [tool.id() as i32].into_iter().chain(all()).map(Pid::from_raw).collect();
    let tell = |signal| {
        for pid in &stopped {
            // One that has ended meanwhile needs no signal.
            let _ = kill(*pid, signal);
        }
    };
    tell(Signal::SIGSTOP);
    // Longer than the step may take.
    thread::sleep(Duration::from_secs(6));
    tell(Signal::SIGCONT);
    let (status, out, err) = said(tool.wait_with_output().expect("it ends"));
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.ends_with("verify: 1 passed, 0 failed\n"), "{out}");
    course.lab.nothing_is_left();
}
