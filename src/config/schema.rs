//! The JSON Schema of the configuration: made from the types in `raw`, given to editors, and asked first when
//! a file is read, because it finds every unknown key and wrong type at once.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value, json};

use super::diagnostic::{Diagnostic, Place};
use super::document::Document;
use super::objections::{Objections, Unknown};
use super::pointer::{remove, unescape};
use super::yaml::Node;
use super::{raw, stand_in};
use crate::middleware::Registry;

/// The schema of a configuration in which the kinds of this registry exist.
pub fn schema(registry: &Registry) -> Value {
    let mut generator = SchemaSettings::draft2020_12().with_transform(Absent).into_generator();
    let kinds: Map<String, Value> = registry
        .kinds()
        .map(|(name, kind)| (name.to_string(), kind.schema(&mut generator).to_value()))
        .collect();
    generator.subschema_for::<raw::Middleware>();
    generator.definitions_mut().insert(
        raw::Middleware::DEFINITION.to_string(),
        json!({
            "description": "A policy: one key, which says of what kind it is, and that kind's settings.",
            "type": "object",
            "properties": kinds,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        }),
    );
    generator.into_root_schema_for::<raw::File>().to_value()
}

/// The schema of a file with servers.
pub fn of_servers() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(Absent);
    let mut schema = settings.into_generator().into_root_schema_for::<Vec<raw::UpstreamServer>>();
    schema.insert("minItems".to_string(), json!(1));
    schema.insert("description".to_string(), json!("A list of servers, each with its `address`."));
    schema.to_value()
}

/// The schema for editors, which see a file before anything is put in for `${…}`: such text can stand for every
/// single value.
pub fn editor_schema(registry: &Registry) -> Value {
    let mut schema = schemars::Schema::try_from(schema(registry)).expect("a schema is a mapping");
    Reference.transform(&mut schema);
    schema.to_value()
}

/// Lets `${…}` stand wherever a value is more exact than just text.
#[derive(Clone, Debug)]
struct Reference;

impl Transform for Reference {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        transform_subschemas(self, schema);
        let Some(rule) = schema.as_object_mut() else { return };
        let words = |rule: &Map<String, Value>| {
            let choices = rule.get("oneOf").and_then(Value::as_array);
            choices.is_some_and(|choices| choices.iter().all(|choice| choice["const"].is_string()))
        };
        let exact = match rule.get("type").and_then(Value::as_str) {
            Some("integer" | "number" | "boolean") => true,
            Some("string") => {
                ["const", "enum", "pattern", "format"].iter().any(|key| rule.contains_key(*key))
            }
            _ => words(rule) || rule.contains_key("enum"),
        };
        // One of several words is wrapped where the words are listed.
        if !exact || rule.contains_key("const") {
            return;
        }
        let kept = ["$schema", "description", "title", "default", "deprecated", "writeOnly", "$defs"];
        let outside: Map<String, Value> =
            kept.iter().filter_map(|key| Some((key.to_string(), rule.remove(*key)?))).collect();
        let mut inner = std::mem::take(rule);
        if words(&inner) {
            // A branch of `anyOf` less, so that an editor still offers the words.
            let mut choices =
                inner.remove("oneOf").and_then(|choices| choices.as_array().cloned()).unwrap_or_default();
            choices.push(reference());
            inner.insert("anyOf".to_string(), choices.into());
            *rule = inner;
        } else {
            rule.insert("anyOf".to_string(), json!([inner, reference()]));
        }
        rule.extend(outside);
    }
}

fn reference() -> Value {
    json!({ "type": "string", "pattern": "\\$\\{" })
}

/// `Option` in a type means that a key may be absent. That it may also be `null` would only hide a key whose
/// value was forgotten.
#[derive(Clone, Debug)]
struct Absent;

impl Transform for Absent {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = &types[..] {
                let only = only.clone();
                schema.insert("type".to_string(), only);
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice != &json!({ "type": "null" }));
            if let [Value::Object(only)] = &choices[..] {
                let only = only.clone();
                schema.remove("anyOf");
                for (key, value) in only {
                    schema.ensure_object().entry(key).or_insert(value);
                }
            }
        }
        if schema.get("default") == Some(&Value::Null) {
            schema.remove("default");
        }
        transform_subschemas(self, schema);
    }
}

