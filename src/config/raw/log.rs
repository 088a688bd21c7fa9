use schemars::JsonSchema;
use serde::Deserialize;

/// What operators read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How lines are written, those of requests and all others. `text` unless set.
    #[serde(default)]
    pub format: LogFormat,
    /// Where there is a line for each request: `stdout`, `stderr`, or the path of a file, to which is appended;
    /// `off` for nowhere. `off` unless set. A slow reader loses lines, which are counted, and stops no request.
    /// SIGUSR1 opens the file again, by its name: rename it, send the signal, and it is complete; the gateway's user
    /// must be able to make the new one.
    pub access: Option<String>,
    /// The least that the process itself says of what happens, on standard error. `info` unless set; the variable
    /// `RUST_LOG` says it in more detail (lesson 00). Here, too, a slow reader loses lines and stops nothing.
    #[serde(default)]
    pub level: LogLevel,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `name=value`, for people.
    #[default]
    Text,
    /// An object of JSON for each line, for programs.
    Json,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// What is done for it.
    Debug,
    /// Everything.
    Trace,
}
