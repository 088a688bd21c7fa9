//! The process's log: what it says of itself, on standard error.
//!
//! Whoever says something there may be in the middle of a request, and who reads it may have stopped: it goes through
//! the same kind of channel as the access log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::SystemTime;
use std::{process, thread};

use anstream::AutoStream;
use env_logger::{Env, Target};

use super::lines::{self, Lines, ROOM, Trouble, aside};
use crate::config::{Config, LogFormat, LogLevel};

static LINES: OnceLock<Lines> = OnceLock::new();

/// Begins to write the process's log to standard error, as the settings say, unless `RUST_LOG` says otherwise.
pub fn start_log(config: &Config) {
    let level = match config.log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let mut builder = env_logger::Builder::from_env(Env::default().default_filter_or(level));
    if config.log.format == LogFormat::Json {
        builder.format(|line, record| {
            let object = serde_json::json!({
                "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
                "level": record.level().as_str(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            writeln!(line, "{object}")
        });
    }
    // Of standard error, it would find out by itself whether it is a terminal that has colours.
    if !std::env::var("RUST_LOG_STYLE").is_ok_and(|style| matches!(&*style, "always" | "never")) {
        builder.write_style(AutoStream::choice(&io::stderr()).into());
    }
    let lines = LINES.get_or_init(|| Lines::new(Box::new(io::stderr()), ROOM, 0, say));
    let mut output = Output { lines, alone: None };
    if config.server.process.daemon {
        output.alone = Some(process::id());
    } else {
        output.start();
    }
    builder.target(Target::Pipe(Box::new(output))).init();
}

/// Waits until what was said is written, but not for ever: for the end of the process.
pub fn flush_log() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// Says why the process ends, behind everything else that it has said.
pub fn last_words(words: &str) {
    match LINES.get().filter(|lines| lines.is_started()) {
        Some(lines) => {
            lines.put(format!("{words}\n").into_bytes());
            lines.flush();
        }
        None => eprintln!("{words}"),
    }
}

/// Says what has panicked, as it would be said anyway, but is not kept by whoever reads it: a panic ends a request, and
/// not the thread. `false` if nobody is there yet to write it.
pub fn say_panic(panic: &PanicHookInfo<'_>) -> bool {
    let Some(lines) = LINES.get().filter(|lines| lines.is_started()) else { return false };
    let thread = thread::current();
    let trace = Backtrace::capture();
    let more = match trace.status() {
        BacktraceStatus::Captured => format!("stack backtrace:\n{trace}"),
        _ => "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n".to_string(),
    };
    let name = thread.name().unwrap_or("<unnamed>");
    lines.put(format!("\nthread '{name}' {panic}\n{more}").into_bytes());
    // It may be the last that is heard of this process: a panic within a panic ends it at once.
    lines.flush();
    true
}

fn say(trouble: &Trouble) -> Vec<u8> {
    match trouble {
        Trouble::Dropped(lines) => {
            aside(|| log::warn!("the log could not be written for a while: {lines} lines were dropped"))
        }
        // Nobody would hear it.
        Trouble::Failed(_) => Vec::new(),
    }
}

/// Where the logger writes: a line at a time.
struct Output {
    lines: &'static Lines,
    /// The process that writes its lines itself. It is going to fork, and a thread would not come along: the daemon,
    /// which is another process, starts one with its first line.
    alone: Option<u32>,
}

impl Output {
    fn start(&mut self) {
        self.alone = None;
        if let Err(error) = self.lines.start("log") {
            eprintln!("the log cannot be written: {error}");
        }
    }
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.alone {
            _ if lines::takes_aside(line) => {}
            Some(id) if id == process::id() => io::stderr().write_all(line)?,
            alone => {
                if alone.is_some() {
                    self.start();
                }
                self.lines.put(line.to_vec());
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
