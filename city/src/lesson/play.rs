//! One lesson, played: its steps in order, each compared with what the lesson shows.

use std::thread;
use std::time::{Duration, Instant};

use super::compare;
use super::console::{Place, Shown};
use super::interrupt;
use super::process::{Background, Waited, foreground};
use super::stage::Stage;
use super::text::{Lesson, Step};
use crate::trouble::Result;

/// How often a place is asked for its listeners.
const TICK: Duration = Duration::from_millis(20);

/// A log that has not grown for so long has said all; and how long that is waited for.
const QUIET: Duration = Duration::from_millis(100);
const UNTIL_QUIET: Duration = Duration::from_secs(1);

/// How a lesson is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Lines of the example's log are waited for. A stand-in prints none, and for most lessons they count as
    /// seen then, so that the failure comes from the wire.
    pub logs: bool,
    /// The longest wait for one line of a log.
    pub patience: Option<Duration>,
    /// Output that differs is recorded, and is no failure.
    pub record: bool,
    /// How long is waited before each command.
    pub pace: Duration,
}

impl Rules {
    /// What `verify` plays by.
    pub const VERIFY: Rules = Rules { logs: true, patience: None, record: false, pace: Duration::ZERO };
}

/// How a lesson ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every step went as shown. With [`Rules::record`] the outputs, by the index of their steps.
    Passed(Vec<(usize, String)>),
    /// A step did not.
    Failed(Box<Failure>),
    /// The user wanted to stop.
    Interrupted,
}

/// A step that did not go as shown, and what was to be seen at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The line of the lesson's file on which the step stands.
    pub line: usize,
    /// The step as the lesson writes it.
    pub typed: String,
    /// What went otherwise.
    pub problem: Problem,
    /// What was to be seen.
    pub scene: Scene,
    /// With [`Rules::record`] the outputs of the steps before it, by their index.
    pub recorded: Vec<(usize, String)>,
}

/// What went otherwise than shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The command printed something else, or ended with another status.
    Differs {
        /// What the lesson shows.
        shown: Vec<String>,
        /// What was printed.
        printed: String,
        /// The status that the lesson expects, and the one there was.
        status: (i32, i32),
    },
    /// The command was still running at its deadline.
    Deadline {
        /// The deadline.
        within: Duration,
        /// What it had printed.
        printed: String,
    },
    /// A line of the example's log was not printed in time.
    NotPrinted {
        /// The pattern of the line.
        pattern: String,
        /// The deadline.
        within: Duration,
    },
    /// The example does not listen on these of its ports.
    NotListening {
        /// The ports missing.
        missing: Vec<u16>,
        /// The deadline.
        within: Duration,
    },
    /// The command in the background ended while something of it was waited for.
    EndedEarly {
        /// Its exit status.
        status: i32,
        /// What was waited for.
        waiting_for: String,
    },
}

/// What was to be seen when a step failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scene {
    /// The ports of the lesson.
    pub ports: Vec<u16>,
    /// The ports on which something listens where the example runs.
    pub listening: Vec<u16>,
    /// What each upstream received.
    pub journals: Vec<(String, Vec<String>)>,
    /// The log of the example.
    pub log: String,
    /// Whether the example runs.
    pub example: Example,
}

/// The state of the lesson's example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Example {
    /// No command in the background was started yet.
    #[default]
    NotStarted,
    /// It runs.
    Running,
    /// It has ended with this status.
    Ended(i32),
}

/// Plays a lesson; `on_step` is told the index of each step as it begins.
pub fn play(lesson: &Lesson, stage: &dyn Stage, rules: Rules, on_step: &dyn Fn(usize)) -> Result<Outcome> {
    Player { lesson, stage, rules, running: Vec::new(), recorded: Vec::new() }.play(on_step)
}

