//! `city next`: the next lesson that has not been verified, and how to read, run and verify it.

use std::process::ExitCode;

use console::style;

use crate::lesson::progress::{self, Progress};
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
    let verified = lessons.iter().filter(|lesson| has_passed(&progress, lesson)).count();
    let Some(lesson) = next(&lessons, &progress) else {
        println!("That was the last one: all {verified} lessons are verified.");
        let changed = lessons.iter().filter(|lesson| {
            progress.get(&lesson.name).is_some_and(|entry| !entry.is_of(&repository, lesson))
        });
        let changed: Vec<_> = changed.map(Lesson::number).collect();
        if !changed.is_empty() {
            println!("Changed since, and worth another: cargo city verify {}", changed.join(" "));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let number = lesson.number();
    println!("{}\n{}\n", style(&lesson.heading).bold(), lesson.about);
    for line in wrapped(&lesson.idea, usize::from(console::Term::stdout().size().1).clamp(40, 100)) {
        println!("{line}");
    }
    println!("\n  read    {}, or all of them with cargo city book", lesson.file);
    println!("  run     cargo city run {number}");
    println!("  verify  cargo city verify {number}\n");
    if progress.get(&lesson.name).is_some_and(|entry| !entry.passed) {
        println!("It was verified before, and failed.");
    }
    println!("{verified} of {} lessons are verified.", lessons.len());
    if verified == 0 {
        println!("If you came for proxies, you may begin with: cargo city run 06");
    }
    Ok(ExitCode::SUCCESS)
}

/// The first lesson that has not passed, after the one that passed last: who began with 06 goes on with 07, and
/// comes to what was left out in the end.
fn next<'a>(lessons: &'a [Lesson], progress: &Progress) -> Option<&'a Lesson> {
    let last = lessons.iter().enumerate().filter(|(_, lesson)| has_passed(progress, lesson));
    let after = last
        .max_by_key(|(at, lesson)| (progress.get(&lesson.name).map(|entry| entry.nth), *at))
        .map_or(0, |(at, _)| at + 1);
    let (before, after) = lessons.split_at(after);
    after.iter().chain(before).find(|lesson| !has_passed(progress, lesson))
}

fn has_passed(progress: &Progress, lesson: &Lesson) -> bool {
    progress.get(&lesson.name).is_some_and(|entry| entry.passed)
}

/// Words, in lines of this width.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lesson::progress::Entry;

    fn lessons() -> Vec<Lesson> {
        let names = ["00_a", "05_b", "06_c", "07_d"];
        names.map(|name| Lesson::parse(name, &format!("lessons/{name}.md"), "# T\n").unwrap()).to_vec()
    }

    fn progress(entries: &[(&str, bool, u64)]) -> Progress {
        let entry = |passed, nth| Entry { nth, ..Entry::now(passed, Duration::ZERO, "".into()) };
        entries.iter().map(|(name, passed, nth)| ((*name).to_owned(), entry(*passed, *nth))).collect()
    }

    fn name(entries: &[(&str, bool, u64)]) -> Option<String> {
        next(&lessons(), &progress(entries)).map(|lesson| lesson.name.clone())
    }

    #[test]
    fn it_goes_on_after_the_one_that_passed_last() {
        assert_eq!(name(&[]).unwrap(), "00_a");
        assert_eq!(name(&[("06_c", true, 1)]).unwrap(), "07_d");
        assert_eq!(name(&[("00_a", false, 1)]).unwrap(), "00_a", "a failure is not done");
        let both = [("06_c", true, 1), ("00_a", true, 2)];
        assert_eq!(name(&both).unwrap(), "05_b");
    }

    #[test]
    fn what_was_left_out_comes_in_the_end() {
        let late = [("06_c", true, 1), ("07_d", true, 2)];
        assert_eq!(name(&late).unwrap(), "00_a");
        let all = ["00_a", "05_b", "06_c", "07_d"].map(|name| (name, true, 1));
        assert_eq!(name(&all), None);
    }

    #[test]
    fn words_are_kept_whole() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("extraordinary it", 5), ["extraordinary", "it"]);
    }
}
