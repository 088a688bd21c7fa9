//! From what failed to where to look.
//!
//! One pure function: facts in, a sentence out. A hint names the place that holds the answer, and never the
//! line to write.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::play::{Example, Failure, Problem, Scene, joined};

/// Where to look, if the facts tell.
pub fn hint(failure: &Failure) -> Option<String> {
    let scene = &failure.scene;
    match &failure.problem {
        Problem::EndedEarly { status, waiting_for } => Some(ended_early(*status, waiting_for, scene)),
        Problem::NotListening { missing, .. } => Some(not_listening(missing, scene)),
        Problem::NotPrinted { pattern, .. } => Some(not_printed(pattern, scene)),
        Problem::Deadline { within, printed } => Some(deadline(&failure.typed, *within, printed, scene)),
        Problem::Differs { shown, printed, status } => {
            differs(&Answer { typed: &failure.typed, shown, printed, status: *status, scene })
        }
    }
}

fn ended_early(status: i32, waiting_for: &str, scene: &Scene) -> String {
    let log = &scene.log;
    if log.contains("could not compile") {
        return "it does not compile: the compiler's message is in its log above".into();
    }
    if log.contains("Address already in use") || log.contains("EADDRINUSE") {
        return format!(
            "a port of the lesson is taken: dev listens on {}; is an earlier run still there?",
            list(&scene.listening)
        );
    }
    if let Some(panic) = log.lines().find(|line| line.contains("panicked at")) {
        return format!("it panicked, and says where: {}", panic.trim());
    }
    format!("it ended with status {status} before {waiting_for} was seen: its last lines say why")
}

fn not_listening(missing: &[u16], scene: &Scene) -> String {
    if scene.listening.is_empty() {
        return format!(
            "nothing listens on dev, so {} is not open: its log says how far it came",
            joined(missing)
        );
    }
    format!(
        "dev listens on {}, not on {}: compare the addresses in the code with the lesson's ports",
        joined(&scene.listening),
        joined(missing)
    )
}

fn not_printed(pattern: &str, scene: &Scene) -> String {
    if scene.log.trim().is_empty() {
        return match scene.example {
            Example::Ended(status) => format!("the example printed nothing and ended with status {status}"),
            _ => "the example printed nothing at all: does it start a logger, and at level info?".into(),
        };
    }
    let wanted = pattern.replace("[..]", " ");
    let likeness = |line: &str| strsim::sorensen_dice(wanted.trim(), line);
    let lines = scene.log.lines().map(|line| (likeness(line), line.trim()));
    let nearest = lines.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness > 0.35);
    match nearest {
        Some((_, line)) => {
            format!(
                "the nearest line in the log is '{line}': did it differ, or come before the line above it?"
            )
        }
        None => "no line in the log is like it: was the phase that logs it ever reached?".into(),
    }
}

