//! What health checks have found out about a server.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::config::Thresholds;

/// Whether a server is well. It is believed to be until checks say otherwise: a gateway that starts serves at
/// once.
pub struct Health {
    well: AtomicBool,
    /// Whether a check has ever said anything.
    known: AtomicBool,
    /// How many checks in a row have contradicted that.
    against: AtomicU32,
}

impl Health {
    pub fn new() -> Health {
        Health { well: AtomicBool::new(true), known: AtomicBool::new(false), against: AtomicU32::new(0) }
    }

    pub fn is_well(&self) -> bool {
        self.well.load(Ordering::Relaxed)
    }

    /// Whether that is more than a belief.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Takes the result of a check. Returns whether it changed anything. The first one is a verdict by itself:
    /// thresholds protect what is known, and there nothing is. Only one task checks a server, so nothing comes
    /// between these steps.
    pub fn record(&self, passed: bool, thresholds: &Thresholds) -> bool {
        let first = !self.known.swap(true, Ordering::Relaxed);
        if passed == self.is_well() {
            self.against.store(0, Ordering::Relaxed);
            return false;
        }
        let against = self.against.load(Ordering::Relaxed) + 1;
        let needed = match passed {
            _ if first => 1,
            true => thresholds.healthy,
            false => thresholds.unhealthy,
        };
        if against < needed {
            self.against.store(against, Ordering::Relaxed);
            return false;
        }
        self.against.store(0, Ordering::Relaxed);
        self.well.store(passed, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_checks_in_a_row_to_change_a_verdict() {
        let thresholds = Thresholds { healthy: 2, unhealthy: 3 };
        let health = Health::new();
        let results = [true, false, false, true, false, false, false, true, false, true, true];
        let verdicts = results.map(|passed| {
            health.record(passed, &thresholds);
            health.is_well()
        });
        assert_eq!(verdicts, [true, true, true, true, true, true, false, false, false, false, true]);
    }

    #[test]
    fn the_first_check_is_a_verdict_by_itself() {
        let thresholds = Thresholds { healthy: 2, unhealthy: 3 };
        let health = Health::new();
        assert!(health.is_well() && !health.is_known());
        assert!(health.record(false, &thresholds), "it is news");
        assert!(!health.is_well() && health.is_known());
        // From then on, thresholds hold.
        let verdicts = [true, true, false, false, false].map(|passed| {
            health.record(passed, &thresholds);
            health.is_well()
        });
        assert_eq!(verdicts, [false, true, true, true, false]);
    }
}
