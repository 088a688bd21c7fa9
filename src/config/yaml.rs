//! YAML text as a tree in which every value, and every key, knows where it was written.
//!
//! The parsing is saphyr's. This file only collects its events, because the ready-made trees lose what the
//! diagnostics need: where a key stands, and that it stands there twice.

use std::collections::HashMap;
use std::ops::Range;

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, Span};

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
        let (event, span) = event.map_err(|e| {
            let at = tree.bytes.at(e.marker().index());
            SyntaxError { message: e.info().to_string(), span: at..at }
        })?;
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                let message = "a second document begins here, but a configuration is one".to_string();
                return Err(SyntaxError { message, span: tree.bytes.span(span) });
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
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let span = self.bytes.span(span);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                self.finish(Node { span, data: Data::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(span, anchor, Data::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(span, anchor, Data::Mapping(Vec::new())),
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
                    return Err(SyntaxError { message, span });
                };
                self.aliased += size(node);
                if self.aliased > ALIASED {
                    let message = format!("aliases bring in more than {ALIASED} values");
                    return Err(SyntaxError { message, span });
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
            return Err(SyntaxError { message: format!("more than {DEPTH} levels of nesting"), span });
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
                        let message = "a key is one word, not a list or mapping".to_string();
                        return Err(SyntaxError { message, span: node.span });
                    }
                },
            },
            Data::Scalar { .. } => {}
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.data {
        Data::Scalar { .. } => 1,
        Data::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Data::Mapping(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
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

    #[test]
    fn what_is_no_configuration_says_where() {
        for (text, says) in [
            ("a: [1", ""),
            ("a: 1\n---\nb: 2\n", "second document"),
            (&"[".repeat(100), "nesting"),
            ("? [a]\n: b\n", "one word"),
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
