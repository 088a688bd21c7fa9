//! The pieces of an example that a lesson shows: `// ANCHOR: name` to `// ANCHOR_END: name`.

use std::fs;
use std::path::Path;

use super::header::place;
use super::text::{Lesson, Piece};
use crate::trouble::{OrTrouble, Result, Trouble, nearest};

/// A piece of an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its name.
    pub name: String,
    /// The line of its beginning, counted from 1.
    pub line: usize,
    /// The code, without the indentation that all of it has.
    pub code: String,
}

/// All anchors of an example, in order.
pub fn extract(source: &str, file: &str) -> Result<Vec<Anchor>> {
    let mut anchors: Vec<Anchor> = Vec::new();
    let mut open: Vec<(Anchor, Vec<&str>)> = Vec::new();
    for (line, number) in source.lines().zip(1..) {
        let here = place(file, number);
        if let Some(name) = marker(line, "ANCHOR:") {
            let taken = anchors.iter().chain(open.iter().map(|(anchor, _)| anchor));
            if taken.into_iter().any(|anchor| anchor.name == name) {
                return Err(
                    Trouble::new(format!("{here}: a second anchor '{name}'")).remedy("rename one of them")
                );
            }
            open.push((Anchor { name: name.to_owned(), line: number, code: String::new() }, Vec::new()));
        } else if let Some(name) = marker(line, "ANCHOR_END:") {
            let Some(at) = open.iter().rposition(|(anchor, _)| anchor.name == name) else {
                return Err(Trouble::new(format!(
                    "{here}: the end of an anchor '{name}' that was never begun"
                ))
                .remedy(format!("put // ANCHOR: {name} above it")));
            };
            let (mut anchor, lines) = open.remove(at);
            anchor.code = dedented(&lines);
            anchors.push(anchor);
        } else {
            // Anchors may lie within each other; none shows another's markers.
            open.iter_mut().for_each(|(_, lines)| lines.push(line));
        }
    }
    if let Some((anchor, _)) = open.first() {
        return Err(Trouble::new(format!(
            "{}: anchor '{}' has no end",
            place(file, anchor.line),
            anchor.name
        ))
        .remedy(format!("put // ANCHOR_END: {} below what it covers", anchor.name)));
    }
    anchors.sort_by_key(|anchor| anchor.line);
    Ok(anchors)
}

fn marker<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    line.trim().strip_prefix("//")?.trim_start().strip_prefix(kind).map(str::trim)
}

fn dedented(lines: &[&str]) -> String {
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let common = lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    let lines: Vec<_> = lines.iter().map(|line| line.get(common..).unwrap_or_default()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// The anchors of the example of a lesson.
pub fn of_example(repository: &Path, lesson: &Lesson) -> Result<Vec<Anchor>> {
    let file = lesson.example();
    let source = fs::read_to_string(repository.join(&file)).or_trouble(|| format!("cannot read {file}"))?;
    extract(&source, &file)
}

/// The anchor that a piece of a lesson is copied from.
pub fn of_piece<'a>(anchors: &'a [Anchor], lesson: &Lesson, piece: &Piece) -> Result<&'a Anchor> {
    anchors.iter().find(|anchor| anchor.name == piece.anchor).ok_or_else(|| {
        let here = place(&lesson.file, piece.line);
        let what = format!("{here}: {} has no anchor '{}'", lesson.example(), piece.anchor);
        let names = anchors.iter().map(|anchor| anchor.name.as_str());
        Trouble::new(what).remedy(match nearest(&piece.anchor, names) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("put // ANCHOR: {0} and // ANCHOR_END: {0} around the code", piece.anchor),
        })
    })
}

/// The pieces of a lesson that are not what their anchors hold, and the lesson with all of them replaced.
pub fn renewed(text: &str, lesson: &Lesson, anchors: &[Anchor]) -> Result<(String, Vec<Piece>)> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut stale = Vec::new();
    // From the end, so that the numbers of the lines above stay right.
    for piece in lesson.pieces.iter().rev() {
        let anchor = of_piece(anchors, lesson, piece)?;
        if piece.code.trim_end_matches('\n') != anchor.code {
            let new = anchor.code.lines().map(str::to_owned);
            lines.splice(piece.lines.start - 1..piece.lines.end - 1, new);
            stale.insert(0, piece.clone());
        }
    }
    Ok((lines.join("\n") + "\n", stale))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "// ANCHOR: all\nfn a() {\n    // ANCHOR: inner\n    if x {\n\n        y();\n    }\n    // ANCHOR_END: inner\n}\n// ANCHOR_END: all\n";

    #[test]
    fn pieces_are_dedented_and_show_no_markers() {
        let anchors = extract(SOURCE, "examples/09_x.rs").unwrap();
        assert_eq!(anchors[0].code, "fn a() {\n    if x {\n\n        y();\n    }\n}");
        assert_eq!((anchors[1].name.as_str(), anchors[1].line), ("inner", 3));
        assert_eq!(anchors[1].code, "if x {\n\n    y();\n}");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let trouble = |source: &str| extract(source, "examples/09_x.rs").unwrap_err().to_string();
        assert!(trouble("\n// ANCHOR: a\n").starts_with("examples/09_x.rs:2: anchor 'a' has no end"));
        assert!(trouble("// ANCHOR_END: a\n").contains(":1: the end of an anchor 'a' that was never begun"));
        assert!(
            trouble("// ANCHOR: a\n// ANCHOR_END: a\n// ANCHOR: a\n").contains(":3: a second anchor 'a'")
        );
    }

    #[test]
    fn stale_pieces_are_replaced_and_the_model_is_current() {
        let model = include_str!("fixtures/09_path_routing.md");
        let example = include_str!("fixtures/09_path_routing.rs");
        let anchors = extract(example, "examples/09_path_routing.rs").unwrap();
        let parse =
            |text: &str| Lesson::parse("09_path_routing", "lessons/09_path_routing.md", text).unwrap();
        let (same, stale) = renewed(model, &parse(model), &anchors).unwrap();
        assert!(stale.is_empty() && same == model);

        let old = model.replace("ROUTES.iter().find(|route| route.segment == first)", "None\n    // old");
        let (new, stale) = renewed(&old, &parse(&old), &anchors).unwrap();
        assert_eq!(stale[0].anchor, "find_route");
        assert_eq!(new, model);
    }

    #[test]
    fn an_anchor_that_is_not_there_is_answered_with_the_nearest() {
        let lesson =
            Lesson::parse("09_x", "lessons/09_x.md", "# 09 · X\n\n<!-- code: iner -->\n```rust\n```\n")
                .unwrap();
        let anchors = extract(SOURCE, "examples/09_x.rs").unwrap();
        let trouble = renewed("", &lesson, &anchors).unwrap_err().to_string();
        assert_eq!(
            trouble,
            "lessons/09_x.md:3: examples/09_x.rs has no anchor 'iner'; did you mean 'inner'?"
        );
    }
}
