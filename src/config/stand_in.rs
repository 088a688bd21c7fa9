//! What stands in the place of a value that the schema refuses, so that the rest of the configuration can still
//! be judged: one wrong type must not hide a dangling name.

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::pointer::{escape, remove, unescape};
use super::schema::{descend, resolve};

/// How often is tried to make the schema content. Each time, larger parts are replaced.
const ROUNDS: usize = 8;

/// Replaces what the schema refuses, and says where. `None` if that does not help.
pub fn repair(
    mut value: Value,
    schema: &Value,
    validator: &jsonschema::Validator,
    doubtful: &mut BTreeSet<String>,
) -> Option<Value> {
    for pointer in doubtful.clone() {
        if value.pointer(&pointer).is_some() {
            replace(&mut value, schema, &pointer, doubtful)?;
        }
    }
    let mut replaced = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut refused = BTreeSet::new();
        for error in validator.iter_errors(&value) {
            let pointer = error.instance_path().as_str();
            match error.kind() {
                ValidationErrorKind::Required { property } => {
                    refused.insert(format!("{pointer}/{}", escape(property.as_str().unwrap_or_default())));
                }
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    refused.extend(unexpected.iter().map(|key| format!("{pointer}/{}", escape(key))));
                }
                _ => {
                    refused.insert(pointer.to_string());
                }
            }
        }
        if refused.is_empty() {
            return Some(value);
        }
        for mut pointer in refused {
            // What did not help once is part of something larger that is wrong.
            while !replaced.insert(pointer.clone()) {
                pointer.truncate(pointer.rfind('/')?);
            }
            replace(&mut value, schema, &pointer, doubtful)?;
        }
    }
    None
}

fn replace(value: &mut Value, schema: &Value, pointer: &str, doubtful: &mut BTreeSet<String>) -> Option<()> {
    doubtful.insert(pointer.to_string());
    let (parent, key) = pointer.rsplit_once('/')?;
    let Some(found) = descend(schema, pointer) else {
        remove(value, pointer);
        return Some(());
    };
    let is_text = found.rule["type"] == "string" && found.rule["pattern"].is_null();
    if !found.required && !is_text {
        remove(value, pointer);
        return Some(());
    }
    match (sample(schema, found.rule, pointer), value.pointer_mut(parent)?) {
        (Some(sample), Value::Object(map)) => {
            map.insert(unescape(key), sample);
            Some(())
        }
        (Some(sample), Value::Array(list)) => {
            *list.get_mut(key.parse::<usize>().ok()?)? = sample;
            Some(())
        }
        _ => replace(value, schema, parent, doubtful),
    }
}

/// The least that the schema is content with. Text is like no other, so that it equals nothing and is no name.
fn sample(schema: &Value, rule: &Value, unique: &str) -> Option<Value> {
    let rule = resolve(schema, rule);
    if let Some(value) = rule.get("const").or_else(|| rule.get("default")).or_else(|| rule["enum"].get(0)) {
        return Some(value.clone());
    }
    if let Some(first) = rule["oneOf"].get(0).or_else(|| rule["anyOf"].get(0)) {
        return sample(schema, first, unique);
    }
    match rule["type"].as_str()? {
        "boolean" => Some(false.into()),
        "integer" | "number" => Some(rule.get("minimum").cloned().unwrap_or_else(|| 1.into())),
        "string" => match rule["pattern"].as_str() {
            None => Some(format!("\u{1}{unique}").into()),
            Some(pattern) => {
                let pattern = Regex::new(pattern).ok()?;
                let fitting = ["1s", "1", "1%", "a", "/a", "127.0.0.1:1"]
                    .into_iter()
                    .find(|text| pattern.is_match(text));
                fitting.map(Value::from)
            }
        },
        "array" if rule["minItems"].as_u64().unwrap_or(0) == 0 => Some(json!([])),
        "array" => Some(json!([sample(schema, &rule["items"], &format!("{unique}/0"))?])),
        "object" => {
            let required = rule["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let first = rule["properties"].as_object().and_then(|keys| keys.keys().next());
            let least = rule["minProperties"].as_u64().unwrap_or(0);
            let keys = required.chain(first.filter(|_| least > 0).map(String::as_str));
            let pair = |key: &str| {
                let value = sample(schema, &rule["properties"][key], &format!("{unique}/{key}"))?;
                Some((key.to_string(), value))
            };
            Some(Value::Object(keys.map(pair).collect::<Option<Map<_, _>>>()?))
        }
        _ => None,
    }
}
