//! Whether names, ports, files, sections and commands agree over all lessons: the second part of dev-check.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::anchors;
use super::header::place;
use super::shelf;
use super::text::{Lesson, Step};
use crate::trouble::{OrTrouble, Result};

/// The sections of a lesson, in their order.
const SECTIONS: [&str; 7] =
    ["The idea", "Key concepts", "The code", "Run it", "Try it", "Break it", "In production"];

/// Addresses at which an example itself listens, as they are written in its source: the lesson's ports.
const OWN: [&str; 8] =
    ["0.0.0.0", "127.0.0.1", "[::1]", "[::]", "localhost", "172.28.0.10", "dev.pingora.local", "dev"];

/// What a command of a lesson may begin with: every host of both Cities has these.
const PROGRAMS: &str = "bash cargo city curl openssl \
    ps pgrep pkill kill free pidof pmap pwdx skill slabtop sysctl tload top uptime vmstat w watch \
    [ arch b2sum base32 base64 basename basenc cat chgrp chmod chown cksum comm cp csplit cut date dd df dir \
    dircolors dirname du echo env expand expr factor false fmt fold groups head hostid id install join link ln \
    logname ls md5sum mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pinky pr printenv \
    printf ptx pwd readlink realpath rm rmdir seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf \
    sleep sort split stat stdbuf stty sum sync tac tail tee test timeout touch tr true truncate tsort tty uname \
    unexpand uniq unlink users wc who whoami yes \
    : . alias bg cd command declare eval exec exit export fg hash jobs let local mapfile read set shift source \
    time times trap type ulimit umask unset wait [[ (( ! { } ( ) if then elif else fi for do done while until \
    case esac function";

/// How many lines of code an example may have without a reason. What is blank or only a comment is none: an example
/// does not become longer to read by being explained.
const LINES_OF_CODE: usize = 150;

/// One thing that was checked over all lessons.
#[derive(Debug)]
pub struct Check {
    /// What, in a few words.
    pub name: &'static str,
    /// What does not agree, each with its place and what to do.
    pub problems: Vec<String>,
}

/// Everything that can be checked without running anything.
pub fn check(repository: &Path, lessons: &[Lesson]) -> Result<Vec<Check>> {
    let sources = read(repository, lessons, Lesson::example)?;
    let openers = read(repository, lessons, Lesson::opener)?;
    let each = |problems: fn(&Lesson) -> Vec<String>| lessons.iter().flat_map(problems).collect();
    Ok(vec![
        Check {
            name: "every lesson has its example, and every example its lesson",
            problems: pairs(repository, lessons)?,
        },
        Check { name: "every number is one lesson's", problems: numbers(lessons) },
        Check { name: "titles carry their numbers", problems: each(title) },
        Check { name: "sections are there, in their order", problems: each(sections) },
        Check { name: "commands are those that every host has", problems: each(commands) },
        Check { name: "no two lessons share a port", problems: shared_ports(lessons) },
        Check { name: "headers name the ports that examples open", problems: ports(lessons, &openers) },
        Check { name: "examples are short, or long for a reason", problems: long(lessons, &sources) },
        Check { name: "every anchor is shown", problems: unshown(lessons, &sources)? },
    ])
}

/// One file of each lesson that has it, by the lesson's name.
fn read(
    repository: &Path,
    lessons: &[Lesson],
    file: fn(&Lesson) -> String,
) -> Result<BTreeMap<String, String>> {
    let there = lessons.iter().map(|lesson| (lesson, file(lesson)));
    let there = there.filter(|(_, file)| repository.join(file).exists());
    let read = there.map(|(lesson, file)| {
        let text = fs::read_to_string(repository.join(&file)).or_trouble(|| format!("cannot read {file}"))?;
        Ok((lesson.name.clone(), text))
    });
    read.collect()
}

