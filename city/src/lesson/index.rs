//! What is generated from all lessons together: the book's summary and the index in the README.

use std::fmt::Write;

use super::play::joined;
use super::shelf;
use super::text::Lesson;
use crate::trouble::{Result, Trouble};

/// The line above the index in README.md.
const BEGIN: &str = "<!-- lessons -->";
/// The line below it.
const END: &str = "<!-- /lessons -->";

/// The book's first page.
const INTRODUCTION: &str = "README.md";
/// The pages after the lessons.
const LAST: [(&str, &str); 3] =
    [("find.md", "Where do I find…"), ("hooks.md", "Which hook, which lesson"), ("glossary.md", "Glossary")];

/// `lessons/SUMMARY.md`, as mdBook reads it. `is_there` is asked for each page that is no lesson.
pub fn summary(lessons: &[Lesson], is_there: impl Fn(&str) -> bool) -> String {
    let mut text = String::from("# Summary\n");
    if is_there(INTRODUCTION) {
        let _ = write!(text, "\n[Introduction]({INTRODUCTION})\n");
    }
    let mut module = 0;
    for lesson in lessons {
        let (number, title) = shelf::module(&lesson.name);
        if number != module {
            module = number;
            let _ = write!(text, "\n# {title}\n\n");
        }
        let _ = writeln!(text, "- [{}]({}.md)", lesson.heading, lesson.name);
    }
    let last: Vec<_> = LAST.iter().filter(|(file, _)| is_there(file)).collect();
    if !last.is_empty() {
        text.push_str("\n# To look things up\n\n");
        for (file, title) in last {
            let _ = writeln!(text, "- [{title}]({file})");
        }
    }
    text
}

/// Whether a page of the book that is no lesson is in its summary.
pub fn is_known(file: &str) -> bool {
    file == INTRODUCTION || file == "SUMMARY.md" || LAST.iter().any(|(last, _)| *last == file)
}

/// The README with a new index between its markers.
pub fn readme(text: &str, lessons: &[Lesson]) -> Result<String> {
    let begin = text.find(BEGIN).map(|at| at + BEGIN.len());
    let end = text.find(END);
    match (begin, end) {
        (Some(begin), Some(end)) if begin <= end => {
            Ok(format!("{}\n\n{}\n{}", &text[..begin], table(lessons), &text[end..]))
        }
        _ => Err(Trouble::new(format!("README.md has no {BEGIN} and {END}"))
            .remedy("put both, each on a line of its own, where the index of the lessons belongs")),
    }
}

fn table(lessons: &[Lesson]) -> String {
    let mut text = String::from("| | lesson | port | what it shows |\n|---|---|---|---|\n");
    let mut module = 0;
    for lesson in lessons {
        let (number, title) = shelf::module(&lesson.name);
        if number != module {
            module = number;
            let _ = writeln!(text, "| | **{title}** | | |");
        }
        let Lesson { name, file, .. } = lesson;
        // What a chapter is about is its configuration; a lesson's example has the lesson's name.
        let (what, source) = match lesson.is_chapter() {
            true => ("configuration", lesson.opener()),
            false => (name.as_str(), lesson.example()),
        };
        let ports =
            if lesson.header.ports.is_empty() { "-".to_owned() } else { joined(&lesson.header.ports) };
        // Links in a description would be relative to the lesson's folder.
        let about = lesson.about.replace('|', "\\|");
        let _ = writeln!(text, "| [{}]({file}) | [{what}]({source}) | {ports} | {about} |", lesson.number());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lessons() -> Vec<Lesson> {
        let lesson = |name: &str, title: &str, header: &str| {
            let text = format!("# {title}\n\nAbout {title},\nin a | line.\n\n<!-- city: {header} -->\n");
            Lesson::parse(name, &format!("lessons/{name}.md"), &text).unwrap()
        };
        vec![lesson("02_a", "02 · A", "timeout=1s"), lesson("06_b", "06 · B", "ports=1,2")]
    }

    #[test]
    fn the_summary_has_a_part_for_each_module() {
        let parts = "# The server\n\n- [02 · A](02_a.md)\n\n# The proxy logic\n\n- [06 · B](06_b.md)\n";
        assert_eq!(summary(&lessons(), |_| false), format!("# Summary\n\n{parts}"));
        let all = summary(&lessons(), |_| true);
        assert!(
            all.starts_with(&format!("# Summary\n\n[Introduction](README.md)\n\n{parts}\n# To look")),
            "{all}"
        );
        assert!(all.ends_with("\n- [Glossary](glossary.md)\n"), "{all}");
    }

    #[test]
    fn the_index_stands_between_its_markers_and_is_stable() {
        let old = "before\n<!-- lessons -->\nold\n<!-- /lessons -->\nafter\n";
        let new = readme(old, &lessons()).unwrap();
        assert!(new.starts_with("before\n<!-- lessons -->\n\n| | lesson |"));
        assert!(new.ends_with("|\n\n<!-- /lessons -->\nafter\n"));
        assert!(new.contains(
            "| [06](lessons/06_b.md) | [06_b](examples/06_b.rs) | 1, 2 | About 06 · B, in a \\| line. |"
        ));
        assert!(new.contains("| [02](lessons/02_a.md) | [02_a](examples/02_a.rs) | - |"));
        assert_eq!(readme(&new, &lessons()).unwrap(), new);
        let chapter = "# The gateway\n\nAll of it.\n\n<!-- city: ports=6210 -->\n";
        let chapter = Lesson::parse("gateway", "lessons/gateway.md", chapter).unwrap();
        let with = readme(old, &[chapter]).unwrap();
        assert!(with.contains("| | **The gateway** | | |\n| [gateway](lessons/gateway.md) | [configuration](conf/gateway.yaml) | 6210 | All of it. |"));
        assert!(readme("none", &lessons()).is_err());
    }
}
