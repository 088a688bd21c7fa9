//! Kinds of middlewares, by the name that they have in YAML.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Middleware;
use super::body_limit::BodyLimit;
use super::request_headers::RequestHeaders;
use super::response_headers::ResponseHeaders;
use crate::config::At;

/// A kind of middleware that YAML can ask for.
pub trait Kind: Middleware + Sized {
    /// Its name in YAML: `middlewares: { any_name: { response_headers: … } }`.
    const NAME: &'static str;

    /// Its settings as they are written. Their doc comments are their reference page.
    type Settings: DeserializeOwned + JsonSchema;

    /// Makes one, at load. What the schema cannot say about the settings is checked here, and said with
    /// [`At::error`]: `None` only if something was.
    fn build(settings: Self::Settings, at: &At<'_>) -> Option<Self>;
}

type Build = fn(&Value, &At<'_>) -> Option<Arc<dyn Middleware>>;

/// What a registry knows about a kind.
pub struct Entry {
    schema: fn(&mut SchemaGenerator) -> Schema,
    build: Build,
}

impl Entry {
    /// The schema of its settings.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }
}

/// Which kinds there are. [`Registry::default`] knows those that come with the gateway.
pub struct Registry {
    kinds: BTreeMap<&'static str, Entry>,
}

impl Registry {
    /// Makes a kind's name usable in YAML. A kind of the same name is replaced.
    pub fn register<K: Kind>(&mut self) {
        let schema = |generator: &mut SchemaGenerator| generator.subschema_for::<K::Settings>();
        self.kinds.insert(K::NAME, Entry { schema, build: build::<K> });
    }

    /// All of them, by name.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, &Entry)> {
        self.kinds.iter().map(|(name, entry)| (*name, entry))
    }

    /// Makes a policy of this kind from its settings. `None` if something was reported.
    pub fn build(&self, kind: &str, settings: &Value, at: &At<'_>) -> Option<Arc<dyn Middleware>> {
        (self.kinds.get(kind)?.build)(settings, at)
    }
}

fn build<K: Kind>(settings: &Value, at: &At<'_>) -> Option<Arc<dyn Middleware>> {
    match serde_json::from_value(settings.clone()) {
        Ok(settings) => Some(Arc::new(K::build(settings, at)?)),
        Err(_) => {
            // Without serde's sentence, which quotes the value.
            at.error("these settings cannot be read", "compare them with `gateway schema`");
            None
        }
    }
}

impl Default for Registry {
    fn default() -> Registry {
        let mut registry = Registry { kinds: BTreeMap::new() };
        registry.register::<BodyLimit>();
        registry.register::<RequestHeaders>();
        registry.register::<ResponseHeaders>();
        registry
    }
}
