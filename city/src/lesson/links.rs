//! Whether the links in texts lead somewhere, and whether the pages that help to find things lead to every lesson.
//!
//! What lies beyond this repository is not asked: a check must not depend on the network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::header::place;
use super::{index, shelf};
use crate::trouble::{OrTrouble, Result};

/// "Where do I find…": problems, each with the lesson that has an answer.
pub const FIND: &str = "lessons/find.md";
/// Terms, each with the lesson that teaches it.
pub const GLOSSARY: &str = "lessons/glossary.md";

/// What a text has of links.
#[derive(Debug, Default)]
struct Page {
    /// The destinations as written, each with its line.
    links: Vec<(String, usize)>,
    /// The anchors of its headings, as the forge and mdBook make them.
    anchors: BTreeSet<String>,
    /// For each item of a list its line, and the destinations in it.
    items: Vec<(usize, Vec<String>)>,
}

/// What does not lead anywhere, or leads nobody to a lesson, each with its place.
pub fn check(repository: &Path) -> Result<Vec<String>> {
    let pages = pages(repository)?;
    let mut problems = Vec::new();
    for (file, page) in &pages {
        for (destination, line) in &page.links {
            if let Some(problem) = dead(repository, &pages, file, destination) {
                problems.push(format!("{}: {problem}", place(file, *line)));
            }
        }
    }
    let lost = pages
        .keys()
        .filter_map(|file| file.strip_prefix("lessons/"))
        .filter(|file| !index::is_known(file) && !file.strip_suffix(".md").is_some_and(shelf::is_lesson));
    problems.extend(
        lost.map(|file| format!("lessons/{file} is no page of the book: add it to city/src/lesson/index.rs")),
    );
    let names = shelf::names(repository)?;
    for file in [FIND, GLOSSARY] {
        let Some(page) = pages.get(file) else { continue };
        for (line, links) in &page.items {
            if !links
                .iter()
                .any(|link| lesson_of(link).is_some_and(|name| names.iter().any(|known| known == name)))
            {
                problems.push(format!(
                    "{}: this entry leads to no lesson: link the one that teaches it",
                    place(file, *line)
                ));
            }
        }
    }
    if let Some(find) = pages.get(FIND) {
        let led: BTreeSet<_> = find.links.iter().filter_map(|(link, _)| lesson_of(link)).collect();
        let missing = names.iter().filter(|name| !led.contains(name.as_str()));
        problems.extend(missing.map(|name| {
            format!("{FIND} does not lead to {name}: add an entry for a problem that it solves")
        }));
    }
    Ok(problems)
}

/// The files outside the book to which its pages link, from the repository's root.
pub fn outward(repository: &Path) -> Result<BTreeSet<String>> {
    let pages = pages(repository)?;
    let book = pages.iter().filter(|(file, _)| file.starts_with("lessons/"));
    let links = book.flat_map(|(file, page)| page.links.iter().map(move |(link, _)| (file, link)));
    let targets = links.filter(|(_, link)| !is_elsewhere(link)).filter_map(|(file, link)| target(file, link));
    Ok(targets.filter(|target| !target.starts_with("lessons/")).collect())
}

/// Every text that people read on the forge or in the book.
fn pages(repository: &Path) -> Result<BTreeMap<String, Page>> {
    let mut pages = BTreeMap::new();
    for folder in ["", "lessons/"] {
        let path = repository.join(folder);
        for entry in fs::read_dir(&path).or_trouble(|| format!("cannot read {}", path.display()))? {
            let name = entry.or_trouble(|| format!("cannot read {}", path.display()))?.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(".md")) else { continue };
            let file = format!("{folder}{name}");
            let markdown =
                fs::read_to_string(repository.join(&file)).or_trouble(|| format!("cannot read {file}"))?;
            pages.insert(file, page(&markdown));
        }
    }
    Ok(pages)
}

fn page(markdown: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    // Items may lie within each other, and each has its own links.
    let mut open: Vec<(usize, Vec<String>)> = Vec::new();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        let line = markdown[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push((dest_url.to_string(), line));
                open.iter_mut().for_each(|(_, links)| links.push(dest_url.to_string()));
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let before = taken.entry(anchor.clone()).or_default();
                page.anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
                *before += 1;
            }
            Event::Start(Tag::Item) => open.push((line, Vec::new())),
            Event::End(TagEnd::Item) => page.items.extend(open.pop()),
            _ => {}
        }
    }
    page
}

