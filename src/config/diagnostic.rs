//! What is wrong with a configuration: what, where (file, line, column and the text itself), and what to do.
//!
//! Messages and remedies quote keys, names and paths, and no other value: it may be a secret. The file's own text
//! is shown, in which a secret should stand as the name of a variable or file, and never what that stands for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How many are shown at once. Who has more has one mistake many times.
const SHOWN: usize = 100;

/// A text that configuration was read from.
#[derive(Debug)]
pub struct Source {
    /// Its path as the user knows it.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

impl Source {
    /// Its name, and the line and column of a place in it, counted from one, columns in characters.
    pub fn position(&self, span: &Range<usize>) -> (&str, usize, usize) {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        (&self.name, line, before[line_start..].chars().count() + 1)
    }
}

/// Where something was written. What was made in code has no place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which of the sources.
    pub source: usize,
    /// From which byte to which.
    pub span: Range<usize>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub place: Place,
    /// What, as a clause without a full stop: `unknown key `upstram``.
    pub message: String,
    /// What to do: `did you mean `upstream`?`. Never empty.
    pub fix: String,
}

/// Everything that is wrong, with the texts in which it is.
#[derive(Clone)]
pub struct Report {
    sources: Arc<[Source]>,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Puts diagnostics into the order of the text, each once.
    pub fn new(sources: Arc<[Source]>, mut diagnostics: Vec<Diagnostic>) -> Report {
        diagnostics.sort_by_key(|d| (d.place.source, d.place.span.start));
        diagnostics.dedup();
        Report { sources, diagnostics }
    }

    /// The same, with what makes texts unreadable. Whatever else was said of such a text is not worth reading.
    pub fn with_unreadable(mut self, unreadable: Vec<Diagnostic>) -> Report {
        self.diagnostics.retain(|said| unreadable.iter().all(|text| text.place.source != said.place.source));
        self.diagnostics.extend(unreadable);
        Report::new(self.sources, self.diagnostics)
    }

    /// All of them, in the order of the text.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// File, line and column of a place, counted from one, columns in characters.
    pub fn position(&self, place: &Place) -> (&str, usize, usize) {
        self.sources.get(place.source).map_or(("", 1, 1), |source| source.position(&place.span))
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut groups = Vec::new();
        for diagnostic in self.diagnostics.iter().take(SHOWN) {
            let group = Group::with_title(Level::ERROR.primary_title(&*diagnostic.message));
            let group = match self.sources.get(diagnostic.place.source) {
                Some(source) => {
                    group.element(Snippet::source(&*source.text).path(&*source.name).annotation(
                        AnnotationKind::Primary.span(visible(&source.text, &diagnostic.place.span)),
                    ))
                }
                None => group,
            };
            groups.push(group.element(Level::HELP.message(&*diagnostic.fix)));
        }
        // One rendering each: the renderer would draw the second and later ones as notes to the first.
        let rendered: Vec<String> =
            groups.into_iter().map(|group| renderer.render(std::slice::from_ref(&group))).collect();
        rendered.join("\n\n")
    }
}

/// At least one character, none of it behind the end: what has no length, such as an end of file, is marked
/// where it is.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    if end > start {
        return start..end;
    }
    let width = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    start..start + width
}

/// For people: the text with what is wrong marked in it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))?;
        if self.diagnostics.len() > SHOWN {
            write!(f, "\n\n… and {} more", self.diagnostics.len() - SHOWN)?;
        }
        match self.diagnostics.len() {
            1 => write!(f, "\n\nerror: the configuration cannot be used: 1 problem"),
            n => write!(f, "\n\nerror: the configuration cannot be used: {n} problems"),
        }
    }
}

/// For tests and logs: a line each, `file:line:column: message`.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            let (file, line, column) = self.position(&diagnostic.place);
            writeln!(f, "{file}:{line}:{column}: {} ({})", diagnostic.message, diagnostic.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Of the names that exist, the one that was probably meant.
pub fn nearest<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(typed, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A remedy for a name that does not exist: the likely one, or all there are.
pub fn instead<'n>(typed: &str, names: impl IntoIterator<Item = &'n str> + Clone) -> String {
    if let Some(name) = nearest(typed, names.clone()) {
        return format!("did you mean `{name}`?");
    }
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "there is none to choose from".to_string(),
        1 => format!("there is only {}", names[0]),
        _ => format!("there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_place_text_and_remedy() {
        let text = "routes:\n  - upstram: city\n".to_string();
        let sources = Arc::from([Source { name: "gateway.yaml".to_string(), text }]);
        let report = Report::new(
            sources,
            vec![Diagnostic {
                place: Place { source: 0, span: 12..19 },
                message: "unknown key `upstram`".to_string(),
                fix: "did you mean `upstream`?".to_string(),
            }],
        );
        assert_eq!(
            format!("{report:?}"),
            "gateway.yaml:2:5: unknown key `upstram` (did you mean `upstream`?)\n"
        );
        let shown = report.to_string();
        for part in
            ["gateway.yaml:2:5", "  - upstram: city", "^^^^^^^", "did you mean `upstream`?", "1 problem"]
        {
            assert!(shown.contains(part), "{part} is missing in:\n{shown}");
        }
    }

    #[test]
    fn a_place_behind_the_end_is_shown_at_the_end() {
        assert_eq!(visible("ab", &(7..9)), 2..2);
        assert_eq!(visible("aü", &(1..1)), 1..3);
    }

    #[test]
    fn a_remedy_is_the_likely_name_or_all_names() {
        assert_eq!(instead("upstram", ["upstream", "name"]), "did you mean `upstream`?");
        assert_eq!(instead("zzz", ["upstream", "name"]), "there are `upstream`, `name`");
    }
}
