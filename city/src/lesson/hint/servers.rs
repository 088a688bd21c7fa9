//! Who answered, against who should have: the order of the answers, and each server's share of them.

use std::collections::BTreeMap;

use super::{Answer, Finding};

/// Answers in another order, or in other shares.
pub fn servers(answer: &Answer) -> Option<Finding> {
    let (wanted, got) = (sequence(answer.shown.iter().map(String::as_str)), sequence(answer.printed.lines()));
    let in_order = wanted.len() == got.len() && wanted.len() > 1;
    if in_order && wanted != got && shares_of(&wanted) == shares_of(&got) {
        return Some(order(&wanted, &got));
    }
    let (wanted, got) = if in_order {
        (shares_of(&wanted), shares_of(&got))
    } else {
        (counted(answer.shown.iter().map(String::as_str))?, counted(answer.printed.lines())?)
    };
    (wanted != got && !wanted.is_empty() && !got.is_empty()).then(|| shares(&wanted, &got))
}

type Shares<'a> = BTreeMap<&'a str, u64>;

fn sequence<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.filter_map(|line| line.trim().strip_prefix("Response from ")).collect()
}

fn shares_of<'a>(sequence: &[&'a str]) -> Shares<'a> {
    let mut shares = Shares::new();
    sequence.iter().for_each(|name| *shares.entry(name).or_default() += 1);
    shares
}

/// The rows `server    BLUE: 300, 75.0%` of `city load`; none if one of them is left open in the lesson.
fn counted<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Shares<'a>> {
    let rows = lines.filter_map(|line| line.strip_prefix("server ")?.trim().split_once(": "));
    rows.map(|(name, counts)| Some((name, counts.split(',').next()?.parse().ok()?))).collect()
}

fn order(wanted: &[&str], got: &[&str]) -> Finding {
    let shifted =
        (1..wanted.len()).any(|by| (0..got.len()).all(|at| got[at] == wanted[(at + by) % got.len()]));
    let (first, instead) = (wanted[0], got[0]);
    if shifted && first != instead {
        let what = format!(
            "each server had as many turns as shown, but they begin elsewhere: the first was {instead}'s and not \
             {first}'s. Was a turn taken before this, for no request?"
        );
        return Finding::new(what, ["turn", "select", "upstream_peer"]);
    }
    let what = format!("each server had as many turns as shown, but in another order: {}", got.join(", "));
    if even(&shares_of(wanted)) {
        return Finding::new(what, ["turn", "order", "select", "upstream_peer"]);
    }
    // Rounds of other weights may come to the same counts, where the last of them is cut short.
    let what = format!("{what}. Are these rounds of the weights that are meant?");
    Finding::new(what, ["weight", "new_with_weight", "turn", "order"])
}

fn even(shares: &Shares) -> bool {
    shares.len() > 1 && shares.values().min() == shares.values().max()
}

fn shares(wanted: &Shares, got: &Shares) -> Finding {
    let listed = |shares: &Shares| {
        shares.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    let what = format!("who answered how often: {}, where the lesson shows {}", listed(got), listed(wanted));
    if even(got) && !even(wanted) {
        let what = format!("{what}. All are treated alike: do their weights reach whoever chooses?");
        return Finding::new(what, ["weight", "new_with_weight", "from_backends", "try_from_iter"]);
    }
    if got.len() == 1 && wanted.len() > 1 {
        let what =
            format!("{what}. It was always the same one: what does the choice depend on, and who makes it?");
        return Finding::new(what, ["select", "turn", "key", "healthy", "upstream_peer"]);
    }
    let what = format!("{what}. What does the choice depend on?");
    if even(wanted) {
        return Finding::new(what, ["select", "turn", "key", "upstream_peer"]);
    }
    Finding::new(what, ["weight", "new_with_weight", "upstream_peer"])
}

#[cfg(test)]
mod tests {
    use super::super::super::play::Scene;
    use super::*;

    fn found(shown: &[&str], printed: &[&str]) -> Option<String> {
        let answers =
            |names: &[&str]| names.iter().map(|name| format!("Response from {name}")).collect::<Vec<_>>();
        let (shown, printed, scene) = (answers(shown), answers(printed).join("\n"), Scene::default());
        let answer = Answer {
            typed: "curl http://x/",
            shown: &shown,
            printed: &printed,
            status: (0, 0),
            scene: &scene,
        };
        servers(&answer).map(|finding| finding.what)
    }

    #[test]
    fn order_and_shares_are_told_apart() {
        for (shown, printed, expected) in [
            (
                &["A", "B", "A", "B"][..],
                &["B", "A", "B", "A"][..],
                "they begin elsewhere: the first was B's and not A's",
            ),
            (&["A", "A", "B", "B"], &["A", "B", "A", "B"], "in another order: A, B, A, B"),
            (
                &["A", "A", "A", "B", "A", "A", "A", "B"],
                &["A", "A", "B", "A", "A", "B", "A", "A"],
                "A, A, B, A, A, B, A, A. Are these rounds of the weights that are meant?",
            ),
            (
                &["A", "A", "A", "B"],
                &["A", "B", "A", "B"],
                "A 2, B 2, where the lesson shows A 3, B 1. All are treated",
            ),
            (&["A", "B"], &["B", "B"], "B 2, where the lesson shows A 1, B 1. It was always the same one"),
            (
                &["A", "A", "A", "B"],
                &["A", "B", "B", "B"],
                "A 1, B 3, where the lesson shows A 3, B 1. What does",
            ),
        ] {
            let what = found(shown, printed).unwrap_or_default();
            assert!(what.contains(expected), "{shown:?} {printed:?}: {what}");
        }
        assert_eq!(found(&["A", "B"], &["A", "B"]), None);
        assert_eq!(found(&["A"], &["B"]), None, "one answer says nothing of an order");
        assert_eq!(found(&["A", "B"], &[]), None);
    }

    #[test]
    fn loads_are_compared_by_their_rows() {
        let table = |blue: &str, green: &str| {
            vec![
                "status    200: 4, 100.0%".into(),
                format!("server    BLUE: {blue}"),
                format!("server    GREEN: {green}"),
            ]
        };
        let scene = Scene::default();
        let of = |shown: &[String], printed: &[String]| {
            let printed = printed.join("\n");
            servers(&Answer { typed: "load", shown, printed: &printed, status: (0, 0), scene: &scene })
        };
        let what = of(&table("3, 75.0%", "1, 25.0%"), &table("2, 50.0%", "2, 50.0%")).unwrap().what;
        assert!(what.contains("BLUE 2, GREEN 2, where the lesson shows BLUE 3, GREEN 1"), "{what}");
        assert_eq!(of(&table("[..]", "1, 25.0%"), &table("2, 50.0%", "2, 50.0%")), None);
    }
}
