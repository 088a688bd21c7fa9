//! Many lessons at once: built together, then played side by side, each in a City of its own.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::interrupt;
use super::nap;
use super::on_city::OnCity;
use super::play::{Outcome, Rules, play};
use super::pool::side_by_side;
use super::process::adopt_orphans;
use super::text::{Lesson, Step};
use super::workshop::{StandIn, Workshop};
use crate::lab::docker::rooms::Rooms;
use crate::lab::{City, Lifetime, UpOptions, environment};
use crate::trouble::{OrTrouble, Result, Trouble};

/// How many lessons are played at once unless said otherwise: they mostly wait, also for a processor.
pub fn jobs() -> usize {
    thread::available_parallelism().map_or(4, |cores| cores.get() * 2)
}

/// One verification of some lessons.
#[derive(Debug)]
pub struct Session<'a> {
    repository: &'a Path,
    workshop: Workshop,
    /// The Docker City in which lessons are played one after another; without it each has a City of its own.
    docker: Option<&'a City>,
}

/// One lesson to be played.
#[derive(Debug)]
pub struct Task<'a> {
    /// The lesson.
    pub lesson: &'a Lesson,
    /// How it is played.
    pub rules: Rules,
    /// What answers in the example's place, if not the example.
    pub stand_in: Option<StandIn>,
}

/// One lesson that was played.
#[derive(Debug)]
pub struct Played {
    /// How it ended; a trouble if its City did not come up or go down.
    pub outcome: Result<Outcome>,
    /// From before its City was up until it was down.
    pub took: Duration,
    /// Whether it was played again, because the machine was asleep before.
    pub again: bool,
}

impl Played {
    /// Whether every step went as shown.
    pub fn passed(&self) -> bool {
        matches!(self.outcome, Ok(Outcome::Passed(_)))
    }

    /// Whether it was broken off by the user.
    pub fn interrupted(&self) -> bool {
        matches!(self.outcome, Ok(Outcome::Interrupted))
    }
}

impl<'a> Session<'a> {
    /// Begins one. From here on Ctrl-C and SIGTERM end it in order.
    pub fn open(repository: &'a Path) -> Result<Session<'a>> {
        interrupt::watch()?;
        nap::watch();
        adopt_orphans()?;
        // Before `conf/` is copied, for the keys are copied with it.
        crate::certs::ensure(repository)?;
        Ok(Session { repository, workshop: Workshop::open(repository)?, docker: None })
    }

    /// Begins one in the Docker City.
    pub fn in_docker(repository: &'a Path, city: &'a City) -> Result<Session<'a>> {
        Ok(Session { docker: Some(city), ..Session::open(repository)? })
    }

