//! A configuration as JSON values, with a map from each value back to the place where it was written.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, Place, Source};
use super::environment::{Environment, Filled, Override};
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
    /// Values that came from outside of the texts, by pointer.
    filled: HashMap<String, Filled>,
    /// Values that could not be had, by pointer. What is wrong with them was said.
    broken: BTreeSet<String>,
}

impl Document {
    /// Reads texts as one configuration: mappings merge, lists append. What is wrong with the texts is returned
    /// beside what could be read of them.
    pub fn read(texts: Vec<Source>, environment: &Environment) -> (Document, Vec<Diagnostic>) {
        let mut sources = texts;
        let mut reading = Reading::new(environment);
        let mut value = Value::Object(Map::new());
        let mut whole = true;
        reading.places.insert(String::new(), Entry { key: None, value: Place::default() });
        for (index, source) in sources.iter().enumerate() {
            reading.source = index;
            match yaml::parse(&source.text) {
                Ok(node) => reading.merge(&mut value, &node, &mut String::new(), &sources),
                Err(error) => {
                    whole = false;
                    let place = Place { source: index, span: error.span };
                    let fix = error.fix.to_string();
                    reading.found.push(Diagnostic { place, message: error.message, fix });
                }
            }
        }
        for set in environment.overrides() {
            reading.source = sources.len();
            // The value is not shown: it may be a secret.
            sources.push(Source { name: format!("${}", set.name), text: format!("{}=…", set.name) });
            reading.set(&mut value, &set);
        }
        let Reading { places, found, filled, broken, .. } = reading;
        let mut document = Document { sources: sources.into(), value, places, filled, broken };
        let mut found = found;
        if !whole {
            // Whatever is missing may stand in the text that could not be read.
            document.broken.insert(String::new());
        } else if document.value.as_object().is_some_and(Map::is_empty) && found.is_empty() {
            document.broken.insert(String::new());
            found.push(Diagnostic {
                place: Place::default(),
                message: "there is nothing in this configuration".to_string(),
                fix: "begin with `listeners`, `upstreams` and `routes`".to_string(),
            });
        }
        (document, found)
    }

    /// Reads a text that is one value of a configuration, a list of servers say. Nothing is put into it.
    pub fn read_part(source: Source) -> (Document, Vec<Diagnostic>) {
        let nothing = Environment::default();
        let mut reading = Reading::new(&nothing);
        let sources: Arc<[Source]> = [source].into();
        let mut value = Value::Null;
        match yaml::parse(&sources[0].text) {
            Ok(node) => value = reading.value(&node, None, &mut String::new(), &sources),
            Err(error) => {
                reading.broken.insert(String::new());
                let place = Place { source: 0, span: error.span };
                reading.found.push(Diagnostic { place, message: error.message, fix: error.fix.to_string() });
            }
        }
        let Reading { places, found, filled, broken, .. } = reading;
        (Document { sources, value, places, filled, broken }, found)
    }

    /// Whether so much of it could be read that it can be judged.
    pub fn is_readable(&self) -> bool {
        !self.broken.contains("")
    }

    /// Values that could not be had.
    pub fn broken(&self) -> impl Iterator<Item = &String> {
        self.broken.iter()
    }

    /// Values that came from outside, as text. They have the type that they look like, until somebody who knows
    /// what is wanted says that it is text.
    pub fn filled(&self) -> impl Iterator<Item = (&String, &str)> {
        self.filled.iter().map(|(pointer, filled)| (pointer, &*filled.text))
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
            remove(&mut value, pointer);
        }
        value
    }

    /// Takes out of a diagnostic what came from outside. A value that did is called what the text calls it.
    pub fn conceal(&self, pointer: &str, mut diagnostic: Diagnostic) -> Diagnostic {
        /// Shorter ones are part of many words, and tell nobody anything.
        const TELLING: usize = 6;
        let own = self.filled.get_key_value(pointer);
        for (at, filled) in own.into_iter().chain(&self.filled) {
            let here = at == pointer;
            let whole = (&filled.text, filled.parts.first().map_or("…", |(_, name)| name));
            let parts = filled.parts.iter().map(|(text, name)| (text, &**name));
            for (text, name) in std::iter::once(whole).chain(parts) {
                if text.len() >= TELLING || (here && !text.is_empty()) {
                    diagnostic.message = diagnostic.message.replace(&**text, name);
                    diagnostic.fix = diagnostic.fix.replace(&**text, name);
                }
            }
        }
        diagnostic
    }

    /// How the text calls the value at this pointer, if it came from outside.
    fn name_of(&self, pointer: &str) -> Option<String> {
        let names = self.filled.get(pointer)?.parts.iter().map(|(_, name)| format!("`{name}`"));
        Some(names.collect::<Vec<_>>().join(" and "))
    }
}

