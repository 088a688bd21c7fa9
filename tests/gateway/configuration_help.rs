//! Remedies that can be followed: they name all that could stand there, and nothing that could not.

use std::fs;

use tempfile::TempDir;

use crate::support::{Outcome, run_in};

const GOOD: &str = "\
listeners: [{ address: 127.0.0.1:6210 }]
upstreams: { city: { servers: [{ address: 127.0.0.1:9001 }], balance: round_robin } }
middlewares: { h: { response_headers: { set: { A: b } } } }
routes:
  - { name: city, upstream: city, retry: { on: [connect] } }
";

fn validate(what: &str, by: &str, variables: &[(&str, &str)]) -> Outcome {
    assert!(GOOD.contains(what), "{what}");
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("gateway.yaml"), GOOD.replace(what, by)).expect("it is written");
    run_in(folder.path(), &["-t", "--config", "gateway.yaml"], variables)
}

struct Case {
    instead: (&'static str, &'static str),
    variables: &'static [(&'static str, &'static str)],
    /// Place, message and remedy. Nothing else is said.
    says: (&'static str, &'static str, &'static str),
}

const fn case(
    instead: (&'static str, &'static str),
    says: (&'static str, &'static str, &'static str),
) -> Case {
    Case { instead, variables: &[], says }
}

const NONE: &str = "this is none of the words that can stand here";
const BALANCES: &str = "there are `round_robin`, `random`, `least_connections`, `p2c`, \
                        `consistent: { by: … }`, `sticky: { cookie: … }`\n";
const REASONS: &str = "there are `connect`, `timeout`, `reset`, a number: A status from 400 to 599.\n";

const CASES: &[Case] = &[
    case(
        ("balance: round_robin", "balance: least_conn"),
        ("2:71", NONE, "did you mean `least_connections`?"),
    ),
    case(("balance: round_robin", "balance: fastest"), ("2:71", NONE, BALANCES)),
    case(
        ("balance: round_robin", "balance: sticky"),
        ("2:71", NONE, "did you mean `sticky: { cookie: … }`?"),
    ),
    case(("balance: round_robin", "balance: { hash: 1 }"), ("2:73", "unknown key `hash`", BALANCES)),
    case(
        ("balance: round_robin", "balance: { consistant: { by: path } }"),
        ("2:73", "unknown key `consistant`", "did you mean `consistent: { by: … }`?"),
    ),
    case(
        ("balance: round_robin", "balance: { consistent: { by: paht } }"),
        ("2:91", NONE, "did you mean `path`?"),
    ),
    case(
        ("balance: round_robin", "balance: [random]"),
        ("2:62", "a list cannot stand here", "did you mean `random`?"),
    ),
    case(("on: [connect]", "on: [5xx]"), ("5:49", NONE, REASONS)),
    case(("on: [connect]", "on: [true]"), ("5:49", "true or false cannot stand here", REASONS)),
    Case {
        instead: ("on: [connect]", "on: [\"${Y:-connect}\", foo]"),
        variables: &[],
        says: ("5:66", NONE, REASONS),
    },
    Case {
        instead: ("on: [connect]", "on: [\"${Y}\", foo]"),
        variables: &[("Y", "connect")],
        says: ("5:57", NONE, REASONS),
    },
    Case {
        instead: ("upstream: city", "upstream: \"${Y:-sekret-city}\""),
        variables: &[],
        says: (
            "5:29",
            "there is no upstream `${Y:-sekret-city}`\n",
            "correct what `${Y:-sekret-city}` stands for\n",
        ),
    },
    case(
        ("upstream: city", "upstream: city, match: { headers: { X-Version: 1.10 } }"),
        ("5:66", "text is wanted here, and a number was found", "help: put it in quotes: `\"1.10\"`\n"),
    ),
    case(
        ("upstream: city", "upstream: city, match: { query: { n: true } }"),
        ("5:56", "text is wanted here, and true or false was found", "help: put it in quotes: `\"true\"`\n"),
    ),
    case(
        ("A: b", "A: 0x10"),
        ("3:51", "text is wanted here, and a number was found", "help: put it in quotes: `\"0x10\"`\n"),
    ),
    case(
        ("name: city", "name: 7"),
        ("5:13", "text is wanted here, and a number was found", "help: put it in quotes: `\"7\"`: What logs"),
    ),
    case(
        ("balance: round_robin", "timeouts: { read: 5 }"),
        ("2:80", "text is wanted here, and a number was found", "help: write it like `500ms`"),
    ),
    case(
        ("upstream: city", "upstream: city, match: { query: { n: [1] } }"),
        ("5:53", "text is wanted here, and a list was found", "help: see its description"),
    ),
    case(("on: [connect]", "on: [conect]"), ("5:49", NONE, "did you mean `connect`?")),
    case(
        ("upstreams:", "server: { connection_pool: { max_idle: 3s } }\nupstreams:"),
        (
            "2:40",
            "a whole number is wanted here, and text was found",
            "help: write the number alone, without a unit: ",
        ),
    ),
    case(
        ("9001 }", "9001, weight: \"3\" }"),
        (
            "2:67",
            "a whole number is wanted here, and text was found",
            "help: write the number alone, without quotes: ",
        ),
    ),
    case(
        ("9001 }", "9001, weight: 2.5 }"),
        ("2:67", "a whole number is wanted here, and one with a fraction was found", "help: Its share"),
    ),
    case(
        ("127.0.0.1:9001", "\"web.example.com:80\""),
        (
            "2:43",
            "this is not an IP address with a port",
            "names belong under `discovery`, as `dns: { name: …, port: … }`\n",
        ),
    ),
    case(
        ("upstream: city", "upstream: city, match: { methods: GET }"),
        ("5:53", "a list is wanted here, and text was found", "help: put it in brackets: `[GET]`: "),
    ),
    case(
        ("upstream: city", "upstream: city, match: { path_regex: \"/a/([0-9+\" }"),
        (
            "5:56",
            "this is not a regular expression: unclosed character class, at character 5",
            "help: see the syntax",
        ),
    ),
    case(
        ("upstream: city", "upstream: city, match: { path_regex: \"/a(?=b)\" }"),
        ("5:56", "look-ahead and look-behind, is not supported, at character 3", "help: see the syntax"),
    ),
    case(
        ("upstream: city", "upstream: city, match: { path_regex: \"/a[a-z]{100000}\" }"),
        ("5:56", "this regular expression is too large", "help: make it shorter"),
    ),
];

#[test]
fn a_remedy_names_all_that_could_stand_there() {
    let mut wrong = Vec::new();
    for Case { instead: (what, by), variables, says: (place, message, fix) } in CASES {
        let outcome = validate(what, by, variables);
        let lines = [*message, &format!("gateway.yaml:{place}\n"), fix, ": 1 problem\n"];
        if outcome.code != Some(1) || !lines.iter().all(|line| outcome.stderr.contains(line)) {
            wrong.push(format!("{by}: {place} {fix}\n{}", outcome.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_recommended_can_be_used() {
    for (what, by) in [
        ("name: city", "name: city"),
        ("round_robin", "least_connections"),
        ("round_robin", "p2c"),
        ("round_robin", "{ consistent: { by: path } }"),
        ("round_robin", "{ sticky: { cookie: a } }"),
        ("[connect]", "[timeout, 503]"),
        ("upstream: city", "upstream: city, match: { headers: { X-Version: \"1.10\" } }"),
    ] {
        let outcome = validate(what, by, &[]);
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{by}");
    }
}

#[test]
fn a_path_has_only_groups_that_its_expression_has() {
    let route = |regex: &str, path: &str| {
        format!("upstream: city, match: {{ path_regex: \"{regex}\" }}, rewrite: {{ path: \"{path}\" }}")
    };
    let two = "/u/([0-9]+)/(?<last>.+)";
    for (regex, path, missing, fix) in [
        ("/u/([0-9]+)", "/v/$1_old", "1_old", "write `$${1}`\n"),
        (two, "/$2/$3", "3", "write `$${1}` or `$${last}`\n"),
        (two, "/$first", "first", "write `$${1}` or `$${last}`\n"),
        ("/u/.+", "/$1", "1", "put parentheses around"),
    ] {
        let outcome = validate("upstream: city", &route(regex, path), &[]);
        assert_eq!(outcome.code, Some(1), "{path}");
        for part in
            [&*format!("the expression has no group `{missing}`\n"), "gateway.yaml:5:", fix, ": 1 problem"]
        {
            assert!(outcome.stderr.contains(part), "`{part}` is not said: {}", outcome.stderr);
        }
    }
    for (regex, path) in [
        ("/u/([0-9]+)", "/v/$${1}_old"),
        (two, "/$2/$1/$last/$${last}/$0"),
        ("/u/.+", "/$$1"),
        ("/u/.+", "/$"),
        ("/u/.+", "/v"),
    ] {
        let outcome = validate("upstream: city", &route(regex, path), &[]);
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{path}");
    }
    // A redirect has the same paths.
    let redirect = "match: { path_regex: \"/u/(.+)\" }, redirect: { path: \"/$2\" }";
    let outcome = validate("upstream: city, retry: { on: [connect] }", redirect, &[]);
    assert!(outcome.stderr.contains("the expression has no group `2`\n"), "{}", outcome.stderr);
}
