//! Turns by weight.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// One round of turns: each server, by its number, as often as its weight says, and those of one server as far
/// apart as can be, also from one round to the next. (3, 1, 1, 1) is 0 1 0 2 0 3.
///
/// A server that has three of twelve turns has one in each span of four. Of those whose span has begun, the one
/// whose span ends first has the turn: nobody comes before he is due, which would be a burst, and nobody waits much
/// longer than for two spans.
///
/// Made whenever the servers that can be asked change, so that choosing is one look into it, and the shares are
/// exact also while a server is missing. A thousand servers of different weights make it a hundred thousand turns
/// long, so each turn must take no look at all of them.
pub fn round(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let firsts = (0u32..).zip(weights).map(|(number, weight)| (number, u64::from(weight / divisor)));
    let firsts: Vec<Span> = firsts.map(|(number, weight)| Span { number, weight, index: 0 }).collect();
    let length = firsts.iter().map(|span| span.weight).sum();
    let mut due: BinaryHeap<Reverse<Span>> =
        firsts.into_iter().filter(|span| span.weight > 0).map(Reverse).collect();
    let mut later: BinaryHeap<Reverse<(u64, Span)>> = BinaryHeap::with_capacity(due.len());
    // More spans have begun than there were turns, so somebody is due at each of them.
    (0..length)
        .map_while(|turn| {
            while let Some(Reverse((begin, span))) = later.peek()
                && *begin <= turn
            {
                due.push(Reverse(*span));
                later.pop();
            }
            let Reverse(span) = due.pop()?;
            let next = Span { index: span.index + 1, ..span };
            if next.index < next.weight {
                later.push(Reverse((next.begin(length), next)));
            }
            Some(span.number)
        })
        .collect()
}

/// One of as many equal parts of a round as a server has turns.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    number: u32,
    weight: u64,
    index: u64,
}

impl Span {
    /// The first turn that lies in it.
    fn begin(&self, length: u64) -> u64 {
        (self.index * length).div_ceil(self.weight)
    }
}

/// By their ends. Of two that end together, the shorter one comes first: its server will be due again sooner.
impl Ord for Span {
    fn cmp(&self, other: &Span) -> Ordering {
        // Fractions are compared by multiplication: as floating-point numbers equal ones could differ.
        let ends = ((self.index + 1) * other.weight).cmp(&((other.index + 1) * self.weight));
        ends.then(other.weight.cmp(&self.weight)).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Span {
    fn partial_cmp(&self, other: &Span) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn shares_are_exact_and_spread() {
        assert_eq!(*round(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(*round(&[3, 1]), [0, 1, 0, 0]);
        assert_eq!(*round(&[300, 100]), [0, 1, 0, 0]);
        assert_eq!(*round(&[2, 2, 4]), [2, 0, 2, 1]);
        assert_eq!(*round(&[1, 0, 1]), [0, 2]);
        assert!(round(&[]).is_empty());
    }

    /// Many small ones do not come all together in the middle of what a large one has.
    #[test]
    fn the_small_ones_come_between_the_turns_of_the_large_one() {
        assert_eq!(*round(&[3, 1, 1, 1]), [0, 1, 0, 2, 0, 3]);
        assert_eq!(*round(&[5, 1, 1]), [0, 1, 0, 0, 2, 0, 0]);
        assert_eq!(*round(&[10, 1, 1, 1, 1, 1]), [0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0]);
        // Wherever they stand in the file.
        assert_eq!(*round(&[1, 1, 1, 1, 2]), [4, 0, 1, 4, 2, 3]);
    }

    /// Of any weights, not only of those above.
    #[test]
    fn every_round_has_each_server_by_its_weight() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..500 {
            let heaviest = random.u32(2..40);
            let weights: Vec<u32> = (0..random.usize(1..12)).map(|_| random.u32(1..heaviest)).collect();
            let divisor = weights.iter().copied().fold(0, gcd);
            let round = round(&weights);
            let length = round.len();
            for (number, weight) in (0..).zip(&weights) {
                let share = (weight / divisor) as usize;
                let mut turns: Vec<usize> = (0..length).filter(|turn| round[*turn] == number).collect();
                assert_eq!(turns.len(), share, "{weights:?}");
                for (index, turn) in turns.iter().enumerate() {
                    assert!(turn * share >= index * length, "{weights:?}: {number} comes too soon");
                    let end = (index + 1) * length;
                    assert!(turn * share < end + share, "{weights:?}: {number} comes too late");
                }
                // As the rounds follow each other.
                turns.push(turns[0] + length);
                let gap = turns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
                assert!(gap * share <= 2 * length + share, "{weights:?}: {gap}");
            }
        }
    }

    /// Servers come and go while requests are served.
    #[test]
    fn a_long_round_is_made_quickly() {
        let weights: Vec<u32> = (0..1000).map(|number| 1 + number % 256).collect();
        let begun = Instant::now();
        let length = round(&weights).len();
        assert_eq!(length, weights.iter().sum::<u32>() as usize);
        // Unoptimized, on a busy machine. To look at all servers for each turn would take many times as long.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
