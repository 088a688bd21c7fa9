//! YAML text as a tree in which every value, and every key, knows where it was written.
//!
//! The parsing is saphyr's. This file only collects its events, because the ready-made trees lose what the
//! diagnostics need: where a key stands, and that it stands there twice.

use std::collections::HashMap;
use std::ops::Range;

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, ScanError, Span};

/// How deep values may be nested. No configuration comes near it, and a hostile file must not fill the stack.
const DEPTH: usize = 64;
/// How many nodes aliases (`*name`) may bring in, all together: nested ones grow exponentially.
const ALIASED: usize = 100_000;

/// A value, and where it stands in the text, in bytes.
#[derive(Clone, Debug)]
pub struct Node {
    /// From its first byte to behind its last. For a mapping or sequence, only where it begins.
    pub span: Range<usize>,
    /// The value itself.
    pub data: Data,
}

/// What YAML values can be.
#[derive(Clone, Debug)]
pub enum Data {
    /// A single value. It has no type yet: `8080` is a number only if it is plain, that is without quotes.
    Scalar {
        /// The text, without quotes and with escapes resolved.
        text: String,
        /// Whether it was written without quotes.
        plain: bool,
    },
    /// `[…]` or lines that begin with `-`.
    Sequence(Vec<Node>),
    /// `{…}` or lines of `key: value`, in the order of the text, duplicates included.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub span: Range<usize>,
}

/// Why a text is no configuration at all.
#[derive(Debug)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Range<usize>,
    /// What to do.
    pub fix: &'static str,
}

impl Node {
    /// The text of a scalar as a value of YAML's core schema: `8080`, `true` and `null` are not strings when
    /// they are plain.
    pub fn scalar(text: &str, plain: bool) -> serde_json::Value {
        let style = if plain { ScalarStyle::Plain } else { ScalarStyle::DoubleQuoted };
        match Scalar::parse_from_cow_and_metadata(text.into(), style, None) {
            Some(Scalar::Null) => serde_json::Value::Null,
            Some(Scalar::Boolean(value)) => value.into(),
            Some(Scalar::Integer(value)) => value.into(),
            // JSON has neither infinity nor NaN: those stay the words they are, and are refused as such.
            Some(Scalar::FloatingPoint(value)) => serde_json::Number::from_f64(value.into_inner())
                .map_or_else(|| text.into(), serde_json::Value::Number),
            Some(Scalar::String(_)) | None => text.into(),
        }
    }
}

/// A collection that is not finished yet.
struct Open {
    start: usize,
    anchor: usize,
    data: Data,
    /// The key whose value comes next, in a mapping.
    key: Option<Key>,
}

/// Reads one document. An empty text is an empty mapping.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut tree =
        Tree { bytes: Bytes::of(text), open: Vec::new(), anchors: HashMap::new(), aliased: 0, root: None };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| tree.refused(text, &e))?;
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                return Err(SyntaxError {
                    message: "a second document begins here, but a configuration is one".to_string(),
                    span: tree.bytes.span(span),
                    fix: "remove the line `---`, or make a file of each in a folder: see `--config`",
                });
            }
        }
        tree.take(event, span)?;
    }
    Ok(tree.root.unwrap_or(Node { span: 0..0, data: Data::Mapping(Vec::new()) }))
}

struct Tree {
    bytes: Bytes,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    root: Option<Node>,
}

