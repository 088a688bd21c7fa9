//! Discovery: which servers a group has, as somebody else says.
//!
//! What was found last is kept until something else is found that makes sense. Lessons 17 and 34 are about it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
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
    #[error("DNS: {}", dns::reason(.0))]
    Dns(#[from] hickory_resolver::net::NetError),
    /// DNS answers with no server.
    #[error("DNS names no server")]
    Nobody,
    /// DNS answers with servers, and with an address of none of them.
    #[error("DNS names no server with an address: {0}")]
    Unresolved(String),
}

/// What was found.
#[derive(Default)]
pub struct Found {
    pub servers: Vec<config::UpstreamServer>,
    /// For how long it holds, where that is known.
    pub fresh_for: Option<Duration>,
    /// What of it is to be remembered.
    pub known: dns::Known,
    /// What could not be found out.
    pub missing: BTreeSet<String>,
}

/// Asks again and again, for as long as the group is in use.
pub async fn follow(upstream: &Upstream, discovery: &Discovery) {
    let mut said = BTreeSet::new();
    let mut resolver = None;
    loop {
        let mut wait = discovery.refresh;
        let complaints = match find(upstream, discovery, &mut resolver).await {
            Ok(mut found) => {
                // Not more often than each second, whatever it says.
                let fresh_for = found.fresh_for.unwrap_or(wait).max(Duration::from_secs(1));
                wait = wait.min(fresh_for);
                let missing = std::mem::take(&mut found.missing);
                upstream.adopt(found);
                missing
            }
            Err(failure) => {
                wait = wait.min(Duration::from_secs(1));
                BTreeSet::from([format!("its servers remain as they are: {failure}")])
            }
        };
        // Once for each reason, or the log would be full of it.
        for complaint in complaints.difference(&said) {
            log::warn!("upstream {}: {complaint}", upstream.name);
        }
        said = complaints;
        tokio::time::sleep(wait).await;
    }
}

/// Asks once, before anybody needs to know. Where that leads to nothing, [`follow`] will say so: it asks again.
pub async fn once(upstream: &Upstream, discovery: &Discovery) {
    if let Ok(found) = find(upstream, discovery, &mut None).await {
        upstream.adopt(found);
    }
}

async fn find(
    upstream: &Upstream,
    discovery: &Discovery,
    resolver: &mut Option<TokioResolver>,
) -> Result<Found, Failure> {
    let known = upstream.known.load_full();
    match &discovery.source {
        ServerSource::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || file(&path)).await;
            let servers = read.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))?;
            Ok(Found { servers, ..Found::default() })
        }
        ServerSource::Dns { name, port, name_servers } => {
            dns::addresses(made(resolver, name_servers)?, name, *port, &known).await
        }
        ServerSource::Srv { name, name_servers } => {
            dns::services(made(resolver, name_servers)?, name, &known).await
        }
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
