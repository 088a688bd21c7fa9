//! Deliberate mistakes in examples: each must be found by its lesson's verification, and the hint must name the
//! place where it was made.
//!
//! A mistake is a substitution in the real example, so it follows the course; where the text that it replaces is
//! gone, the test fails and says so. The mistaken examples are built once for each change of theirs (they share
//! the target folder, and so all that the real examples have compiled), and are played side by side.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::{Lab, repository, said};

struct Mistake {
    /// The lesson in whose example it is made.
    lesson: &'static str,
    /// What tells its example from the real one, in names.
    suffix: &'static str,
    /// What stands in the example, once, and what somebody wrote instead.
    right: &'static str,
    wrong: &'static str,
    /// What the hint must say: what is the matter, in which function, and where the lesson speaks of it.
    hint: &'static [&'static str],
}

const MISTAKES: [Mistake; 6] = [
    Mistake {
        lesson: "26_round_robin",
        suffix: "order",
        right: "    let mut proxy = http_proxy_service(&server.configuration, RoundRobinProxy { upstreams });\n",
        wrong: "    info!(\"the first will be {:?}\", upstreams.select(b\"\", STEPS));\n    let mut proxy = \
                http_proxy_service(&server.configuration, RoundRobinProxy { upstreams });\n",
        hint: &["they begin elsewhere", "Was a turn taken before", "`upstream_peer`", "`select` wants a key"],
    },
    Mistake {
        lesson: "27_weighted_lb",
        suffix: "weights",
        right: "LoadBalancer::from_backends(Backends::new(Static::new(servers)));",
        wrong: "LoadBalancer::try_from_iter(servers).or_err(InternalError, \"no pool\")?;",
        hint: &[
            "do their weights reach whoever chooses",
            "`weighted`",
            "'`try_from_iter` wants things that can be turned into socket addresses.'",
        ],
    },
    Mistake {
        lesson: "30_health_check_tcp",
        suffix: "service",
        right: "    server.add_service(checks); // without it nobody knocks, and everybody counts as healthy for ever\n",
        wrong: "",
        hint: &["Are checks made at all: who runs them", "`main`", "'And somebody must do the checking.'"],
    },
    Mistake {
        lesson: "40_request_size_limit",
        suffix: "limit",
        right: "Some(length) if length > LIMIT =>",
        wrong: "Some(length) if length >= LIMIT =>",
        hint: &["Only at the border", "`request_filter`", "'First what the head says.'"],
    },
    Mistake {
        lesson: "41_auth_request",
        suffix: "whole",
        right: "(scheme.eq_ignore_ascii_case(b\"Bearer \") && !token.is_empty()).then_some(token)",
        wrong: "(scheme.eq_ignore_ascii_case(b\"Bearer \") && !token.is_empty()).then_some(header.as_bytes())",
        hint: &["No upstream was asked for /right", "`bearer`", "'The token in a request, or none.'"],
    },
    Mistake {
        lesson: "42_basic_auth",
        suffix: "scheme",
        right: "if !scheme.eq_ignore_ascii_case(b\"Basic \") {",
        wrong: "if scheme.is_empty() {",
        hint: &["1 of the answers let pass", "`credentials`", "'From a header to bytes.'"],
    },
];

impl Mistake {
    fn name(&self) -> String {
        format!("{}_{}", self.lesson, self.suffix)
    }
}

/// A repository of mistakes. It lies at one place for all runs: so what was built once is built, and there is
/// never more than one set of programs.
struct Course {
    lab: Lab,
    target: PathBuf,
    folder: PathBuf,
}

impl Course {
    fn new() -> Course {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let target = scratch.parent().expect("it lies in the target folder").to_owned();
        let course = Course { lab: Lab::new(), target, folder: scratch.join("mistakes") };
        for (folder, extension) in [("examples", "rs"), ("lessons", "md")] {
            let names: Vec<_> = MISTAKES.iter().map(|m| format!("{}.{extension}", m.name())).collect();
            fs::create_dir_all(course.folder.join(folder)).expect("a folder");
            for entry in fs::read_dir(course.folder.join(folder)).expect("it is there").flatten() {
                if !names.iter().any(|name| **name == *entry.file_name()) {
                    fs::remove_file(entry.path()).expect("a mistake that is made no more goes");
                }
            }
        }
        for shared in ["Cargo.toml", "Cargo.lock"] {
            course.write(shared, &read(&repository().join(shared)));
        }
        let runner = "scripts/cargo-runner";
        fs::create_dir_all(course.folder.join("scripts")).expect("a folder");
        fs::copy(repository().join(runner), course.folder.join(runner)).expect("the runner is there");
        // Cargo wants to find what the manifest names.
        for shared in ["build", "src", "benches", "city"] {
            let _ = fs::remove_file(course.folder.join(shared));
            symlink(repository().join(shared), course.folder.join(shared)).expect("a link");
        }
        fs::create_dir_all(course.folder.join("conf")).expect("a folder");
        course
    }

    /// Writes what differs from what is there, so that cargo builds again only what has changed.
    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        if fs::read_to_string(&path).ok().as_deref() == Some(text) {
            return;
        }
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(&path, text).expect("the file can be written");
    }

    /// A lesson as it is, about an example that is not.
    fn make(&self, mistake: &Mistake) {
        let (lesson, name) = (mistake.lesson, mistake.name());
        let file = format!("examples/{lesson}.rs");
        let source = read(&repository().join(&file));
        let times = source.matches(mistake.right).count();
        assert_eq!(times, 1, "{file} has this {times} times, and not once: {}", mistake.right);
        self.write(&format!("examples/{name}.rs"), &source.replace(mistake.right, mistake.wrong));
        let text = read(&repository().join(format!("lessons/{lesson}.md")));
        self.write(&format!("lessons/{name}.md"), &text.replace(lesson, &name));
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_mistake_is_found_and_the_hint_names_its_place() {
    let course = Course::new();
    MISTAKES.iter().for_each(|mistake| course.make(mistake));

    let mut tool = course.lab.tool();
    tool.arg("verify").args(MISTAKES.iter().map(Mistake::name));
    tool.current_dir(&course.folder).env("CARGO_TARGET_DIR", &course.target);
    let (status, out, err) = said(tool.output().expect("the tool starts"));
    assert_eq!(status, 1, "{out}{err}");

    let mut wrong = Vec::new();
    for mistake in &MISTAKES {
        let report = out.split("FAIL ").find(|report| report.starts_with(&mistake.name()));
        let Some(report) = report else {
            wrong.push(format!("{}: the verification did not find it", mistake.name()));
            continue;
        };
        let hint = report.split_once("hint: ").map_or("", |(_, hint)| hint);
        for expected in mistake.hint.iter().filter(|expected| !hint.contains(**expected)) {
            wrong.push(format!("{}: the hint lacks '{expected}': {hint}", mistake.name()));
        }
        for code in [mistake.right, mistake.wrong].into_iter().filter(|code| !code.is_empty()) {
            if hint.contains(code.trim()) {
                wrong.push(format!("{}: the hint gives the line away: {hint}", mistake.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n\n{out}{err}", wrong.join("\n"));
}