struct Player<'a> {
    lesson: &'a Lesson,
    stage: &'a dyn Stage,
    rules: Rules,
    /// Everything started in the background, oldest first.
    running: Vec<Running>,
    recorded: Vec<(usize, String)>,
}

struct Running {
    place: Place,
    is_example: bool,
    process: Background,
}

/// Why a step did not come to a good end.
enum Stop {
    Failed(Problem),
    Interrupted,
}

impl Player<'_> {
    fn play(mut self, on_step: &dyn Fn(usize)) -> Result<Outcome> {
        for (index, step) in self.lesson.steps.iter().enumerate() {
            on_step(index);
            let stop = match step {
                Step::Command(_) if !self.read_on() => Some(Stop::Interrupted),
                Step::Command(shown) if shown.background => self.start(shown)?,
                Step::Command(shown) => self.run(index, shown)?,
                Step::Log { pattern, .. } => self.log_line(pattern)?,
            };
            match stop {
                None => {}
                Some(Stop::Interrupted) => return Ok(Outcome::Interrupted),
                Some(Stop::Failed(problem)) => {
                    return Ok(Outcome::Failed(Box::new(self.failure(step, problem)?)));
                }
            }
        }
        Ok(Outcome::Passed(self.recorded))
    }

    /// Takes the time that somebody takes who reads; false if it was broken off.
    fn read_on(&self) -> bool {
        let until = Instant::now() + self.rules.pace;
        while !interrupt::raised() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(TICK));
        }
        false
    }

    fn run(&mut self, index: usize, shown: &Shown) -> Result<Option<Stop>> {
        let within = self.lesson.header.timeout;
        let command = self.stage.command(shown.place, &shown.command);
        let Some(ended) = foreground(command, within)? else { return Ok(Some(Stop::Interrupted)) };
        let Some(status) = ended.status else {
            // A signal to the terminal's group may have ended it in the same moment.
            if interrupt::raised() {
                return Ok(Some(Stop::Interrupted));
            }
            return Ok(Some(Stop::Failed(Problem::Deadline { within, printed: ended.output })));
        };
        if self.rules.record && status == shown.status {
            self.recorded.push((index, ended.output));
            return Ok(None);
        }
        if status == shown.status && compare::matches(&shown.output, &ended.output) {
            return Ok(None);
        }
        Ok(Some(Stop::Failed(Problem::Differs {
            shown: shown.output.clone(),
            printed: ended.output,
            status: (shown.status, status),
        })))
    }

    /// Starts a command in the background, waits for the lines shown beneath it and, if it is the lesson's
    /// example, until its ports are open: the line that says so is logged before they are.
    fn start(&mut self, shown: &Shown) -> Result<Option<Stop>> {
        let process = Background::start(self.stage.command(shown.place, &shown.command))?;
        let is_example = self.lesson.starts(&shown.command);
        self.running.push(Running { place: shown.place, is_example, process });
        for pattern in shown.output.iter().filter(|line| !line.is_empty() && *line != "...") {
            if let Some(stop) = self.wait_for_line(pattern, self.running.len() - 1)? {
                return Ok(Some(stop));
            }
        }
        if is_example { self.wait_for_ports() } else { Ok(None) }
    }

    fn log_line(&mut self, pattern: &str) -> Result<Option<Stop>> {
        let Some(at) = self.example() else {
            return Ok(Some(Stop::Failed(not_printed(pattern, Duration::ZERO))));
        };
        self.wait_for_line(pattern, at)
    }

    /// The latest run of the example, or whatever else was started last: its log is the lesson's.
    fn example(&self) -> Option<usize> {
        let examples = self.running.iter().rposition(|running| running.is_example);
        examples.or(self.running.len().checked_sub(1))
    }

    fn wait_for_line(&mut self, pattern: &str, at: usize) -> Result<Option<Stop>> {
        if !self.rules.logs {
            return Ok(None);
        }
        let deadline = self.lesson.header.timeout;
        let within = self.rules.patience.map_or(deadline, |patience| patience.min(deadline));
        let process = &mut self.running[at].process;
        let stop = match process.wait_for_line(within, |line| compare::line_matches(pattern, line))? {
            Waited::Seen => return Ok(None),
            Waited::Interrupted => Stop::Interrupted,
            Waited::TooLate => Stop::Failed(not_printed(pattern, within)),
            Waited::Ended(status) => {
                Stop::Failed(Problem::EndedEarly { status, waiting_for: format!("the line '{pattern}'") })
            }
        };
        Ok(Some(stop))
    }

    fn wait_for_ports(&mut self) -> Result<Option<Stop>> {
        let within = self.lesson.header.timeout;
        let deadline = Instant::now() + within;
        let Some(running) = self.running.last_mut() else { return Ok(None) };
        loop {
            let ended = running.process.status()?;
            let listening = self.stage.listening(running.place)?;
            let missing: Vec<_> =
                self.lesson.header.ports.iter().copied().filter(|port| !listening.contains(port)).collect();
            if missing.is_empty() {
                return Ok(None);
            }
            if interrupt::raised() {
                return Ok(Some(Stop::Interrupted));
            }
            if let Some(status) = ended {
                let waiting_for = format!("port {}", joined(&missing));
                return Ok(Some(Stop::Failed(Problem::EndedEarly { status, waiting_for })));
            }
            if Instant::now() >= deadline {
                return Ok(Some(Stop::Failed(Problem::NotListening { missing, within })));
            }
            std::thread::sleep(TICK);
        }
    }

    fn failure(&mut self, step: &Step, problem: Problem) -> Result<Failure> {
        let typed = match step {
            Step::Command(shown) => shown.typed(),
            Step::Log { pattern, .. } => pattern.clone(),
        };
        let mut scene = Scene {
            ports: self.lesson.header.ports.clone(),
            journals: self.stage.journals(),
            ..Scene::default()
        };
        if let Some(at) = self.example() {
            let running = &mut self.running[at];
            scene.example = running.process.status()?.map_or(Example::Running, Example::Ended);
            scene.log = settled(&running.process);
            // A City that is going down has no listeners to tell of; the failure itself matters more.
            scene.listening = self.stage.listening(running.place).unwrap_or_default();
        }
        let recorded = std::mem::take(&mut self.recorded);
        Ok(Failure { line: step.line(), typed, problem, scene, recorded })
    }
}

