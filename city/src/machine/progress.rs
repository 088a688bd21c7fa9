//! Telling a person at a terminal that something is under way.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows a spinner on the terminal while `work` goes on, and nothing where there is no terminal.
pub fn while_it_takes<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work();
    bar.finish_and_clear();
    done
}
