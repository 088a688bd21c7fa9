//! Listeners: how clients reach the gateway.
//!
//! **Owns** the addresses, what happens to a connection before it is a request (timeouts, limits, allow and
//! deny, and to come: TLS, HTTP/2, Unix sockets), and that all of it works before anything starts.
//!
//! **Offers** [`preflight`] and [`add`].
//!
//! **Knows nothing** of routes.

use std::net::TcpListener;

use pingora::apps::ServerApp;
use pingora::services::listening::Service;

use crate::config::{Config, Diagnostic, Report};

/// Opens every address and closes it again. Pingora would find out too late: it tries for half a minute, then
/// the service panics, and the process lives on, deaf.
///
/// # Errors
/// All addresses that cannot be opened, with their places in the configuration.
pub fn preflight(config: &Config) -> Result<(), Report> {
    let mut found = Vec::new();
    for listener in &config.listeners {
        if let Err(error) = TcpListener::bind(listener.address) {
            found.push(Diagnostic {
                place: listener.place.clone(),
                message: format!("cannot listen here: {error}"),
                fix: "end the program that has this address, or choose another address or port".to_string(),
            });
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Report::new(config.sources.clone(), found)) }
}

/// Adds all listeners to the one service that serves them: each service would have threads and a pool of
/// upstream connections of its own.
pub fn add<A: ServerApp + Send + Sync + 'static>(service: &mut Service<A>, config: &Config) {
    for listener in &config.listeners {
        service.add_tcp(&listener.address.to_string());
    }
}
