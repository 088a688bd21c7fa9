//! `city list`: list the lessons, with what was verified last.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use console::style;

use crate::lesson::progress::{self, Entry};
use crate::lesson::shelf;
use crate::lesson::text::Lesson;
use crate::paths;
use crate::trouble::Result;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    let lessons = shelf::read(&repository, &[])?;
    let progress = progress::read(&repository);
    let mut module = 0;
    for lesson in &lessons {
        let (number, title) = shelf::module(&lesson.name);
        if number != module {
            let gap = if module == 0 { "" } else { "\n" };
            let heading = match lesson.is_chapter() {
                true => title.to_owned(),
                false => format!("Module {number}: {title}"),
            };
            println!("{gap}{}", style(heading).bold());
            module = number;
        }
        let state = match progress.get(&lesson.name) {
            Some(entry) => state(&repository, lesson, entry, SystemTime::now()),
            None => style("not verified yet".to_owned()).dim().to_string(),
        };
        println!("  {}  {:<32} {state}", lesson.number(), lesson.title());
    }
    let passed = lessons.iter().filter(|lesson| progress.get(&lesson.name).is_some_and(|entry| entry.passed));
    let chapters = lessons.iter().filter(|lesson| lesson.is_chapter()).count();
    let chapter = if chapters == 1 { "a chapter".to_owned() } else { format!("{chapters} chapters") };
    println!("\n{} lessons and {chapter}, {} verified", lessons.len() - chapters, passed.count());
    let last = lessons.iter().filter_map(|lesson| Some((lesson, progress.get(&lesson.name)?)));
    if let Some((lesson, entry)) = last.max_by_key(|(_, entry)| entry.nth) {
        println!("The last was {}: {}", lesson.heading, state(&repository, lesson, entry, SystemTime::now()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The last result, and whether it still speaks of what the files hold.
fn state(repository: &Path, lesson: &Lesson, entry: &Entry, now: SystemTime) -> String {
    let result = if entry.passed { style("passed").green() } else { style("failed").red() };
    let when = humantime::parse_rfc3339(&entry.when).ok();
    // A clock that was set back since has nothing better to say.
    let ago =
        when.map_or(String::new(), |when| format!(" {}", age(now.duration_since(when).unwrap_or_default())));
    let changed = if entry.is_of(repository, lesson) { "" } else { ", changed since" };
    format!("{result}{ago}{changed}")
}

fn age(age: Duration) -> String {
    let (number, unit) = match age.as_secs() {
        0..60 => return "just now".into(),
        seconds @ 60..3600 => (seconds / 60, "minute"),
        seconds @ 3600..86_400 => (seconds / 3600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_one_unit() {
        let cases = [(5, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (200_000, "2 days ago")];
        for (seconds, expected) in cases {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }
}