fn pairs(repository: &Path, lessons: &[Lesson]) -> Result<Vec<String>> {
    let examples = shelf::numbered(&repository.join("examples"), ".rs")?;
    let has_lesson = |example: &String| lessons.iter().any(|lesson| lesson.name == *example);
    let without = lessons.iter().filter(|lesson| !lesson.is_chapter() && !examples.contains(&lesson.name));
    let mut problems: Vec<_> =
        without.map(|lesson| format!("{} has no {}: write it", lesson.file, lesson.example())).collect();
    let alone = examples.iter().filter(|example| !has_lesson(example));
    problems
        .extend(alone.map(|example| format!("examples/{example}.rs has no lessons/{example}.md: write it")));
    Ok(problems)
}

fn numbers(lessons: &[Lesson]) -> Vec<String> {
    let same = lessons.windows(2).filter(|pair| pair[0].number() == pair[1].number());
    same.map(|pair| format!("{} and {} have the same number: renumber one", pair[0].file, pair[1].file))
        .collect()
}

fn title(lesson: &Lesson) -> Vec<String> {
    let begins = if lesson.is_chapter() { String::new() } else { format!("{} · ", lesson.number()) };
    if lesson.heading.starts_with(&begins) && !lesson.about.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{}: begin it with '# {begins}Title' and, below, one paragraph that says what it shows",
        lesson.file
    )]
}

fn sections(lesson: &Lesson) -> Vec<String> {
    let known: Vec<_> = lesson
        .sections
        .iter()
        .map(|(title, _)| title.as_str())
        .filter(|title| SECTIONS.contains(title))
        .collect();
    if known == SECTIONS {
        return Vec::new();
    }
    match SECTIONS.iter().find(|section| !known.contains(section)) {
        Some(missing) => vec![format!("{}: no section '## {missing}'", lesson.file)],
        None => vec![format!("{}: bring the sections in this order: {}", lesson.file, SECTIONS.join(", "))],
    }
}

fn commands(lesson: &Lesson) -> Vec<String> {
    let programs: Vec<_> = PROGRAMS.split_whitespace().collect();
    let mut problems = Vec::new();
    for step in &lesson.steps {
        let Step::Command(shown) = step else { continue };
        for program in first_words(&shown.command) {
            if !programs.contains(&program.as_str()) {
                problems.push(format!(
                    "{}: not every host has '{program}': use bash, coreutils, curl, openssl, procps or a verb of city",
                    place(&lesson.file, shown.line)
                ));
            }
        }
    }
    problems
}

/// The first word of each command in a line. It sees words as bash does, but not into quotes or `$(…)`.
fn first_words(line: &str) -> Vec<String> {
    const OPENS: [&str; 14] =
        ["|", "||", "&&", "&", ";", "do", "then", "else", "elif", "if", "while", "until", "!", "{"];
    let mut found = Vec::new();
    let mut expected = true;
    for word in shlex::split(&line.replace("\\\n", " ")).unwrap_or_default() {
        let bare = word.trim_end_matches(';').trim_start_matches('(');
        let is_assignment = bare.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        if OPENS.contains(&bare) {
            expected = true;
            continue;
        }
        if expected && !is_assignment && !bare.is_empty() && !bare.starts_with(['>', '<', '$', '/', '.']) {
            found.push(bare.to_owned());
        }
        expected = (expected && is_assignment) || word.ends_with(';');
    }
    found
}

fn shared_ports(lessons: &[Lesson]) -> Vec<String> {
    let mut owners: BTreeMap<u16, &Lesson> = BTreeMap::new();
    let mut problems = Vec::new();
    for lesson in lessons {
        for port in &lesson.header.ports {
            match owners.insert(*port, lesson) {
                Some(other) if other.name != lesson.name => {
                    problems
                        .push(format!("port {port} is {}'s and {}'s: change one", other.name, lesson.name));
                }
                Some(_) => problems.push(format!("{}: port {port} stands twice in its header", lesson.file)),
                None => {}
            }
        }
    }
    problems
}

