//! A configuration as JSON values, with a map from each value back to the place where it was written.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, Place, Source};
use super::yaml::{self, Data, Node};

/// Where a value and, in a mapping, its key were written.
#[derive(Clone, Debug)]
struct Entry {
    key: Option<Place>,
    value: Place,
}

/// What was read, before anything is known about its meaning.
#[derive(Debug)]
pub struct Document {
    /// The texts it was read from.
    pub sources: Arc<[Source]>,
    /// All of it.
    pub value: Value,
    /// By JSON pointer (RFC 6901).
    places: HashMap<String, Entry>,
}

impl Document {
    /// Reads one text. Syntax errors and duplicate keys are returned beside what could be read of it.
    pub fn read(name: &str, text: &str) -> (Document, Vec<Diagnostic>) {
        let mut found = Vec::new();
        let mut places = HashMap::new();
        let value = match yaml::parse(text) {
            Ok(node) => {
                let mut reading = Reading { source: 0, places: &mut places, found: &mut found };
                reading.value(&node, None, &mut String::new())
            }
            Err(error) => {
                found.push(Diagnostic {
                    place: Place { source: 0, span: error.span },
                    message: format!("this is not YAML: {}", error.message),
                    fix: "mind indentation, brackets and quotes just before this place".to_string(),
                });
                Value::Null
            }
        };
        let source = Source { name: name.to_string(), text: text.to_string() };
        (Document { sources: Arc::from([source]), value, places }, found)
    }

    /// Where the key of the value at this pointer stands; where the value does if it has no key.
    pub fn place_of_key(&self, pointer: &str) -> Place {
        let entry = self.nearest(pointer);
        entry.map(|entry| entry.key.clone().unwrap_or_else(|| entry.value.clone())).unwrap_or_default()
    }

    /// Where the value at this pointer stands. Of a mapping or list, its key is shown: it says more than the
    /// first of its lines.
    pub fn place_of(&self, pointer: &str) -> Place {
        match self.nearest(pointer) {
            Some(Entry { key: Some(key), value }) if value.span.is_empty() => key.clone(),
            Some(entry) => entry.value.clone(),
            None => Place::default(),
        }
    }

    /// The entry at this pointer, or of what would contain it.
    fn nearest(&self, pointer: &str) -> Option<&Entry> {
        let mut pointer = pointer;
        loop {
            if let Some(entry) = self.places.get(pointer) {
                return Some(entry);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    /// The same document without some of its keys.
    pub fn without(&self, pointers: &[String]) -> Value {
        let mut value = self.value.clone();
        for pointer in pointers {
            let Some((parent, key)) = pointer.rsplit_once('/') else { continue };
            if let Some(Value::Object(map)) = value.pointer_mut(parent) {
                map.remove(&unescape(key));
            }
        }
        value
    }
}

struct Reading<'r> {
    source: usize,
    places: &'r mut HashMap<String, Entry>,
    found: &'r mut Vec<Diagnostic>,
}

impl Reading<'_> {
    fn value(&mut self, node: &Node, key: Option<Place>, pointer: &mut String) -> Value {
        let value = Place { source: self.source, span: node.span.clone() };
        self.places.insert(pointer.clone(), Entry { key, value });
        match &node.data {
            Data::Scalar { text, plain } => Node::scalar(text, *plain),
            Data::Sequence(items) => {
                let below = |(index, item): (usize, &Node)| {
                    let length = pointer.len();
                    pointer.push_str(&format!("/{index}"));
                    let value = self.value(item, None, pointer);
                    pointer.truncate(length);
                    value
                };
                Value::Array(items.iter().enumerate().map(below).collect())
            }
            Data::Mapping(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    let place = Place { source: self.source, span: key.span.clone() };
                    if map.contains_key(&key.text) {
                        self.found.push(Diagnostic {
                            place,
                            message: format!("the key `{}` stands here a second time", key.text),
                            fix: "put what both say under one of them, and remove the other".to_string(),
                        });
                        continue;
                    }
                    let length = pointer.len();
                    pointer.push('/');
                    pointer.push_str(&escape(&key.text));
                    let value = self.value(node, Some(place), pointer);
                    pointer.truncate(length);
                    map.insert(key.text.clone(), value);
                }
                Value::Object(map)
            }
        }
    }
}

/// A key as a segment of a JSON pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// Collects what validation finds, all of it.
#[derive(Debug)]
pub struct Check<'d> {
    document: &'d Document,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'d> Check<'d> {
    /// Nothing is known to be wrong yet.
    pub fn new(document: &'d Document) -> Check<'d> {
        Check { document, found: RefCell::default() }
    }

    /// The whole document.
    pub fn root(&self) -> At<'_> {
        At { check: self, pointer: String::new() }
    }

    /// What was found.
    pub fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// A value that is being validated: where it is, and how to say that it is wrong.
///
/// Validation goes down with [`At::key`] and [`At::index`], as the value does, and reports without returning:
/// one error must not hide the next.
#[derive(Clone, Debug)]
pub struct At<'c> {
    check: &'c Check<'c>,
    pointer: String,
}

impl<'c> At<'c> {
    /// The value under a key of this one.
    pub fn key(&self, key: &str) -> At<'c> {
        At { check: self.check, pointer: format!("{}/{}", self.pointer, escape(key)) }
    }

    /// An item of this list.
    pub fn index(&self, index: usize) -> At<'c> {
        At { check: self.check, pointer: format!("{}/{index}", self.pointer) }
    }

    /// The value is wrong: what is, and what to do. Neither quotes the value (see [`super::diagnostic`]).
    pub fn error(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report(self.place(), message, fix);
    }

    /// The key is wrong, or what is wrong is that it is there.
    pub fn error_at_key(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report(self.check.document.place_of_key(&self.pointer), message, fix);
    }

    /// Where the value was written.
    pub fn place(&self) -> Place {
        self.check.document.place_of(&self.pointer)
    }

    fn report(&self, place: Place, message: impl Into<String>, fix: impl Into<String>) {
        let diagnostic = Diagnostic { place, message: message.into(), fix: fix.into() };
        self.check.found.borrow_mut().push(diagnostic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_again_by_its_pointer() {
        let text = "routes:\n  - name: a/b\n    match: { path: /x }\n";
        let (document, found) = Document::read("f", text);
        assert!(found.is_empty());
        assert_eq!(&text[document.place_of("/routes/0/name").span], "a/b");
        assert_eq!(&text[document.place_of_key("/routes/0/match/path").span], "path");
        assert_eq!(&text[document.place_of("/routes/0/match").span], "match");
        // What is missing is shown where it would be.
        assert_eq!(&text[document.place_of("/routes/0/match/host").span], "match");
    }

    #[test]
    fn a_duplicate_is_named_and_the_first_one_counts() {
        let (document, found) = Document::read("f", "a: 1\nb: 2\na: 3\n");
        assert_eq!(document.value, serde_json::json!({"a": 1, "b": 2}));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place.span, 10..11);
    }

    #[test]
    fn keys_can_be_left_out() {
        let (document, _) = Document::read("f", "a: { b/c: 1, d: 2 }\n");
        assert_eq!(document.without(&["/a/b~1c".to_string()]), serde_json::json!({"a": {"d": 2}}));
    }
}
