//! Discovery: which servers a group has, as somebody else says.
//!
//! What was found last is kept until something else is found that makes sense. Lessons 17 and 34 are about it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;

use super::{Upstream, dns};
use crate::config::{self, Discovery, ServerSource};

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// What stands in the file is wrong.
    #[error("{0}")]
    Invalid(#[from] config::Report),
    /// DNS has no answer.
    #[error("DNS: {0}")]
    Dns(#[from] hickory_resolver::net::NetError),
    /// DNS answers with no server.
    #[error("DNS names no server")]
    Nobody,
}

/// What was found, and for how long it holds, where that is known.
pub struct Found {
    pub servers: Vec<config::UpstreamServer>,
    pub fresh_for: Option<Duration>,
}

/// Asks again and again, for as long as the group is in use.
pub async fn follow(upstream: &Arc<Upstream>, discovery: &Discovery) {
    let mut complaint = String::new();
    let mut resolver = None;
    loop {
        let mut wait = discovery.refresh;
        match find(discovery, &mut resolver).await {
            Ok(found) => {
                complaint.clear();
                // Not more often than each second, whatever it says.
                let fresh_for = found.fresh_for.unwrap_or(wait).max(Duration::from_secs(1));
                wait = wait.min(fresh_for);
                upstream.replace(&found.servers);
            }
            Err(failure) => {
                // Once for each reason, or the log would be full of it.
                wait = wait.min(Duration::from_secs(1));
                let now = failure.to_string();
                if now != complaint {
                    log::warn!("upstream {}: its servers remain as they are: {now}", upstream.name);
                    complaint = now;
                }
            }
        }
        tokio::time::sleep(wait).await;
    }
}

async fn find(discovery: &Discovery, resolver: &mut Option<TokioResolver>) -> Result<Found, Failure> {
    match &discovery.source {
        ServerSource::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || file(&path)).await;
            let servers = read.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))?;
            Ok(Found { servers, fresh_for: None })
        }
        ServerSource::Dns { name, port, name_servers } => {
            dns::addresses(made(resolver, name_servers)?, name, *port).await
        }
        ServerSource::Srv { name, name_servers } => dns::services(made(resolver, name_servers)?, name).await,
    }
}

/// The resolver, made when it is needed first.
fn made<'r>(
    resolver: &'r mut Option<TokioResolver>,
    name_servers: &[SocketAddr],
) -> Result<&'r TokioResolver, Failure> {
    if resolver.is_none() {
        *resolver = Some(dns::resolver(name_servers)?);
    }
    resolver.as_ref().ok_or(Failure::Nobody)
}

/// A file with a list like that of `servers`.
pub fn file(path: &Path) -> Result<Vec<config::UpstreamServer>, Failure> {
    let text = std::fs::read_to_string(path)?;
    Ok(config::read_servers(&path.display().to_string(), &text)?)
}
