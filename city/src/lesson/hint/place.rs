//! From words to a place: which part of the lesson's text speaks of what failed, and which functions it shows.

use super::super::header::place;
use super::super::text::{Lesson, Paragraph, Piece};

/// The section that explains the example; only its paragraphs are places to look at. The others tell the story, or
/// hold the answers.
const EXPLAINS: &str = "The code";

/// How near to the best another place must come to be named as well.
const NEARLY_AS_GOOD: f64 = 0.7;

/// What a word counts where it is said, and where it only stands in the code beneath.
const SAID: f64 = 2.0;
const SHOWN: f64 = 1.0;

/// The places of the lesson that speak most of these words, the best first: two at the most, and none if no word
/// leads anywhere.
///
/// A word that few paragraphs have says more than one that all have, so each counts by its rarity.
pub fn places(lesson: &Lesson, words: &[String]) -> Vec<String> {
    let explained: Vec<_> = lesson.prose.iter().filter(|paragraph| explains(paragraph)).collect();
    let pieces: Vec<_> = explained.iter().map(|paragraph| piece(lesson, paragraph)).collect();
    let texts: Vec<_> = explained
        .iter()
        .zip(&pieces)
        .map(|(paragraph, piece)| (terms(&paragraph.text), piece.map_or(vec![], |piece| terms(&piece.code))))
        .collect();
    let mut scores = vec![0.0; texts.len()];
    for word in searched(words) {
        let counts: Vec<_> = texts.iter().map(|(said, shown)| count(&word, said, shown)).collect();
        let having = counts.iter().filter(|count| **count > 0.0).count();
        let rarity = (1.0 + counts.len() as f64 / having.max(1) as f64).ln();
        scores.iter_mut().zip(counts).for_each(|(score, count)| *score += rarity * count);
    }
    let best = scores.iter().copied().fold(0.0, f64::max);
    let mut order: Vec<_> = (0..scores.len()).filter(|at| scores[*at] > best * NEARLY_AS_GOOD).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.iter().take(2).map(|at| described(lesson, explained[*at], pieces[*at])).collect()
}

/// Whether it says something of the code; a link to the whole file says nothing.
fn explains(paragraph: &Paragraph) -> bool {
    paragraph.section == EXPLAINS && !paragraph.text.starts_with("The whole file")
}

/// What the text names in backticks right above a step: what the step is about.
pub fn named_near(lesson: &Lesson, line: usize) -> Vec<String> {
    let section = lesson.sections.iter().rev().find(|(_, begins)| *begins < line);
    let above = lesson.prose.iter().rev().find(|paragraph| paragraph.line < line);
    let above = above.filter(|paragraph| section.is_some_and(|(title, _)| *title == paragraph.section));
    above
        .map_or(vec![], |paragraph| paragraph.text.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn count(word: &str, said: &[String], shown: &[String]) -> f64 {
    let has = |terms: &[String]| terms.iter().any(|term| alike(word, term));
    f64::from(u8::from(has(said))) * SAID + f64::from(u8::from(has(shown))) * SHOWN
}

/// The code that a paragraph is about: what stands right beneath it, else what stands above.
fn piece<'a>(lesson: &'a Lesson, paragraph: &Paragraph) -> Option<&'a Piece> {
    let next = lesson.prose.iter().map(|other| other.line).find(|line| *line > paragraph.line);
    let beneath = lesson.pieces.iter().find(|piece| piece.line > paragraph.line);
    beneath
        .filter(|piece| next.is_none_or(|next| piece.line < next))
        .or_else(|| lesson.pieces.iter().rev().find(|piece| piece.line < paragraph.line))
}

fn described(lesson: &Lesson, paragraph: &Paragraph, piece: Option<&Piece>) -> String {
    let here = place(&lesson.file, paragraph.line);
    let says = first_sentence(&paragraph.text);
    match piece.map(|piece| functions(&piece.code)).filter(|names| !names.is_empty()) {
        Some(names) => format!("{}: {here}, '{says}'", names.join(", ")),
        None => format!("{here}, '{says}'"),
    }
}

