//! `city dev-check`: check that every verification can fail, that examples end cleanly, and that names, ports,
//! files and indexes agree.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use console::style;

use super::test::{Count, leave};
use super::{sync, verify};
use crate::lesson::pool::side_by_side;
use crate::lesson::session::{self, Session};
use crate::lesson::text::Lesson;
use crate::lesson::{agreement, ends, interrupt, links, nap, negative, noise, shelf};
use crate::paths;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which lessons are tried against stand-ins and ended; all by default
    #[arg(value_name = "NN")]
    lessons: Vec<String>,
    /// How many at once
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// Repeat the random requests of an earlier run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Make noise at this address: what dev-check runs on dev
    #[arg(long, value_name = "ADDRESS", hide = true)]
    noise: Option<SocketAddr>,
    /// Leave the counts here: for `cargo city test`
    #[arg(long, value_name = "FILE", hide = true)]
    counts: Option<PathBuf>,
}

impl Args {
    /// Whether this is the process that makes noise, and not the one that reports.
    pub fn makes_noise(&self) -> bool {
        self.noise.is_some()
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(seed_of_this_moment);
    if let Some(address) = args.noise {
        noise::make(address, seed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let repository = paths::repository()?;
    let all = shelf::read(&repository, &[])?;
    let lessons = shelf::read(&repository, &args.lessons)?;
    let jobs = args.jobs.unwrap_or_else(session::jobs);
    let session = Session::open(&repository)?;

    let mut tally = Tally::default();
    tally.begin("checks of names, ports, files and links agreed");
    agree(&mut tally, &repository, &all)?;
    tally.begin("negatives failed against a stand-in as they must, or are exempt with a reason");
    against_stand_ins(&mut tally, &session, &lessons, jobs);
    if !interrupt::raised() {
        tally.begin("examples lived through noise and ended cleanly");
        let broken = session.build(&lessons)?;
        for name in &broken {
            println!("{} {name:<28} {}", tally.count(false), verify::DOES_NOT_COMPILE);
        }
        let lessons = verify::without(&broken, lessons);
        end_cleanly(&mut tally, &session, &lessons, jobs, seed);
    }
    drop(session);
    if interrupt::raised() {
        eprintln!("dev-check: interrupted");
        return Ok(ExitCode::from(interrupt::STATUS));
    }
    let passed: usize = tally.parts.iter().map(|part| part.passed).sum();
    let failed: usize = tally.parts.iter().map(|part| part.failed).sum();
    println!("dev-check: {passed} passed, {failed} failed");
    leave(args.counts.as_deref(), &tally.parts)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, Default)]
struct Tally {
    parts: Vec<Count>,
}

impl Tally {
    /// What is counted from now on, as it is said after a number.
    fn begin(&mut self, what: &str) {
        self.parts.push(Count { what: what.to_owned(), passed: 0, failed: 0 });
    }

    /// Counts a check, and returns its first word.
    fn count(&mut self, good: bool) -> String {
        if let Some(part) = self.parts.last_mut() {
            *(if good { &mut part.passed } else { &mut part.failed }) += 1;
        }
        if good { style("ok  ").green().to_string() } else { style("FAIL").red().bold().to_string() }
    }
}

fn agree(tally: &mut Tally, repository: &Path, all: &[Lesson]) -> Result {
    println!("{}", style("Names, ports, files and indexes").bold());
    let mut checks = agreement::check(repository, all)?;
    let (name, problems) = match sync::stale(repository) {
        Ok(stale) => {
            ("nothing that is copied is stale", stale.into_iter().flat_map(|file| file.what).collect())
        }
        Err(trouble) => ("nothing that is copied is stale", vec![trouble.to_string()]),
    };
    let stale = |what: String| {
        if what.contains(';') { what } else { format!("{what} is stale: run `cargo city sync`") }
    };
    checks.push(agreement::Check { name, problems: Vec::into_iter(problems).map(stale).collect() });
    let problems = links::check(repository)?;
    checks.push(agreement::Check { name: "links lead somewhere, and to every lesson", problems });
    for check in checks {
        println!("{} {}", tally.count(check.problems.is_empty()), check.name);
        for problem in check.problems {
            println!("       {problem}");
        }
    }
    Ok(())
}

fn against_stand_ins(tally: &mut Tally, session: &Session, lessons: &[Lesson], jobs: usize) {
    println!("\n{}", style("Every verification must fail against a stand-in").bold());
    let tasks: Vec<_> = lessons.iter().flat_map(negative::tasks).collect();
    let played = session.play(&tasks, jobs, |_, _| String::new());
    for (task, result) in tasks.iter().zip(&played) {
        if result.interrupted() {
            continue;
        }
        let mut same = tasks.iter().zip(&played).filter(|(other, _)| other.lesson.name == task.lesson.name);
        let all_fail = same.all(|(_, played)| !played.passed());
        let verdict = negative::judge(task.lesson, result, all_fail);
        let mode = task.stand_in.as_ref().map_or("", |stand_in| stand_in.mode);
        let word = match verdict {
            negative::Verdict::Fails(_) => "fails as it should",
            negative::Verdict::Exempt(_) => "may pass          ",
            _ => "NOT PROVEN        ",
        };
        let first = tally.count(verdict.is_good());
        println!("{first} {word}   {:<28} {mode:<7} {}", task.lesson.name, verdict.said());
    }
}

fn end_cleanly(tally: &mut Tally, session: &Session, lessons: &[Lesson], jobs: usize, seed: u64) {
    println!("\n{}", style(format!("Examples live through noise and end cleanly (seed {seed})")).bold());
    let check = |lesson: &Lesson| nap::excused(|| ends::check(session, lesson, seed), Result::is_err).0;
    side_by_side(lessons, jobs, check, |lesson, outcome| {
        if interrupt::raised() {
            return;
        }
        let said = outcome.as_ref().err().map_or("ends as it should".to_owned(), ToString::to_string);
        println!("{} {:<28} {said}", tally.count(outcome.is_ok()), lesson.name);
    });
}

fn seed_of_this_moment() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}
