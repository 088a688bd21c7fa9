//! What a lesson runs: its example, or, in a chapter about it, the gateway.

use super::shelf;
use super::text::Lesson;

/// The configuration with which a chapter's gateway serves.
const CONFIG: &str = "conf/gateway.yaml";

impl Lesson {
    /// Whether it is a chapter outside the numbering.
    pub fn is_chapter(&self) -> bool {
        shelf::is_chapter(&self.name)
    }

    /// What somebody types to mean it: the two digits it begins with, or a chapter's name.
    pub fn number(&self) -> &str {
        match self.is_chapter() {
            true => &self.name,
            false => self.name.get(..2).unwrap_or(&self.name),
        }
    }

    /// The source whose pieces it shows, from the repository's root: its example, or the policy that a chapter adds
    /// to the gateway.
    pub fn example(&self) -> String {
        match self.is_chapter() {
            true => format!("examples/{}_policy.rs", self.name),
            false => format!("examples/{}.rs", self.name),
        }
    }

    /// The file that says which ports it opens, from the repository's root.
    pub fn opener(&self) -> String {
        if self.is_chapter() { CONFIG.to_owned() } else { self.example() }
    }

    /// The programs that it needs, as cargo is told to build them.
    pub fn programs(&self) -> Vec<[String; 2]> {
        let example = |name: String| ["--example".to_owned(), name];
        match self.is_chapter() {
            true => {
                vec![["--bin".to_owned(), self.name.clone()], example(format!("{}_policy", self.name))]
            }
            false => vec![example(self.name.clone())],
        }
    }

    /// What it starts to be served, below the target folder, with its arguments.
    pub fn served(&self) -> String {
        match self.is_chapter() {
            true => format!("debug/{} --config {CONFIG}", self.name),
            false => format!("debug/examples/{}", self.name),
        }
    }

    /// The words by which cargo is told to start it. A chapter's program has other uses, which do not serve, and may
    /// serve something smaller first.
    pub fn serving(&self) -> String {
        match self.is_chapter() {
            true => format!("--bin {} -- --config {CONFIG}", self.name),
            false => format!("--example {}", self.name),
        }
    }

    /// Whether a command of it starts it.
    pub fn starts(&self, command: &str) -> bool {
        let words = command.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{words} ").contains(&format!("{} ", self.serving()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(name: &str) -> Lesson {
        Lesson::parse(name, &format!("lessons/{name}.md"), "# X\n").unwrap()
    }

    #[test]
    fn a_lesson_has_an_example_and_a_chapter_has_the_gateway() {
        let (lesson, chapter) = (lesson("09_x"), lesson("gateway"));
        assert_eq!((lesson.number(), chapter.number()), ("09", "gateway"));
        assert_eq!(
            (lesson.example(), lesson.opener()),
            ("examples/09_x.rs".into(), "examples/09_x.rs".into())
        );
        assert_eq!(chapter.example(), "examples/gateway_policy.rs");
        assert_eq!(chapter.opener(), "conf/gateway.yaml");
        assert_eq!(lesson.programs(), [["--example", "09_x"]]);
        assert_eq!(chapter.programs(), [["--bin", "gateway"], ["--example", "gateway_policy"]]);
        assert_eq!(lesson.served(), "debug/examples/09_x");
    }

    #[test]
    fn what_serves_is_told_from_what_does_not() {
        let (lesson, chapter) = (lesson("09_x"), lesson("gateway"));
        assert!(lesson.starts("cargo run --example 09_x"));
        assert!(lesson.starts("RUST_LOG=debug cargo run  --example 09_x -- -c a"));
        assert!(!lesson.starts("cargo run --example 09_xy"));
        assert!(chapter.starts("cargo run --bin gateway -- --config conf/gateway.yaml"));
        assert!(!chapter.starts("cargo run -q --bin gateway -- -t --config conf/gateway.yaml"));
        assert!(!chapter.starts("cargo run -q --bin gateway -- explain GET /"));
        assert!(!chapter.starts("cargo run --bin gateway -- --config conf/gateway_minimal.yaml"));
    }
}
