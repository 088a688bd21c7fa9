//! Work on many things side by side, with as many threads as there are jobs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Does `work` on every item, `jobs` at a time. `done` is told of each as it ends, on this thread. The results
/// come back in the order of the items.
pub fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(&T, &R),
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let mut all: Vec<Option<R>> = items.iter().map(|_| None).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            let sender = sender.clone();
            let (next, work) = (&next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    // The receiver outlives every sender.
                    let _ = sender.send((at, work(item)));
                }
            });
        }
        // This one is nobody's: with it the results would never end.
        drop(sender);
        for (at, result) in results {
            done(&items[at], &result);
            all[at] = Some(result);
        }
    });
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u64> = (0..20).collect();
        let mut seen = 0;
        let doubled = side_by_side(&items, 4, |item| item * 2, |_, _| seen += 1);
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(seen, 20);
        assert!(side_by_side(&[] as &[u8], 4, |item| *item, |_, _| ()).is_empty());
    }
}
