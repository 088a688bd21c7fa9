//! From what failed to where to look.
//!
//! A pure function: facts in, a sentence out, and the places of the lesson's text that speak of it. A hint names
//! the place that holds the answer, and never the line to write.
//!
//! | file | what it does |
//! |---|---|
//! | `servers` | who answered, against who should have: order and shares |
//! | `statuses` | statuses that differ: refused or let pass, or only the border of a limit |
//! | `target` | what a command asks for, and what journals and log know of it |
//! | `waits` | what was waited for and did not come |
//! | `place` | words to paragraphs of the text, and the functions that they show |

mod place;
mod servers;
mod statuses;
mod target;
mod waits;

use nix::sys::signal::Signal;

use self::place::{named_near, places};
use self::target::Target;
use self::waits::{deadline, ended_early, not_listening, not_printed, waited_in_vain};
use super::play::{Example, Failure, Problem, Scene, joined};
use super::text::Lesson;

/// What the facts say, and where the lesson's text speaks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// One sentence or two.
    pub what: String,
    /// Functions, a line of the text and its first sentence; the likeliest first.
    pub places: Vec<String>,
}

/// Where to look, if the facts tell.
pub fn hint(lesson: &Lesson, failure: &Failure) -> Option<Hint> {
    let scene = &failure.scene;
    let Finding { what, mut words } = match &failure.problem {
        Problem::EndedEarly { status, waiting_for } => ended_early(*status, waiting_for, scene).into(),
        Problem::NotListening { missing, .. } => not_listening(missing, scene).into(),
        Problem::NotPrinted { pattern, .. } => not_printed(pattern, scene),
        Problem::Deadline { within, printed } => deadline(&failure.typed, *within, printed, scene).into(),
        Problem::Differs { shown, printed, status } => {
            differs(&Answer { typed: &failure.typed, shown, printed, status: *status, scene })?
        }
    };
    if !words.is_empty() {
        words.extend(named_near(lesson, failure.line));
    }
    Some(Hint { what, places: places(lesson, &words) })
}

/// What a rule has found out, and the words that lead to the place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    what: String,
    words: Vec<String>,
}

impl Finding {
    fn new<W: Into<String>>(what: String, words: impl IntoIterator<Item = W>) -> Finding {
        Finding { what, words: words.into_iter().map(Into::into).collect() }
    }
}

/// What no part of a lesson's text is about.
impl From<String> for Finding {
    fn from(what: String) -> Finding {
        Finding { what, words: Vec::new() }
    }
}

/// A command that printed something else than shown, or ended otherwise.
struct Answer<'a> {
    typed: &'a str,
    shown: &'a [String],
    printed: &'a str,
    status: (i32, i32),
    scene: &'a Scene,
}

/// The first explanation that fits wins: the nearer to the cause, the further up.
fn differs(answer: &Answer) -> Option<Finding> {
    let rules: [fn(&Answer) -> Option<Finding>; 13] = [
        waited_in_vain,
        unanswered,
        server_error,
        not_found,
        servers::servers,
        wrong_server,
        statuses::tally,
        statuses::status,
        statuses::silent,
        journal_differs,
        count,
        header,
        wrong_status,
    ];
    rules.iter().find_map(|rule| rule(answer))
}

/// curl's own exit statuses that mean: no answer.
fn unanswered(answer: &Answer) -> Option<Finding> {
    let Answer { typed, scene, status: (expected, got), .. } = answer;
    if !typed.contains("curl") || expected == got {
        return None;
    }
    let ended = match scene.example {
        Example::Ended(status) => {
            format!("the example has ended with status {status}: its last lines say why")
        }
        Example::NotStarted => "no example was started before this step".into(),
        Example::Running => String::new(),
    };
    let what = match got {
        7 if !ended.is_empty() => format!("nobody accepts the connection: {ended}"),
        7 => format!("nobody accepts the connection: dev listens on {}", list(&scene.listening)),
        28 => "curl's own time ran out: what does the proxy, or the upstream, wait for?".into(),
        35 | 51 | 53 | 58 | 59 | 60 | 77 => {
            let what = "the TLS handshake failed: which certificate does the listener present, and which CA is \
                        trusted?";
            return Some(Finding::new(what.into(), ["certificate", "key", "TLS"]));
        }
        52 | 55 | 56 if !ended.is_empty() => format!("the connection was closed without an answer: {ended}"),
        52 | 55 | 56 => {
            let line = telling_line(&scene.log).map(|line| format!(": {line}")).unwrap_or_default();
            format!("the connection was closed without a whole answer; see the example's log{line}")
        }
        _ => return None,
    };
    Some(what.into())
}

/// Whether a status is printed, as `HTTP/1.1 502 …` or as a number alone, that the lesson does not show.
fn appears(answer: &Answer, code: &str) -> bool {
    let is_code = |line: &str| {
        let line = line.trim();
        line == code || (line.starts_with("HTTP/") && line.split_whitespace().nth(1) == Some(code))
    };
    answer.printed.lines().any(is_code) && !answer.shown.iter().any(|line| is_code(line))
}

fn server_error(answer: &Answer) -> Option<Finding> {
    let code = ["502", "504", "503", "500"].into_iter().find(|code| appears(answer, code))?;
    let about = match code {
        "502" => "the proxy could not get an answer from its upstream",
        "504" => "the upstream's answer was given up on",
        "503" => "somebody says that there is no one to serve this",
        _ => "a phase of the proxy failed",
    };
    let (what, line) = match telling_line(&answer.scene.log) {
        Some(line) => (format!("{code}: {about}; its log says: {line}"), line),
        None => {
            (format!("{code}: {about}, and its log is silent; the journals above show who was asked"), "")
        }
    };
    Some(Finding::new(what, ["upstream_peer", line]))
}

