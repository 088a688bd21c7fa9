//! Turns by weight.

/// One round of turns: each server, by its number, as often as its weight says, and those of one server as far
/// apart as can be. (3, 1) is 0 0 1 0.
///
/// Made whenever the servers that can be asked change, so that choosing is one look into it, and the shares are
/// exact also while a server is missing.
pub fn round(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    // The middles of a server's shares of the round: for weight w, at 1/2w, 3/2w, 5/2w and so on.
    let mut turns: Vec<(u64, u64, u32)> = (0u32..)
        .zip(weights)
        .flat_map(|(number, weight)| {
            let weight = u64::from(weight / divisor);
            (0..weight).map(move |turn| (2 * turn + 1, weight, number))
        })
        .collect();
    // Fractions are compared by multiplication: as floating-point numbers equal ones could differ.
    turns.sort_by(|(a, of_a, first), (b, of_b, second)| (a * of_b).cmp(&(b * of_a)).then(first.cmp(second)));
    turns.into_iter().map(|(_, _, number)| number).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_spread() {
        assert_eq!(*round(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(*round(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(*round(&[300, 100]), [0, 0, 1, 0]);
        assert_eq!(*round(&[2, 2, 4]), [2, 0, 1, 2]);
        assert!(round(&[]).is_empty());
    }

    /// Of any weights, not only of those above.
    #[test]
    fn every_round_has_each_server_by_its_weight() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let weights: Vec<u32> = (0..random.usize(1..8)).map(|_| random.u32(1..40)).collect();
            let divisor = weights.iter().copied().fold(0, gcd);
            let round = round(&weights);
            let length = round.len();
            for (number, weight) in (0..).zip(&weights) {
                let share = (weight / divisor) as usize;
                let turns: Vec<usize> = (0..length).filter(|turn| round[*turn] == number).collect();
                assert_eq!(turns.len(), share, "{weights:?}");
                // Nobody waits for more than about twice the mean distance.
                let gap = turns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
                assert!(gap <= 2 * length.div_ceil(share) + weights.len(), "{weights:?}: {gap}");
            }
        }
    }
}
