//! What was waited for and did not come: an end, a port, a line of the log, a condition.

use std::time::Duration;

use super::super::condition::Condition;
use super::super::play::{Example, Scene, joined};
use super::{Answer, Finding, list};

/// What was started in the background and ended.
pub fn ended_early(status: i32, waiting_for: &str, scene: &Scene) -> String {
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

/// Ports that nobody has opened.
pub fn not_listening(missing: &[u16], scene: &Scene) -> String {
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

/// A line that was waited for in the log; also the text of a line.
pub fn not_printed(pattern: &str, scene: &Scene) -> Finding {
    if scene.log.trim().is_empty() {
        return match scene.example {
            Example::Ended(status) => format!("the example printed nothing and ended with status {status}"),
            _ => "the example printed nothing at all: does it start a logger, and at level info?".into(),
        }
        .into();
    }
    // Pingora's own words, in every lesson that checks servers.
    if pattern.contains("healthy") && !scene.log.contains(" becomes ") {
        let what = "no check has found that a server's health has changed; Pingora logs it when one does. Are checks \
                    made at all: who runs them, how often, and how much evidence do they want?";
        let words = ["checks", "background_service", "health_check_frequency", "unhealthy"];
        return Finding::new(what.into(), words);
    }
    let wanted = pattern.replace("[..]", " ");
    let likeness = |line: &str| strsim::sorensen_dice(wanted.trim(), line);
    let lines = scene.log.lines().map(|line| (likeness(line), line.trim()));
    let nearest = lines.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness > 0.35);
    let what = match nearest {
        Some((_, line)) => {
            format!(
                "the nearest line in the log is '{line}': did it differ, or come before the line above it?"
            )
        }
        None => "no line in the log is like it: was the phase that logs it ever reached?".into(),
    };
    Finding::new(what, [wanted])
}

/// A command that did not end.
pub fn deadline(typed: &str, within: Duration, printed: &str, scene: &Scene) -> String {
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

/// A condition that never held: it is the line of the log that was not printed, or the request that never came.
pub fn waited_in_vain(answer: &Answer) -> Option<Finding> {
    if answer.status.0 == answer.status.1 {
        return None;
    }
    let words = shlex::split(answer.typed)?;
    let condition = words.iter().skip_while(|word| *word != "wait-for").nth(1)?;
    match Condition::parse(condition).ok()? {
        Condition::Log(_, text) => Some(not_printed(&text, answer.scene)),
        Condition::Journal(host, target, _) => {
            let others = answer.scene.journals.iter().filter(|(name, _)| name != host);
            let asked = others.filter(|(_, lines)| lines.iter().any(|line| line.contains(&target)));
            let who: Vec<_> = asked.map(|(name, _)| name.as_str()).collect();
            let what = match who.as_slice() {
                [] => format!("{host} was not asked for {target}, or not so often, and nobody else was"),
                who => format!("{host} was not asked for {target}, or not so often; {} was", who.join(", ")),
            };
            Some(Finding::new(what, ["select", "upstream_peer"]))
        }
        _ => None,
    }
}
