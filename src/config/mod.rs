//! Configuration: from files to a model of which everything else can be sure.
//!
//! ```text
//! fragments ──► texts ── yaml ──► trees with spans ── document ──► JSON value + places
//! environment ──► `${…}`, `GATEWAY__…` ─────────────────┘                │
//!                                                                     schema ──► unknown keys, wrong types
//!                                                                        │ stand_in
//!                                                      raw::File (as written) ── validate ──► Config
//! ```
//!
//! **Owns** reading, the schema, validation, and what users are told about errors. Every stage reports all that
//! it finds, with file, line, column and a remedy, and the later stages still run on what the earlier ones could
//! read, so that one run shows everything.
//!
//! **Offers** [`Config::load`] and [`Config::parse`]; the validated types, one module for each section of the
//! file ([`ServerSettings`], [`Listener`], [`Upstream`], [`Route`], [`Named`]); [`schema()`]; [`Report`] for
//! errors; [`At`] for everybody who validates settings; [`Secret`] for values that must not be seen.
//!
//! **Knows nothing** of Pingora, and opens nothing but the files that it is given.
//!
//! To add a key: a field with its doc comment in [`raw`], the validated field and its rule in the section's
//! module here, and an end-to-end case in `tests/`.

mod actions;
mod check;
pub mod diagnostic;
mod document;
mod environment;
mod files;
mod fragments;
mod listeners;
mod log;
mod matches;
mod middlewares;
mod networks;
mod objections;
mod pointer;
mod process;
pub mod raw;
mod reading;
mod routes;
mod schema;
mod secret;
mod server;
mod servers;
mod services;
mod stand_in;
mod upstream_tls;
mod upstreams;
pub mod yaml;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::middleware::Registry;
pub use actions::{Action, Proxy, Redirect, Respond, Rewrite};
pub use check::{At, Check};
pub use diagnostic::{Diagnostic, Place, Report, Source};
pub use document::Document;
pub use environment::Environment;
pub use listeners::{Address, Listener, ListenerTls, TlsVersion};
pub use log::{AccessSink, LogFormat, LogLevel, LogSettings};
pub use matches::{HostRule, Match, PathRule, Pattern, ValueRule};
pub use middlewares::Named;
pub use process::Process;
pub use routes::{Retry, Route};
pub use schema::{editor_schema, of_servers, schema};
pub use secret::Secret;
pub use server::{ConnectionPool, ServerSettings};
pub use servers::{Discovery, ServerSource, UpstreamServer, read_servers};
pub use upstream_tls::Protocol;
pub use upstreams::{
    Balance, CheckKind, CircuitBreaker, HashKey, HealthCheck, HttpCheck, Sticky, Thresholds, Timeouts,
    Upstream,
};

/// A name that the configuration gives: of a route, an upstream, a middleware.
pub type Name = Arc<str>;

/// A configuration that can be served: every name in it leads somewhere, every value is in its range.
#[derive(Debug)]
pub struct Config {
    /// Settings of the process.
    pub server: ServerSettings,
    /// What operators read.
    pub log: LogSettings,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Groups of servers.
    pub upstreams: BTreeMap<Name, Upstream>,
    /// Which requests go where; at least one, in the order of the file.
    pub routes: Vec<Route>,
    /// Policies, built and ready.
    pub middlewares: BTreeMap<Name, Named>,
    /// What it was read from, for errors that only show when it is used.
    pub sources: Arc<[Source]>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was read, and there is something wrong with it.
    #[error("{0}")]
    Invalid(Report),
}

impl Config {
    /// Reads a file, or all `*.yaml` and `*.yml` of a folder, and what the environment adds to it.
    pub fn load(path: impl AsRef<Path>, registry: &Registry) -> Result<Config, Error> {
        Config::load_in(path, &Environment::of_process(), registry)
    }

    /// The same, in an environment.
    pub fn load_in(
        path: impl AsRef<Path>,
        environment: &Environment,
        registry: &Registry,
    ) -> Result<Config, Error> {
        let (sources, broken) = fragments::read(path.as_ref())?;
        let read = Config::read(sources, environment, registry);
        if broken.is_empty() {
            return read.map_err(Error::Invalid);
        }
        Err(Error::Invalid(match read {
            Ok(config) => Report::new(config.sources, broken),
            Err(report) => report.with_unreadable(broken),
        }))
    }

    /// Reads a text. `name` is what errors call it.
    ///
    /// ```
    /// use pingora_city::config::Config;
    /// use pingora_city::middleware::Registry;
    ///
    /// let text = "
    /// listeners: [{ address: 127.0.0.1:8080 }]
    /// upstreams: { city: { servers: [{ address: 127.0.0.1:9001 }] } }
    /// routes: [{ name: all, upstream: city }]
    /// ";
    /// let config = Config::parse("example", text, &Registry::default()).unwrap();
    /// assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    /// ```
    pub fn parse(name: &str, text: &str, registry: &Registry) -> Result<Config, Report> {
        let source = Source { name: name.to_string(), text: text.to_string() };
        Config::read(vec![source], &Environment::default(), registry)
    }

    /// Reads texts as one configuration, in an environment.
    pub fn read(
        sources: Vec<Source>,
        environment: &Environment,
        registry: &Registry,
    ) -> Result<Config, Report> {
        let (document, mut found) = Document::read(sources, environment);
        if !document.is_readable() {
            return Err(Report::new(document.sources, found));
        }
        let findings = schema::check(&document, &schema(registry));
        found.extend(findings.diagnostics);

        let mut config = None;
        if let Some(value) = findings.rest {
            let check = Check::new(&document, findings.doubtful).for_who_asks(environment.asks);
            match serde_json::from_value::<raw::File>(value) {
                Ok(file) => config = validate(&file, &check.root(), registry, &document.sources),
                // Without serde's sentence, which quotes the value.
                Err(_) if found.is_empty() => check
                    .root()
                    .error("this cannot be read", "a fault of the gateway's schema: please report it"),
                Err(_) => {}
            }
            found.extend(check.into_found());
        }
        match config {
            Some(config) if found.is_empty() => Ok(config),
            _ => Err(Report::new(document.sources, found)),
        }
    }
}

/// From what was written to what is meant. `None` if something was reported.
fn validate(file: &raw::File, at: &At<'_>, registry: &Registry, sources: &Arc<[Source]>) -> Option<Config> {
    // All sections before any `?`: each reports for itself.
    let server = server::validate(&file.server, &at.key("server"));
    let log = log::validate(&file.log, &server.process, &at.key("log"));
    let mut taken = listeners::Taken::new();
    let listeners = listeners::validate(&file.listeners, &server.process, &mut taken, &at.key("listeners"));
    let upstreams = upstreams::validate(&file.upstreams, &server, &at.key("upstreams"));
    let services = services::validate(file, &server, &mut taken, at);
    let middlewares = middlewares::validate(&file.middlewares, &at.key("middlewares"), registry);
    let routes = routes::validate(file, &server, at);
    let mut config = Config {
        server,
        log: log?,
        listeners: listeners?,
        upstreams: upstreams?,
        routes: routes?,
        middlewares: middlewares?,
        sources: sources.clone(),
    };
    for service in services? {
        config.listeners.push(service.listener);
        config.upstreams.insert(service.name, service.upstream);
        config.routes.push(service.route);
    }
    Some(config)
}

/// All items, or `None` if one is missing, after every one of them has been looked at.
fn all<T, C: FromIterator<T>>(items: impl IntoIterator<Item = Option<T>>) -> Option<C> {
    let items: Vec<Option<T>> = items.into_iter().collect();
    items.into_iter().collect()
}
