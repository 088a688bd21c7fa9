//! A lesson's Markdown, read into what the tool works with: title, sections, settings, steps, blocks of code.

use std::fs;
use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};

use super::console::{self, Shown};
use super::header::{Header, place};
use crate::trouble::{OrTrouble, Result, Trouble};

/// One lesson.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// Its example's and its file's name: `09_path_routing`.
    pub name: String,
    /// Its file, from the repository's root.
    pub file: String,
    /// The title line without its `#`: `09 · Path routing`.
    pub heading: String,
    /// The paragraph right under the title.
    pub about: String,
    /// The first paragraph of its idea, in plain words.
    pub idea: String,
    /// The hidden settings.
    pub header: Header,
    /// The headings of its sections, in order, each with its line.
    pub sections: Vec<(String, usize)>,
    /// What is run and compared, in order.
    pub steps: Vec<Step>,
    /// The pieces of code that are copied from the example.
    pub pieces: Vec<Piece>,
    /// The paragraphs of its sections, in order.
    pub prose: Vec<Paragraph>,
}

/// One thing to do and compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A command of a console block.
    Command(Shown),
    /// A line of a log block, expected in the example's log.
    Log {
        /// The pattern.
        pattern: String,
        /// Its line in the file, counted from 1.
        line: usize,
    },
}

impl Step {
    /// The line of the file on which it stands.
    pub fn line(&self) -> usize {
        match self {
            Step::Command(shown) => shown.line,
            Step::Log { line, .. } => *line,
        }
    }
}

/// A paragraph of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// The section's heading.
    pub section: String,
    /// The line of the file on which it begins, counted from 1.
    pub line: usize,
    /// What it says, on one line.
    pub text: String,
}

/// A block of code after `<!-- code: anchor -->`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The name of the anchor in the example.
    pub anchor: String,
    /// The line of its marker.
    pub line: usize,
    /// The lines of the file between its fences, counted from 1.
    pub lines: Range<usize>,
    /// What stands there.
    pub code: String,
}

impl Lesson {
    /// The title without the number.
    pub fn title(&self) -> &str {
        self.heading.split_once('·').map_or(self.heading.as_str(), |(_, title)| title).trim()
    }

    /// Whether the last section that was read is this one.
    fn is_at(&self, section: &str) -> bool {
        self.sections.last().is_some_and(|(title, _)| title == section)
    }

    /// Reads the lesson of this name.
    pub fn read(repository: &Path, name: &str) -> Result<Lesson> {
        let file = format!("lessons/{name}.md");
        let markdown =
            fs::read_to_string(repository.join(&file)).or_trouble(|| format!("cannot read {file}"))?;
        Lesson::parse(name, &file, &markdown)
    }

    /// Reads a lesson from its text.
    pub fn parse(name: &str, file: &str, markdown: &str) -> Result<Lesson> {
        let mut lesson = Lesson {
            name: name.to_owned(),
            file: file.to_owned(),
            heading: String::new(),
            about: String::new(),
            idea: String::new(),
            header: Header::default(),
            sections: Vec::new(),
            steps: Vec::new(),
            pieces: Vec::new(),
            prose: Vec::new(),
        };
        let mut marker: Option<(String, usize)> = None;
        for block in blocks(markdown) {
            // A marker is about the block right after it, and about no other.
            let marked = marker.take();
            if let Some((anchor, line)) = &marked
                && !matches!(&block.kind, Kind::Fenced(language) if language == "rust")
            {
                return Err(unmarked(file, anchor, *line));
            }
            match block.kind {
                Kind::Title => lesson.heading = block.text,
                Kind::Section => lesson.sections.push((block.text, block.line)),
                Kind::Paragraph => lesson.paragraph(&block.text, block.line),
                Kind::Other => {}
                Kind::Comment => marker = lesson.comment(&block.text, block.line)?,
                Kind::Fenced(language) => lesson.fenced(&language, &block.text, block.line, marked)?,
            }
        }
        if let Some((anchor, line)) = marker {
            return Err(unmarked(file, &anchor, line));
        }
        lesson.check_logs()?;
        Ok(lesson)
    }

