//! One ```` ```console ```` block: prompts, commands, and what is shown beneath each.

use std::ops::Range;

use super::header::place;
use crate::trouble::{Result, Trouble, nearest};

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine itself: the prompt `host$`.
    Machine,
    /// On a host of the City.
    Host(&'static str),
}

/// The prompts of a lesson.
const PROMPTS: [(&str, Place); 4] = [
    ("dev", Place::Host("dev")),
    ("client1", Place::Host("client1")),
    ("client2", Place::Host("client2")),
    ("host", Place::Machine),
];

impl Place {
    /// The prompt as the lesson shows it, without its `$`.
    pub fn prompt(self) -> &'static str {
        match self {
            Place::Machine => "host",
            Place::Host(name) => name,
        }
    }
}

/// One command and what the lesson shows beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Where it runs.
    pub place: Place,
    /// The command as typed, without the `&` of one that runs in the background.
    pub command: String,
    /// Whether it ended in `&`.
    pub background: bool,
    /// The exit status it must have: `? N`, or 0.
    pub status: i32,
    /// The lines shown beneath it.
    pub output: Vec<String>,
    /// The line of the file on which it stands, counted from 1.
    pub line: usize,
    /// The lines of the file that hold `output`, counted from 1; empty, but in the right place, if none do.
    pub output_lines: Range<usize>,
}

impl Shown {
    /// The command as typed, `&` included.
    pub fn typed(&self) -> String {
        let ampersand = if self.background { " &" } else { "" };
        format!("{}$ {}{ampersand}", self.place.prompt(), self.command)
    }
}

/// Reads one block. `first` is the line of the file on which its content begins, counted from 1.
pub fn parse(content: &str, file: &str, first: usize) -> Result<Vec<Shown>> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut lines = content.lines().zip(first..).peekable();
    while let Some((text, line)) = lines.next() {
        let Some(prompted) = prompted(text, file, line)? else {
            let Some(command) = commands.last_mut() else {
                return Err(Trouble::new(format!(
                    "{}: a console block must begin with a prompt",
                    place(file, line)
                ))
                .remedy("begin it with dev$, client1$, client2$ or host$, or call the block ```text"));
            };
            if let Some(status) = text.strip_prefix("? ") {
                set_status(command, status, file, line)?;
            } else {
                command.output.push(text.to_owned());
                command.output_lines.end = line + 1;
            }
            continue;
        };
        let (at, mut command) = prompted;
        let mut last = line;
        while command.ends_with('\\') {
            let Some((more, line)) = lines.next() else {
                return Err(Trouble::new(format!(
                    "{}: the command ends in \\ and nothing follows",
                    place(file, line)
                ))
                .remedy("remove the \\, or add the line that belongs to it"));
            };
            command = format!("{command}\n{more}");
            last = line;
        }
        let (command, background) = match command.strip_suffix('&') {
            // `&&` is a command that goes on, and a mistake here; bash will say so.
            Some(rest) if rest.ends_with(char::is_whitespace) => (rest.trim_end().to_owned(), true),
            _ => (command, false),
        };
        commands.push(Shown {
            place: at,
            command,
            background,
            status: 0,
            output: Vec::new(),
            line,
            output_lines: last + 1..last + 1,
        });
    }
    Ok(commands)
}

/// The place and the command, if the line begins with a prompt.
fn prompted(text: &str, file: &str, line: usize) -> Result<Option<(Place, String)>> {
    let Some((name, command)) = text.split_once('$') else { return Ok(None) };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !is_name || !(command.is_empty() || command.starts_with(' ')) {
        return Ok(None);
    }
    let Some((_, at)) = PROMPTS.iter().find(|(prompt, _)| *prompt == name) else {
        let known = PROMPTS.map(|(prompt, _)| prompt);
        let remedy = match nearest(name, known) {
            Some(near) => format!("did you mean {near}$?"),
            None => "the prompts are dev$, client1$, client2$ and host$".to_owned(),
        };
        return Err(Trouble::new(format!("{}: unknown prompt {name}$", place(file, line))).remedy(remedy));
    };
    let command = command.trim();
    if command.is_empty() {
        return Err(Trouble::new(format!("{}: {name}$ has no command", place(file, line)))
            .remedy("write the command on the same line"));
    }
    Ok(Some((*at, command.to_owned())))
}

fn set_status(command: &mut Shown, status: &str, file: &str, line: usize) -> Result {
    let here = place(file, line);
    if command.background || !command.output.is_empty() {
        return Err(Trouble::new(format!(
            "{here}: '? {status}' must stand right after a foreground command"
        ))
        .remedy("move it up, above the output"));
    }
    command.status = status.trim().parse().map_err(|_| {
        Trouble::new(format!("{here}: '? {status}' is no exit status")).remedy("write a number, such as ? 7")
    })?;
    command.output_lines = line + 1..line + 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(content: &str) -> Vec<Shown> {
        parse(content, "lessons/09_x.md", 40).unwrap()
    }

    fn trouble(content: &str) -> String {
        parse(content, "lessons/09_x.md", 40).unwrap_err().to_string()
    }

    #[test]
    fn commands_and_what_is_shown_beneath_them() {
        let commands = block("dev$ cargo run &\n[..] up\nclient2$ curl -s x\nA\n\nB\nhost$ true\n");
        assert_eq!(commands.len(), 3);
        assert_eq!(commands[0].command, "cargo run");
        assert!(commands[0].background);
        assert_eq!(commands[0].typed(), "dev$ cargo run &");
        assert_eq!(commands[1].place, Place::Host("client2"));
        assert_eq!(commands[1].output, ["A", "", "B"]);
        assert_eq!(commands[1].output_lines, 43..46);
        assert_eq!(commands[2].place, Place::Machine);
        assert_eq!(commands[2].output_lines, 47..47);
    }

    #[test]
    fn a_backslash_joins_lines_and_a_question_mark_is_a_status() {
        let commands = block("client1$ curl -s \\\n    http://x\n? 7\noutput\n");
        assert_eq!(commands[0].command, "curl -s \\\n    http://x");
        assert_eq!(commands[0].status, 7);
        assert_eq!(commands[0].line, 40);
        assert_eq!(commands[0].output_lines, 43..44);
    }

    #[test]
    fn two_ampersands_are_not_the_background() {
        assert!(!block("dev$ true &&").first().unwrap().background);
        assert!(!block("dev$ curl 'http://x/?a&b&'").first().unwrap().background);
    }

    #[test]
    fn dollars_in_output_are_output() {
        assert_eq!(block("dev$ echo\nprice$5\n$ x\nA$ b")[0].output, ["price$5", "$ x", "A$ b"]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        assert!(trouble("hello").starts_with("lessons/09_x.md:40: a console block must begin with a prompt"));
        assert!(
            trouble("dev$ a\nclinet1$ b").contains(":41: unknown prompt clinet1$; did you mean client1$?")
        );
        assert!(trouble("dev$ a\nout\n? 3").contains(":42: '? 3' must stand right after"));
        assert!(trouble("dev$ a\n? x").contains("no exit status"));
        assert!(trouble("dev$ a \\").contains(":40: the command ends in \\"));
        assert!(trouble("dev$ ").contains("dev$ has no command"));
    }
}
