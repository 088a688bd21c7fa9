//! The gateway as a library: a registry of policies, a configuration, and then it runs.

use std::convert::Infallible;
use std::path::Path;

use serde_json::Value;

use crate::config::{self, Config, Report};
use crate::gateway::Gateway;
use crate::middleware::{Kind, Registry};
use crate::{observe, server};

impl Gateway {
    /// Begins with the kinds of middlewares that come along.
    ///
    /// ```
    /// use pingora_city::gateway::Gateway;
    ///
    /// let ready = Gateway::builder()
    ///     .value(&serde_json::json!({
    ///         "listeners": [{ "address": "127.0.0.1:8080" }],
    ///         "routes": [{ "name": "hello", "respond": { "body": "hi" } }],
    ///     }))
    ///     .unwrap();
    /// assert_eq!(&*ready.config().routes[0].name, "hello");
    /// ```
    pub fn builder() -> Builder {
        Builder { registry: Registry::default() }
    }
}

/// A gateway to be.
pub struct Builder {
    registry: Registry,
}

/// A gateway that could run.
pub struct Ready {
    config: Config,
}

impl Builder {
    /// Makes a kind of policy usable, by its name.
    #[must_use]
    pub fn register<K: Kind>(mut self) -> Builder {
        self.registry.register::<K>();
        self
    }

    /// With the configuration in a file.
    ///
    /// # Errors
    /// If it cannot be read, or says what cannot be.
    pub fn file(self, path: impl AsRef<Path>) -> Result<Ready, config::Error> {
        Ok(Ready { config: Config::load(path, &self.registry)? })
    }

    /// With this text, in YAML.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn text(self, yaml: &str) -> Result<Ready, Report> {
        Ok(Ready { config: Config::parse("the configuration", yaml, &self.registry)? })
    }

    /// With a configuration that is made in code: the same keys, as JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn value(self, value: &Value) -> Result<Ready, Report> {
        // JSON is YAML, and on several lines its errors have places that can be read.
        self.text(&format!("{value:#}"))
    }
}

impl Ready {
    /// What it will do.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Serves until a signal ends it. Begins the process's log, too.
    ///
    /// # Errors
    /// Only before anything is served: what cannot be opened, all of it.
    pub fn run(self) -> Result<Infallible, Report> {
        observe::start_log(&self.config);
        // Whoever shows the error does so behind what was said before it.
        server::run(&self.config, &server::Start::default()).inspect_err(|_| observe::flush(None))
    }
}
