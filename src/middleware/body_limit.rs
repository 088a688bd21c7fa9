//! `body_limit`: how much a client may send (lesson 40).

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::prelude::*;
use pingora::proxy::Session;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Ctx, Kind, Middleware, Phases};
use crate::config::At;

/// How much a client may send: what is announced is refused with 413 before an upstream is asked, and what is not
/// announced is counted as it passes (lesson 40).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The most bytes that a request's body may have.
    #[schemars(range(min = 0))]
    max_bytes: u64,
}

pub struct BodyLimit {
    max: u64,
}

impl Kind for BodyLimit {
    const NAME: &'static str = "body_limit";
    type Settings = Settings;

    fn build(settings: Settings, _: &At<'_>) -> Option<BodyLimit> {
        Some(BodyLimit { max: settings.max_bytes })
    }
}

impl BodyLimit {
    fn check(&self, bytes: u64) -> Result<()> {
        if bytes > self.max {
            return Error::e_explain(HTTPStatus(413), format!("a body of {bytes} bytes, or more"));
        }
        Ok(())
    }
}

/// The bytes of this try: the body passes again for each.
#[derive(Clone, Default)]
struct Seen(u64);

#[async_trait]
impl Middleware for BodyLimit {
    fn phases(&self) -> Phases {
        Phases::REQUEST | Phases::REQUEST_BODY | Phases::UPSTREAM_REQUEST
    }

    async fn request_filter(&self, session: &mut Session, _: &mut Ctx) -> Result<bool> {
        let announced = session.req_header().headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        self.check(announced.unwrap_or(0)).map(|()| false)
    }

    /// A new try: the body begins again.
    fn upstream_request_filter(
        &self,
        _: &mut Session,
        _: &mut pingora::http::RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.local::<Seen>().0 = 0;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        // What comes after a switch of protocols is no body.
        if session.was_upgraded() {
            return Ok(());
        }
        let seen = ctx.local::<Seen>();
        seen.0 += body.as_ref().map_or(0, |body| body.len() as u64);
        self.check(seen.0)
    }
}
