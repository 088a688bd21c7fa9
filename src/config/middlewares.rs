//! `middlewares`: policies by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::{At, Name, all, raw};
use crate::middleware::{Middleware, Registry};

/// A policy that has a name.
#[derive(Clone)]
pub struct Named {
    /// Of what kind it is.
    pub kind: Name,
    /// Its settings as they were written. If neither kind nor settings change, a reload keeps the instance.
    pub settings: Value,
    /// The policy itself, ready to be asked.
    pub instance: Arc<dyn Middleware>,
}

/// Without the settings, which may hold secrets.
impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("kind", &self.kind).finish_non_exhaustive()
    }
}

pub(super) fn validate(
    raw: &BTreeMap<String, raw::Middleware>,
    at: &At<'_>,
    registry: &Registry,
) -> Option<BTreeMap<Name, Named>> {
    all(raw.iter().map(|(name, raw::Middleware(kinds))| {
        // The schema has seen to it that there is exactly one, and that the registry knows it.
        let (kind, settings) = kinds.iter().next()?;
        let instance = registry.build(kind, settings, &at.key(name).key(kind))?;
        let kind = Name::from(&**kind);
        Some((Name::from(&**name), Named { kind, settings: settings.clone(), instance }))
    }))
}