fn first_sentence(text: &str) -> &str {
    let ends = [". ", "? ", "! ", ": "].iter().filter_map(|end| text.find(end)).min();
    ends.map_or(text, |end| &text[..=end]).trim_end_matches(':')
}

/// The functions of a piece of code, in their order. `new_ctx` only makes an empty context.
fn functions(code: &str) -> Vec<String> {
    let named = code.lines().filter_map(|line| line.trim_start().split_once("fn "));
    let names =
        named.filter(|(before, _)| before.split(' ').all(|word| ["", "async", "pub"].contains(&word)));
    names
        .filter_map(|(_, after)| after.split(['(', '<']).next())
        .filter(|name| *name != "new_ctx")
        .map(|name| format!("`{name}`"))
        .collect()
}

/// The words to look for, each once. An identifier is looked for as a whole.
fn searched(words: &[String]) -> Vec<String> {
    in_order(words.iter().flat_map(|text| split(text)).collect())
}

/// The words of a text; identifiers whole and in their parts.
fn terms(text: &str) -> Vec<String> {
    let with_parts = split(text).into_iter().flat_map(|word| {
        let parts: Vec<_> = word.split('_').map(str::to_owned).collect();
        parts.into_iter().chain([word])
    });
    in_order(with_parts.collect())
}

fn split(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_lowercase).collect()
}

/// Each once, and only what has three letters and more.
fn in_order(mut words: Vec<String>) -> Vec<String> {
    words.retain(|word| word.len() >= 3 && word.contains(char::is_alphabetic));
    words.sort();
    words.dedup();
    words
}

/// Whether two words are forms of one: `check` and `checks`, `announced` and `announces`.
fn alike(a: &str, b: &str) -> bool {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let shorter = a.chars().count().min(b.chars().count());
    a == b || (common >= 4 && common + 1 >= shorter && a.len().abs_diff(b.len()) <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = include_str!("../fixtures/09_path_routing.md");

    fn found(words: &[&str]) -> Vec<String> {
        let lesson = Lesson::parse("09_path_routing", "lessons/09_path_routing.md", MODEL).unwrap();
        places(&lesson, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn line(begins: &str) -> usize {
        MODEL.lines().position(|line| line.starts_with(begins)).unwrap() + 1
    }

    #[test]
    fn the_paragraph_that_speaks_of_it_is_found_with_the_functions_that_it_shows() {
        let expected = format!(
            "`find_route`: lessons/09_path_routing.md:{}, '`find_route` compares the whole first segment, so `/blue` \
             and `/blue/sky` are Blue's, and `/bluebird` is nobody's.'",
            line("`find_route` compares")
        );
        assert_eq!(found(&["/bluebird"]), [expected]);
        let phases = found(&["upstream_peer"]);
        assert!(
            phases[0].starts_with("`request_filter`, `upstream_peer`, `upstream_request_filter`: "),
            "{phases:?}"
        );
        assert!(phases[0].ends_with("'`request_filter` writes the decision, once.'"), "{phases:?}");
        assert_eq!(found(&["nonsense"]), [""; 0]);
        assert_eq!(found(&[]), [""; 0]);
    }

    #[test]
    fn words_are_known_in_their_forms() {
        for (a, b, same) in [
            ("check", "checks", true),
            ("announced", "announces", true),
            ("turn", "turns", true),
            ("order", "ordered", true),
            ("background_service", "background_service", true),
            ("set", "sets", false),
            ("server", "service", false),
            ("count", "counter", true),
        ] {
            assert_eq!(alike(a, b), same, "{a} {b}");
        }
        assert_eq!(terms("`set_retry` is A word, 42"), ["retry", "set", "set_retry", "word"]);
    }
}
