use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the process itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// How many threads serve requests. One for each core of the machine unless set (lesson 04).
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
}
