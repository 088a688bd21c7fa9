//! The circuit breaker of a server: who fails requests again and again gets none for a while, and then one, on
//! which it depends.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config;

/// Requests may pass.
const CLOSED: u64 = 0;
/// One request is on its way, and the verdict depends on it.
const PROBING: u64 = u64::MAX;

/// Counts errors in a row, and nothing else while all is well.
pub struct Breaker {
    most: u32,
    open_for: Duration,
    errors: AtomicU32,
    /// [`CLOSED`], [`PROBING`], or until when it is open, as [`now`] counts.
    state: AtomicU64,
}

/// What an outcome has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No more requests, until then.
    Opened(u64),
    /// Requests again.
    Closed,
}

impl Breaker {
    pub fn new(config: &config::CircuitBreaker) -> Breaker {
        Breaker {
            most: config.consecutive_errors,
            open_for: config.open_for,
            errors: AtomicU32::new(0),
            state: AtomicU64::new(CLOSED),
        }
    }

    pub fn is_closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) == CLOSED
    }

    /// When a request may be let through to find out; `None` if it is closed, or one is on its way.
    pub fn due(&self) -> Option<u64> {
        Some(self.state.load(Ordering::Relaxed)).filter(|state| *state != CLOSED && *state != PROBING)
    }

    /// Whether the caller's request is the one that is let through.
    pub fn probe(&self, now: u64) -> bool {
        self.due().is_some_and(|due| {
            due <= now
                && self.state.compare_exchange(due, PROBING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// How a request has ended. While it is not closed, only that of the probe counts: the others began before.
    pub fn record(&self, well: bool, probe: bool, now: u64) -> Option<Change> {
        if probe {
            self.errors.store(0, Ordering::Relaxed);
            return Some(if well {
                self.state.store(CLOSED, Ordering::Relaxed);
                Change::Closed
            } else {
                self.open(now)
            });
        }
        if !self.is_closed() {
            return None;
        }
        if well {
            // Reading first: writing would send the cache line around between the threads.
            if self.errors.load(Ordering::Relaxed) != 0 {
                self.errors.store(0, Ordering::Relaxed);
            }
            return None;
        }
        let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        (errors >= self.most).then(|| {
            self.errors.store(0, Ordering::Relaxed);
            self.open(now)
        })
    }

    /// The probe has ended without an outcome, as its client has left: the next request may be one.
    pub fn abandon(&self, now: u64) {
        self.state.store(now, Ordering::Relaxed);
    }

    fn open(&self, now: u64) -> Change {
        let until = now + u64::try_from(self.open_for.as_millis()).unwrap_or(u64::MAX / 2);
        self.state.store(until, Ordering::Relaxed);
        Change::Opened(until)
    }
}

/// Milliseconds since the process began to count; never [`CLOSED`].
pub fn now() -> u64 {
    use std::sync::LazyLock;
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGINNING.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(&config::CircuitBreaker { consecutive_errors: 2, open_for: Duration::from_millis(10) })
    }

    #[test]
    fn errors_in_a_row_open_it_and_one_good_answer_between_them_does_not() {
        let breaker = breaker();
        for well in [false, true, false] {
            assert_eq!(breaker.record(well, false, 1), None);
        }
        assert_eq!(breaker.record(false, false, 1), Some(Change::Opened(11)));
        assert!(!breaker.is_closed());
    }

    #[test]
    fn one_request_decides_whether_it_closes_again() {
        let breaker = breaker();
        breaker.record(false, false, 1);
        breaker.record(false, false, 1);
        assert!(!breaker.probe(10), "it is too early");
        assert_eq!(breaker.record(true, false, 10), None, "that one had begun before");
        assert!(breaker.probe(11));
        assert!(!breaker.probe(11), "there is one already");
        assert_eq!(breaker.record(false, true, 12), Some(Change::Opened(22)));
        assert!(breaker.probe(22));
        breaker.abandon(23);
        assert!(breaker.probe(23), "the next one may try");
        assert_eq!(breaker.record(true, true, 24), Some(Change::Closed));
        assert!(breaker.is_closed());
    }
}