    /// Builds what these lessons need, in the environment in which cargo finds it built on a host. Returns the
    /// names of those that do not compile; if none of them does, that is a failure.
    pub fn build(&self, lessons: &[Lesson]) -> Result<Vec<String>> {
        if lessons.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = match self.docker {
            Some(city) => {
                let mut command = city.exec("dev");
                command.args(["cargo", "build"]);
                command
            }
            None => {
                let mut command = Command::new("cargo");
                command.arg("build").current_dir(self.repository);
                command.env_clear().envs(environment::for_building());
                command
            }
        };
        // One that does not compile must not keep the others from being built.
        command.args(["--keep-going", "--message-format", "json-render-diagnostics"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        for lesson in lessons {
            command.args(lesson.programs().iter().flatten());
            for bin in binaries(lesson) {
                command.args(["--bin", &bin]);
            }
        }
        let mut cargo = command.spawn().or_trouble(|| "cannot start cargo".into())?;
        let messages = cargo.stdout.take();
        let built = thread::spawn(move || messages.map(built).unwrap_or_default());
        let status = loop {
            if let Some(status) = cargo.try_wait().or_trouble(|| "cannot wait for cargo".into())? {
                break status;
            }
            if interrupt::raised() {
                // Gently, so that it can be handed on to a container.
                let _ = kill(Pid::from_raw(cargo.id().cast_signed()), Signal::SIGTERM);
                let _ = cargo.wait();
                return Err(interrupt::trouble());
            }
            thread::sleep(Duration::from_millis(20));
        };
        if status.success() {
            return Ok(Vec::new());
        }
        // Ctrl-C reaches cargo as well, and perhaps before us.
        if interrupt::raised() || status.signal().is_some() {
            return Err(interrupt::trouble());
        }
        let built = built.join().unwrap_or_default();
        let is_there = |lesson: &&Lesson| {
            let programs = lesson.programs().into_iter().map(|[_, name]| name);
            programs.chain(binaries(lesson)).all(|name| built.contains(&name))
        };
        let (there, broken): (Vec<_>, Vec<_>) = lessons.iter().partition(is_there);
        if there.is_empty() || broken.is_empty() {
            return Err(Trouble::new("what the lessons need does not build")
                .remedy("the compiler's message is above; mend that, and try again"));
        }
        Ok(broken.into_iter().map(|lesson| lesson.name.clone()).collect())
    }

    /// Plays all tasks, `jobs` at a time. `done` is told each one as it ends, and what it returns is printed.
    pub fn play(
        &self,
        tasks: &[Task],
        jobs: usize,
        mut done: impl FnMut(&Task, &Played) -> String,
    ) -> Vec<Played> {
        let board = MultiProgress::new();
        // There is one Docker City, and lessons must not meet in it.
        let jobs = if self.docker.is_some() { 1 } else { jobs };
        let work = |task: &Task| {
            let begun = Instant::now();
            let bar = bar(&board, task);
            let (outcome, again) = nap::excused(|| self.one(task, &bar), |outcome| has_failed(task, outcome));
            bar.finish_and_clear();
            board.remove(&bar);
            Played { outcome, took: begun.elapsed(), again }
        };
        side_by_side(tasks, jobs, work, |task, played| {
            let said = done(task, played);
            if !said.is_empty() {
                board.suspend(|| println!("{}", said.trim_end_matches('\n')));
            }
        })
    }

    fn one(&self, task: &Task, bar: &ProgressBar) -> Result<Outcome> {
        if interrupt::raised() {
            return Ok(Outcome::Interrupted);
        }
        let lesson = task.lesson;
        let place = self.place(lesson, task.stand_in.as_ref())?;
        let outcome = play(lesson, &place.stage(self), task.rules, &|index| {
            bar.set_position(index as u64 + 1);
            bar.set_message(match &lesson.steps[index] {
                Step::Command(shown) => first_line(&shown.typed()),
                Step::Log { pattern, .. } => format!("log: {pattern}"),
            });
        });
        bar.set_message("taking its City down");
        place.leave()?;
        outcome
    }

    /// A City for one lesson, and the shims for its hosts.
    pub fn place(&self, lesson: &Lesson, stand_in: Option<&StandIn>) -> Result<OwnPlace> {
        let mode = stand_in.map_or("verify", |stand_in| stand_in.mode);
        let options = UpOptions {
            name: format!("{mode}-{}-{}", lesson.number(), process::id()),
            conf: Some(self.workshop.conf(self.repository, &format!("{}-{mode}", lesson.name))?),
            nginx: false,
            lifetime: Lifetime::Owner,
            private: true,
        };
        let shims = self.workshop.shims(&lesson.name, stand_in)?;
        if let (Some(city), Some(conf)) = (self.docker, &options.conf) {
            let rooms = Rooms::open(city, conf)?;
            return Ok(OwnPlace { city: city.with_rooms(), rooms: Some(rooms), shims });
        }
        Ok(OwnPlace { city: City::up(&options)?, rooms: None, shims })
    }

    /// Where the tool lies that commands on hosts should use.
    pub fn tool(&self) -> PathBuf {
        self.workshop.tool()
    }
}

/// A City that one lesson has for itself.
#[derive(Debug)]
pub struct OwnPlace {
    /// The City.
    pub city: City,
    /// What it has for itself of the Docker City.
    rooms: Option<Rooms>,
    shims: PathBuf,
}

impl OwnPlace {
    /// Takes its City down, or clears its rooms.
    pub fn leave(self) -> Result {
        match self.rooms {
            Some(rooms) => {
                drop(rooms);
                Ok(())
            }
            None => self.city.down(),
        }
    }

    /// The stage that it makes.
    pub fn stage<'b>(&'b self, session: &'b Session) -> OnCity<'b> {
        OnCity { city: &self.city, repository: session.repository, shims: &self.shims }
    }
}

/// Whether it ended as it should not have, and a nap of the machine would excuse it. Against a stand-in it should.
fn has_failed(task: &Task, outcome: &Result<Outcome>) -> bool {
    task.stand_in.is_none() && !interrupt::raised() && matches!(outcome, Ok(Outcome::Failed(_)) | Err(_))
}

/// The names of the programs that cargo has built, or found to be current, from the messages it prints.
fn built(messages: impl Read) -> BTreeSet<String> {
    let messages = BufReader::new(messages).lines().map_while(std::result::Result::ok);
    let artifacts = messages
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["executable"].is_string());
    artifacts.filter_map(|message| message["target"]["name"].as_str().map(str::to_owned)).collect()
}

/// The root package's own programs that a lesson runs.
fn binaries(lesson: &Lesson) -> Vec<String> {
    let commands = lesson.steps.iter().filter_map(|step| match step {
        Step::Command(shown) => Some(&shown.command),
        Step::Log { .. } => None,
    });
    let words = commands.map(|command| command.split_whitespace());
    words
        .filter_map(|mut words| words.find(|word| *word == "--bin").and(words.next()))
        .map(str::to_owned)
        .collect()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn bar(board: &MultiProgress, task: &Task) -> ProgressBar {
    let bar = ProgressBar::new(task.lesson.steps.len() as u64);
    let template = "  {spinner} {prefix:<28} step {pos}/{len}  {elapsed}  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let bar = board.add(bar);
    bar.set_prefix(task.lesson.name.clone());
    bar.set_message("bringing its City up");
    if std::io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(150));
    }
    bar
}
