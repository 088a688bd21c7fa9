//! From parsed texts and the environment to the values of a document: several texts become one, variables are
//! put in, and every value is remembered with its place.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, Place, Source};
use super::document::Entry;
use super::environment::{Environment, Filled, Override};
use super::pointer::{escape, is_within};
use super::yaml::{self, Data, Node};

/// A document in the making.
pub struct Reading<'r> {
    environment: &'r Environment,
    /// Which of the sources is being read.
    pub source: usize,
    /// Where each value stands, by JSON pointer.
    pub places: HashMap<String, Entry>,
    /// What is wrong with the texts.
    pub found: Vec<Diagnostic>,
    /// Values that came from outside of the texts, by pointer.
    pub filled: HashMap<String, Filled>,
    /// Values that could not be had, by pointer.
    pub broken: BTreeSet<String>,
}

impl<'r> Reading<'r> {
    /// Nothing has been read yet.
    pub fn new(environment: &'r Environment) -> Reading<'r> {
        Reading {
            environment,
            source: 0,
            places: HashMap::new(),
            found: Vec::new(),
            filled: HashMap::new(),
            broken: BTreeSet::new(),
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place { source: self.source, span: span.clone() }
    }

    fn found(&mut self, place: Place, message: String, fix: &str) {
        self.found.push(Diagnostic { place, message, fix: fix.to_string() });
    }

    /// A value that nobody else has written.
    pub fn value(
        &mut self,
        node: &Node,
        key: Option<Place>,
        pointer: &mut String,
        sources: &[Source],
    ) -> Value {
        let value = self.place(&node.span);
        self.places.insert(pointer.clone(), Entry { key, value });
        match &node.data {
            Data::Scalar { text, plain } => self.scalar(text, *plain, node, pointer),
            Data::Sequence(_) => {
                let mut list = Value::Array(Vec::new());
                self.merge(&mut list, node, pointer, sources);
                list
            }
            Data::Mapping(_) => {
                let mut map = Value::Object(Map::new());
                self.merge(&mut map, node, pointer, sources);
                map
            }
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, node: &Node, pointer: &str) -> Value {
        match self.environment.fill(text) {
            Ok(None) => Node::scalar(text, plain),
            Ok(Some(filled)) => {
                let value = Node::scalar(&filled.text, plain);
                self.filled.insert(pointer.to_string(), filled);
                value
            }
            Err(error) => {
                self.broken.insert(pointer.to_string());
                self.found(self.place(&node.span), error.message, &error.fix);
                Value::Null
            }
        }
    }

    /// Adds a node to what was read before at this pointer.
    pub fn merge(&mut self, into: &mut Value, node: &Node, pointer: &mut String, sources: &[Source]) {
        match (into, &node.data) {
            (Value::Array(list), Data::Sequence(items)) => {
                for item in items {
                    let length = pointer.len();
                    pointer.push_str(&format!("/{}", list.len()));
                    list.push(self.value(item, None, pointer, sources));
                    pointer.truncate(length);
                }
            }
            (Value::Object(map), Data::Mapping(entries)) => {
                let mut here = HashSet::new();
                for (key, node) in entries {
                    let place = self.place(&key.span);
                    if key.text == "<<" {
                        let fix = "write the keys out, or let an alias (`*name`) stand for the whole mapping";
                        self.found(place, "`<<` merges nothing: YAML 1.2 has no merge keys".to_string(), fix);
                        continue;
                    }
                    let length = pointer.len();
                    pointer.push('/');
                    pointer.push_str(&escape(&key.text));
                    let again = !here.insert(&*key.text);
                    match map.get_mut(&key.text) {
                        None => {
                            let value = self.value(node, Some(place), pointer, sources);
                            map.insert(key.text.clone(), value);
                        }
                        Some(value) if !again && may_merge(pointer, value, node) => {
                            self.merge(value, node, pointer, sources);
                        }
                        Some(_) => {
                            let first = self.places.get(&**pointer).and_then(|entry| entry.key.clone());
                            let message = match first {
                                Some(first) if first.source != self.source => {
                                    let (name, line, column) = sources[first.source].position(&first.span);
                                    format!("the key `{}` stands in {name}:{line}:{column} too", key.text)
                                }
                                _ => format!("the key `{}` stands here a second time", key.text),
                            };
                            let fix = "put what both say under one of them, and remove the other";
                            self.found(place, message, fix);
                        }
                    }
                    pointer.truncate(length);
                }
            }
            // A file in which only comments are, or nothing.
            (Value::Object(_), Data::Scalar { text, plain }) if Node::scalar(text, *plain).is_null() => {}
            _ => {
                let message = "a configuration is a mapping of keys, and this is none".to_string();
                self.broken.insert(pointer.clone());
                self.found(
                    self.place(&node.span),
                    message,
                    "begin with `listeners:`, `upstreams:` and `routes:`",
                );
            }
        }
    }

    /// Puts a variable in the place of a value.
    pub fn set(&mut self, root: &mut Value, set: &Override<'_>) {
        let place = self.place(&(0..set.name.len()));
        let mut pointer = String::new();
        let mut at = root;
        for segment in &set.path {
            if at.is_null() {
                *at = if *segment == "0" { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
            }
            match at {
                Value::Object(map) => {
                    let known = map.keys().find(|key| same_key(key, segment)).cloned();
                    let key = known.unwrap_or_else(|| segment.to_lowercase());
                    pointer.push('/');
                    pointer.push_str(&escape(&key));
                    at = map.entry(key).or_insert(Value::Null);
                }
                Value::Array(list) => {
                    let index = segment.parse::<usize>().ok().filter(|index| *index <= list.len());
                    let Some(index) = index else {
                        let message = format!("`{segment}` is no place in this list");
                        return self.found(
                            place,
                            message,
                            "count its items from 0; the next number adds one",
                        );
                    };
                    if index == list.len() {
                        list.push(Value::Null);
                    }
                    pointer.push_str(&format!("/{index}"));
                    at = &mut list[index];
                }
                _ => {
                    let message = format!("there are no keys below this value, so no `{segment}`");
                    return self.found(
                        place,
                        message,
                        "leave out what stands behind it in the variable's name",
                    );
                }
            }
            let entry = Entry { key: Some(place.clone()), value: place.clone() };
            self.places.entry(pointer.clone()).or_insert(entry);
        }
        self.forget_below(&pointer);
        self.places.insert(pointer.clone(), Entry { key: Some(place.clone()), value: place.clone() });
        let name = format!("${}", set.name);
        let filled =
            |text: &str| Filled { text: text.to_string(), parts: vec![(text.to_string(), name.clone())] };
        if !set.value.starts_with(['[', '{']) {
            *at = Node::scalar(set.value, true);
            self.filled.insert(pointer, filled(set.value));
            return;
        }
        let node = match yaml::parse(set.value) {
            Ok(node) => node,
            Err(error) => return self.found(place, error.message, error.fix),
        };
        *at = plain_value(&node, &mut pointer, &mut |pointer, text| {
            self.filled.insert(pointer.to_string(), filled(text));
        });
    }

    /// What was at this pointer is there no more.
    fn forget_below(&mut self, pointer: &str) {
        let below = |other: &str| is_within(other, pointer);
        self.places.retain(|other, _| !below(other));
        self.filled.retain(|other, _| !below(other));
        self.broken.retain(|other| !below(other));
    }
}

/// Whether a section of one file continues in another. What has a name is defined in one place.
fn may_merge(pointer: &str, value: &Value, node: &Node) -> bool {
    let named = ["/upstreams/", "/middlewares/"].iter().any(|section| pointer.starts_with(section));
    let alike = matches!(
        (value, &node.data),
        (Value::Object(_), Data::Mapping(_)) | (Value::Array(_), Data::Sequence(_))
    );
    alike && !named
}

/// Variables' names have neither small letters nor `-`.
fn same_key(key: &str, segment: &str) -> bool {
    key.replace('-', "_").eq_ignore_ascii_case(segment)
}

/// A value without places, of which somebody wants to know each scalar.
fn plain_value(node: &Node, pointer: &mut String, scalar: &mut impl FnMut(&str, &str)) -> Value {
    let mut below = |segment: &str, node: &Node| {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&escape(segment));
        let value = plain_value(node, pointer, scalar);
        pointer.truncate(length);
        value
    };
    match &node.data {
        Data::Sequence(items) => {
            items.iter().enumerate().map(|(i, item)| below(&i.to_string(), item)).collect()
        }
        Data::Mapping(entries) => Value::Object(
            entries.iter().map(|(key, node)| (key.text.clone(), below(&key.text, node))).collect(),
        ),
        Data::Scalar { text, plain } => {
            scalar(pointer, text);
            Node::scalar(text, *plain)
        }
    }
}
