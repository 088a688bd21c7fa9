//! What a learner reads when a step fails.

use std::fmt::Write;

use console::style;

use super::compare;
use super::header::place;
use super::hint::hint;
use super::play::{Failure, Problem, joined};
use super::text::Lesson;

/// How much of the example's log is shown.
const LOG_LINES: usize = 15;
/// How many requests of each upstream are shown.
const JOURNAL_LINES: usize = 8;

/// The whole report: where, what was typed, what differs, what was to be seen meanwhile, where to look.
pub fn report(lesson: &Lesson, failure: &Failure, colours: bool) -> String {
    let mut text = String::new();
    let bold = |words: &str| style(words.to_owned()).bold().force_styling(colours).to_string();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {}", bold(&place(&lesson.file, failure.line)));
    let _ = writeln!(text, "    {}\n", failure.typed.replace('\n', "\n    "));
    indent(&mut text, &what(&failure.problem, colours), 2);

    let _ = writeln!(text, "\n  {}", bold("what the upstreams saw"));
    for (host, lines) in &failure.scene.journals {
        journal(&mut text, host, lines);
    }
    let idle = failure.scene.journals.iter().filter(|(_, lines)| lines.is_empty());
    let idle: Vec<_> = idle.map(|(host, _)| host.as_str()).collect();
    let _ = match idle.as_slice() {
        [] if failure.scene.journals.is_empty() => writeln!(text, "    nothing"),
        [] => Ok(()),
        idle => writeln!(text, "    nothing: {}", idle.join(", ")),
    };

    let log: Vec<_> = failure.scene.log.lines().collect();
    let tail = &log[log.len().saturating_sub(LOG_LINES)..];
    let _ = writeln!(text, "\n  {}", bold("the end of the example's log"));
    indent(&mut text, if tail.is_empty() { "nothing" } else { "" }, 4);
    indent(&mut text, &tail.join("\n"), 4);

    if let Some(hint) = hint(lesson, failure) {
        let label = style("hint:").yellow().bold().force_styling(colours);
        let _ = writeln!(text, "\n  {label} {}", hint.what);
        for place in &hint.places {
            let _ = writeln!(text, "        see {place}");
        }
    }
    text
}

fn journal(text: &mut String, host: &str, lines: &[String]) {
    let hidden = lines.len().saturating_sub(JOURNAL_LINES);
    if hidden > 0 {
        let _ = writeln!(text, "    {host:<10}({hidden} earlier requests)");
    }
    for line in &lines[hidden..] {
        let _ = writeln!(text, "    {host:<10}{line}");
    }
}

/// What went otherwise, without the surroundings.
fn what(problem: &Problem, colours: bool) -> String {
    match problem {
        Problem::Differs { shown, printed, status } => {
            let mut text = String::new();
            if !compare::matches(shown, printed) {
                text = compare::difference(shown, printed, colours);
            }
            if status.0 != status.1 {
                let _ = write!(text, "\nexit status {}, expected {}", status.1, status.0);
            }
            text.trim_start_matches('\n').to_owned()
        }
        Problem::Deadline { within, printed } => {
            let so_far = match printed.trim_end() {
                "" => "it had printed nothing".to_owned(),
                printed => format!("it had printed:\n{printed}"),
            };
            format!("still running after {}; {so_far}", humantime::format_duration(*within))
        }
        Problem::NotPrinted { pattern, within } => {
            format!("this line did not come within {}:\n- {pattern}", humantime::format_duration(*within))
        }
        Problem::NotListening { missing, within } => {
            format!("no listener on port {} within {}", joined(missing), humantime::format_duration(*within))
        }
        Problem::EndedEarly { status, waiting_for } => {
            format!("it ended with status {status} while {waiting_for} was waited for")
        }
    }
}

fn indent(text: &mut String, lines: &str, by: usize) {
    for line in lines.lines() {
        let _ = writeln!(text, "{:by$}{line}", "");
    }
}

#[cfg(test)]
mod tests {
    use super::super::play::{Example, Scene};
    use super::*;

    #[test]
    fn the_report_says_all_that_is_known() {
        let lesson = Lesson::parse("09_x", "lessons/09_x.md", "# 09 · X\n").unwrap();
        let failure = Failure {
            line: 128,
            typed: "client1$ curl -s http://172.28.0.10:6149/blue".into(),
            problem: Problem::Differs {
                shown: vec!["Response from BLUE".into()],
                printed: "Response from GREEN\n".into(),
                status: (0, 0),
            },
            scene: Scene {
                ports: vec![6149],
                listening: vec![6149],
                journals: vec![
                    ("blue".into(), vec![]),
                    ("green".into(), vec!["GET /blue  host=g  from=d".into()]),
                ],
                log: "up\n/blue -> green\n".into(),
                example: Example::Running,
            },
            recorded: vec![],
        };
        let expected = "  lessons/09_x.md:128
    client1$ curl -s http://172.28.0.10:6149/blue

  ---- expected: the lesson shows
  ++++ actual:   it printed
     1      - Response from BLUE
          1 + Response from GREEN

  what the upstreams saw
    green     GET /blue  host=g  from=d
    nothing: blue

  the end of the example's log
    up
    /blue -> green

  hint: green answered; its journal says: GET /blue  host=g  from=d; the selection was logged: /blue -> green
";
        assert_eq!(report(&lesson, &failure, false), expected);
    }

    #[test]
    fn long_logs_and_journals_show_their_end() {
        let mut text = String::new();
        let lines: Vec<_> = (0..20).map(|n| format!("GET /{n}")).collect();
        journal(&mut text, "blue", &lines);
        assert!(text.starts_with("    blue      (12 earlier requests)\n    blue      GET /12\n"));
        assert!(text.ends_with("GET /19\n"));
    }
}
