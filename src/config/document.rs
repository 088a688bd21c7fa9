//! A configuration as JSON values, with a map from each value back to the place where it was written.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, Place, Source};
use super::environment::{Environment, Filled};
use super::pointer::remove;
use super::reading::Reading;
use super::yaml;

/// Where a value and, in a mapping, its key were written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key, if it has one.
    pub key: Option<Place>,
    /// The value itself.
    pub value: Place,
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

    /// How the value at this pointer is written.
    pub fn written(&self, pointer: &str) -> Option<&str> {
        let place = &self.places.get(pointer)?.value;
        self.sources.get(place.source)?.text.get(place.span.clone())
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

    /// Takes out of a message what came from outside. A value that did is called what the text calls it. Remedies
    /// need no such thing: what they quote of values is named by [`Document::name_of`].
    pub fn conceal(&self, pointer: &str, mut diagnostic: Diagnostic) -> Diagnostic {
        /// Shorter ones are part of many words, and tell nobody anything.
        const TELLING: usize = 6;
        let mut names: Vec<(&str, &str, bool)> = Vec::new();
        let own = self.filled.get_key_value(pointer);
        for (at, filled) in own.into_iter().chain(&self.filled) {
            let whole = (&*filled.text, filled.parts.first().map_or("…", |(_, name)| name));
            let parts = filled.parts.iter().map(|(text, name)| (&**text, &**name));
            for (text, name) in std::iter::once(whole).chain(parts) {
                let is_short = text.len() < TELLING;
                if !text.is_empty() && (at == pointer || !is_short) {
                    names.push((text, name, is_short));
                }
            }
        }
        if names.is_empty() {
            return diagnostic;
        }
        // The longest first, so that nothing is left of it. All at once: a name may contain what it stands for.
        names.sort_by_key(|(text, ..)| Reverse(text.len()));
        let any: Vec<String> = names
            .iter()
            .map(|(text, _, is_short)| {
                let text = regex::escape(text);
                if *is_short { format!(r"\b{{start-half}}{text}\b{{end-half}}") } else { text }
            })
            .collect();
        // Too much to be put into one expression is too much for a message.
        diagnostic.message = match Regex::new(&any.join("|")) {
            Ok(any) => any
                .replace_all(&diagnostic.message, |found: &Captures<'_>| {
                    names.iter().find(|(text, ..)| *text == &found[0]).map_or("…", |(_, name, _)| name)
                })
                .into_owned(),
            Err(_) => "this is not as it must be here".to_string(),
        };
        diagnostic
    }

    /// How the text calls the value at this pointer, if it came from outside.
    pub fn name_of(&self, pointer: &str) -> Option<String> {
        let names = self.filled.get(pointer)?.parts.iter().map(|(_, name)| format!("`{name}`"));
        Some(names.collect::<Vec<_>>().join(" and "))
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
    fn values_from_outside_are_concealed_in_messages_and_nowhere_else() {
        let text = "a: ${SHORT}\nb: ${LONG}\nc: ${NONE:-secret}\nd: x${SHORT}y${LONG}\n";
        let (document, found) = read(&[text], &[("SHORT", "x"), ("LONG", "secret-7")]);
        assert_eq!(found, []);
        for (pointer, message, concealed) in [
            ("/a", "`x` is not x, nor xx", "`${SHORT}` is not ${SHORT}, nor xx"),
            ("/b", "x is not secret-7", "x is not ${LONG}"),
            ("/c", "there is no `secret`", "there is no `${NONE:-secret}`"),
            ("/c", "secrets: secret-7", "${NONE:-secret}s: ${LONG}"),
            ("/d", "xxysecret-7, x", "${SHORT}, ${SHORT}"),
            ("/e", "nothing", "nothing"),
        ] {
            let fix = "write `secret`".to_string();
            let said = Diagnostic { place: Place::default(), message: message.to_string(), fix };
            let said = document.conceal(pointer, said);
            assert_eq!((&*said.message, &*said.fix), (concealed, "write `secret`"), "{pointer}");
        }
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
