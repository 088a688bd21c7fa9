//! The gateway's integration suite: the real program before real upstreams. One file for each subject; what they
//! stand on is in `tests/support`.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod command_line;
mod configuration;
mod configuration_help;
mod configuration_paths;
mod configuration_texts;
mod configuration_values;
mod endings;
mod endings_h2;
mod forwarding;
mod keys;
mod library;
mod listeners;
mod logging;
mod policies;
mod process;
mod properties;
mod robustness;
mod routing;
mod safety;
mod safety_answers;
mod safety_bodies;
mod safety_h2;
mod services;
mod upstreams;
mod upstreams_balance;
mod upstreams_discovery;
mod upstreams_health;
mod upstreams_retry;
mod upstreams_tls;
