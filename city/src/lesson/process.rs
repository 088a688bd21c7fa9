//! The commands of a lesson as processes: in the foreground with a deadline, in the background with a log.
//!
//! Both streams of a command go through one pipe, so that they stay in the order in which they were written.
//! Every command leads a process group of its own, so that what it started ends with it.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::interrupt;
use crate::trouble::{OrTrouble, Result};

/// How often a process is asked whether it has ended while its output is silent.
const TICK: Duration = Duration::from_millis(25);
/// What is kept of a command's output. Nothing in a lesson prints as much; a runaway must not fill the memory.
const KEPT: usize = 4 << 20;
/// How long a silent pipe is still listened to after the command has ended: what an example prints on a host
/// passes through a `tee`, which may end a moment later.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How a command in the foreground ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What it printed, both streams in the order in which they were written.
    pub output: String,
    /// Its exit status, 128+n for signal n; none if it was killed at its deadline.
    pub status: Option<i32>,
}

/// The exit status as a shell tells it.
pub fn status(ended: ExitStatus) -> i32 {
    ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Runs a command to its end, or to the deadline, at which its whole process group is killed.
///
/// None if the verification was interrupted meanwhile.
pub fn foreground(mut command: Command, within: Duration) -> Result<Option<Ended>> {
    let deadline = Instant::now() + within;
    let (child, mut pipe) = spawn(&mut command)?;
    // The command holds the pipe's other end: while it lives, the pipe would never end.
    drop(command);
    let mut group = Group { child };
    let mut printed = Vec::new();
    let mut open = true;
    let ended = loop {
        if let Some(ended) = group.try_wait()? {
            break Some(status(ended));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break None;
        }
        if interrupt::raised() {
            return Ok(None);
        }
        if !open {
            // Both streams are closed and yet it runs: it has only to be waited for.
            thread::sleep(left.min(Duration::from_millis(2)));
        } else if readable(&pipe, left.min(TICK))? {
            open = read_some(&mut pipe, &mut printed)?;
        }
    };
    if ended.is_none() {
        group.kill();
    }
    // A process that it left behind may hold the pipe open for ever, or fill it for ever.
    let enough = Instant::now() + 5 * LAST_WORDS;
    while open && Instant::now() < enough && readable(&pipe, LAST_WORDS)? {
        open = read_some(&mut pipe, &mut printed)?;
    }
    Ok(Some(Ended { output: String::from_utf8_lossy(&printed).into_owned(), status: ended }))
}

fn spawn(command: &mut Command) -> Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe().or_trouble(|| "cannot make a pipe".into())?;
    let twin = writer.try_clone().or_trouble(|| "cannot make a pipe".into())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(twin).process_group(0);
    let child =
        command.spawn().or_trouble(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    Ok((child, reader))
}

fn readable(pipe: &PipeReader, within: Duration) -> Result<bool> {
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error).or_trouble(|| "cannot wait for a command's output".into()),
    }
}

/// Reads once; false at the end of the stream.
fn read_some(pipe: &mut PipeReader, into: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0; 16 << 10];
    let read = pipe.read(&mut buffer).or_trouble(|| "cannot read a command's output".into())?;
    let room = KEPT.saturating_sub(into.len());
    into.extend_from_slice(&buffer[..read.min(room)]);
    Ok(read > 0)
}

/// A child that leads a process group; the group is killed when this is dropped.
#[derive(Debug)]
struct Group {
    child: Child,
}

impl Group {
    fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().or_trouble(|| "cannot wait for a command".into())
    }

    fn kill(&mut self) {
        // Once it has been waited for, its number may be somebody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = Pid::from_raw(self.child.id().cast_signed());
            let _ = killpg(group, Signal::SIGKILL);
            let _ = self.child.wait();
            // The command itself was a child of `city exec` and is ours now: see `adopt_orphans`.
            while waitpid(Pid::from_raw(-group.as_raw()), None).is_ok() {}
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// From now on the orphans of this process's children become its own children.
///
/// A command on a host is the child of a `city exec` outside the host's PID namespace. Killed together, it
/// would be left to the machine's first process, and until that one takes notice, which in some containers is
/// seconds or never, the host's namespace cannot end.
pub fn adopt_orphans() -> Result {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).or_trouble(|| "cannot adopt orphaned processes".into())?;
    Ok(())
}

/// What a command in the background has printed so far.
#[derive(Debug, Default)]
struct Printed {
    text: Mutex<String>,
    more: Condvar,
}

impl Printed {
    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command in the background. It is killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    group: Group,
    printed: Arc<Printed>,
    /// How many bytes of the log lie before the next line to look at.
    seen: usize,
}

/// What came of waiting for a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// It was printed.
    Seen,
    /// The deadline came first.
    TooLate,
    /// The command ended first, with this exit status.
    Ended(i32),
    /// The verification was interrupted.
    Interrupted,
}