impl Tree {
    /// What the parser says, in other words where its own do not help.
    fn refused(&self, text: &str, error: &ScanError) -> SyntaxError {
        let at = self.bytes.at(error.marker().index());
        let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let line =
            &text[line_start..text[line_start..].find('\n').map_or(text.len(), |end| line_start + end)];
        let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indentation].find('\t') {
            let tab = line_start + tab;
            return SyntaxError {
                message: "a tab cannot indent a line of YAML".to_string(),
                span: tab..tab + 1,
                fix: "indent with spaces",
            };
        }
        if error.info().contains("recursion limit") {
            return too_deep(at..at);
        }
        let reference = text[line_start..at].ends_with('$') && text[at..].starts_with('{');
        SyntaxError {
            message: format!("this is not YAML: {}", error.info()),
            span: at..at,
            fix: if reference { QUOTE } else { NEAR },
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let span = self.bytes.span(span);
        match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err(SyntaxError {
                message: "a tag (`!`) means nothing in a configuration".to_string(),
                span,
                fix: "remove it; put text in quotes that looks like a number",
            }),
            Event::Scalar(text, style, anchor, None) => {
                let plain = style == ScalarStyle::Plain;
                self.finish(Node { span, data: Data::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(anchor, None) => self.begin(span, anchor, Data::Sequence(Vec::new())),
            Event::MappingStart(anchor, None) => self.begin(span, anchor, Data::Mapping(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let node = Node { span: open.start..open.start, data: open.data };
                    self.finish(node, open.anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    let message = "this alias stands inside of what it names".to_string();
                    return Err(SyntaxError { message, span, fix: WRITE_OUT });
                };
                let (size, height) = measure(node);
                self.aliased += size;
                if self.aliased > ALIASED {
                    let message = format!("aliases bring in more than {ALIASED} values");
                    return Err(SyntaxError { message, span, fix: WRITE_OUT });
                }
                if self.open.len() + height > DEPTH {
                    return Err(too_deep(span));
                }
                let node = node.clone();
                self.finish(node, 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, span: Range<usize>, anchor: usize, data: Data) -> Result<(), SyntaxError> {
        if self.open.len() == DEPTH {
            return Err(too_deep(span));
        }
        self.open.push(Open { start: span.start, anchor, data, key: None });
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.data {
            Data::Sequence(items) => items.push(node),
            Data::Mapping(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => match node.data {
                    Data::Scalar { text, .. } => open.key = Some(Key { text, span: node.span }),
                    Data::Sequence(_) | Data::Mapping(_) => {
                        return Err(SyntaxError {
                            message: "a key is one word, not a list or mapping".to_string(),
                            span: node.span,
                            fix: "write `key: value`; put text that begins with a bracket in quotes",
                        });
                    }
                },
            },
            Data::Scalar { .. } => {}
        }
        Ok(())
    }
}

const NEAR: &str = "mind indentation, brackets and quotes just before this place";
const QUOTE: &str = "put `${…}` in quotes: between brackets, a brace is one of YAML's own";
const WRITE_OUT: &str = "write out what it stands for";

fn too_deep(span: Range<usize>) -> SyntaxError {
    SyntaxError {
        message: format!("more than {DEPTH} levels of nesting"),
        span,
        fix: "no key is so deep: look for a bracket too many",
    }
}

/// How many values a node is, and of how many levels.
fn measure(node: &Node) -> (usize, usize) {
    let all = |nodes: &mut dyn Iterator<Item = &Node>| {
        nodes.map(measure).fold((1, 1), |(size, height), (s, h)| (size + s, height.max(h + 1)))
    };
    match &node.data {
        Data::Scalar { .. } => (1, 0),
        Data::Sequence(items) => all(&mut items.iter()),
        Data::Mapping(entries) => all(&mut entries.iter().map(|(_, node)| node)),
    }
}

/// From saphyr's count of characters to a count of bytes.
struct Bytes {
    /// Where each character begins; empty for ASCII, where the two counts are the same.
    starts: Vec<usize>,
    length: usize,
}

impl Bytes {
    fn of(text: &str) -> Bytes {
        let starts =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Bytes { starts, length: text.len() }
    }

    fn at(&self, character: usize) -> usize {
        if self.starts.is_empty() {
            return character.min(self.length);
        }
        self.starts.get(character).copied().unwrap_or(self.length)
    }

    fn span(&self, span: Span) -> Range<usize> {
        let start = self.at(span.start.index());
        start..self.at(span.end.index()).max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(Key, Node)> {
        match parse(text).expect("it parses").data {
            Data::Mapping(entries) => entries,
            other => panic!("not a mapping: {other:?}"),
        }
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let text = "grüße: \"8080\"\nport: 8080\n";
        let entries = entries(text);
        let (key, node) = &entries[0];
        assert_eq!(&text[key.span.clone()], "grüße");
        assert_eq!(&text[node.span.clone()], "\"8080\"");
        assert_eq!(&text[entries[1].1.span.clone()], "8080");
    }

    #[test]
    fn only_plain_scalars_have_other_types_than_text() {
        assert_eq!(Node::scalar("8080", true), 8080);
        assert_eq!(Node::scalar("8080", false), "8080");
        assert_eq!(Node::scalar("true", true), true);
        assert_eq!(Node::scalar("yes", true), "yes");
        assert_eq!(Node::scalar(".inf", true), ".inf");
    }

    #[test]
    fn duplicate_keys_are_kept_for_the_diagnostics() {
        assert_eq!(entries("a: 1\na: 2\n").len(), 2);
    }

    #[test]
    fn aliases_bring_a_copy_and_not_a_bomb() {
        assert_eq!(entries("a: &x [1, 2]\nb: *x\n").len(), 2);

        let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_string();
        for level in 1..10 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(parse(&bomb).expect_err("too much").message.contains("aliases"));
    }

    /// A chain of aliases, each a level deeper, would fill the stack of whoever walks the tree.
    #[test]
    fn aliases_do_not_nest_without_end() {
        let mut chain = "a0: &a0 [1]\n".to_string();
        for level in 1..100 {
            chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(parse(&chain).expect_err("too deep").message.contains("nesting"));
    }

    #[test]
    fn what_is_no_configuration_says_where() {
        for (text, says) in [
            ("a: [1", ""),
            ("a: 1\n---\nb: 2\n", "second document"),
            (&"[".repeat(100), "nesting"),
            (&"[".repeat(100_000), "nesting"),
            (&"{a: ".repeat(100_000), "nesting"),
            ("? [a]\n: b\n", "one word"),
            ("a:\n\tb: 1\n", "tab"),
            ("a:\n  b: 1\n\tc: 2\n", "tab"),
            ("a: !!str 5\n", "tag"),
            ("a: !secret {}\n", "tag"),
            ("a: &x [*x]\n", ""),
            ("a: *x\n", ""),
            ("a: \"b\n", ""),
            ("\u{0}", ""),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(says), "{text}: {}", error.message);
            assert!(error.span.end <= text.len());
        }
    }

    #[test]
    fn an_empty_text_is_an_empty_mapping() {
        assert!(entries("").is_empty());
        assert!(entries("# only this\n").is_empty());
    }
}
