//! `city verify`: run the commands printed in lessons and compare what they print.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use console::style;

use super::test::{Count, leave};
use crate::lab::{City, NONE_IS_UP, docker};
use crate::lesson::play::{Outcome, Rules};
use crate::lesson::progress;
use crate::lesson::report::report;
use crate::lesson::session::{self, Played, Session, Task};
use crate::lesson::text::Lesson;
use crate::lesson::{bless, interrupt, shelf};
use crate::machine::progress as progress_bar;
use crate::paths;
use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which lessons: 6, 06 or 06_simple_forward; or gateway, the chapter
    #[arg(value_name = "NN")]
    lessons: Vec<String>,
    /// All lessons
    #[arg(long, conflicts_with = "lessons")]
    all: bool,
    /// One lesson of each module
    #[arg(long, conflicts_with_all = ["lessons", "all"])]
    sample: bool,
    /// How many at once; by default twice as many as there are processors, for lessons mostly wait
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// Write what is printed now into the lessons, for review after an intended change
    #[arg(long)]
    bless: bool,
    /// Wait so many seconds before each command, as somebody does who reads in between; all lessons at once
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(..=3600))]
    pace: u64,
    /// In the Docker City, one after another; it is brought up for this if it is not up
    #[arg(long, conflicts_with = "jobs")]
    docker: bool,
    /// Against the gateway in place of the examples
    #[arg(long)]
    gateway: bool,
    /// Leave the counts here: for `cargo city test`
    #[arg(long, value_name = "FILE", hide = true)]
    counts: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    if args.gateway {
        return Err(Trouble::new("`verify --gateway` comes with a later version")
            .remedy("without it, the examples are verified")
            .status(2));
    }
    if args.lessons.is_empty() && !args.all && !args.sample {
        return Err(Trouble::new("no lesson is named").remedy("give its number, or --all").status(2));
    }
    let repository = paths::repository()?;
    let mut lessons = shelf::read(&repository, &args.lessons)?;
    if args.sample {
        lessons.dedup_by_key(|lesson| shelf::module(&lesson.name).0);
    }
    let city = if args.docker { Some(docker_city()?) } else { None };
    let session = match &city {
        Some(city) => Session::in_docker(&repository, city)?,
        None => Session::open(&repository)?,
    };
    let broken = session.build(&lessons)?;
    let lessons = without(&broken, lessons);
    let pace = Duration::from_secs(args.pace);
    let rules = Rules { record: args.bless, pace, ..Rules::VERIFY };
    // Who reads needs no processor.
    let usual = || if pace.is_zero() { session::jobs() } else { lessons.len() };
    let mut tally = verify(&session, &repository, &lessons, args.jobs.unwrap_or_else(usual), rules)?;
    for name in &broken {
        tally.failed += 1;
        println!("{} {name:<28} {DOES_NOT_COMPILE}", style("FAIL").red().bold());
        println!("       mend it, or put it back with: cargo city reset {name}");
    }
    // Explicitly, for what follows may be the exit.
    drop(session);
    if let Some(city) = city {
        city.leave()?;
    }
    if tally.interrupted {
        eprintln!("verify: interrupted");
        return Ok(ExitCode::from(interrupt::STATUS));
    }
    println!("verify: {} passed, {} failed", tally.passed, tally.failed);
    let what = "lessons did what they show".to_owned();
    leave(args.counts.as_deref(), &[Count { what, passed: tally.passed, failed: tally.failed }])?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is said of an example for which the compiler has said more.
pub const DOES_NOT_COMPILE: &str = "its example does not compile: the compiler's message is above";

/// The lessons that can be played.
pub fn without(broken: &[String], mut lessons: Vec<Lesson>) -> Vec<Lesson> {
    lessons.retain(|lesson| !broken.contains(&lesson.name));
    lessons
}

/// The Docker City that is up, or one for as long as this takes.
fn docker_city() -> Result<City> {
    match City::find(Some(docker::NAME)) {
        Err(none) if none.status == NONE_IS_UP => {
            progress_bar::while_it_takes("bringing the Docker City up", City::up_in_docker).map(City::owned)
        }
        found => found,
    }
}