/// What the schema has against a document.
#[derive(Debug)]
pub struct Findings {
    /// All of it.
    pub diagnostics: Vec<Diagnostic>,
    /// What can be judged further: what the schema objects to is left out of it, or something else stands there.
    pub rest: Option<Value>,
    /// Where that is so, by pointer.
    pub doubtful: BTreeSet<String>,
}

/// Asks the schema.
pub fn check(document: &Document, schema: &Value) -> Findings {
    let validator = jsonschema::validator_for(schema)
        .expect("the schema is made from our types, and a unit test compiles it");
    let ask = |value: &Value| {
        let mut objections = Objections { document, schema, diagnostics: Vec::new(), unknown: Vec::new() };
        for error in validator.iter_errors(value) {
            objections.add(&error);
        }
        objections
    };
    let read = typed(document, schema);
    let mut doubtful: BTreeSet<String> = document.broken().cloned().collect();
    let Objections { mut diagnostics, unknown, .. } = ask(&read);

    // Two keys where one may stand, or none: if one of them is unknown, that is the reason, and enough said.
    let mut value = read;
    for Unknown { pointer, .. } in &unknown {
        remove(&mut value, pointer);
    }
    let others = ask(&value).diagnostics;
    diagnostics.retain(|diagnostic| others.contains(diagnostic));
    // What could not be had was said to be missing where it stands.
    let broken: Vec<Place> = document.broken().map(|pointer| document.place_of(pointer)).collect();
    diagnostics.retain(|diagnostic| !broken.contains(&diagnostic.place));
    for Unknown { pointer, meant, diagnostic } in unknown {
        doubtful.insert(pointer);
        doubtful.extend(meant);
        diagnostics.push(diagnostic);
    }

    let rest = stand_in::repair(value, schema, &validator, &mut doubtful);
    Findings { diagnostics, rest, doubtful }
}

/// What came from outside has the type that is wanted: a password may be `12345`, and between brackets YAML wants
/// quotes around `${THREADS}`.
fn typed(document: &Document, schema: &Value) -> Value {
    let mut value = document.value.clone();
    for (pointer, text) in document.filled() {
        let Some(value) = value.pointer_mut(pointer) else { continue };
        match descend(schema, pointer).and_then(|found| found.rule["type"].as_str()) {
            Some("string") => *value = text.into(),
            Some("integer" | "number" | "boolean") => *value = Node::scalar(text, true),
            _ => {}
        }
    }
    value
}

/// The part of a schema that is about one value.
#[derive(Clone, Copy)]
pub(super) struct Found<'s> {
    /// It, with what a `$ref` in it leads to.
    pub rule: &'s Value,
    /// Whether what contains the value must have it.
    pub required: bool,
}

/// Finds the part of a schema that is about the value at this pointer.
pub(super) fn descend<'s>(schema: &'s Value, pointer: &str) -> Option<Found<'s>> {
    let mut found = Found { rule: schema, required: true };
    for segment in pointer.split('/').skip(1) {
        found = below(schema, found.rule, &unescape(segment))?;
    }
    Some(found)
}

fn below<'s>(schema: &'s Value, rule: &'s Value, segment: &str) -> Option<Found<'s>> {
    if let Some(property) = rule["properties"].get(segment) {
        let required = rule["required"].as_array().is_some_and(|keys| keys.iter().any(|key| key == segment));
        return Some(Found { rule: resolve(schema, property), required });
    }
    if rule["items"].is_object() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Found { rule: resolve(schema, &rule["items"]), required: true });
    }
    if rule["additionalProperties"].is_object() {
        return Some(Found { rule: resolve(schema, &rule["additionalProperties"]), required: true });
    }
    let alternatives = ["oneOf", "anyOf"].into_iter().filter_map(|key| rule[key].as_array()).flatten();
    alternatives.map(|rule| resolve(schema, rule)).find_map(|rule| below(schema, rule, segment))
}

