//! Whether the machine was asleep in the midst of something: a closed lid, a stopped process, a clock that was
//! set. Deadlines pass meanwhile, connections die and caches expire, and the lesson is not to blame.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How often the clocks are compared.
const TICK: Duration = Duration::from_millis(250);
/// A tick that takes so much longer was no tick: even a busy machine runs a thread more often.
const GAP: Duration = Duration::from_secs(3);
/// How far the two clocks may part within a tick. One stands still while a machine is suspended, and the other
/// may be set.
const APART: Duration = Duration::from_secs(1);

/// When the clocks were compared last.
static LAST: Mutex<Option<(Instant, SystemTime)>> = Mutex::new(None);
static NAPS: AtomicUsize = AtomicUsize::new(0);
static WATCHED: Once = Once::new();

/// From now on naps are noticed.
pub fn watch() {
    WATCHED.call_once(|| {
        thread::spawn(|| {
            loop {
                tick();
                thread::sleep(TICK);
            }
        });
    });
}

/// Compares the clocks, and counts a nap if there was one since the last time.
fn tick() {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let now = (Instant::now(), SystemTime::now());
    if let Some(last) = last.replace(now)
        && was_nap(now.0.duration_since(last.0), now.1.duration_since(last.1).ok())
    {
        NAPS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether so much time by the two clocks is more than a tick. `wall` is none where the clock was set back.
fn was_nap(steady: Duration, wall: Option<Duration>) -> bool {
    steady > GAP || wall.is_none_or(|wall| wall.abs_diff(steady) > APART)
}

/// How many naps there were so far, with one that has just ended.
fn naps() -> usize {
    if WATCHED.is_completed() {
        tick();
    }
    NAPS.load(Ordering::Relaxed)
}

/// Makes an attempt. If it has failed and the machine was asleep meanwhile, that says nothing, and it is made
/// again. Returns what came of the last one, and whether there were several.
pub fn excused<T>(mut attempt: impl FnMut() -> T, has_failed: impl Fn(&T) -> bool) -> (T, bool) {
    let mut before = naps();
    let mut again = false;
    loop {
        let outcome = attempt();
        if !has_failed(&outcome) {
            return (outcome, again);
        }
        let after = naps();
        if after == before {
            return (outcome, again);
        }
        (before, again) = (after, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_told_from_a_nap() {
        let ms = Duration::from_millis;
        assert!(!was_nap(ms(250), Some(ms(250))));
        assert!(!was_nap(ms(2000), Some(ms(2001))), "a busy machine");
        assert!(was_nap(ms(60_000), Some(ms(60_000))), "stopped");
        assert!(was_nap(ms(250), Some(ms(60_000))), "suspended, or the clock was set");
        assert!(was_nap(ms(250), None), "the clock was set back");
    }

    #[test]
    fn only_a_failure_with_a_nap_is_excused() {
        let mut naps = [1, 0].into_iter();
        let mut attempts = 0;
        let failing = || {
            attempts += 1;
            NAPS.fetch_add(naps.next().unwrap_or(0), Ordering::Relaxed);
            false
        };
        assert_eq!(excused(failing, |passed| !passed), (false, true));
        assert_eq!(attempts, 2, "the second attempt had no nap for an excuse");
        assert_eq!(excused(|| true, |passed| !passed), (true, false));
    }
}
