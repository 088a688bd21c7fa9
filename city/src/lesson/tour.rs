//! A lesson for somebody who wants to see it work: its commands run one after another at the press of Enter,
//! with the example's log and what the upstreams receive in view.
//!
//! Nothing is compared here; that is `verify`.

use std::collections::HashMap;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use console::style;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::console::{Place, Shown};
use super::interrupt;
use super::process::{Background, foreground};
use super::stage::Stage;
use super::text::{Lesson, Step};
use crate::lab::City;
use crate::map::HOSTS;
use crate::services::journal::Reader;
use crate::trouble::Result;

/// How often logs, journals and the keyboard are looked at.
const TICK: Duration = Duration::from_millis(40);
/// What an example gets to say goodbye in; most have a grace period of a second.
const FAREWELL: Duration = Duration::from_secs(3);
/// A command of a tour may take as long as its reader has patience, but not for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// One walk through a lesson.
pub struct Tour<'a> {
    lesson: &'a Lesson,
    city: &'a City,
    stage: &'a (dyn Stage + Sync),
    background: Vec<(Background, usize)>,
    journals: Vec<(&'static str, Reader)>,
    keyboard: bool,
}

impl<'a> Tour<'a> {
    /// Begins one; what the upstreams received before it is not shown.
    pub fn new(lesson: &'a Lesson, city: &'a City, stage: &'a (dyn Stage + Sync)) -> Tour<'a> {
        let serving = HOSTS.iter().filter(|host| host.serves() && host.name != "dns");
        let mut journals: Vec<_> =
            serving.map(|host| (host.name, Reader::new(&city.host_folder(host.name)))).collect();
        for (_, reader) in &mut journals {
            let _ = reader.news();
        }
        let keyboard = std::io::stdin().is_terminal();
        Tour { lesson, city, stage, background: Vec::new(), journals, keyboard }
    }

    /// Walks until the lesson is over or the user has had enough. Returns whether the example came up.
    pub fn walk(mut self) -> Result<bool> {
        let sections = self.sections();
        let mut left = self.lesson.steps.iter().filter_map(|step| match step {
            Step::Command(shown) => Some(shown),
            Step::Log { .. } => None,
        });
        let mut up = true;
        let mut tried = false;
        let mut heading = "";
        let mut rest = Vec::new();
        while let Some(shown) = left.next() {
            let section = sections.get(&shown.line).copied().unwrap_or_default();
            // The lesson is started and its first command run unasked; the others wait for Enter.
            if section != "Run it" && tried {
                if !self.keyboard {
                    rest.push(shown);
                    rest.extend(left.by_ref());
                    break;
                }
                println!("{}", style(format!("      Enter: {}   Ctrl-C: end", shown.typed())).dim());
                if !self.until_enter()? {
                    break;
                }
            }
            if section != heading {
                heading = section;
                println!("\n{}", style(heading).bold());
            }
            tried |= section != "Run it";
            up &= self.step(shown)?;
            if !up || interrupt::raised() {
                break;
            }
        }
        if up && !interrupt::raised() {
            self.what_next(&rest);
            while !interrupt::raised() && self.running() {
                self.look()?;
                thread::sleep(TICK);
            }
        }
        self.farewell()?;
        Ok(up)
    }

    /// The section in which each command stands, by its line.
    fn sections(&self) -> HashMap<usize, &'a str> {
        let section_of = |line: usize| {
            let before = self.lesson.sections.iter().rev().find(|(_, start)| *start <= line);
            before.map(|(title, _)| title.as_str()).unwrap_or_default()
        };
        self.lesson.steps.iter().map(|step| (step.line(), section_of(step.line()))).collect()
    }