/// What a reference leads to.
pub(super) fn resolve<'s>(schema: &'s Value, rule: &'s Value) -> &'s Value {
    let target = rule["$ref"].as_str().and_then(|target| schema.pointer(target.trim_start_matches('#')));
    target.unwrap_or(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Source};

    fn read(text: &str) -> (Document, Vec<Diagnostic>) {
        let source = Source { name: "f".to_string(), text: text.to_string() };
        Document::read(vec![source], &Environment::default())
    }

    fn found(text: &str) -> Vec<String> {
        let schema = schema(&Registry::default());
        let (document, syntax) = read(text);
        assert!(syntax.is_empty(), "{syntax:?}");
        let mut lines: Vec<_> = check(&document, &schema)
            .diagnostics
            .into_iter()
            .map(|d| (d.place.span.start, format!("{}: {}", &text[d.place.span], d.message)))
            .collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn the_schema_is_one() {
        assert!(jsonschema::meta::is_valid(&schema(&Registry::default())));
    }

    /// What has no description shows nothing in an editor, and nothing as a remedy.
    #[test]
    fn every_key_is_described_and_none_may_be_null() {
        fn walk(at: &str, value: &Value) {
            if let Some(properties) = value["properties"].as_object() {
                for (key, rule) in properties {
                    assert!(rule["description"].is_string() || at.ends_with("/Middleware"), "{at}: {key}");
                }
            }
            assert_ne!(value["type"], "null", "{at}");
            let children: Vec<(String, &Value)> = match value {
                Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
                Value::Array(items) => items.iter().map(|value| ("-".to_string(), value)).collect(),
                _ => Vec::new(),
            };
            for (key, child) in children {
                walk(&format!("{at}/{key}"), child);
            }
        }
        walk("", &schema(&Registry::default()));
    }

    #[test]
    fn everything_is_found_at_once() {
        let text = "\
server: { threads: many }
listeners:
  - adress: 0.0.0.0:80
upstreams:
  city: { servers: [], balance: round_robbin }
routes:
  - name: city
    upstream: city
    middleware: []
";
        assert_eq!(
            found(text),
            [
                "many: a whole number is wanted here, and text was found",
                "adress: unknown key `adress`",
                "servers: this is empty",
                "round_robbin: this is none of the words that can stand here",
                "middleware: unknown key `middleware`",
            ]
        );
    }

    /// A policy of somebody's own may permit keys that it does not know: then nothing else says what is wrong.
    #[test]
    fn what_is_missing_is_said_where_no_key_is_unknown() {
        let mut schema = json!({
            "type": "object",
            "properties": { "limit": { "type": "integer" } },
            "required": ["limit"],
        });
        let (document, _) = read("limits: 1");
        let found = check(&document, &schema).diagnostics;
        assert!(found.len() == 1 && found[0].message.contains("`limit` is missing"), "{found:?}");
        schema["additionalProperties"] = false.into();
        let found = check(&document, &schema).diagnostics;
        assert!(found.len() == 1 && found[0].message.contains("unknown key `limits`"), "{found:?}");
    }

    #[test]
    fn of_alternatives_the_one_that_was_meant_is_explained() {
        let schema = json!({
            "properties": {
                "word": { "oneOf": [{ "const": "tcp" }, { "const": "grpc" }] },
                "either": { "oneOf": [
                    { "type": "string", "const": "sticky" },
                    { "type": "object", "properties": { "by": { "type": "string" } }, "required": ["by"] },
                ] },
            },
        });
        for (text, message, fix) in [
            ("word: gprc", "none of the words", "did you mean `grpc`?"),
            ("either: { by: 1 }", "text is wanted here", ""),
            ("either: {}", "the key `by` is missing", ""),
            ("either: [1]", "a list cannot stand here", ""),
        ] {
            let (document, _) = read(text);
            let found = check(&document, &schema).diagnostics;
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].message.contains(message) && found[0].fix.contains(fix), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_key_whose_value_was_forgotten_is_an_error() {
        let text = "listeners: [{ address: a }]\nroutes: [{ name: r, upstream: u, match: { path: } }]\n";
        assert_eq!(found(text).len(), 1, "{:?}", found(text));
    }
}
