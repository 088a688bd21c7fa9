//! A policy of your own: requests carry the day's password, or they go no further.
//!
//! Run  cargo run --example gateway_policy     Try  curl -i -H 'X-Password: swordfish' http://127.0.0.1:6211/

use async_trait::async_trait;
use pingora::{prelude::*, proxy::Session};
use pingora_city::config::At;
use pingora_city::gateway::Gateway;
use pingora_city::middleware::{Ctx, Kind, Middleware, Phases};
use schemars::JsonSchema;
use serde::Deserialize;

// ANCHOR: policy
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// What requests must have in `X-Password`.
    word: String,
}

struct Password(String);

impl Kind for Password {
    const NAME: &'static str = "password";
    type Settings = Settings;

    fn build(settings: Settings, at: &At<'_>) -> Option<Password> {
        if settings.word.is_empty() {
            at.key("word").error("everybody knows this one", "choose a word");
        }
        (!settings.word.is_empty()).then_some(Password(settings.word))
    }
}

#[async_trait]
impl Middleware for Password {
    fn phases(&self) -> Phases {
        Phases::REQUEST
    }

    async fn request_filter(&self, session: &mut Session, _ctx: &mut Ctx) -> Result<bool> {
        let knows_it = session.get_header_bytes("x-password") == self.0.as_bytes();
        // `false`: not answered, so the request goes on.
        if knows_it { Ok(false) } else { Error::e_explain(HTTPStatus(403), "the word is wrong") }
    }
}
// ANCHOR_END: policy

const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:6211 }]
middlewares: { guarded: { password: { word: swordfish } } }
routes: [{ name: hello, respond: { body: hi }, middlewares: [guarded] }]
";

/// Serves until it is stopped.
pub fn main() -> anyhow::Result<()> {
    let config = std::env::var("POLICY_CONFIG").unwrap_or(CONFIG.to_string());
    match Gateway::builder().register::<Password>().text(&config)?.run()? {}
}
