//! Whether an example lives through noise and ends as it should: the third part of dev-check.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::console::Place;
use super::header::Wanted;
use super::interrupt;
use super::on_city::OnCity;
use super::process::{Background, foreground, status};
use super::session::Session;
use super::stage::Stage;
use super::text::Lesson;
use crate::lab::City;
use crate::trouble::{OrTrouble, Result, Trouble};

/// How long an example may take to come up.
const UP: Duration = Duration::from_secs(15);
/// What an ending may take beyond the grace period.
const SLACK: Duration = Duration::from_secs(2);
/// How often it is asked whether something has come or gone.
const TICK: Duration = Duration::from_millis(20);
/// The longest that noise at one port may take, and some.
const NOISE: Duration = Duration::from_secs(60);

/// Starts the example in a City of its own, makes noise at its ports, and ends it by SIGTERM and by SIGINT.
pub fn check(session: &Session, lesson: &Lesson, seed: u64) -> Result {
    let place = session.place(lesson, None)?;
    let trial = Trial { lesson, city: &place.city, stage: place.stage(session) };
    let outcome = trial.run(&session.tool(), seed);
    place.leave()?;
    outcome
}

struct Trial<'a> {
    lesson: &'a Lesson,
    city: &'a City,
    stage: OnCity<'a>,
}

impl Trial<'_> {
    fn run(&self, tool: &std::path::Path, seed: u64) -> Result {
        let mut example = self.start()?;
        if self.lesson.header.fuzz == Wanted::Yes {
            for port in &self.lesson.header.ports {
                self.noise(&mut example, tool, *port, seed)?;
            }
        }
        let grace = self.lesson.header.grace + SLACK;
        match self.end(&mut example, "TERM", grace)? {
            0 => {}
            status => {
                return Err(self.trouble(&example, format!("SIGTERM ends it with status {status}, not 0")));
            }
        }
        let mut example = self.start()?;
        self.end(&mut example, "INT", SLACK).map(|_| ())
    }

    /// Starts the example and waits until its ports are open and it listens to SIGTERM: before that, the
    /// signal would kill it.
    fn start(&self) -> Result<Background> {
        // As cargo would start it, but without cargo: it may wait for somebody else's download.
        let target = super::workshop::target(self.stage.repository);
        let served = self.lesson.served();
        let (binary, arguments) = served.split_once(' ').unwrap_or((&served, ""));
        let line = format!("exec scripts/cargo-runner '{}' {arguments}", target.join(binary).display());
        let mut example = Background::start(self.stage.command(Place::Host("dev"), &line))?;
        let deadline = Instant::now() + UP;
        loop {
            let ended = example.status()?;
            let listening = self.city.listening("dev")?;
            let missing = self.lesson.header.ports.iter().find(|port| !listening.contains(port));
            if missing.is_none() && self.handles_signals()? {
                return Ok(example);
            }
            if interrupt::raised() {
                return Err(interrupt::trouble());
            }
            if let Some(status) = ended {
                return Err(self.trouble(&example, format!("it ended with status {status} before it was up")));
            }
            if Instant::now() >= deadline {
                let what = match missing {
                    Some(port) => format!("port {port} is not open"),
                    None => "it does not handle SIGTERM".to_owned(),
                };
                let within = humantime::format_duration(UP);
                return Err(self.trouble(&example, format!("{what} after {within}")));
            }
            thread::sleep(TICK);
        }
    }

    fn handles_signals(&self) -> Result<bool> {
        // The 15th bit of the mask of signals that are caught.
        let line = format!(
            "while read -r name mask; do [ \"$name\" = SigCgt: ] && (( 0x$mask >> 14 & 1 )) && exit 0; done \
             </proc/$(pgrep -o -f '{}$')/status; exit 1",
            self.lesson.served()
        );
        let asked =
            foreground(self.stage.command(Place::Host("dev"), &line), UP)?.ok_or_else(interrupt::trouble)?;
        Ok(asked.status == Some(0))
    }

    fn noise(&self, example: &mut Background, tool: &std::path::Path, port: u16, seed: u64) -> Result {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = self.city.exec("dev");
        command.arg(tool).args(["dev-check", "--noise", &address.to_string(), "--seed", &seed.to_string()]);
        let made = foreground(command, NOISE)?.ok_or_else(interrupt::trouble)?;
        if let Some(status) = example.status()? {
            let what = format!("random requests at port {port} end it with status {status} (seed {seed})");
            return Err(self.trouble(example, what));
        }
        if made.status != Some(0) {
            let said = made.output.trim().trim_start_matches("city: ").to_owned();
            return Err(self.trouble(example, format!("after random requests {said} (seed {seed})")));
        }
        if let Some(panic) = example.log().lines().find(|line| line.contains("panicked at")) {
            return Err(Trouble::new(format!(
                "random requests at port {port} make it panic (seed {seed}): {panic}"
            )));
        }
        Ok(())
    }

    /// Sends the signal, and returns the exit status.
    fn end(&self, example: &mut Background, signal: &str, within: Duration) -> Result<i32> {
        let begun = Instant::now();
        let pattern = format!("{}$", self.lesson.served());
        let sent = self.city.exec("dev").args(["pkill", &format!("-{signal}"), "-f", &pattern]).status();
        let sent = status(sent.or_trouble(|| "cannot send a signal".into())?);
        if sent != 0 {
            return Err(self.trouble(example, format!("SIG{signal} finds no process")));
        }
        loop {
            if let Some(status) = example.status()? {
                return Ok(status);
            }
            if interrupt::raised() {
                return Err(interrupt::trouble());
            }
            if begun.elapsed() > within {
                let within = humantime::format_duration(within);
                return Err(self.trouble(example, format!("SIG{signal} has not ended it after {within}")));
            }
            thread::sleep(TICK);
        }
    }

    fn trouble(&self, example: &Background, what: String) -> Trouble {
        let log = example.log();
        Trouble::new(match log.lines().last() {
            Some(last) => format!("{what}; the last line of its log: {last}"),
            None => format!("{what}; it has printed nothing"),
        })
    }
}