/// Removes a key from the mapping that contains it.
pub fn remove(value: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    value.pointer_mut(parent)?.as_object_mut()?.remove(&unescape(key))
}

struct Reading<'r> {
    environment: &'r Environment,
    source: usize,
    places: HashMap<String, Entry>,
    found: Vec<Diagnostic>,
    filled: HashMap<String, Filled>,
    broken: BTreeSet<String>,
}

impl<'r> Reading<'r> {
    fn new(environment: &'r Environment) -> Reading<'r> {
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
    fn value(&mut self, node: &Node, key: Option<Place>, pointer: &mut String, sources: &[Source]) -> Value {
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
    fn merge(&mut self, into: &mut Value, node: &Node, pointer: &mut String, sources: &[Source]) {
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
    fn set(&mut self, root: &mut Value, set: &Override<'_>) {
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

/// Whether a pointer leads to what another leads to, or to something in it.
pub fn is_within(pointer: &str, whole: &str) -> bool {
    pointer.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A key as a segment of a JSON pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The other way round.
pub fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// Collects what validation finds, all of it.
#[derive(Debug)]
pub struct Check<'d> {
    document: &'d Document,
    /// Values of which it was said already that they are wrong. Something else stands in their place.
    doubtful: BTreeSet<String>,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'d> Check<'d> {
    /// Nothing is known to be wrong yet, but for the values at these pointers.
    pub fn new(document: &'d Document, doubtful: BTreeSet<String>) -> Check<'d> {
        Check { document, doubtful, found: RefCell::default() }
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

    /// Whether all of the value is as it was written. If not, what is wrong was said: comparing it with others
    /// would be no use.
    pub fn is_sound(&self) -> bool {
        let doubtful = &self.check.doubtful;
        !self.is_doubtful() && !doubtful.iter().any(|doubtful| is_within(doubtful, &self.pointer))
    }

    fn is_doubtful(&self) -> bool {
        self.check.doubtful.iter().any(|doubtful| is_within(&self.pointer, doubtful))
    }

    /// Where the value was written.
    pub fn place(&self) -> Place {
        self.check.document.place_of(&self.pointer)
    }

    fn report(&self, place: Place, message: impl Into<String>, fix: impl Into<String>) {
        if self.is_doubtful() {
            return;
        }
        let document = self.check.document;
        // A remedy may be made of the value.
        let fix = match document.name_of(&self.pointer) {
            Some(name) => format!("correct what {name} stands for"),
            None => fix.into(),
        };
        let diagnostic = Diagnostic { place, message: message.into(), fix };
        self.check.found.borrow_mut().push(document.conceal(&self.pointer, diagnostic));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(texts: &[&str], variables: &[(&str, &str)]) -> (Document, Vec<Diagnostic>) {
        let source =
            |(index, text): (usize, &&str)| Source { name: format!("f{index}"), text: text.to_string() };
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Document::read(texts.iter().enumerate().map(source).collect(), &variables.collect())
    }

    #[test]
    fn every_value_is_found_again_by_its_pointer() {
        let text = "routes:\n  - name: a/b\n    match: { path: /x }\n";
        let (document, found) = read(&[text], &[]);
        assert!(found.is_empty());
        assert_eq!(&text[document.place_of("/routes/0/name").span], "a/b");
        assert_eq!(&text[document.place_of_key("/routes/0/match/path").span], "path");
        assert_eq!(&text[document.place_of("/routes/0/match").span], "match");
        // What is missing is shown where it would be.
        assert_eq!(&text[document.place_of("/routes/0/match/host").span], "match");
    }

    #[test]
    fn a_duplicate_is_named_and_the_first_one_counts() {
        let (document, found) = read(&["a: 1\nb: 2\na: 3\n"], &[]);
        assert_eq!(document.value, json!({"a": 1, "b": 2}));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place.span, 10..11);
    }

    #[test]
    fn keys_can_be_left_out() {
        let (document, _) = read(&["a: { b/c: 1, d: 2 }\n"], &[]);
        assert_eq!(document.without(&["/a/b~1c".to_string()]), json!({"a": {"d": 2}}));
    }

    #[test]
    fn several_texts_are_one() {
        let (document, found) = read(
            &[
                "server: { threads: 1, pool: { idle: 1 } }\nroutes: [a]\nupstreams: { u: { s: [1] } }\n",
                "# nothing\n",
                "server: { pool: { most: 2 } }\nroutes:\n- b\nupstreams: { v: {} }\n",
            ],
            &[],
        );
        assert_eq!(found, []);
        assert_eq!(
            document.value,
            json!({
                "server": { "threads": 1, "pool": { "idle": 1, "most": 2 } },
                "routes": ["a", "b"],
                "upstreams": { "u": { "s": [1] }, "v": {} },
            })
        );
        assert_eq!(document.place_of("/routes/1"), Place { source: 2, span: 40..41 });
    }

    #[test]
    fn what_two_texts_say_is_an_error_that_names_both() {
        let (_, found) = read(
            &[
                "server: { threads: 1 }\nupstreams: { u: {} }\n",
                "server: { threads: 2 }\nupstreams: { u: {} }\n",
            ],
            &[],
        );
        let messages: Vec<&str> = found.iter().map(|found| &*found.message).collect();
        assert_eq!(
            messages,
            ["the key `threads` stands in f0:1:11 too", "the key `u` stands in f0:2:14 too"]
        );
        assert!(found.iter().all(|found| found.place.source == 1));
    }

    #[test]
    fn plain_values_from_outside_have_the_type_that_they_look_like() {
        let text = "a: ${N}\nb: \"${N}\"\nc: '${N}'\nd: x${N}\ne:\n- \"${B}\"\n- ${B}\n";
        let (document, found) = read(&[text], &[("N", "8080"), ("B", "true")]);
        assert_eq!(found, []);
        let value = json!({"a": 8080, "b": "8080", "c": "8080", "d": "x8080", "e": ["true", true]});
        assert_eq!(document.value, value);
    }

    #[test]
    fn variables_set_keys() {
        let text = "server: { threads: 1 }\nupstreams: { My-Group: { servers: [{ address: a }] } }\n";
        let (document, found) = read(
            &[text],
            &[
                ("GATEWAY__SERVER__THREADS", "4"),
                ("GATEWAY__UPSTREAMS__MY_GROUP__SERVERS__0__ADDRESS", "b"),
                ("GATEWAY__UPSTREAMS__MY_GROUP__SERVERS__1__WEIGHT", "2"),
                ("GATEWAY__SERVER__NEW__0__KEY", "x"),
                ("GATEWAY__ROUTES", "[{ name: r }]"),
                ("WORKER_THREADS", "9"),
            ],
        );
        assert_eq!(found, []);
        assert_eq!(
            document.value,
            json!({
                "server": { "threads": 4, "new": [{ "key": "x" }] },
                "upstreams": { "My-Group": { "servers": [{ "address": "b" }, { "weight": 2 }] } },
                "routes": [{ "name": "r" }],
            })
        );
        let place = document.place_of("/server/threads");
        assert_eq!(document.sources[place.source].name, "$GATEWAY__SERVER__THREADS");
        assert_eq!(document.place_of("/routes/0/name").span, 0.."GATEWAY__ROUTES".len());
    }

    #[test]
    fn a_variable_that_leads_nowhere_says_so() {
        for (name, message) in [
            ("GATEWAY__A__B", "no keys below this value"),
            ("GATEWAY__L__2", "no place in this list"),
            ("GATEWAY__L__X", "no place in this list"),
        ] {
            let (document, found) = read(&["a: 1\nl: [1]\n"], &[(name, "1")]);
            assert_eq!(found.len(), 1);
            assert!(found[0].message.contains(message), "{found:?}");
            assert_eq!(document.sources[found[0].place.source].name, format!("${name}"));
        }
    }

    #[test]
    fn nothing_and_half_of_it_are_told_apart() {
        for nothing in ["", "# only this\n", "~", "{}", "---\n"] {
            let (document, found) = read(&[nothing], &[]);
            assert_eq!(found.len(), 1, "{nothing}");
            assert!(found[0].message.contains("nothing"), "{nothing}: {found:?}");
            assert!(!document.is_readable());
        }
        for other in ["- a", "text", "7"] {
            let (document, found) = read(&[other], &[]);
            assert_eq!(found.len(), 1, "{other}");
            assert!(found[0].message.contains("a mapping of keys"), "{other}: {found:?}");
            assert!(!document.is_readable());
        }
    }
}
