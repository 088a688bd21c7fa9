//! What `Rate` (lessons 36 and 37) does when a great many addresses come within one window.
//!
//! Its table has a fixed size, so memory stays, and keys share counters. For each size of the table and each
//! number of invented addresses this prints what a thousand honest newcomers are counted as, with their first
//! request, how many of them a limit of five would refuse, and what each size costs.
//!
//! Run by hand: cargo bench --bench rate_table

use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pingora_limits::rate::Rate;

const LIMIT: isize = 5;
const HONEST: u128 = 1_000;
/// Nothing here depends on a window's end, so none ends.
const WINDOW: Duration = Duration::from_secs(3600);

fn main() {
    println!(
        "{:>6} {:>8} {:>10} {:>10} {:>9} {:>12} {:>8} {:>8} {:>8}",
        "hashes", "slots", "KiB", "us/window", "invented", "ns/observe", "median", "most", "refused"
    );
    for (hashes, slots) in [(4, 1024), (4, 16 * 1024), (4, 256 * 1024), (4, 1024 * 1024)] {
        let turn = turn(hashes, slots).as_micros();
        for invented in [1_000, 10_000, 50_000, 1_000_000] {
            measure(hashes, slots, turn, invented);
        }
    }
}

/// How long the request waits with which a new window begins: it clears a table of counters. The best of five.
fn turn(hashes: usize, slots: usize) -> Duration {
    let window = Duration::from_millis(10);
    let rate = Rate::new_with_estimator_config(window, hashes, slots);
    let one = || {
        sleep(window);
        let start = Instant::now();
        black_box(rate.observe(&address(1), 1));
        start.elapsed()
    };
    (0..5).map(|_| one()).min().unwrap_or_default()
}

fn measure(hashes: usize, slots: usize, turn: u128, invented: u128) {
    let rate = Rate::new_with_estimator_config(WINDOW, hashes, slots);

    let start = Instant::now();
    for n in 0..invented {
        black_box(rate.observe(&address(n), 1));
    }
    let each = start.elapsed().as_nanos() / invented;

    let mut counts: Vec<isize> = (0..HONEST).map(|n| rate.observe(&address(u128::MAX / 2 + n), 1)).collect();
    counts.sort_unstable();
    let median = counts[counts.len() / 2];
    let most = counts[counts.len() - 1];
    let refused = counts.iter().filter(|count| **count > LIMIT).count();

    // Two tables, one for each window, of counters of eight bytes.
    let kib = 2 * hashes * slots * size_of::<isize>() / 1024;
    println!(
        "{hashes:>6} {slots:>8} {kib:>10} {turn:>10} {invented:>9} {each:>12} {median:>8} {most:>8} {:>7.1}%",
        refused as f64 * 100.0 / counts.len() as f64
    );
}

/// The key of the lessons: an address, or none for a Unix socket.
fn address(n: u128) -> Option<IpAddr> {
    Some(IpAddr::V6(Ipv6Addr::from(n)))
}