fn deadline(typed: &str, within: Duration, printed: &str, scene: &Scene) -> String {
    let within = humantime::format_duration(within);
    if typed.contains("wait-for") {
        return "the condition never held: `cargo city wait-for` tells what it saw instead".into();
    }
    if let Example::Ended(status) = scene.example {
        return format!("the example has ended with status {status}: its last lines say why");
    }
    if !typed.contains("curl") {
        return format!("it was still running after {within}; what it waits for has not come");
    }
    if !printed.trim().is_empty() {
        return format!(
            "an answer began and was not ended within {within}: who still holds the connection open?"
        );
    }
    if scene.journals.iter().all(|(_, lines)| lines.is_empty()) {
        return format!(
            "no answer within {within}, and no upstream was asked: the proxy holds the request in a phase before \
             the upstream's"
        );
    }
    format!(
        "no answer within {within}, although an upstream received the request: what does the proxy wait for?"
    )
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
fn differs(answer: &Answer) -> Option<String> {
    let rules: [fn(&Answer) -> Option<String>; 8] =
        [unanswered, server_error, not_found, wrong_server, journal_differs, count, header, wrong_status];
    rules.iter().find_map(|rule| rule(answer))
}

/// curl's own exit statuses that mean: no answer.
fn unanswered(answer: &Answer) -> Option<String> {
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
    match got {
        7 if !ended.is_empty() => Some(format!("nobody accepts the connection: {ended}")),
        7 => Some(format!("nobody accepts the connection: dev listens on {}", list(&scene.listening))),
        28 => Some("curl's own time ran out: what does the proxy, or the upstream, wait for?".into()),
        35 | 51 | 53 | 58 | 59 | 60 | 77 => Some(
            "the TLS handshake failed: which certificate does the listener present, and which CA is trusted?"
                .into(),
        ),
        52 | 55 | 56 if !ended.is_empty() => {
            Some(format!("the connection was closed without an answer: {ended}"))
        }
        52 | 55 | 56 => {
            let line = telling_line(&scene.log).map(|line| format!(": {line}")).unwrap_or_default();
            Some(format!("the connection was closed without a whole answer; see the example's log{line}"))
        }
        _ => None,
    }
}

/// Whether a status is printed, as `HTTP/1.1 502 …` or as a number alone, that the lesson does not show.
fn appears(answer: &Answer, code: &str) -> bool {
    let is_code = |line: &str| {
        let line = line.trim();
        line == code || (line.starts_with("HTTP/") && line.split_whitespace().nth(1) == Some(code))
    };
    answer.printed.lines().any(is_code) && !answer.shown.iter().any(|line| is_code(line))
}

fn server_error(answer: &Answer) -> Option<String> {
    let code = ["502", "504", "503", "500"].into_iter().find(|code| appears(answer, code))?;
    let about = match code {
        "502" => "the proxy could not get an answer from its upstream",
        "504" => "the upstream's answer was given up on",
        "503" => "somebody says that there is no one to serve this",
        _ => "a phase of the proxy failed",
    };
    match telling_line(&answer.scene.log) {
        Some(line) => Some(format!("{code}: {about}; its log says: {line}")),
        None => {
            Some(format!("{code}: {about}, and its log is silent; the journals above show who was asked"))
        }
    }
}

/// The last line of a log that speaks of a failure.
fn telling_line(log: &str) -> Option<&str> {
    log.lines().rev().map(str::trim).find(|line| {
        ["ERROR", "WARN", "Fail", "refused", "timeout", "panicked"].iter().any(|word| line.contains(word))
    })
}

fn not_found(answer: &Answer) -> Option<String> {
    if !appears(answer, "404") {
        return None;
    }
    let target = target(answer.typed)?;
    match asked(answer.scene, &target) {
        Some((host, line)) => {
            Some(format!("404 came from {host}, which received: {line}; is that the path it should see?"))
        }
        None => Some(format!(
            "404 came from the proxy: no upstream was asked for {target}; see where it decides that"
        )),
    }
}

fn wrong_server(answer: &Answer) -> Option<String> {
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
    let mut hint = match received {
        Some(line) => format!("{host} answered; its journal says: {line}"),
        None => {
            format!("{host}'s answer came, although its journal does not know the request: was it cached?")
        }
    };
    let target = target(answer.typed).unwrap_or_default();
    let chosen =
        answer.scene.log.lines().rev().find(|line| {
            (!target.is_empty() && line.contains(&target)) || line.to_lowercase().contains(&host)
        });
    match chosen {
        Some(line) => hint.push_str(&format!("; the selection was logged: {}", line.trim())),
        None => hint.push_str("; look at what decides the upstream"),
    }
    Some(hint)
}

fn journal_differs(answer: &Answer) -> Option<String> {
    if !answer.typed.contains("city journal") || answer.typed.contains("--count") {
        return None;
    }
    if answer.status.0 != answer.status.1 {
        return None;
    }
    let printed = answer.printed.trim();
    if printed.is_empty() {
        return Some("that upstream received nothing: who answered the request, and in which phase?".into());
    }
    let absent: Vec<_> = answer
        .shown
        .iter()
        .flat_map(|line| line.split_whitespace())
        .filter(|word| word.split_once('=').is_some_and(|(name, _)| !name.contains('/')))
        .filter(|word| !word.contains("[..]") && !printed.contains(*word))
        .collect();
    let first = absent.first()?;
    Some(format!(
        "the upstream did not see {first}: what it receives is what the request looks like after \
         upstream_request_filter"
    ))
}

fn count(answer: &Answer) -> Option<String> {
    let wanted: i64 = answer.shown.concat().trim().parse().ok()?;
    let got: i64 = answer.printed.trim().parse().ok()?;
    if !answer.typed.contains("--count") {
        return None;
    }
    Some(match (wanted, got > wanted) {
        (0, true) => {
            "a request that should have ended at the proxy reached the upstream: see its line above".into()
        }
        (_, true) => {
            "the upstream was asked more often than expected: retries, probes, or a cache that missed?".into()
        }
        (_, false) => "the upstream was asked less often than expected: who answered in its place?".into(),
    })
}

/// A header that the lesson shows and the answer lacks.
fn header(answer: &Answer) -> Option<String> {
    let is_answer = answer.printed.trim_start().starts_with("HTTP/");
    let name_of = |line: &str| line.split_once(": ").map(|(name, _)| name.to_lowercase());
    let printed: Vec<_> = answer.printed.lines().filter_map(name_of).collect();
    let missing = answer.shown.iter().find(|line| {
        name_of(line).is_some_and(|name| !name.contains([' ', '[', '"']) && !printed.contains(&name))
    })?;
    let (name, _) = missing.split_once(": ")?;
    is_answer.then(|| {
        format!("the answer has no {name}: headers for the client are set in response_filter, or in the answer itself")
    })
}

fn wrong_status(answer: &Answer) -> Option<String> {
    let (expected, got) = answer.status;
    if expected == got {
        return None;
    }
    // A shell tells the end by a signal as 128 and its number.
    let signal = Signal::try_from(got - 128).map(|signal| format!(" ({signal})")).unwrap_or_default();
    Some(format!("it ended with status {got}{signal} where the lesson expects {expected}"))
}

/// The path and query that a command asks for.
fn target(typed: &str) -> Option<String> {
    let words = shlex::split(typed)?;
    let url = words.iter().find_map(|word| word.split_once("://"))?.1;
    Some(url.find('/').map_or("/", |slash| &url[slash..]).to_owned())
}

/// The upstream that received a request for this target, and its journal's line.
fn asked<'a>(scene: &'a Scene, target: &str) -> Option<(&'a str, &'a str)> {
    scene.journals.iter().find_map(|(host, lines)| {
        let line = lines.iter().rev().find(|line| line.split_whitespace().nth(1) == Some(target))?;
        Some((host.as_str(), line.as_str()))
    })
}