/// What came of a verification.
#[derive(Debug, Default)]
pub struct Tally {
    /// Lessons that went as shown.
    pub passed: usize,
    /// Lessons that did not.
    pub failed: usize,
    /// Whether the user broke it off.
    pub interrupted: bool,
}

/// Plays these lessons, prints how each ended, and remembers it.
pub fn verify(
    session: &Session,
    repository: &Path,
    lessons: &[Lesson],
    jobs: usize,
    rules: Rules,
) -> Result<Tally> {
    let mut tasks: Vec<_> = lessons.iter().map(|lesson| Task { lesson, rules, stand_in: None }).collect();
    // The longest first, as far as it is known, or everybody waits for one of them in the end.
    let known = progress::read(repository);
    let before = |task: &Task| known.get(&task.lesson.name).map_or(0.0, |entry| entry.seconds);
    tasks.sort_by(|a, b| before(b).total_cmp(&before(a)));
    // Before anything runs, for somebody may be editing.
    let files: BTreeMap<_, _> =
        lessons.iter().map(|lesson| (&lesson.name, progress::fingerprint(repository, lesson))).collect();
    let mut forgetful = None;
    let mut tally = Tally::default();
    let mut troubles = Vec::new();
    session.play(&tasks, jobs, |task, played| {
        if played.interrupted() {
            tally.interrupted = true;
            return String::new();
        }
        let passed = played.passed();
        *(if passed { &mut tally.passed } else { &mut tally.failed }) += 1;
        let mut text = said(task.lesson, played);
        if !rules.record {
            let of = files.get(&task.lesson.name).cloned().unwrap_or_default();
            // At once: whatever ends this process takes nothing back.
            let entry = progress::Entry::now(passed, played.took, of);
            forgetful = progress::remember(repository, &task.lesson.name, entry).err().or(forgetful.take());
        } else if let Some(printed) = recorded(played) {
            match bless::write(repository, task.lesson, printed) {
                Ok(0) => text.push_str("       nothing to change\n"),
                Ok(changed) => {
                    text.push_str(&format!("       {changed} outputs rewritten: review the diff\n"))
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        text
    });
    tally.interrupted |= interrupt::raised();
    if let Some(trouble) = forgetful {
        eprintln!("city: `cargo city list` will not know of this: {trouble}");
    }
    match troubles.pop() {
        Some(trouble) => Err(trouble),
        None => Ok(tally),
    }
}

/// What was printed, up to the step that failed if one did.
fn recorded(played: &Played) -> Option<&[(usize, String)]> {
    match &played.outcome {
        Ok(Outcome::Passed(recorded)) => Some(recorded),
        Ok(Outcome::Failed(failure)) => Some(&failure.recorded),
        Ok(Outcome::Interrupted) | Err(_) => None,
    }
}

/// How one lesson ended, in one line, and why, if it failed.
fn said(lesson: &Lesson, played: &Played) -> String {
    let ok = style("ok  ").green();
    let failed = style("FAIL").red().bold();
    let name = format!("{:<28}", lesson.name);
    let mut took = seconds(played.took);
    if played.again {
        took.push_str(", played again: the machine was asleep meanwhile");
    }
    match &played.outcome {
        Ok(Outcome::Passed(_)) => format!("{ok} {name} {:>3} steps  {took}\n", lesson.steps.len()),
        Ok(Outcome::Interrupted) => String::new(),
        Ok(Outcome::Failed(failure)) => {
            let step =
                lesson.steps.iter().position(|step| step.line() == failure.line).map_or(0, |at| at + 1);
            let report = report(lesson, failure, console::colors_enabled());
            format!("{failed} {name} step {step} of {}  {took}\n{report}\n", lesson.steps.len())
        }
        Err(trouble) => format!("{failed} {name} {trouble}\n"),
    }
}

/// A duration as it is read at a glance.
pub fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}
