//! Whether a lesson's verification can fail: the first part of dev-check.
//!
//! Every lesson is played against a stand-in. In modules 1 and 7 a server that only accepts is tried as well,
//! for there a proxy is far from what is taught.

use std::time::Duration;

use super::play::{Failure, Outcome, Rules};
use super::session::{Played, Task};
use super::shelf;
use super::text::Lesson;
use super::workshop::StandIn;

/// How long a line of a log is waited for that no stand-in will print.
const PATIENCE: Duration = Duration::from_secs(2);

/// The stand-ins against which a lesson must fail.
pub fn tasks(lesson: &Lesson) -> Vec<Task<'_>> {
    let (module, _) = shelf::module(&lesson.name);
    let modes: &[&'static str] = if matches!(module, 1 | 7) { &["proxy", "accept"] } else { &["proxy"] };
    // Before lesson 06 there is nothing but what a server says of itself, so its lines are evidence.
    let logs = module == 1;
    let task = |mode: &&'static str| Task {
        lesson,
        rules: Rules { logs, patience: Some(PATIENCE), ..Rules::VERIFY },
        stand_in: Some(StandIn {
            ports: lesson.header.ports.clone(),
            command: lesson.serving(),
            mode,
            logs_count: !logs,
        }),
    };
    modes.iter().map(task).collect()
}

/// What came of one.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fails as it should, at this step.
    Fails(String),
    /// It passes, and its header says why it may.
    Exempt(String),
    /// It passes against something that does nothing of what it teaches.
    Passes,
    /// Its header says that it may pass, and it fails.
    Stale(String),
    /// It could not be tried.
    Untried(String),
}

impl Verdict {
    /// Whether it is as it should be.
    pub fn is_good(&self) -> bool {
        matches!(self, Verdict::Fails(_) | Verdict::Exempt(_))
    }

    /// One line that says it, without the lesson's name.
    pub fn said(&self) -> String {
        match self {
            Verdict::Fails(step) => step.clone(),
            Verdict::Exempt(reason) => format!("exempt: {reason}"),
            Verdict::Passes => {
                "a stand-in passes: show something on the wire, or in a journal, that only the example does"
                    .into()
            }
            Verdict::Stale(step) => {
                format!("fails after all, {step}: remove standin-exempt from its header")
            }
            Verdict::Untried(why) => why.clone(),
        }
    }
}

/// Judges what was played against one stand-in. `all_fail`: whether it fails against every one.
pub fn judge(lesson: &Lesson, played: &Played, all_fail: bool) -> Verdict {
    match (&played.outcome, &lesson.header.standin_exempt) {
        (Ok(Outcome::Failed(failure)), Some(_)) if all_fail => Verdict::Stale(step(failure)),
        (Ok(Outcome::Failed(failure)), _) => Verdict::Fails(step(failure)),
        (Ok(Outcome::Passed(_)), Some(reason)) => Verdict::Exempt(reason.clone()),
        (Ok(Outcome::Passed(_)), None) => Verdict::Passes,
        (Ok(Outcome::Interrupted), _) => Verdict::Untried("interrupted".into()),
        (Err(trouble), _) => Verdict::Untried(trouble.to_string()),
    }
}

fn step(failure: &Failure) -> String {
    let typed = failure.typed.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("at line {}: {typed}", failure.line)
}

#[cfg(test)]
mod tests {
    use super::super::play::{Problem, Scene};
    use super::*;

    fn lesson(name: &str, header: &str) -> Lesson {
        let text = format!("# X\n\n<!-- city: ports=1 {header} -->\n");
        Lesson::parse(name, &format!("lessons/{name}.md"), &text).unwrap()
    }

    fn played(passed: bool) -> Played {
        let problem = Problem::NotListening { missing: vec![], within: PATIENCE };
        let typed = "client1$ curl \\\n  -s x".to_owned();
        let failure = Failure { line: 128, typed, problem, scene: Scene::default(), recorded: vec![] };
        let outcome = if passed { Outcome::Passed(vec![]) } else { Outcome::Failed(Box::new(failure)) };
        Played { outcome: Ok(outcome), took: PATIENCE, again: false }
    }

    #[test]
    fn logs_are_evidence_in_the_first_module_only() {
        let modes = |name: &str| {
            let lesson = lesson(name, "");
            let tasks = tasks(&lesson);
            tasks
                .iter()
                .map(|task| (task.stand_in.as_ref().unwrap().mode, task.rules.logs))
                .collect::<Vec<_>>()
        };
        assert_eq!(modes("00_basic_server"), [("proxy", true), ("accept", true)]);
        assert_eq!(modes("09_path_routing"), [("proxy", false)]);
        assert_eq!(modes("48_observability"), [("proxy", false), ("accept", false)]);
    }

    #[test]
    fn verdicts() {
        let (plain, exempt) = (lesson("16_x", ""), lesson("16_x", "standin-exempt='same on the wire'"));
        assert_eq!(
            judge(&plain, &played(false), true),
            Verdict::Fails("at line 128: client1$ curl -s x".into())
        );
        assert_eq!(judge(&plain, &played(true), false), Verdict::Passes);
        assert_eq!(judge(&exempt, &played(true), false), Verdict::Exempt("same on the wire".into()));
        assert!(!judge(&exempt, &played(false), true).is_good(), "a stale exemption");
        assert!(judge(&exempt, &played(false), false).is_good(), "exempt for the other stand-in");
    }
}
