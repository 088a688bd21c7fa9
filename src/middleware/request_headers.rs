//! `request_headers`: what upstreams get to see of a request's headers (lesson 08).

use std::collections::BTreeMap;

use http::header;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::proxy::Session;
use schemars::JsonSchema;
use serde::Deserialize;

use super::headers::Changes;
use super::{Ctx, Kind, Middleware, Phases};
use crate::config::At;

/// Headers that requests lose and gain on their way to the upstream, in this order: `remove`, `set`, `add`
/// (lesson 08).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Headers that are taken away.
    #[serde(default)]
    remove: Vec<String>,
    /// Headers that get this value, in place of any they had. `Host` is one of them.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Headers that get this value beside those they had.
    #[serde(default)]
    add: BTreeMap<String, String>,
}

pub struct RequestHeaders(Changes);

impl Kind for RequestHeaders {
    const NAME: &'static str = "request_headers";
    type Settings = Settings;

    fn build(settings: Settings, at: &At<'_>) -> Option<RequestHeaders> {
        let hop = "this header ends at each hop, and is the gateway's";
        let theirs = [(header::CONNECTION, hop), (header::UPGRADE, hop), (header::TE, hop)];
        Changes::new(&settings.remove, &settings.set, &settings.add, &theirs, at).map(RequestHeaders)
    }
}

impl Middleware for RequestHeaders {
    fn phases(&self) -> Phases {
        Phases::UPSTREAM_REQUEST
    }

    fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        _: &mut Ctx,
    ) -> Result<()> {
        for name in &self.0.remove {
            request.remove_header(name);
        }
        for (name, value) in &self.0.set {
            request.insert_header(name.clone(), value.clone())?;
        }
        for (name, value) in &self.0.add {
            request.append_header(name.clone(), value.clone())?;
        }
        Ok(())
    }
}
