//! `response_headers`: what clients get to see of an answer's headers (lesson 11).

use std::collections::BTreeMap;

use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::proxy::Session;
use schemars::JsonSchema;
use serde::Deserialize;

use super::headers::Changes;
use super::{Ctx, Kind, Middleware, Phases};
use crate::config::At;

/// Headers that answers lose and gain on their way to the client, in this order: `remove`, `set`, `add`
/// (lesson 11).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Headers that are taken away.
    #[serde(default)]
    remove: Vec<String>,
    /// Headers that get this value, in place of any they had.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Headers that get this value beside those they had.
    #[serde(default)]
    add: BTreeMap<String, String>,
}

pub struct ResponseHeaders(Changes);

impl Kind for ResponseHeaders {
    const NAME: &'static str = "response_headers";
    type Settings = Settings;

    fn build(settings: Settings, at: &At<'_>) -> Option<ResponseHeaders> {
        Changes::new(&settings.remove, &settings.set, &settings.add, &[], at).map(ResponseHeaders)
    }
}

impl Middleware for ResponseHeaders {
    fn phases(&self) -> Phases {
        Phases::RESPONSE
    }

    fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        for name in &self.0.remove {
            response.remove_header(name);
        }
        for (name, value) in &self.0.set {
            response.insert_header(name.clone(), value.clone())?;
        }
        for (name, value) in &self.0.add {
            response.append_header(name.clone(), value.clone())?;
        }
        Ok(())
    }
}
