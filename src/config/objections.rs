//! What the schema objects to, in the words of people who write YAML: what is wrong, where, and what to do.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, instead, nearest};
use super::document::Document;
use super::pointer::escape;
use super::schema::resolve;
use super::yaml::Node;

/// Collects them.
pub struct Objections<'d> {
    /// What was read.
    pub document: &'d Document,
    /// What it should be like.
    pub schema: &'d Value,
    /// All of them but unknown keys.
    pub diagnostics: Vec<Diagnostic>,
    /// Unknown keys.
    pub unknown: Vec<Unknown>,
}

/// A key that does not exist.
pub struct Unknown {
    /// Where it is.
    pub pointer: String,
    /// Where the one would be that was probably meant, and is missing.
    pub meant: Option<String>,
    /// What is said of it.
    pub diagnostic: Diagnostic,
}

impl Objections<'_> {
    /// One more.
    pub fn add(&mut self, error: &ValidationError<'_>) {
        let before = self.diagnostics.len();
        self.explain(error);
        for diagnostic in &mut self.diagnostics[before..] {
            let pointer = error.instance_path().as_str();
            *diagnostic = self.document.conceal(pointer, diagnostic.clone());
        }
    }

    fn explain(&mut self, error: &ValidationError<'_>) {
        let Objections { document, schema, .. } = *self;
        let pointer = error.instance_path().as_str();
        // The schema whose keyword was not satisfied: the keyword is the last segment.
        let keyword = error.schema_path().as_str();
        let rule = keyword.rfind('/').and_then(|at| schema.pointer(&keyword[..at])).unwrap_or(&Value::Null);
        let place = document.place_of(pointer);

        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for key in unexpected {
                    let meant = meant(error, rule, key).map(|meant| format!("{pointer}/{}", escape(meant)));
                    let pointer = format!("{pointer}/{}", escape(key));
                    let diagnostic = Diagnostic {
                        place: document.place_of_key(&pointer),
                        message: format!("unknown key `{key}`"),
                        fix: instead(key, keys_of(rule)),
                    };
                    self.unknown.push(Unknown { pointer, meant, diagnostic });
                }
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let there = error.instance().as_object().into_iter().flat_map(Map::keys);
                let mut unknown = there.filter(|other| rule["properties"].get(other).is_none());
                // It is there, misspelled, and that is said where no other keys may stand.
                if rule["additionalProperties"] == false
                    && unknown.any(|other| meant(error, rule, other) == Some(key))
                {
                    return;
                }
                self.diagnostics.push(Diagnostic {
                    place: document.place_of_key(pointer),
                    message: format!("the key `{key}` is missing"),
                    fix: format!("add `{key}`: {}", meaning(schema, &rule["properties"][key])),
                });
            }
            ValidationErrorKind::Type { kind } => {
                let wanted = match kind {
                    TypeKind::Single(kind) => kind.to_string(),
                    TypeKind::Multiple(kinds) => {
                        kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(" or ")
                    }
                };
                let found = type_of(error.instance());
                let quoted = self.in_quotes(error, rule);
                // What it is for is said with them only if somebody has written it down.
                let otherwise = || self.in_brackets(error, rule).or_else(|| without_unit(error, &wanted));
                let fix = match (quoted.or_else(otherwise), described(schema, rule)) {
                    (Some(cure), Some(meaning)) => format!("{cure}: {meaning}"),
                    (Some(cure), None) => cure,
                    (None, _) => like_this(rule) + &meaning(schema, rule),
                };
                let found = match (&*wanted, found) {
                    ("integer", "number") => "one with a fraction",
                    _ => in_yaml(found),
                };
                self.diagnostics.push(Diagnostic {
                    place,
                    message: format!("{} is wanted here, and {found} was found", in_yaml(&wanted)),
                    fix,
                });
            }
            ValidationErrorKind::Enum { options } => {
                self.no_such_word(error, options.as_array().into_iter().flatten());
            }
            ValidationErrorKind::Constant { expected_value } => {
                self.no_such_word(error, [&**expected_value]);
            }
            ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
                self.closest(error, rule, context);
            }
            ValidationErrorKind::MinProperties { .. } | ValidationErrorKind::MaxProperties { .. } => {
                let known = rule["properties"].as_object();
                let names: Vec<String> =
                    known.into_iter().flat_map(Map::keys).map(|key| format!("`{key}`")).collect();
                self.diagnostics.push(Diagnostic {
                    place: document.place_of_key(pointer),
                    message: "exactly one key must stand here".to_string(),
                    fix: format!("choose one of {}", names.join(", ")),
                });
            }
            ValidationErrorKind::Pattern { .. } => self.diagnostics.push(Diagnostic {
                place,
                message: "this is not written as it must be here".to_string(),
                fix: like_this(rule) + &meaning(schema, rule),
            }),
            ValidationErrorKind::MinItems { limit: 1 } => self.diagnostics.push(Diagnostic {
                place,
                message: "this is empty".to_string(),
                fix: format!("write at least one: {}", meaning(schema, rule)),
            }),
            ValidationErrorKind::MinLength { limit: 1 } => self.diagnostics.push(Diagnostic {
                place,
                message: "this is empty".to_string(),
                fix: meaning(schema, rule),
            }),
            _ => self.diagnostics.push(Diagnostic {
                place,
                // Without the value, which may be a secret.
                message: error.masked_with("this").to_string(),
                fix: meaning(schema, rule),
            }),
        }
    }

    /// A remedy for what YAML reads as a number, say, where any text would do. As it was written: `1.10` is not `1.1`.
    fn in_quotes(&self, error: &ValidationError<'_>, rule: &Value) -> Option<String> {
        let any_text = rule["type"] == "string"
            && ["pattern", "enum", "const", "format"].iter().all(|key| rule[*key].is_null());
        let written = self.document.written(error.instance_path().as_str())?;
        // Not an alias, nor a variable that sets the key.
        let is_it = matches!(**error.instance(), Value::Number(_) | Value::Bool(_))
            && Node::scalar(written, true) == **error.instance();
        (any_text && is_it).then(|| format!("put it in quotes: `\"{written}\"`"))
    }

    /// A remedy for one value where there could be several, of a list that may have this one.
    fn in_brackets(&self, error: &ValidationError<'_>, rule: &Value) -> Option<String> {
        let items = resolve(self.schema, &rule["items"]);
        let fits = items["type"] == type_of(error.instance()) || items["enum"].is_array();
        let pointer = error.instance_path().as_str();
        let written = self.document.written(pointer).filter(|_| self.document.name_of(pointer).is_none())?;
        (rule["type"] == "array" && fits).then(|| format!("put it in brackets: `[{written}]`"))
    }

    /// Something of a type that none of the alternatives has: often a word that YAML reads as a number.
    fn foreign(&mut self, error: &ValidationError<'_>, choices: &[Choice]) {
        let written = error.instance().to_string();
        let is_word = choices.iter().any(|choice| choice.is_word && choice.name == written);
        self.diagnostics.push(Diagnostic {
            place: self.document.place_of(error.instance_path().as_str()),
            message: format!("{} cannot stand here", in_yaml(type_of(error.instance()))),
            fix: if let (true, Some(name)) = (is_word, self.document.name_of(error.instance_path().as_str()))
            {
                format!("correct what {name} stands for")
            } else if is_word {
                format!("write it in quotes: `\"{written}\"`")
            } else {
                one_of(&written, choices)
            },
        });
    }

    fn no_such_word<'w>(&mut self, error: &ValidationError<'_>, words: impl IntoIterator<Item = &'w Value>) {
        let words: Vec<Choice> = words.into_iter().filter_map(Choice::word).collect();
        self.none_of(error, &words);
    }

    /// A word that is none of those that could stand here.
    fn none_of(&mut self, error: &ValidationError<'_>, choices: &[Choice]) {
        let typed = error.instance().as_str().unwrap_or_default();
        self.diagnostics.push(Diagnostic {
            place: self.document.place_of(error.instance_path().as_str()),
            message: "this is none of the words that can stand here".to_string(),
            fix: one_of(typed, choices),
        });
    }

    /// Of several alternatives, speaks about the one that was meant: of the type that was written, and with the
    /// fewest errors.
    fn closest(
        &mut self,
        error: &ValidationError<'_>,
        rule: &Value,
        context: &[Vec<ValidationError<'static>>],
    ) {
        let choices = self.choices(rule);
        let at = error.instance_path();
        if let Value::Object(map) = &**error.instance()
            && let Some(key) = map.keys().next()
            && choices.iter().any(|choice| choice.is_key)
            && !map.keys().any(|key| choices.iter().any(|choice| choice.is_key && choice.name == *key))
        {
            let pointer = format!("{}/{}", at.as_str(), escape(key));
            self.diagnostics.push(Diagnostic {
                place: self.document.place_of_key(&pointer),
                message: format!("unknown key `{key}`"),
                fix: one_of(key, &choices),
            });
            return;
        }
        let foreign = |errors: &[ValidationError<'_>]| {
            errors
                .iter()
                .any(|e| matches!(e.kind(), ValidationErrorKind::Type { .. }) && e.instance_path() == at)
        };
        let branch = context.iter().min_by_key(|errors| (foreign(errors), errors.len()));
        match branch {
            Some(errors) if !foreign(errors) => {
                let is_word = |error: &ValidationError<'_>| {
                    matches!(
                        error.kind(),
                        ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. }
                    ) && error.instance_path() == at
                };
                if errors.iter().all(is_word) {
                    // The other alternatives could have been meant as well.
                    return self.none_of(error, &choices);
                }
                for error in errors {
                    self.add(error);
                }
            }
            _ => self.foreign(error, &choices),
        }
    }

    /// What the alternatives of a rule begin with.
    fn choices(&self, rule: &Value) -> Vec<Choice> {
        let alternatives = ["oneOf", "anyOf"].into_iter().filter_map(|key| rule[key].as_array()).flatten();
        let mut choices = Vec::new();
        for rule in alternatives.map(|rule| resolve(self.schema, rule)) {
            let words = rule["enum"].as_array().into_iter().flatten().chain(rule.get("const"));
            choices.extend(words.filter_map(Choice::word));
            choices.extend(Choice::mapping(self.schema, rule));
            if matches!(rule["type"].as_str(), Some("integer" | "number")) {
                choices.push(Choice::number(meaning(self.schema, rule)));
            }
        }
        choices
    }
}

