//! Which lessons there are: their names, their modules, and the one that somebody means by `6`.

use std::fs;
use std::path::Path;

use super::text::Lesson;
use crate::trouble::{OrTrouble, Result, Trouble, nearest};

/// The modules of the course, each with the number of its first lesson.
pub const MODULES: [(u8, &str); 7] = [
    (0, "The server"),
    (6, "The proxy logic"),
    (16, "Upstreams"),
    (26, "Load balancing"),
    (36, "Traffic control and security"),
    (43, "Caching"),
    (48, "Production"),
];

/// The chapters outside the numbering, which come after all lessons, each with the title of its part of the course.
const CHAPTERS: [(&str, &str); 1] = [("gateway", "The gateway")];

/// The number of the module to which a lesson belongs, counted from 1, and its title. Chapters count on.
pub fn module(name: &str) -> (usize, &'static str) {
    if let Some(at) = CHAPTERS.iter().position(|(chapter, _)| *chapter == name) {
        return (MODULES.len() + 1 + at, CHAPTERS[at].1);
    }
    let number: u8 = name.get(..2).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let index = MODULES.iter().rposition(|(first, _)| *first <= number).unwrap_or(0);
    (index + 1, MODULES[index].1)
}

/// Whether a file's stem is that of a lesson or an example: two digits, an underscore, a name.
pub fn is_numbered(stem: &str) -> bool {
    let bytes = stem.as_bytes();
    bytes.len() > 3 && bytes[0].is_ascii_digit() && bytes[1].is_ascii_digit() && bytes[2] == b'_'
}

/// Whether a file's stem is that of a chapter outside the numbering.
pub fn is_chapter(stem: &str) -> bool {
    CHAPTERS.iter().any(|(chapter, _)| *chapter == stem)
}

/// Whether a file's stem is that of a text of the course, numbered or not.
pub fn is_lesson(stem: &str) -> bool {
    is_numbered(stem) || is_chapter(stem)
}

/// The numbered files of one folder with one ending, by their stems, in order.
pub fn numbered(folder: &Path, ending: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Trouble::new(format!("cannot read {}", folder.display())).cause(error)),
    };
    let mut stems = Vec::new();
    for entry in entries {
        let name = entry.or_trouble(|| format!("cannot read {}", folder.display()))?.file_name();
        if let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(ending))
            && is_numbered(stem)
        {
            stems.push(stem.to_owned());
        }
    }
    stems.sort();
    Ok(stems)
}

/// The names of all lessons, in order, and of the chapters that come after them.
pub fn names(repository: &Path) -> Result<Vec<String>> {
    let folder = repository.join("lessons");
    let mut names = numbered(&folder, ".md")?;
    let chapters = CHAPTERS.iter().map(|(chapter, _)| (*chapter).to_owned());
    names.extend(chapters.filter(|chapter| folder.join(format!("{chapter}.md")).exists()));
    Ok(names)
}

/// The lesson that is meant by `6`, `06`, `06_simple_forward` or the path of one of its files; the chapter that is
/// meant by its name.
pub fn find(names: &[String], word: &str) -> Result<String> {
    let base = Path::new(word).file_stem().and_then(|stem| stem.to_str()).unwrap_or(word);
    let number = base.parse::<u8>().ok().map(|number| format!("{number:02}_"));
    let found = names.iter().find(|name| match &number {
        Some(number) => name.starts_with(number),
        None => *name == base,
    });
    found.cloned().ok_or_else(|| {
        let trouble = Trouble::new(format!("no lesson '{word}'")).status(2);
        // With and without its number: `simple_foward` is near to 06_simple_forward as well.
        let bare = names.iter().filter_map(|name| name.get(3..));
        let near = nearest(base, names.iter().map(String::as_str)).or_else(|| nearest(base, bare));
        match near.filter(|_| number.is_none()) {
            Some(near) => trouble.remedy(format!("did you mean '{near}'?")),
            None => trouble.remedy("`cargo city list` shows them"),
        }
    })
}

/// The lessons that are meant, read; all of them if none is named.
pub fn read(repository: &Path, words: &[String]) -> Result<Vec<Lesson>> {
    let all = names(repository)?;
    let mut wanted = words.iter().map(|word| find(&all, word)).collect::<Result<Vec<_>>>()?;
    if words.is_empty() {
        wanted = all;
    }
    // The order of the course: a chapter's name comes after every number.
    wanted.sort();
    wanted.dedup();
    wanted.iter().map(|name| Lesson::read(repository, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> Vec<String> {
        ["05_background_services", "06_simple_forward", "36_basic_rate_limit", "gateway"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn a_lesson_is_found_by_number_name_or_file() {
        for word in
            ["6", "06", "06_simple_forward", "lessons/06_simple_forward.md", "examples/06_simple_forward.rs"]
        {
            assert_eq!(find(&shelf(), word).unwrap(), "06_simple_forward", "{word}");
        }
    }

    #[test]
    fn a_chapter_is_found_by_its_name_and_comes_last() {
        assert_eq!(find(&shelf(), "gateway").unwrap(), "gateway");
        assert_eq!(find(&shelf(), "lessons/gateway.md").unwrap(), "gateway");
        let repository = tempfile::tempdir().unwrap();
        fs::create_dir(repository.path().join("lessons")).unwrap();
        for file in ["48_x.md", "gateway.md", "find.md"] {
            fs::write(repository.path().join("lessons").join(file), "").unwrap();
        }
        assert_eq!(names(repository.path()).unwrap(), ["48_x", "gateway"]);
    }

    #[test]
    fn the_nearest_is_suggested() {
        let trouble = find(&shelf(), "06_simple_foward").unwrap_err();
        assert_eq!(trouble.to_string(), "no lesson '06_simple_foward'; did you mean '06_simple_forward'?");
        assert_eq!(trouble.status, 2);
        assert!(find(&shelf(), "99").unwrap_err().to_string().ends_with("`cargo city list` shows them"));
    }

    #[test]
    fn modules_begin_where_the_course_says() {
        assert_eq!(module("05_background_services"), (1, "The server"));
        assert_eq!(module("06_simple_forward"), (2, "The proxy logic"));
        assert_eq!(module("48_observability"), (7, "Production"));
        assert_eq!(module("gateway"), (8, "The gateway"));
    }

    #[test]
    fn only_numbered_files_are_lessons() {
        assert!(is_numbered("06_simple_forward"));
        assert!(!is_numbered("SUMMARY") && !is_numbered("6_x") && !is_numbered("06_"));
    }
}
