//! Discovery: which servers a group has, as somebody else says.
//!
//! What was found last is kept until something else is found that makes sense. Lessons 17 and 34 are about it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Upstream;
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
}

/// What was found, and for how long it holds, where that is known.
pub struct Found {
    pub servers: Vec<config::UpstreamServer>,
    pub fresh_for: Option<Duration>,
}

/// Asks again and again, for as long as the group is in use.
pub async fn follow(upstream: &Arc<Upstream>, discovery: &Discovery) {
    let mut complaint = String::new();
    loop {
        let mut wait = discovery.refresh;
        match find(discovery).await {
            Ok(found) => {
                complaint.clear();
                // Not more often than each second, whatever it says.
                let fresh_for = found.fresh_for.unwrap_or(wait).max(Duration::from_secs(1));
                wait = wait.min(fresh_for);
                upstream.replace(&found.servers);
            }
            Err(failure) => {
                // Once for each reason, or the log would be full of it.
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

async fn find(discovery: &Discovery) -> Result<Found, Failure> {
    match &discovery.source {
        ServerSource::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || file(&path)).await;
            let servers = read.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))?;
            Ok(Found { servers, fresh_for: None })
        }
    }
}

/// A file with a list like that of `servers`.
pub fn file(path: &Path) -> Result<Vec<config::UpstreamServer>, Failure> {
    let text = std::fs::read_to_string(path)?;
    Ok(config::read_servers(&path.display().to_string(), &text)?)
}
