//! `city sync`: bring the code in lessons, the indexes, the summary and the map of hooks up to date with the
//! examples, and see that links lead somewhere.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::lesson::text::Lesson;
use crate::lesson::{anchors, hooks, index, links, shelf};
use crate::paths;
use crate::trouble::{OrTrouble, Result};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Change nothing; name what is stale and which links are dead, and fail if anything is
    #[arg(long)]
    check: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let repository = paths::repository()?;
    let stale = stale(&repository)?;
    for file in &stale {
        for what in &file.what {
            println!("{}{what}", if args.check { "stale: " } else { "renewed: " });
        }
        if !args.check {
            fs::write(repository.join(&file.name), &file.text)
                .or_trouble(|| format!("cannot write {}", file.name))?;
        }
    }
    if args.check && !stale.is_empty() {
        println!("`cargo city sync` renews them");
    }
    // After what is made is made, for it has links as well.
    let dead = links::check(&repository)?;
    for problem in &dead {
        println!("{problem}");
    }
    let fine = dead.is_empty() && (stale.is_empty() || !args.check);
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file that is not what the examples and the lessons make of it.
#[derive(Debug)]
pub struct Stale {
    /// Its path from the repository's root.
    pub name: String,
    /// What in it is stale, with the place.
    pub what: Vec<String>,
    /// What it should hold.
    text: String,
}

/// All stale files.
pub fn stale(repository: &Path) -> Result<Vec<Stale>> {
    let lessons = shelf::read(repository, &[])?;
    let mut stale = Vec::new();
    for lesson in &lessons {
        stale.extend(stale_code(repository, lesson)?);
    }
    // A chapter's program is a library: its hooks are not in one file.
    let numbered: Vec<_> = lessons.iter().filter(|lesson| !lesson.is_chapter()).cloned().collect();
    stale.extend(generated(repository, hooks::PAGE, |_| hooks::page(repository, &numbered))?);
    let is_there = |page: &str| repository.join("lessons").join(page).exists() || hooks::PAGE.ends_with(page);
    stale.extend(generated(repository, "lessons/SUMMARY.md", |_| Ok(index::summary(&lessons, is_there)))?);
    stale.extend(generated(repository, "README.md", |old| index::readme(old, &lessons))?);
    Ok(stale)
}

fn stale_code(repository: &Path, lesson: &Lesson) -> Result<Option<Stale>> {
    let text = read(repository, &lesson.file)?;
    let anchors = anchors::of_example(repository, lesson)?;
    let (renewed, pieces) = anchors::renewed(&text, lesson, &anchors)?;
    let what =
        pieces.iter().map(|piece| format!("{}:{} {}", lesson.file, piece.line, piece.anchor)).collect();
    Ok((!pieces.is_empty()).then(|| Stale { name: lesson.file.clone(), what, text: renewed }))
}

fn generated(
    repository: &Path,
    name: &str,
    make: impl FnOnce(&str) -> Result<String>,
) -> Result<Option<Stale>> {
    let old = if repository.join(name).exists() { read(repository, name)? } else { String::new() };
    let text = make(&old)?;
    Ok((text != old).then(|| Stale { name: name.to_owned(), what: vec![name.to_owned()], text }))
}

fn read(repository: &Path, name: &str) -> Result<String> {
    fs::read_to_string(repository.join(name)).or_trouble(|| format!("cannot read {name}"))
}