fn ports(lessons: &[Lesson], sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut problems = Vec::new();
    for lesson in lessons {
        let Some(source) = sources.get(&lesson.name) else { continue };
        let (named, header) = (own_ports(source), &lesson.header);
        let unnamed =
            named.iter().filter(|port| !header.ports.contains(port) && !header.closed.contains(port));
        problems.extend(unnamed.map(|port| {
            format!(
                "{}: {} names port {port}, the header does not: add it to ports=, or to closed= if nobody opens it",
                lesson.file,
                lesson.opener()
            )
        }));
        let absent = header.ports.iter().filter(|port| !source.contains(&port.to_string()));
        problems.extend(absent.map(|port| {
            format!("{}: the header names port {port}, {} does not: remove it", lesson.file, lesson.opener())
        }));
    }
    problems
}

/// The ports of addresses of this machine that stand in a source, without repetition.
fn own_ports(source: &str) -> Vec<u16> {
    let mut ports = Vec::new();
    for (at, _) in source.match_indices(':') {
        let digits: String = source[at + 1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        let before = &source[..at];
        let is_address = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let host = match before.strip_suffix(']') {
            Some(inside) => &before[inside.rfind('[').unwrap_or(at)..],
            None => &before[before.rfind(|c: char| !is_address(c)).map_or(0, |end| end + 1)..],
        };
        if OWN.contains(&host)
            && (4..=5).contains(&digits.len())
            && let Ok(port) = digits.parse()
            && !ports.contains(&port)
        {
            ports.push(port);
        }
    }
    ports
}

fn long(lessons: &[Lesson], sources: &BTreeMap<String, String>) -> Vec<String> {
    let problem = |lesson: &Lesson| {
        let lines = lines_of_code(sources.get(&lesson.name)?);
        match (lines > LINES_OF_CODE, &lesson.header.long) {
            (true, None) => Some(format!(
                "{}: {lines} lines of code are more than {LINES_OF_CODE}: leave an edge to the text or the reader, or \
                 put long=\"why\" into the header of {}",
                lesson.example(),
                lesson.file
            )),
            (false, Some(_)) => Some(format!(
                "{}: the header excuses a long example, and {} has {lines} lines of code: remove long=",
                lesson.file,
                lesson.example()
            )),
            _ => None,
        }
    };
    lessons.iter().filter_map(problem).collect()
}

fn lines_of_code(source: &str) -> usize {
    source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn unshown(lessons: &[Lesson], sources: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for lesson in lessons {
        let Some(source) = sources.get(&lesson.name) else { continue };
        let file = lesson.example();
        for anchor in anchors::extract(source, &file)? {
            if !lesson.pieces.iter().any(|piece| piece.anchor == anchor.name) {
                problems.push(format!(
                    "{}: anchor '{}' is shown nowhere: put <!-- code: {1} --> into {}, or remove it",
                    place(&file, anchor.line),
                    anchor.name,
                    lesson.file
                ));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Lesson {
        let model = include_str!("fixtures/09_path_routing.md");
        Lesson::parse("09_path_routing", "lessons/09_path_routing.md", model).unwrap()
    }

    fn lesson(name: &str, text: &str) -> Lesson {
        Lesson::parse(name, &format!("lessons/{name}.md"), text).unwrap()
    }

    #[test]
    fn the_model_agrees_with_its_example() {
        let repository = tempfile::tempdir().unwrap();
        fs::create_dir(repository.path().join("examples")).unwrap();
        let example = include_str!("fixtures/09_path_routing.rs");
        fs::write(repository.path().join("examples/09_path_routing.rs"), example).unwrap();
        for check in check(repository.path(), &[model()]).unwrap() {
            assert!(check.problems.is_empty(), "{}: {:?}", check.name, check.problems);
        }
        fs::write(repository.path().join("examples/10_y.rs"), "").unwrap();
        let checks = check(repository.path(), &[model(), lesson("08_z", "# 08 · Z\n")]).unwrap();
        assert_eq!(
            checks[0].problems,
            [
                "lessons/08_z.md has no examples/08_z.rs: write it",
                "examples/10_y.rs has no lessons/10_y.md: write it"
            ]
        );
    }

    #[test]
    fn own_ports_are_told_from_those_of_upstreams() {
        let source = r#"//! curl http://172.28.0.10:6149/
            "0.0.0.0:6149" "127.0.0.1:9090" "[::1]:6183" "172.28.0.20:8080" "blue.pingora.local:8080" a::b 10:20:1234
            "0.0.0.0:80" "0.0.0.0:{port}" "#;
        assert_eq!(own_ports(source), [6149, 9090, 6183]);
    }

    #[test]
    fn ports_that_do_not_agree_are_named() {
        let a = lesson("08_a", "# 08 · A\n\nAbout.\n\n<!-- city: ports=6148,6000 closed=6001 -->\n");
        let b = lesson("09_b", "# 09 · B\n\nAbout.\n\n<!-- city: ports=6148 -->\n");
        assert_eq!(shared_ports(&[a.clone(), b]), ["port 6148 is 08_a's and 09_b's: change one"]);
        let sources =
            BTreeMap::from([("08_a".to_owned(), "\"0.0.0.0:6148 0.0.0.0:6001 0.0.0.0:6002\"".to_owned())]);
        let problems = ports(&[a], &sources);
        assert!(problems[0].contains("names port 6002, the header does not"));
        assert!(problems[1].contains("the header names port 6000"));
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn a_long_example_needs_a_reason_and_a_short_one_has_none() {
        let plain = lesson("08_a", "# 08 · A\n\nAbout.\n");
        let excused = lesson("08_a", "# 08 · A\n\nAbout.\n\n<!-- city: long=\"an origin of its own\" -->\n");
        let source = |lines: usize| {
            let code = "    let x = 1; // one\n\n    // why\n".repeat(lines);
            BTreeMap::from([("08_a".to_owned(), format!("//! 08\n{code}"))])
        };
        let (plain, excused) = ([plain], [excused]);
        assert_eq!(long(&plain, &source(150)), [""; 0]);
        assert!(
            long(&plain, &source(151))[0].starts_with("examples/08_a.rs: 151 lines of code are more than")
        );
        assert_eq!(long(&excused, &source(151)), [""; 0]);
        assert!(long(&excused, &source(150))[0].contains("has 150 lines of code: remove long="));
    }

    #[test]
    fn titles_and_sections() {
        assert!(title(&lesson("09_x", "# 9. X\n\nAbout.\n"))[0].contains("begin it with '# 09 · Title'"));
        let text = "# 09 · X\n\nAbout.\n\n## The idea\n\n## The code\n";
        assert_eq!(sections(&lesson("09_x", text)), ["lessons/09_x.md: no section '## Key concepts'"]);
        let mut moved = model();
        moved.sections.swap(3, 4);
        assert!(sections(&moved)[0].contains("bring the sections in this order"));
    }

    #[test]
    fn first_words_of_commands() {
        for (line, expected) in [
            ("curl -s http://x | head -1 && jq .", &["curl", "head", "jq"][..]),
            ("for i in 1 2; do A=b curl x; done", &["for", "curl", "done"]),
            ("printf 'a | nc b'", &["printf"]),
            ("A=1 B=2 \\\n  curl x", &["curl"]),
            ("(exec 3<>/dev/tcp/172.28.0.10/6142; cat <&3)", &["exec", "cat"]),
        ] {
            assert_eq!(first_words(line), expected, "{line}");
        }
        let found = commands(&lesson("09_x", "# 09 · X\n\n```console\ndev$ true | nc -l\n```\n"));
        assert!(found[0].starts_with("lessons/09_x.md:4: not every host has 'nc'"));
    }
}