fn list(ports: &[u16]) -> String {
    if ports.is_empty() { "no port at all".into() } else { joined(ports) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        Scene {
            ports: vec![6149],
            listening: vec![6150],
            journals: vec![("blue".into(), vec![]), ("green".into(), vec!["GET /blue  host=green".into()])],
            log: "INFO up\nINFO /blue -> green\nERROR Fail to connect to 172.28.0.20:8080".into(),
            example: Example::Running,
        }
    }

    fn of(typed: &str, problem: Problem, scene: Scene) -> String {
        hint(&Failure { line: 1, typed: typed.into(), problem, scene, recorded: vec![] }).unwrap_or_default()
    }

    fn printed(typed: &str, shown: &[&str], printed: &str, status: i32) -> String {
        let shown = shown.iter().map(|line| (*line).to_owned()).collect();
        of(typed, Problem::Differs { shown, printed: printed.into(), status: (0, status) }, scene())
    }

    const BLUE: &str = "client1$ curl -s http://172.28.0.10:6149/blue";

    #[test]
    fn answers_that_differ() {
        let cases: &[(&str, &[&str], &str, i32, &str)] = &[
            (BLUE, &["x"], "", 7, "nobody accepts the connection: dev listens on 6150"),
            (
                BLUE,
                &["x"],
                "",
                52,
                "closed without a whole answer; see the example's log: ERROR Fail to connect",
            ),
            (BLUE, &["x"], "", 60, "the TLS handshake failed"),
            (
                BLUE,
                &["200"],
                "502",
                0,
                "502: the proxy could not get an answer from its upstream; its log says: ERROR",
            ),
            (BLUE, &["HTTP/1.1 200 OK"], "HTTP/1.1 500 Internal", 0, "500: a phase of the proxy failed"),
            (BLUE, &["200"], "404", 0, "404 came from green, which received: GET /blue  host=green"),
            ("client1$ curl http://x/other", &["200"], "404", 0, "no upstream was asked for /other"),
            (
                BLUE,
                &["Response from BLUE"],
                "Response from GREEN",
                0,
                "green answered; its journal says: GET /blue",
            ),
            (BLUE, &["Response from BLUE"], "Response from GREEN", 0, "logged: INFO /blue -> green"),
            ("host$ cargo city journal blue --last 1", &["GET / host=blue"], "", 0, "received nothing"),
            (
                "host$ cargo city journal blue",
                &["GET / host=blue"],
                "GET / host=x",
                0,
                "did not see host=blue",
            ),
            ("host$ cargo city journal blue --count /", &["0"], "2", 0, "reached the upstream"),
            ("host$ cargo city journal blue --count /", &["3"], "5", 0, "more often"),
            ("host$ cargo city journal blue --count /", &["3"], "1", 0, "less often"),
            (
                BLUE,
                &["HTTP/1.1 200 OK", "X-A: b"],
                "HTTP/1.1 200 OK\r\nX-B: b\r\n",
                0,
                "the answer has no X-A",
            ),
            ("dev$ true", &[], "", 141, "it ended with status 141 (SIGPIPE) where"),
            ("dev$ true", &[], "", 3, "it ended with status 3 where the lesson expects 0"),
        ];
        for (typed, shown, got, status, expected) in cases {
            let hint = printed(typed, shown, got, *status);
            assert!(hint.contains(expected), "{typed} {got:?}: {hint}");
        }
        assert_eq!(printed("dev$ echo a", &["a"], "b", 0), "", "where nothing is known, nothing is said");
    }

    #[test]
    fn an_example_that_has_ended_is_said_to_have() {
        let problem = Problem::Differs { shown: vec![], printed: String::new(), status: (0, 7) };
        let hint = of(BLUE, problem, Scene { example: Example::Ended(101), ..scene() });
        assert_eq!(
            hint,
            "nobody accepts the connection: the example has ended with status 101: its last lines say why"
        );
    }

    #[test]
    fn waits_that_ran_out() {
        let within = Duration::from_secs(15);
        let not_printed = |log: &str| {
            let scene = Scene { log: log.into(), ..scene() };
            of("x", Problem::NotPrinted { pattern: "[..] /blue -> blue".into(), within }, scene)
        };
        assert!(
            not_printed("INFO /blue -> green").contains("nearest line in the log is 'INFO /blue -> green'")
        );
        assert!(not_printed("").contains("printed nothing at all"));
        assert!(not_printed("hello").contains("no line in the log is like it"));

        let deadline = |typed: &str, scene: Scene| {
            of(typed, Problem::Deadline { within, printed: String::new() }, scene)
        };
        assert!(deadline(BLUE, scene()).contains("although an upstream received the request"));
        assert!(deadline(BLUE, Scene::default()).contains("no upstream was asked"));
        assert!(deadline("host$ cargo city wait-for x", scene()).contains("the condition never held"));
    }

    #[test]
    fn examples_that_do_not_come_up() {
        let missing = vec![6149];
        let within = Duration::from_secs(1);
        let hint = of("x", Problem::NotListening { missing: missing.clone(), within }, scene());
        assert!(hint.contains("dev listens on 6150, not on 6149"));
        let hint = of("x", Problem::NotListening { missing, within }, Scene::default());
        assert!(hint.contains("nothing listens on dev, so 6149 is not open"));

        let ended = |log: &str| {
            let problem = Problem::EndedEarly { status: 1, waiting_for: "port 6149".into() };
            of("x", problem, Scene { log: log.into(), ..scene() })
        };
        assert!(ended("error: could not compile `x`").contains("does not compile"));
        assert!(ended("Address already in use").contains("is taken: dev listens on 6150"));
        assert!(ended("thread 'main' panicked at a.rs:1").contains("panicked at a.rs:1"));
        assert!(ended("bye").contains("ended with status 1 before port 6149"));
    }
}