impl Background {
    /// Starts a command and collects what it prints until it ends.
    pub fn start(mut command: Command) -> Result<Background> {
        let (child, mut pipe) = spawn(&mut command)?;
        drop(command);
        let printed = Arc::new(Printed::default());
        let collected = Arc::clone(&printed);
        thread::spawn(move || {
            let mut raw = Vec::new();
            let mut done = 0;
            while matches!(read_some(&mut pipe, &mut raw), Ok(true)) {
                // Only whole lines are handed on, so that a pattern never meets half of one.
                if let Some(end) = raw.iter().rposition(|byte| *byte == b'\n').filter(|end| *end >= done) {
                    collected.text().push_str(&String::from_utf8_lossy(&raw[done..=end]));
                    collected.more.notify_all();
                    done = end + 1;
                }
            }
            collected.text().push_str(&String::from_utf8_lossy(&raw[done..]));
            collected.more.notify_all();
        });
        Ok(Background { group: Group { child }, printed, seen: 0 })
    }

    /// Waits for a line that `matches`, after the last one that was waited for; anything may come between.
    pub fn wait_for_line(&mut self, within: Duration, matches: impl Fn(&str) -> bool) -> Result<Waited> {
        let deadline = Instant::now() + within;
        let mut looked_at = self.seen;
        loop {
            // Asked before the log is looked at: what it printed before it ended is then surely there.
            let ended = self.status()?;
            let mut text = self.printed.text();
            while let Some(length) = text[looked_at..].find('\n') {
                let line = text[looked_at..looked_at + length].trim_end_matches('\r');
                looked_at += length + 1;
                if matches(line) {
                    self.seen = looked_at;
                    return Ok(Waited::Seen);
                }
            }
            if let Some(ended) = ended
                && Arc::strong_count(&self.printed) == 1
            {
                return Ok(Waited::Ended(ended));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TooLate);
            }
            if interrupt::raised() {
                return Ok(Waited::Interrupted);
            }
            text = self
                .printed
                .more
                .wait_timeout(text, left.min(TICK))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            drop(text);
        }
    }

    /// Sends the command itself a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if matches!(self.status(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.group.child.id().cast_signed()), signal);
        }
    }

    /// Its exit status, once it has ended.
    pub fn status(&mut self) -> Result<Option<i32>> {
        Ok(self.group.try_wait()?.map(status))
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.printed.text().clone()
    }

    /// The number of its first process.
    #[cfg(test)]
    fn id(&self) -> u32 {
        self.group.child.id()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn bash(line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", line]);
        command
    }

    const LONG: Duration = Duration::from_secs(10);

    fn run(line: &str, within: Duration) -> Ended {
        foreground(bash(line), within).unwrap().unwrap()
    }

    #[test]
    fn both_streams_in_their_order_and_the_status() {
        let ended = run("echo a; echo b >&2; echo c; exit 7", LONG);
        assert_eq!(ended, Ended { output: "a\nb\nc\n".into(), status: Some(7) });
        assert_eq!(run("kill -TERM $$", LONG).status, Some(143));
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        let begun = Instant::now();
        let ended = run("echo before; sleep 60 & echo $!; sleep 60", Duration::from_millis(300));
        assert_eq!(ended.status, None);
        assert!(begun.elapsed() < Duration::from_secs(5));
        let sleeper = ended.output.lines().nth(1).unwrap().to_owned();
        // It is killed: it takes notice of that a moment later, and a moment after that whoever inherits it reaps it.
        let state = || std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        let is_over = |state: &str| state.is_empty() || state.contains(") Z ");
        while !is_over(&state()) && begun.elapsed() < LONG {
            thread::sleep(TICK);
        }
        assert!(is_over(&state()), "{}", state());
    }

    #[test]
    fn what_is_left_behind_does_not_hold_up_the_end() {
        let begun = Instant::now();
        let ended = run("echo out; setsid sleep 3 & exit 0", LONG);
        assert_eq!(ended.output, "out\n");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_closed_stream_is_not_the_end() {
        let ended = run("echo x; exec >&- 2>&-; sleep 0.2; exit 3", LONG);
        assert_eq!(ended, Ended { output: "x\n".into(), status: Some(3) });
    }

    #[test]
    fn lines_of_the_background_are_waited_for_in_order() {
        let mut background =
            Background::start(bash("echo one; echo two; sleep 0.2; echo three; sleep 60")).unwrap();
        assert_eq!(background.wait_for_line(LONG, |line| line == "one").unwrap(), Waited::Seen);
        assert_eq!(background.wait_for_line(LONG, |line| line == "three").unwrap(), Waited::Seen);
        let short = Duration::from_millis(100);
        assert_eq!(background.wait_for_line(short, |line| line == "two").unwrap(), Waited::TooLate);
        assert_eq!(background.log(), "one\ntwo\nthree\n");
        let process = format!("/proc/{}", background.id());
        drop(background);
        assert!(!Path::new(&process).exists());
    }

    #[test]
    fn an_early_end_is_noticed_at_once() {
        let begun = Instant::now();
        let mut background = Background::start(bash("echo oops; exit 5")).unwrap();
        assert_eq!(background.wait_for_line(LONG, |line| line == "up").unwrap(), Waited::Ended(5));
        assert_eq!(background.log(), "oops\n");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}
