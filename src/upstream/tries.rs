//! What a request remembers of its tries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Server;
use crate::wire::response::BadAnswer;

/// How many informational answers a request can have. One or two are usual.
const INFORMATIONAL: u8 = 32;

/// The time that a request has, and who has failed it. Making one allocates nothing.
#[derive(Default)]
pub struct Tries {
    deadline: Option<Instant>,
    /// How many times it has been sent to somebody.
    count: u32,
    /// The next try must be over a connection that is made for it.
    fresh: bool,
    /// It has been decided that an answer is not passed on, and the request is sent again.
    again: bool,
    /// How many informational answers have come.
    informed: u8,
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

    /// A try begins. Returns its number, from 1.
    pub fn begin(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    /// How many have begun.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The connection that was kept had been closed by the server, which has seen nothing of the request: it is
    /// no failure, and no try. Once for each request: after that, it is something else.
    pub fn demand_fresh(&mut self) -> bool {
        let first = !self.fresh;
        if first {
            self.fresh = true;
            self.count -= 1;
        }
        first
    }

    /// Whether the connection must be made for this try.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// An informational answer has come.
    ///
    /// # Errors
    /// There have been too many of them, and none that says something.
    pub fn inform(&mut self) -> Result<(), BadAnswer> {
        self.informed = self.informed.saturating_add(1);
        if self.informed > INFORMATIONAL { Err(BadAnswer::Flood) } else { Ok(()) }
    }

    /// An answer is not passed on.
    pub fn set_again(&mut self) {
        self.again = true;
    }

    /// Whether the error that is on its way stands for such an answer.
    pub fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// Servers that have failed it.
    pub fn failed(&self) -> &[Arc<Server>] {
        &self.failed
    }

    /// This one has, too.
    pub fn add_failed(&mut self, server: Arc<Server>) {
        self.failed.push(server);
    }

    /// All may be asked once more.
    pub fn forget_failed(&mut self) {
        self.failed.clear();
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
