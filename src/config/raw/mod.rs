//! The configuration as it is written: one type per mapping of the file, one field per key.
//!
//! The doc comment of a field is what `gateway schema` and the reference page say about its key: what it does,
//! its unit, its default, and the lesson that teaches it. Nothing is decided here; a rule that a JSON Schema can
//! say (a range, a length) is an attribute, every other rule is in the module of the same name one level up.
//!
//! Conventions: every struct has `deny_unknown_fields`; a choice of one is a struct of options with exactly one
//! set, or an enum of plain words; a key that nothing reads does not exist.

mod duration;
mod listeners;
mod log;
mod middlewares;
mod routes;
mod server;
mod services;
mod upstreams;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use duration::Duration;
pub use listeners::{CertificateFiles, Listener, ListenerTls, TlsVersion};
pub use log::{Log, LogFormat, LogLevel};
pub use middlewares::Middleware;
pub use routes::{Match, Redirect, Respond, Retry, RetryOn, Rewrite, RewriteQuery, Route, Scheme};
pub use server::{ConnectionPool, Server};
pub use services::{Service, ServiceCheck};
pub use upstreams::{
    Balance, By, CircuitBreaker, Consistent, Discovery, DnsSource, FileSource, GrpcCheck, HealthCheck,
    HttpCheck, Protocol, SrvSource, Sticky, TcpCheck, Timeouts, Upstream, UpstreamServer, UpstreamTls, Via,
};

/// A file for `gateway --config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Settings of the process itself.
    #[serde(default)]
    pub server: Server,
    /// What operators read.
    #[serde(default)]
    pub log: Log,
    /// Where clients connect. At least one, unless there are `services`.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Groups of servers that do the same work, by name.
    #[serde(default)]
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which of the requests that come in at `listeners` go where. The most specific route that matches gets the
    /// request (lesson 09). At least one, unless there are `services`.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The short form: one entry for each address, with the servers behind it (lesson 26).
    #[serde(default)]
    pub services: Vec<Service>,
    /// Policies by name, for the `middlewares` of routes.
    #[serde(default)]
    pub middlewares: BTreeMap<String, Middleware>,
}
