//! Whether a request that a server has failed may be sent again.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::breaker::now;
use super::{Tries, Upstream};
use crate::config;

/// How a try has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke, or what came over it was no answer.
    Reset,
    /// An answer with this status.
    Status(u16),
}

/// What the request itself permits.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// Whether sending it twice does what sending it once does (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// Whether all that was sent of it can be sent again, and nothing of an answer has reached the client.
    pub whole: bool,
}

/// When requests of a route are sent again.
pub struct Retry {
    config: config::Retry,
    budget: Option<Budget>,
}

impl Retry {
    /// With a budget of its own.
    pub fn new(config: config::Retry) -> Retry {
        let budget = config.budget.map(Budget::new);
        Retry { config, budget }
    }

    /// A request begins.
    pub fn begin(&self) {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
    }

    /// Whether an answer with this status can be a reason.
    pub fn minds(&self, status: u16) -> bool {
        self.config.on_status.contains(&status)
    }

    /// Whether to try again after this failure, to which the server that failed has been added in `tries`.
    pub fn allows(&self, failure: Failure, replay: Replay, tries: &mut Tries, upstream: &Upstream) -> bool {
        let config = &self.config;
        let minds = match failure {
            Failure::Connect => config.on_connect,
            Failure::Timeout => config.on_timeout,
            Failure::Reset => config.on_reset,
            Failure::Status(status) => self.minds(status),
        };
        let sent = failure != Failure::Connect;
        let harmless = !sent || (replay.whole && (replay.idempotent || !config.only_idempotent));
        let tries_left = config.attempts.is_none_or(|attempts| tries.count() < attempts);
        if !(minds && harmless && tries_left && tries.time_left().is_ok()) {
            return false;
        }
        if !upstream.has_more(tries.failed()) {
            // Where the number of tries is given, and the server was there, it may be asked once more.
            if !sent || config.attempts.is_none() {
                return false;
            }
            tries.forget_failed();
            if !upstream.has_more(tries.failed()) {
                return false;
            }
        }
        // What has cost no server anything is not counted.
        !sent || self.budget.as_ref().is_none_or(Budget::withdraw)
    }
}

/// What a retry costs, in the budget's units. A request brings as many of them as the percentage says.
const RETRY: i64 = 100;
/// So many retries are possible at once after a quiet time, and one more each second whatever the percentage:
/// few requests are no reason to let one of them fail.
const FLOOR: i64 = 10;
/// What is saved up beyond this is lost: a good hour must not pay for a storm of retries.
const MOST: i64 = 100 * RETRY;

/// Retries as a share of requests, so that they cannot multiply the load on servers that fail under it.
struct Budget {
    percent: i64,
    balance: AtomicI64,
    /// Until when the floor has been paid in, in milliseconds.
    paid: AtomicU64,
}

impl Budget {
    fn new(percent: u32) -> Budget {
        Budget {
            percent: percent.into(),
            balance: AtomicI64::new(FLOOR * RETRY),
            paid: AtomicU64::new(now()),
        }
    }

    fn deposit(&self) {
        if self.balance.load(Ordering::Relaxed) < MOST {
            self.balance.fetch_add(self.percent, Ordering::Relaxed);
        }
    }

    fn withdraw(&self) -> bool {
        self.withdraw_at(now())
    }

    fn withdraw_at(&self, now: u64) -> bool {
        let paid = self.paid.load(Ordering::Relaxed);
        let seconds = now.saturating_sub(paid) / 1000;
        if seconds > 0
            && self
                .paid
                .compare_exchange(paid, paid + seconds * 1000, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let due = i64::try_from(seconds).unwrap_or(FLOOR).min(FLOOR) * RETRY;
            self.balance.fetch_add(due, Ordering::Relaxed);
        }
        let take = |balance: i64| (balance >= RETRY).then(|| (balance - RETRY).min(MOST));
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_has_a_floor_and_grows_with_requests() {
        let budget = Budget::new(20);
        let start = budget.paid.load(Ordering::Relaxed);
        let spend = |now| (0..100).take_while(|_| budget.withdraw_at(now)).count();
        assert_eq!(spend(start), 10);
        (0..10).for_each(|_| budget.deposit());
        assert_eq!(spend(start), 2, "20% of 10 requests");
        assert_eq!(spend(start + 3500), 3, "one for each second");
        assert_eq!(spend(start + 4000), 1);
        (0..10_000).for_each(|_| budget.deposit());
        assert!(spend(start) <= 100, "savings have an end");
    }
}
