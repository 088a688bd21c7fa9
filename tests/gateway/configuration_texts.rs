//! Texts that are no configuration, or a strange one: one clear answer each.

use std::fs;

use tempfile::TempDir;

use crate::support::{Outcome, run_in};

struct Case {
    it: &'static str,
    text: &'static [u8],
    /// Where, what, and what to do. Nothing else is said.
    says: (&'static str, &'static str, &'static str),
}

const fn case(
    it: &'static str,
    text: &'static [u8],
    says: (&'static str, &'static str, &'static str),
) -> Case {
    Case { it, text, says }
}

const CASES: &[Case] = &[
    case("an empty file", b"", ("1:1", "nothing in this configuration", "begin with `listeners`")),
    case("only comments", b"# later\n", ("1:1", "nothing in this configuration", "begin with `listeners`")),
    case("a list", b"- a\n", ("1:1", "a mapping of keys, and this is none", "begin with `listeners:`")),
    case("a word", b"listeners\n", ("1:1", "a mapping of keys, and this is none", "begin with `listeners:`")),
    case("tabs", b"listeners:\n\t- address: x\n", ("2:1", "a tab cannot indent", "indent with spaces")),
    case("two documents", b"server: {}\n---\nserver: {}\n", ("2:1", "a second document", "`---`")),
    case("a merge key", b"server: &s {}\nlisteners: [{ <<: *s }]\n", ("2:15", "no merge keys", "an alias")),
    case("a tag", b"server: !include x\n", ("1:9", "a tag", "remove it")),
    case(
        "a reference between brackets",
        b"server: { threads: ${THREADS} }\n",
        ("1:21", "not YAML", "put `${\u{2026}}` in quotes"),
    ),
    case("an alias of nothing", b"server: *s\n", ("1:9", "not YAML", "mind")),
    case(
        "not UTF-8",
        b"server: {}\n# gr\xfc\xdfe\n",
        ("2:5", "0xfc here is no UTF-8", "save the file as UTF-8"),
    ),
    case("UTF-16", b"\xff\xfea\0:\0", ("1:1", "this is UTF-16", "save the file as UTF-8")),
];

fn validate(bytes: &[u8]) -> Outcome {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("gateway.yaml"), bytes).expect("it is written");
    run_in(folder.path(), &["-t", "--config", "gateway.yaml"], &[])
}

#[test]
fn what_is_no_configuration_has_one_clear_answer() {
    for case in CASES {
        let outcome = validate(case.text);
        let said = format!("{}:\n{}", case.it, outcome.stderr);
        assert_eq!(outcome.code, Some(1), "{said}");
        let (place, message, remedy) = case.says;
        for part in [message, &format!("gateway.yaml:{place}\n"), remedy] {
            assert!(outcome.stderr.contains(part), "`{part}` is not said: {said}");
        }
    }
}

#[test]
fn a_text_that_cannot_be_read_hides_nothing_of_the_others() {
    let folder = TempDir::new().expect("a folder");
    let parts = folder.path().join("parts");
    fs::create_dir(&parts).expect("a folder");
    let texts: [(&str, &[u8]); 2] = [
        ("a.yaml", b"# gr\xfcn\nlisteners: [{ address: 127.0.0.1:1 }]\n"),
        ("b.yaml", b"routes: [{ name: r, respond: {}, color: red }]\n"),
    ];
    for (name, bytes) in texts {
        fs::write(parts.join(name), bytes).expect("it is written");
    }
    let outcome = run_in(folder.path(), &["-t", "--config", "parts"], &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for part in ["a.yaml:1:5\n", "0xfc here is no UTF-8", "b.yaml:1:34\n", "`color`", "2 problems"] {
        assert!(outcome.stderr.contains(part), "`{part}` is not said: {}", outcome.stderr);
    }
}

/// Exponential, deep, long: refused in a moment, and without a crash.
#[test]
fn hostile_texts_are_refused() {
    let mut laughs = "a0: &a0 [ha]\n".to_string();
    let mut chain = laughs.clone();
    for level in 1..200 {
        let below = format!("*a{}, ", level - 1);
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", below.repeat(10)));
        chain.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    for (it, text, says) in [
        ("a billion laughs", laughs, "aliases bring in more than"),
        ("a long chain", chain, "levels of nesting"),
        ("deep lists", "[".repeat(1 << 20), "levels of nesting"),
        ("deep mappings", "{a: ".repeat(1 << 18), "levels of nesting"),
        ("deep blocks", (0..2000).map(|n| format!("{}a:\n", " ".repeat(n))).collect(), "levels of nesting"),
        ("a thousand errors", (0..1000).map(|n| format!("k{n}: 1\n")).collect(), "… and 902 more"),
        ("one long line", format!("k: [{}]", "1, ".repeat(1 << 16)), "unknown key `k`"),
    ] {
        let outcome = validate(text.as_bytes());
        assert_eq!(outcome.code, Some(1), "{it}");
        assert!(outcome.stderr.contains(says), "{it}: {:.2000}", outcome.stderr);
        assert!(outcome.stderr.len() < 100_000, "{it}: {} bytes are said", outcome.stderr.len());
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let folder = TempDir::new().expect("a folder");
    fs::create_dir(folder.path().join("empty.d")).expect("a folder");
    let large = fs::File::create(folder.path().join("large.yaml")).expect("a file");
    large.set_len((16 << 20) + 1).expect("a hole");
    for (config, says) in [
        ("none.yaml", "cannot read the configuration none.yaml: No such file"),
        (
            "empty.d",
            "cannot read the configuration empty.d: it is a folder without a file that ends in `.yaml`",
        ),
        ("large.yaml", "cannot read the configuration large.yaml: it is larger than 16 MiB"),
        ("/dev/zero", "cannot read the configuration /dev/zero: it is larger than 16 MiB"),
    ] {
        let outcome = run_in(folder.path(), &["-t", "--config", config], &[]);
        assert_eq!(outcome.code, Some(1), "{config}");
        assert!(outcome.stderr.starts_with(says), "{config}: {}", outcome.stderr);
    }
}

/// A folder of these files, validated.
fn folder(files: &[(&str, &str)]) -> Outcome {
    let folder = TempDir::new().expect("a folder");
    fs::create_dir(folder.path().join("conf.d")).expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join("conf.d").join(name), text).expect("it is written");
    }
    run_in(folder.path(), &["-t", "--config", "conf.d"], &[])
}

#[test]
fn a_folder_of_fragments_is_one_configuration() {
    let base = "listeners: [{ address: 127.0.0.1:6210 }]\nserver: { threads: 1 }\n";
    let users = "upstreams: { users: { servers: [{ address: 127.0.0.1:1 }] } }\n\
                 routes: [{ name: users, upstream: users, match: { path: /users } }]\n";
    let posts = "upstreams: { posts: { servers: [{ address: 127.0.0.1:2 }] } }\n\
                 routes: [{ name: posts, upstream: users }]\n";
    let outcome = folder(&[
        ("00.yaml", base),
        ("10-users.yml", users),
        ("20-posts.yaml", posts),
        ("old.yaml~", "- no"),
    ]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));

    // What is wrong names the file in which it is.
    let posts = posts.replace("upstream: users", "upstream: user").replace("posts: {", "users: {");
    let outcome = folder(&[
        ("00.yaml", base),
        ("10.yml", users),
        ("20.yaml", &posts),
        ("30.yaml", "server: { threads: 2 }"),
    ]);
    assert_eq!(outcome.code, Some(1));
    for part in [
        "the key `users` stands in conf.d/10.yml:1:14 too",
        "conf.d/20.yaml:1:14",
        "there is no upstream `user`",
        "conf.d/20.yaml:2:35",
        "the key `threads` stands in conf.d/00.yaml:2:11 too",
        "conf.d/30.yaml:1:11",
        "3 problems",
    ] {
        assert!(outcome.stderr.contains(part), "`{part}`:\n{}", outcome.stderr);
    }
}
