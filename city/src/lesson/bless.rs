//! Writing what was printed into a lesson, for review after an intended change.

use std::fs;
use std::path::Path;

use super::compare;
use super::text::{Lesson, Step};
use crate::trouble::{OrTrouble, Result};

/// Rewrites the outputs of a lesson that no longer match, and returns how many those were.
pub fn write(repository: &Path, lesson: &Lesson, printed: &[(usize, String)]) -> Result<usize> {
    let path = repository.join(&lesson.file);
    let text = fs::read_to_string(&path).or_trouble(|| format!("cannot read {}", lesson.file))?;
    let (blessed, changed) = blessed(&text, lesson, printed);
    if changed > 0 {
        fs::write(&path, blessed).or_trouble(|| format!("cannot write {}", lesson.file))?;
    }
    Ok(changed)
}

/// The text of a lesson with the outputs that were printed, and how many of them have changed.
fn blessed(text: &str, lesson: &Lesson, printed: &[(usize, String)]) -> (String, usize) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut changed = 0;
    // From the end, so that the numbers of the lines above stay right.
    for (index, output) in printed.iter().rev() {
        let Some(Step::Command(shown)) = lesson.steps.get(*index) else { continue };
        if compare::matches(&shown.output, output) {
            continue;
        }
        changed += 1;
        // A block inside a list is indented, and so is what is written into it.
        let command = &lines[shown.line - 1];
        let indent = command[..command.len() - command.trim_start().len()].to_owned();
        let new = compare::blessed(&shown.output, output).into_iter().map(|line| match line.as_str() {
            "" => line,
            _ => format!("{indent}{line}"),
        });
        lines.splice(shown.output_lines.start - 1..shown.output_lines.end - 1, new);
    }
    (lines.join("\n") + "\n", changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_rewritten() {
        let text = "# 09 · X\n\n```console\ndev$ a\nsame [..]\ndev$ b\n? 3\nold\nDate: [..]\ndev$ c\n```\n\n- list\n\n  ```console\n  dev$ d\n  ```\n\nend\n";
        let lesson = Lesson::parse("09_x", "lessons/09_x.md", text).unwrap();
        let printed = [(0, "same thing\n"), (1, "new\r\nDate: now\n\nmore\n"), (2, ""), (3, "one\n")]
            .map(|(at, text)| (at, text.to_owned()));
        let (blessed, changed) = blessed(text, &lesson, &printed);
        assert_eq!(changed, 2);
        assert_eq!(
            blessed,
            "# 09 · X\n\n```console\ndev$ a\nsame [..]\ndev$ b\n? 3\nnew\nDate: [..]\n\nmore\ndev$ c\n```\n\n- list\n\n  ```console\n  dev$ d\n  one\n  ```\n\nend\n"
        );
    }
}
