use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value;

/// A policy: one key, which says of what kind it is, and that kind's settings.
///
/// Which kinds there are is known to the registry ([`crate::middleware::Registry`]) alone, which also gives this
/// type its schema.
#[derive(Debug, Default, Deserialize)]
pub struct Middleware(pub BTreeMap<String, Value>);

impl Middleware {
    /// The name of its definition in the schema.
    pub const DEFINITION: &'static str = "Middleware";
}

impl JsonSchema for Middleware {
    fn schema_name() -> Cow<'static, str> {
        Self::DEFINITION.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object" }) // replaced: see config/schema.rs
    }
}
