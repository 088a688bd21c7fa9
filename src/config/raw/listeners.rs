use schemars::JsonSchema;
use serde::Deserialize;

/// One address on which clients are served.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port, such as `0.0.0.0:8080` or `[::]:8080` (lesson 06).
    pub address: String,
}
