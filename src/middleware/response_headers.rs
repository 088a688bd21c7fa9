//! `response_headers`: what clients get to see of an answer's headers (lesson 11).

use std::collections::BTreeMap;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::proxy::Session;
use schemars::JsonSchema;
use serde::Deserialize;

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

pub struct ResponseHeaders {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Kind for ResponseHeaders {
    const NAME: &'static str = "response_headers";
    type Settings = Settings;

    fn build(settings: Settings, at: &At<'_>) -> Option<ResponseHeaders> {
        let removed = at.key("remove");
        let remove =
            settings.remove.iter().enumerate().map(|(index, name)| header(name, &removed.index(index)));
        let (remove, set, add) = (
            remove.collect::<Vec<_>>(),
            values(&settings.set, &at.key("set")),
            values(&settings.add, &at.key("add")),
        );
        Some(ResponseHeaders { remove: remove.into_iter().collect::<Option<_>>()?, set: set?, add: add? })
    }
}

fn header(name: &str, at: &At<'_>) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_str(name) else {
        at.error_at_key("this is not a header's name", "letters, digits and `-`, such as `X-Served-By`");
        return None;
    };
    // RFC 9112, section 6: who changes these without changing the body says where the answer ends.
    if [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING].contains(&name) {
        at.error_at_key("this header belongs to the body that it frames", "leave it as the upstream sent it");
        return None;
    }
    Some(name)
}

fn values(raw: &BTreeMap<String, String>, at: &At<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let pairs: Vec<Option<_>> = raw
        .iter()
        .map(|(name, value)| {
            let at = at.key(name);
            let name = header(name, &at);
            let value = HeaderValue::from_str(value).ok();
            if value.is_none() {
                at.error("a header's value has no control characters", "write it on one line");
            }
            name.zip(value)
        })
        .collect();
    pairs.into_iter().collect()
}

impl Middleware for ResponseHeaders {
    fn phases(&self) -> Phases {
        Phases::RESPONSE
    }

    fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        for name in &self.remove {
            response.remove_header(name);
        }
        for (name, value) in &self.set {
            response.insert_header(name.clone(), value.clone())?;
        }
        for (name, value) in &self.add {
            response.append_header(name.clone(), value.clone())?;
        }
        Ok(())
    }
}