    /// The one right under the title says what the lesson is about, the first one of its idea what it is for.
    fn paragraph(&mut self, text: &str, line: usize) {
        if self.idea.is_empty() && self.is_at("The idea") {
            self.idea = plain(text);
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((section, _)) = self.sections.last() {
            self.prose.push(Paragraph { section: section.clone(), line, text });
        } else if !self.heading.is_empty() && self.about.is_empty() {
            self.about = text;
        }
    }

    /// A hidden comment: settings are taken in, a marker is handed back, anything else is somebody's note.
    fn comment(&mut self, text: &str, line: usize) -> Result<Option<(String, usize)>> {
        let Some(inner) = text.trim().strip_prefix("<!--").and_then(|text| text.strip_suffix("-->")) else {
            return Ok(None);
        };
        let inner = inner.trim();
        if let Some(settings) = inner.strip_prefix("city:") {
            self.header.read(settings, &self.file, line)?;
        } else if let Some(anchor) = inner.strip_prefix("code:") {
            return Ok(Some((anchor.trim().to_owned(), line)));
        }
        Ok(None)
    }

    fn fenced(&mut self, language: &str, text: &str, line: usize, marked: Option<(String, usize)>) -> Result {
        let first = line + 1;
        match language {
            "console" => {
                self.steps.extend(console::parse(text, &self.file, first)?.into_iter().map(Step::Command));
            }
            "log" => {
                let lines = text.lines().zip(first..).filter(|(text, _)| !text.is_empty() && *text != "...");
                self.steps.extend(lines.map(|(text, line)| Step::Log { pattern: text.to_owned(), line }));
            }
            _ => {}
        }
        if let Some((anchor, line)) = marked {
            let lines = first..first + text.lines().count();
            self.pieces.push(Piece { anchor, line, lines, code: text.to_owned() });
        }
        Ok(())
    }

    /// A log block needs a command in the background whose log it is.
    fn check_logs(&self) -> Result {
        for step in &self.steps {
            match step {
                Step::Command(shown) if shown.background => return Ok(()),
                Step::Command(_) => {}
                Step::Log { line, .. } => {
                    let what = "a log block, but nothing was started in the background above it";
                    return Err(Trouble::new(format!("{}: {what}", place(&self.file, *line)))
                        .remedy("start the example in a console block with a command that ends in &"));
                }
            }
        }
        Ok(())
    }
}

fn unmarked(file: &str, anchor: &str, line: usize) -> Trouble {
    Trouble::new(format!("{}: no ```rust block follows <!-- code: {anchor} -->", place(file, line)))
        .remedy("put an empty one right below it and run `cargo city sync`")
}

/// Markdown without its signs, in one line.
fn plain(markdown: &str) -> String {
    let words = Parser::new(markdown).filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(text.to_string()),
        Event::SoftBreak | Event::HardBreak => Some(" ".to_owned()),
        _ => None,
    });
    words.collect()
}

/// One block of the Markdown, at the top level or inside a list.
struct Block {
    kind: Kind,
    /// The line on which it begins, counted from 1.
    line: usize,
    text: String,
}

enum Kind {
    Title,
    Section,
    Paragraph,
    Comment,
    Fenced(String),
    Other,
}