/// The log, when nothing more comes: what was said before an answer may come after it, for it goes through pipes.
fn settled(process: &Background) -> String {
    let begun = Instant::now();
    let mut log = process.log();
    loop {
        std::thread::sleep(QUIET);
        let now = process.log();
        if now == log || begun.elapsed() >= UNTIL_QUIET {
            return now;
        }
        log = now;
    }
}

fn not_printed(pattern: &str, within: Duration) -> Problem {
    Problem::NotPrinted { pattern: pattern.to_owned(), within }
}

/// Numbers as one reads them in a sentence.
pub fn joined(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A machine without a City: every prompt is a bash right here.
    struct Here;

    impl Stage for Here {
        fn command(&self, _place: Place, line: &str) -> Command {
            let mut command = Command::new("bash");
            command.args(["-c", line]);
            command
        }

        fn listening(&self, _place: Place) -> Result<Vec<u16>> {
            Ok(vec![6149])
        }

        fn journals(&self) -> Vec<(String, Vec<String>)> {
            vec![("blue".into(), vec!["GET /blue".into()])]
        }
    }

    fn played(header: &str, blocks: &str, rules: Rules) -> Outcome {
        let markdown = format!("# 09 · X\n\n<!-- city: {header} -->\n\n{blocks}");
        let lesson = Lesson::parse("09_x", "lessons/09_x.md", &markdown).unwrap();
        play(&lesson, &Here, rules, &|_| ()).unwrap()
    }

    fn failure(header: &str, blocks: &str) -> Failure {
        match played(header, blocks, Rules::VERIFY) {
            Outcome::Failed(failure) => *failure,
            other => panic!("it should have failed: {other:?}"),
        }
    }

    const EXAMPLE: &str =
        "example() { echo up; sleep 0.1; echo \"-> blue\"; sleep 60; }; example --example 09_x";

    #[test]
    fn a_lesson_that_goes_as_shown_passes() {
        let blocks = format!(
            "```console\ndev$ {EXAMPLE} &\nup\nclient1$ echo a; exit 7\n? 7\n[..]\n```\n\n```log\n-> blue\n```\n"
        );
        assert!(matches!(played("ports=6149", &blocks, Rules::VERIFY), Outcome::Passed(_)));
    }

    #[test]
    fn another_output_or_another_status_fails() {
        let failed = failure("timeout=5s", "```console\ndev$ echo a\na\nclient1$ echo b\nc\n```\n");
        assert_eq!((failed.line, failed.typed.as_str()), (8, "client1$ echo b"));
        let printed = "b\n".to_owned();
        assert_eq!(failed.problem, Problem::Differs { shown: vec!["c".into()], printed, status: (0, 0) });
        assert_eq!(failed.scene.journals[0].1, ["GET /blue"]);
        let failed = failure("timeout=5s", "```console\ndev$ exit 3\n```\n");
        assert!(matches!(failed.problem, Problem::Differs { status: (0, 3), .. }));
    }

    #[test]
    fn a_command_that_does_not_end_fails_at_its_deadline() {
        let failed = failure("timeout=200ms", "```console\ndev$ echo a; sleep 60\na\n```\n");
        let within = Duration::from_millis(200);
        assert_eq!(failed.problem, Problem::Deadline { within, printed: "a\n".into() });
    }

    #[test]
    fn an_example_that_ends_early_or_keeps_silent_or_deaf_fails() {
        let failed = failure("ports=6149", "```console\ndev$ echo oops; exit 9 &\nup\n```\n");
        assert!(matches!(failed.problem, Problem::EndedEarly { status: 9, .. }));
        assert_eq!((failed.scene.example, failed.scene.log.as_str()), (Example::Ended(9), "oops\n"));

        let failed = failure("timeout=200ms", "```console\ndev$ echo hm; sleep 60 &\nup\n```\n");
        assert!(matches!(failed.problem, Problem::NotPrinted { .. }));
        assert_eq!(failed.scene.example, Example::Running);

        let failed =
            failure("timeout=500ms ports=6149,6150", &format!("```console\ndev$ {EXAMPLE} &\nup\n```\n"));
        assert!(matches!(failed.problem, Problem::NotListening { ref missing, .. } if *missing == [6150]));
    }

    #[test]
    fn log_lines_are_expected_in_their_order() {
        let blocks = "```console\ndev$ printf 'a\\nb\\nc\\n'; sleep 60 &\na\n```\n\n```log\nc\nb\n```\n";
        let failed = failure("timeout=200ms", blocks);
        assert_eq!((failed.line, failed.typed.as_str()), (12, "b"));
    }

    #[test]
    fn with_a_stand_in_log_lines_count_as_seen() {
        let rules = Rules { logs: false, ..Rules::VERIFY };
        let blocks = "```console\ndev$ sleep 60 &\nup\n```\n\n```log\nnever\n```\n";
        assert!(matches!(played("timeout=200ms", blocks, rules), Outcome::Passed(_)));
    }

    #[test]
    fn recording_hands_back_what_was_printed() {
        let rules = Rules { record: true, ..Rules::VERIFY };
        match played("timeout=5s", "```console\ndev$ echo b\nc\n```\n", rules) {
            Outcome::Passed(recorded) => assert_eq!(recorded, [(0, "b\n".to_owned())]),
            other => panic!("{other:?}"),
        }
    }
}
