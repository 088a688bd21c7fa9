//! What a request remembers of its tries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Server;

/// The time that a request has, and who has failed it. Making one allocates nothing.
#[derive(Default)]
pub struct Tries {
    deadline: Option<Instant>,
    /// Servers that have failed it.
    failed: Vec<Arc<Server>>,
}

/// The request's time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's time is over")]
pub struct TimeIsOver;

impl Tries {
    /// The request's time begins.
    pub fn start(&mut self, limit: Option<Duration>) {
        self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    }

    /// How much time is left; `None` if there is no limit.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn time_left(&self) -> Result<Option<Duration>, TimeIsOver> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(TimeIsOver),
            left => Ok(Some(left)),
        }
    }

    /// Servers that have failed it.
    pub fn failed(&self) -> &[Arc<Server>] {
        &self.failed
    }

    /// This one has, too.
    pub fn add_failed(&mut self, server: Arc<Server>) {
        self.failed.push(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_where_there_is_a_limit() {
        let mut tries = Tries::default();
        tries.start(None);
        assert_eq!(tries.time_left(), Ok(None));
        tries.start(Some(Duration::from_secs(60)));
        assert!(matches!(tries.time_left(), Ok(Some(left)) if left <= Duration::from_secs(60)));
        tries.start(Some(Duration::ZERO));
        assert_eq!(tries.time_left(), Err(TimeIsOver));
    }
}
