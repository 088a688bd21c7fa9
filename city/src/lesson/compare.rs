//! What a lesson shows against what was printed.
//!
//! The matcher is snapbox's: `[..]` stands for anything within a line, `...` alone on a line for any lines.
//! Forgiven are trailing newlines and a carriage return at the end of a line, as `curl -i` prints it; nothing
//! else is.

use snapbox::Data;
use snapbox::filter::NormalizeToExpected;
use snapbox::report::{Palette, write_diff};

/// What was printed, without what is forgiven.
pub fn plain(printed: &str) -> String {
    let lines: Vec<_> = printed.lines().map(|line| line.trim_end_matches('\r')).collect();
    lines.join("\n").trim_end_matches('\n').to_owned()
}

/// The lines as one text with a newline at the end of each, or nothing at all.
///
/// Both sides get it, because the matcher takes the newline for a part of the line.
fn ended(text: &str) -> String {
    let text = text.trim_end_matches('\n');
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

/// What was printed, in the words of the lesson wherever the lesson's pattern matches.
fn in_its_words(shown: &[String], printed: &str) -> String {
    let expected = ended(&shown.join("\n"));
    let actual = Data::text(ended(&plain(printed)));
    NormalizeToExpected::new().redact().normalize(actual, &Data::text(expected)).render().unwrap_or_default()
}

/// Whether what was printed is what the lesson shows.
pub fn matches(shown: &[String], printed: &str) -> bool {
    in_its_words(shown, printed) == ended(&shown.join("\n"))
}

/// Whether one line matches one pattern.
pub fn line_matches(pattern: &str, line: &str) -> bool {
    matches(&[pattern.to_owned()], line)
}

/// Shown against printed, as a diff in which only what differs stands out.
pub fn difference(shown: &[String], printed: &str, colours: bool) -> String {
    let palette = if colours { Palette::color() } else { Palette::plain() };
    let expected = Data::text(ended(&shown.join("\n")));
    let actual = Data::text(in_its_words(shown, printed));
    let mut diff = String::new();
    let (left, right) = ("the lesson shows", "it printed");
    match write_diff(&mut diff, &expected, &actual, Some(&left), Some(&right), palette) {
        Ok(()) => diff.trim_matches('\n').to_owned(),
        Err(_) => format!("expected:\n{expected}\nprinted:\n{actual}"),
    }
}

/// The lines that the lesson should show: those printed, as the lesson writes them where its pattern matches.
pub fn blessed(shown: &[String], printed: &str) -> Vec<String> {
    in_its_words(shown, printed).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_matches_and_what_does_not() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&[], "", true),
            (&[], "\n", true),
            (&[], "x", false),
            (&["x"], "", false),
            (&["404"], "404\n", true),
            (&["404"], "404", true),
            (&["404"], "404\n\n", true),
            (&["404"], "\n404", false),
            (&["404"], " 404", false),
            (&["404"], "404 ", false),
            (
                &["HTTP/1.1 200 OK", "...", "Response from BLUE"],
                "HTTP/1.1 200 OK\r\nA: b\r\n\r\nResponse from BLUE\n",
                true,
            ),
            (
                &["HTTP/1.1 200 OK", "...", "Response from BLUE"],
                "HTTP/1.1 200 OK\r\nResponse from GREEN\n",
                false,
            ),
            (
                &["HTTP/1.1 404 Not Found", "Server: Pingora", "..."],
                "HTTP/1.1 404 Not Found\r\nServer: Pingora\r\nDate: x\r\n\r\n",
                true,
            ),
            (&["HTTP/1.1 404 Not Found", "..."], "HTTP/1.1 404 Not Found", true),
            (&["a", "", "b"], "a\n\nb", true),
            (&["a", "", "b"], "a\nb", false),
            (&["[..] up on [..]:6149"], "12:00 up on 0.0.0.0:6149", true),
            (&["[..] up on [..]:6149"], "12:00 up on 0.0.0.0:6150", false),
            (&["x[..]"], "x", true),
        ];
        for (lines, printed, expected) in cases {
            assert_eq!(matches(&shown(lines), printed), *expected, "{lines:?} against {printed:?}");
        }
    }

    #[test]
    fn the_difference_shows_only_what_differs() {
        let diff = difference(
            &shown(&["HTTP/1.1 [..] OK", "Response from BLUE"]),
            "HTTP/1.1 200 OK\nResponse from GREEN",
            false,
        );
        assert_eq!(
            diff,
            "---- expected: the lesson shows\n++++ actual:   it printed\n   1    1 | HTTP/1.1 [..] OK\n   2      - Response from BLUE\n        2 + Response from GREEN"
        );
    }

    #[test]
    fn blessing_keeps_the_patterns_that_still_match() {
        assert_eq!(
            blessed(
                &shown(&["HTTP/1.1 200 OK", "Date: [..]", "...", "old"]),
                "HTTP/1.1 200 OK\r\nDate: today\r\nnew\r\n"
            ),
            ["HTTP/1.1 200 OK", "Date: [..]", "new"]
        );
    }
}