    /// Runs one command. False if it was the example, and it is not there.
    fn step(&mut self, shown: &Shown) -> Result<bool> {
        println!("{}", style(shown.typed()).bold().cyan());
        let command = self.stage.command(shown.place, &shown.command);
        if shown.background {
            self.background.push((Background::start(command)?, 0));
            return self.until_listening(shown);
        }
        let running = thread::spawn(move || foreground(command, PATIENCE));
        while !running.is_finished() {
            self.look()?;
            thread::sleep(TICK / 4);
        }
        if let Ok(ended) = running.join()
            && let Some(ended) = ended?
        {
            print!("{}", ended.output);
            if ended.status != Some(shown.status)
                && let Some(status) = ended.status
            {
                println!("{}", style(format!("(exit status {status})")).yellow());
            }
        }
        self.look()?;
        Ok(true)
    }

    /// Waits for the lesson's ports, if that was its example; until it ends, if it does not stay.
    fn until_listening(&mut self, shown: &Shown) -> Result<bool> {
        let example = shown.place == Place::Host("dev") && self.lesson.starts(&shown.command);
        let deadline = Instant::now() + PATIENCE;
        while example && Instant::now() < deadline && !interrupt::raised() {
            self.look()?;
            let open = self.city.listening("dev")?;
            if self.lesson.header.ports.iter().all(|port| open.contains(port)) {
                break;
            }
            if let Some((last, _)) = self.background.last_mut()
                && let Some(status) = last.status()?
            {
                self.look()?;
                println!(
                    "{}",
                    style(format!("It ended, with exit status {status}: see its words above.")).red()
                );
                return Ok(false);
            }
            thread::sleep(TICK);
        }
        Ok(true)
    }

    /// Shows what logs and journals have gained.
    fn look(&mut self) -> Result {
        for (background, shown) in &mut self.background {
            let log = background.log();
            let whole = log.rfind('\n').map_or(*shown, |end| end + 1).max(*shown);
            for line in log[*shown..whole].lines() {
                println!("{} {line}", style("      dev │").dim());
            }
            *shown = whole;
        }
        for (host, reader) in &mut self.journals {
            for entry in reader.news()?.begun.iter().filter(|entry| !entry.request.is_citys_own()) {
                println!("{} {}", style(format!("{host:>9} │")).dim(), style(entry.line()).green());
            }
        }
        Ok(())
    }

    /// Waits for Enter; false when the input or the user's patience ends.
    fn until_enter(&mut self) -> Result<bool> {
        while !interrupt::raised() {
            self.look()?;
            let timeout = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
            let stdin = std::io::stdin();
            if poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], timeout)
                .is_ok_and(|ready| ready > 0)
            {
                let mut typed = [0; 256];
                return Ok(stdin.lock().read(&mut typed).is_ok_and(|read| read > 0));
            }
        }
        Ok(false)
    }

    fn running(&mut self) -> bool {
        self.background.iter_mut().any(|(background, _)| matches!(background.status(), Ok(None)))
    }

    fn what_next(&self, rest: &[&Shown]) {
        let number = self.lesson.number();
        if !rest.is_empty() {
            println!("\n{}", style("Try, from another terminal:").bold());
        }
        for shown in rest {
            match shown.place {
                Place::Host(host) => println!("  cargo city exec {host} bash -c {}", quoted(&shown.command)),
                Place::Machine => println!("  {}", shown.command),
            }
        }
        println!(
            "\nThe lesson's text: {}. Edit {}, run this again,",
            self.lesson.file,
            self.lesson.example()
        );
        println!("and see whether it still does what the text shows: cargo city verify {number}");
        println!("{}", style("Ctrl-C ends it.").dim());
    }

    /// Asks the example to end as an operator would, and shows its last words.
    fn farewell(&mut self) -> Result {
        for (background, _) in &mut self.background {
            background.signal(Signal::SIGTERM);
        }
        let deadline = Instant::now() + FAREWELL;
        while self.running() && Instant::now() < deadline {
            self.look()?;
            thread::sleep(TICK);
        }
        self.look()
    }
}

fn quoted(command: &str) -> String {
    shlex::try_quote(command).map_or_else(|_| command.to_owned(), |quoted| quoted.into_owned())
}