/// The anchor of a heading: letters, digits, `-` and `_` stay, blanks become `-`, all else goes.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// Why a link leads nowhere, if it does.
fn dead(repository: &Path, pages: &BTreeMap<String, Page>, file: &str, destination: &str) -> Option<String> {
    if is_elsewhere(destination) {
        return None;
    }
    let Some(target) = target(file, destination) else {
        return Some(format!("the link to {destination} leads out of the repository"));
    };
    if !repository.join(&target).exists() {
        return Some(format!("the link to {destination} leads nowhere: there is no {target}"));
    }
    let (_, anchor) = destination.split_once('#')?;
    let page = pages.get(&target)?;
    (!page.anchors.contains(anchor)).then(|| format!("{target} has no heading for the link to #{anchor}"))
}

fn is_elsewhere(destination: &str) -> bool {
    destination.contains("://") || destination.starts_with("mailto:")
}

/// The file that a link in `file` means, from the repository's root; none if it is outside.
fn target(file: &str, destination: &str) -> Option<String> {
    let path = destination.split_once('#').map_or(destination, |(path, _)| path);
    if path.is_empty() {
        return Some(file.to_owned());
    }
    let mut target = PathBuf::from(file);
    target.pop();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => target.push(name),
            Component::ParentDir if !target.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    target.to_str().map(str::to_owned)
}

/// The lesson to which a link within `lessons/` leads.
fn lesson_of(destination: &str) -> Option<&str> {
    let path = destination.split_once('#').map_or(destination, |(path, _)| path);
    path.strip_suffix(".md").filter(|stem| shelf::is_lesson(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn links_that_lead_somewhere_are_no_problem() {
        let repository = repository(&[
            (
                "README.md",
                "[a](lessons/06_a.md#try-it) [b](#a-b-c) [c](https://x.example/none)\n\n# A `b`, c!\n",
            ),
            ("lessons/06_a.md", "## Try it\n\n## Try it\n\n[x](../examples/06_a.rs) [y](06_a.md#try-it-1)\n"),
            ("examples/06_a.rs", ""),
        ]);
        assert_eq!(check(repository.path()).unwrap(), [""; 0]);
        assert_eq!(outward(repository.path()).unwrap(), BTreeSet::from(["examples/06_a.rs".to_owned()]));
    }

    #[test]
    fn dead_links_are_named_with_their_place() {
        let repository = repository(&[
            ("README.md", "text\n[a](lessons/07_b.md)\n| a |\n|---|\n| [t](none.rs) |\n"),
            (
                "lessons/06_a.md",
                "# T\n\n[x](#nothing)\n\n[y](../../etc/passwd)\n\n```text\n[no](link)\n```\n",
            ),
        ]);
        assert_eq!(
            check(repository.path()).unwrap(),
            [
                "README.md:2: the link to lessons/07_b.md leads nowhere: there is no lessons/07_b.md",
                "README.md:5: the link to none.rs leads nowhere: there is no none.rs",
                "lessons/06_a.md:3: lessons/06_a.md has no heading for the link to #nothing",
                "lessons/06_a.md:5: the link to ../../etc/passwd leads out of the repository",
            ]
        );
    }

    #[test]
    fn every_entry_leads_to_a_lesson_and_every_lesson_is_found() {
        let repository = repository(&[
            (FIND, "- keep a thing: [06](06_a.md)\n- lose a thing\n"),
            (GLOSSARY, "- **thing**: what it is. [06](06_a.md)\n- **other**: [docs](https://x.example)\n"),
            ("lessons/06_a.md", "# 06\n"),
            ("lessons/07_b.md", "# 07\n"),
        ]);
        assert_eq!(
            check(repository.path()).unwrap(),
            [
                "lessons/find.md:2: this entry leads to no lesson: link the one that teaches it",
                "lessons/glossary.md:2: this entry leads to no lesson: link the one that teaches it",
                "lessons/find.md does not lead to 07_b: add an entry for a problem that it solves",
            ]
        );
    }
}
