//! Statuses that differ: what was refused and should not have been, what was not and should have been, and whether
//! it is only the border of a limit that lies elsewhere.

use std::collections::BTreeMap;

use super::target::Target;
use super::{Answer, Finding};

/// What a status is about, in words that a lesson may use.
const ABOUT: [(u16, &[&str]); 4] = [
    (401, &["scheme", "credentials", "authorization"]),
    (403, &["scheme", "credentials", "authorization"]),
    (413, &["length", "limit", "announced"]),
    (429, &["limit", "count"]),
];

const AT_THE_BORDER: &str = "One off: on which side of the limit is what just reaches it?";

/// How many answers had which status, as `sort | uniq -c` counts them.
pub fn tally(answer: &Answer) -> Option<Finding> {
    let wanted = counted(answer.shown.iter().map(String::as_str))?;
    let got = counted(answer.printed.lines())?;
    let codes: Vec<_> = wanted.keys().chain(got.keys()).collect();
    let of = |counts: &BTreeMap<u16, i64>, code: u16| counts.get(&code).copied().unwrap_or(0);
    let fewer = codes.iter().map(|code| (**code, of(&wanted, **code) - of(&got, **code)));
    let (code, by) = fewer.clone().find(|(_, by)| *by > 0)?;
    let (instead, _) = fewer.clone().find(|(_, by)| *by < 0)?;
    let what = match (code / 100, instead / 100) {
        (2, 4) => format!("{by} of the answers refused with {instead} that should be let pass"),
        (4, 2) => format!("{by} of the answers let pass that should be refused with {code}"),
        _ => format!("{by} of the answers with {instead} that should have {code}"),
    };
    let limits = [413, 429];
    let what = match by {
        1 if limits.contains(&code) || limits.contains(&instead) => format!("{what}. {AT_THE_BORDER}"),
        _ => format!("{what}: what tells them from the others?"),
    };
    Some(Finding::new(what, words(answer, &[code, instead])))
}

/// A status that is another one than shown, where both lists have as many.
pub fn status(answer: &Answer) -> Option<Finding> {
    let wanted: Vec<_> = answer.shown.iter().filter_map(|line| row(line)).collect();
    let got: Vec<_> = answer.printed.lines().filter_map(row).collect();
    if wanted.len() != got.len() {
        return None;
    }
    let at = (0..wanted.len()).find(|at| wanted[*at].0 != got[*at].0)?;
    let ((expected, label), (code, _)) = (wanted[at], got[at]);
    let which = if label.is_empty() { String::new() } else { format!(" for '{label}'") };
    let mut what = match (expected / 100, code / 100) {
        (2, 4) => format!("{code}{which}: the proxy refused what it should let pass"),
        (4, 2) => format!("{code}{which}: the proxy let pass what it should refuse with {expected}"),
        (4, 4) => {
            format!("{code}{which}: it was refused, but for another reason than the lesson's {expected}")
        }
        _ => format!("{code}{which}, where the lesson shows {expected}"),
    };
    if (401, 403) == (expected, code) {
        what.push_str(": the proxy found something to check where there is nothing that it could check");
    }
    if (403, 401) == (expected, code) {
        what.push_str(": the proxy found nothing to check where something was shown");
    }
    let rows: Vec<_> = wanted.iter().zip(&got).collect();
    let others = rows.iter().enumerate().filter(|(other, _)| *other != at);
    let beside = |other: &str| number(other).zip(number(label)).is_some_and(|(a, b)| a.abs_diff(b) == 1);
    if others.clone().all(|(_, (wanted, got))| wanted.0 == got.0)
        && others.clone().any(|(_, (wanted, _))| wanted.0 == code && beside(wanted.1))
    {
        what.push_str(". Only at the border: on which side of the limit is what just reaches it?");
    } else {
        what.push('.');
    }
    what.push_str(&who_decided(answer, label));
    Some(Finding::new(what, words(answer, &[expected, code])))
}

/// An upstream's answer is shown, and none came: curl without `-i` prints nothing of a refusal.
pub fn silent(answer: &Answer) -> Option<Finding> {
    let from_upstream = answer.shown.iter().any(|line| line.starts_with("Response from "));
    if !from_upstream || !answer.printed.trim().is_empty() || answer.status.0 != answer.status.1 {
        return None;
    }
    let what = format!("the answer has no body (curl -i would show its status).{}", who_decided(answer, ""));
    Some(Finding::new(what, words(answer, &[])))
}

/// Whether an upstream was asked, and what the log says of the request, if possible of the one with this label.
fn who_decided(answer: &Answer, label: &str) -> String {
    let Some(target) = Target::of(answer.typed) else { return String::new() };
    let mut text = match target.asked(answer.scene) {
        Some((host, _)) => format!(" Upstream {host} was asked for {target}."),
        None => format!(" No upstream was asked for {target}: a hook before `upstream_peer` has decided."),
    };
    if let Some(line) = target.logged(answer.scene, label) {
        text.push_str(&format!(" The log says of it: {line}"));
    }
    text
}

/// Words that lead to the place: what these statuses are about, what the request carried, what the log says of it.
fn words(answer: &Answer, codes: &[u16]) -> Vec<String> {
    let mut words = vec!["request_filter"];
    let mut of_code = |wanted: u16| {
        let about = ABOUT.iter().filter(|(code, _)| *code == wanted);
        words.extend(about.flat_map(|(_, words)| words.iter()));
    };
    codes.iter().for_each(|code| of_code(*code));
    if answer.typed.to_lowercase().contains("authorization") {
        of_code(401);
    }
    let mut words: Vec<_> = words.into_iter().map(str::to_owned).collect();
    if let Some(target) = Target::of(answer.typed) {
        words.extend(target.logged(answer.scene, "").map(|line| told(line).to_owned()));
        words.push(target.path);
    }
    words
}

/// Of a line of Pingora's, `Fail to …: … context: WORDS, status: …`, the words that the example gave to its error.
fn told(line: &str) -> &str {
    let words = line.split_once("context: ").map_or(line, |(_, words)| words);
    words.split_once(", status: ").map_or(words, |(words, _)| words)
}

/// A line that begins with a status, `413 101 bytes` or `HTTP/1.1 413 …`: the status, and what else there is.
fn row(line: &str) -> Option<(u16, &str)> {
    let (first, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
    if first.starts_with("HTTP/") {
        return Some((code(rest.split(' ').next()?)?, ""));
    }
    Some((code(first)?, rest))
}

fn counted<'a>(lines: impl Iterator<Item = &'a str>) -> Option<BTreeMap<u16, i64>> {
    let row = |line: &str| {
        let (count, status) = line.trim_start().split_once(' ')?;
        // uniq pads its counts; without that it would be a status, and something else.
        line.starts_with("  ").then_some((code(status.trim())?, count.parse().ok()?))
    };
    lines.filter(|line| !line.is_empty()).map(row).collect()
}

fn code(text: &str) -> Option<u16> {
    text.parse().ok().filter(|code| (100..600).contains(code) && text.len() == 3)
}

fn number(text: &str) -> Option<u64> {
    text.split(' ').find_map(|word| word.parse().ok())
}