/// The last line of a log that speaks of a failure.
fn telling_line(log: &str) -> Option<&str> {
    log.lines().rev().map(str::trim).find(|line| {
        ["ERROR", "WARN", "Fail", "refused", "timeout", "panicked"].iter().any(|word| line.contains(word))
    })
}

fn not_found(answer: &Answer) -> Option<Finding> {
    if !appears(answer, "404") {
        return None;
    }
    let target = Target::of(answer.typed)?;
    let (what, hook) = match target.asked(answer.scene) {
        Some((host, line)) => (
            format!("404 came from {host}, which received: {line}; is that the path it should see?"),
            "upstream_request_filter",
        ),
        None => (
            format!("404 came from the proxy: no upstream was asked for {target}; see where it decides that"),
            "request_filter",
        ),
    };
    Some(Finding::new(what, [hook, &target.path]))
}

fn wrong_server(answer: &Answer) -> Option<Finding> {
    let named = |text: &str, name: &str| text.contains(&format!("Response from {name}"));
    let shown = answer.shown.join("\n");
    let servers = [("BLUE", "GREEN"), ("GREEN", "BLUE")];
    let (_, got) = servers.into_iter().find(|(wanted, got)| {
        (named(&shown, wanted) && named(answer.printed, got))
            && !(named(&shown, got) && named(answer.printed, wanted))
    })?;
    let host = got.to_lowercase();
    let received =
        answer.scene.journals.iter().find(|(name, _)| *name == host).and_then(|(_, lines)| lines.last());
    let mut what = match received {
        Some(line) => format!("{host} answered; its journal says: {line}"),
        None => {
            format!("{host}'s answer came, although its journal does not know the request: was it cached?")
        }
    };
    let about_it = Target::of(answer.typed).and_then(|target| target.logged(answer.scene, ""));
    let about_host = || answer.scene.log.lines().rev().find(|line| line.to_lowercase().contains(&host));
    let chosen = about_it.or_else(about_host);
    match chosen {
        Some(line) => what.push_str(&format!("; the selection was logged: {}", line.trim())),
        None => what.push_str("; look at what decides the upstream"),
    }
    Some(Finding::new(what, ["upstream_peer", "select"]))
}

fn journal_differs(answer: &Answer) -> Option<Finding> {
    if !answer.typed.contains("city journal") || answer.typed.contains("--count") {
        return None;
    }
    if answer.status.0 != answer.status.1 {
        return None;
    }
    let printed = answer.printed.trim();
    if printed.is_empty() {
        let what = "that upstream received nothing: who answered the request, and in which phase?";
        return Some(Finding::new(what.into(), ["request_filter"]));
    }
    let absent: Vec<_> = answer
        .shown
        .iter()
        .flat_map(|line| line.split_whitespace())
        .filter(|word| word.split_once('=').is_some_and(|(name, _)| !name.contains('/')))
        .filter(|word| !word.contains("[..]") && !printed.contains(*word))
        .collect();
    let first = absent.first()?;
    let what = format!(
        "the upstream did not see {first}: what it receives is what the request looks like after \
         upstream_request_filter"
    );
    let name = first.split_once('=').map_or("", |(name, _)| name);
    Some(Finding::new(what, ["upstream_request_filter", name]))
}

fn count(answer: &Answer) -> Option<Finding> {
    let wanted: i64 = answer.shown.concat().trim().parse().ok()?;
    let got: i64 = answer.printed.trim().parse().ok()?;
    if !answer.typed.contains("--count") {
        return None;
    }
    let (what, hooks) = match (wanted, got > wanted) {
        (0, true) => (
            "a request that should have ended at the proxy reached the upstream: see its line above",
            ["request_filter", ""],
        ),
        (_, true) => (
            "the upstream was asked more often than expected: retries, probes, or a cache that missed?",
            ["set_retry", "upstream_peer"],
        ),
        (_, false) => (
            "the upstream was asked less often than expected: who answered in its place?",
            ["request_filter", "upstream_peer"],
        ),
    };
    Some(Finding::new(what.into(), hooks))
}

/// A header that the lesson shows and the answer lacks.
fn header(answer: &Answer) -> Option<Finding> {
    let is_answer = answer.printed.trim_start().starts_with("HTTP/");
    let name_of = |line: &str| line.split_once(": ").map(|(name, _)| name.to_lowercase());
    let printed: Vec<_> = answer.printed.lines().filter_map(name_of).collect();
    let missing = answer.shown.iter().find(|line| {
        name_of(line).is_some_and(|name| !name.contains([' ', '[', '"']) && !printed.contains(&name))
    })?;
    let (name, _) = missing.split_once(": ")?;
    let what = format!(
        "the answer has no {name}: headers for the client are set in response_filter, or in the answer itself"
    );
    is_answer.then(|| Finding::new(what, ["response_filter", name]))
}

fn wrong_status(answer: &Answer) -> Option<Finding> {
    let (expected, got) = answer.status;
    if expected == got {
        return None;
    }
    // A shell tells the end by a signal as 128 and its number.
    let signal = Signal::try_from(got - 128).map(|signal| format!(" ({signal})")).unwrap_or_default();
    Some(format!("it ended with status {got}{signal} where the lesson expects {expected}").into())
}

fn list(ports: &[u16]) -> String {
    if ports.is_empty() { "no port at all".into() } else { joined(ports) }
}

#[cfg(test)]
mod tests;