/// The blocks that matter, in order. Text comes as written, except for fenced blocks, which lose the fence
/// and the indentation of a list around them.
fn blocks(markdown: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut fenced: Option<Block> = None;
    for (event, range) in Parser::new(markdown).into_offset_iter() {
        let line = markdown[..range.start].matches('\n').count() + 1;
        let source = markdown[range].trim();
        let block = |kind, text: &str| Block { kind, line, text: text.to_owned() };
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                fenced = Some(block(Kind::Fenced(language.trim().to_owned()), ""));
            }
            Event::Text(text) => {
                if let Some(block) = &mut fenced {
                    block.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => found.extend(fenced.take()),
            Event::Start(Tag::Heading { level, .. }) => {
                let text = source.trim_start_matches('#').trim();
                found.push(match level {
                    HeadingLevel::H1 => block(Kind::Title, text),
                    HeadingLevel::H2 => block(Kind::Section, text),
                    _ => block(Kind::Other, text),
                });
            }
            Event::Start(Tag::Paragraph) => found.push(block(Kind::Paragraph, source)),
            Event::Start(Tag::HtmlBlock) => found.push(block(Kind::Comment, source)),
            Event::Start(Tag::List(_) | Tag::Table(_) | Tag::BlockQuote(_)) | Event::Rule => {
                found.push(block(Kind::Other, source));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::console::Place;
    use super::*;

    const MODEL: &str = include_str!("fixtures/09_path_routing.md");

    fn model() -> Lesson {
        Lesson::parse("09_path_routing", "lessons/09_path_routing.md", MODEL).unwrap()
    }

    fn trouble(markdown: &str) -> String {
        Lesson::parse("09_x", "lessons/09_x.md", markdown).unwrap_err().to_string()
    }

    #[test]
    fn title_description_sections_and_settings() {
        let lesson = model();
        assert_eq!(lesson.number(), "09");
        assert_eq!(lesson.title(), "Path routing");
        assert_eq!(
            lesson.about,
            "One address, many services: the proxy reads the path and picks who answers."
        );
        assert!(
            lesson.idea.starts_with("A company has one public name and thirty services behind it. /checkout")
        );
        assert!(!lesson.idea.contains('\n') && !lesson.idea.contains('`'), "{}", lesson.idea);
        let sections: Vec<_> = lesson.sections.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(
            sections,
            ["The idea", "Key concepts", "The code", "Run it", "Try it", "Break it", "In production"]
        );
        assert_eq!(lesson.header.ports, [6149]);
        assert_eq!(lesson.header.timeout, Duration::from_secs(15));
    }

    #[test]
    fn steps_carry_their_place_in_the_file() {
        let lesson = model();
        for step in &lesson.steps {
            let written = MODEL.lines().nth(step.line() - 1).unwrap();
            match step {
                Step::Command(shown) => assert_eq!(written, shown.typed()),
                Step::Log { pattern, .. } => assert_eq!(written, pattern),
            }
        }
        let commands = lesson.steps.iter().filter(|step| matches!(step, Step::Command(_))).count();
        assert_eq!((commands, lesson.steps.len()), (8, 11));
        let Step::Command(first) = &lesson.steps[0] else { panic!("the first step is a command") };
        assert!(first.background && first.place == Place::Host("dev"));
    }

    #[test]
    fn pieces_are_found_by_their_marker() {
        let lesson = model();
        let anchors: Vec<_> = lesson.pieces.iter().map(|piece| piece.anchor.as_str()).collect();
        assert_eq!(anchors, ["routes", "find_route", "phases"]);
        for piece in &lesson.pieces {
            let lines: Vec<_> = MODEL.lines().collect();
            let between = lines[piece.lines.start - 1..piece.lines.end - 1].join("\n");
            assert_eq!(between.trim_end(), piece.code.trim_end());
            assert_eq!(lines[piece.lines.end - 1], "```");
        }
    }

    #[test]
    fn paragraphs_know_their_section_and_line() {
        let lesson = model();
        let first = lesson.prose.iter().find(|paragraph| paragraph.section == "The code").unwrap();
        assert_eq!(first.text, "The table of routes is data. To add a service, add a line.");
        assert_eq!(MODEL.lines().nth(first.line - 1).unwrap(), first.text);
    }

    #[test]
    fn only_console_and_log_blocks_are_run() {
        let markdown = "# 09 · X\n\n```bash\nrm -rf /\n```\n\n```text\ndev$ no\n```\n\n    dev$ indented\n";
        assert!(Lesson::parse("09_x", "lessons/09_x.md", markdown).unwrap().steps.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        assert!(
            trouble("# T\n\n<!-- code: a -->\n\ntext\n").starts_with("lessons/09_x.md:3: no ```rust block")
        );
        assert!(trouble("# T\n\n<!-- code: a -->\n").contains("09_x.md:3: no ```rust block"));
        assert!(trouble("# T\n\n<!-- city: port=1 -->\n").contains("09_x.md:3: unknown key 'port'"));
        assert!(trouble("# T\n\n```console\nhello\n```\n").contains("09_x.md:4: a console block must begin"));
        assert!(trouble("# T\n\n```log\nhello\n```\n").contains("09_x.md:4: a log block, but nothing"));
    }
}