/// The keys that a mapping may have.
fn keys_of(rule: &Value) -> impl Iterator<Item = &str> + Clone {
    rule["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str)
}

/// Which key of a mapping was probably meant by one that does not exist; `None` if that is there too.
fn meant<'r>(error: &ValidationError<'_>, rule: &'r Value, key: &str) -> Option<&'r str> {
    nearest(key, keys_of(rule)).filter(|name| error.instance().get(*name).is_none())
}

/// What can stand where there are several alternatives.
struct Choice {
    /// A word or a key; nothing for a number.
    name: String,
    is_word: bool,
    is_key: bool,
    /// How it is written.
    written: String,
}

impl Choice {
    fn word(word: &Value) -> Option<Choice> {
        let name = word.as_str()?.to_string();
        let written = format!("`{name}`");
        Some(Choice { name, is_word: true, is_key: false, written })
    }

    /// A mapping that has one key, below which its settings are.
    fn mapping(schema: &Value, rule: &Value) -> Option<Choice> {
        let [name] = &rule["required"].as_array()?[..] else { return None };
        let name = name.as_str()?.to_string();
        let settings = resolve(schema, &rule["properties"][&name]);
        let written = match settings["required"][0].as_str() {
            Some(key) => format!("`{name}: {{ {key}: … }}`"),
            None => format!("`{name}: …`"),
        };
        Some(Choice { name, is_word: false, is_key: true, written })
    }

    fn number(meaning: String) -> Choice {
        Choice { name: String::new(), is_word: false, is_key: false, written: format!("a number: {meaning}") }
    }
}

/// A remedy for `3s` or `"3"` where a whole number is wanted.
fn without_unit(error: &ValidationError<'_>, wanted: &str) -> Option<String> {
    let text = error.instance().as_str()?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_number = unit.len() < text.len() && unit.chars().all(|c| c.is_ascii_alphabetic());
    let without = if unit.is_empty() { "quotes" } else { "a unit" };
    (is_number && wanted == "integer").then(|| format!("write the number alone, without {without}"))
}

/// The one that was probably meant, or all there are.
fn one_of(typed: &str, choices: &[Choice]) -> String {
    let names = choices.iter().map(|choice| &*choice.name);
    if let Some(name) = nearest(typed, names)
        && let Some(choice) = choices.iter().find(|choice| choice.name == name)
    {
        return format!("did you mean {}?", choice.written);
    }
    let all: Vec<&str> = choices.iter().map(|choice| &*choice.written).collect();
    match &all[..] {
        [] => "see the key's description in `gateway schema`".to_string(),
        [only] => format!("there is only {only}"),
        _ => format!("there are {}", all.join(", ")),
    }
}

/// How a value is written of which the schema has examples, or a mapping that must have a key; or nothing.
fn like_this(rule: &Value) -> String {
    let examples = rule["examples"].as_array().map(Vec::as_slice).unwrap_or_default();
    let examples: Vec<String> =
        examples.iter().filter_map(Value::as_str).map(|example| format!("`{example}`")).collect();
    if !examples.is_empty() {
        return format!("write it like {}: ", examples.join(", "));
    }
    match rule["required"][0].as_str() {
        Some(key) => format!("write `{key}: …`, as a mapping: "),
        None => String::new(),
    }
}

/// What the doc comment of a key, or of its type, says in its first paragraph.
fn meaning(schema: &Value, rule: &Value) -> String {
    described(schema, rule).unwrap_or_else(|| "see its description in `gateway schema`".to_string())
}

/// The same, if there is one.
fn described(schema: &Value, rule: &Value) -> Option<String> {
    let text = rule["description"].as_str().or_else(|| resolve(schema, rule)["description"].as_str())?;
    Some(text.split("\n\n").next().unwrap_or(text).replace('\n', " "))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// JSON's words for types as people say them who write YAML.
fn in_yaml(name: &str) -> &str {
    match name {
        "null" => "nothing",
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        "string" => "text",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
}
