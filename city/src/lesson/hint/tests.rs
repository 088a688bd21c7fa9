use std::time::Duration;

use super::*;

fn scene() -> Scene {
    Scene {
        ports: vec![6149],
        listening: vec![6150],
        journals: vec![("blue".into(), vec![]), ("green".into(), vec!["GET /blue  host=green".into()])],
        log: "INFO up\nINFO /blue -> green\nERROR Fail to connect to 172.28.0.20:8080".into(),
        example: Example::Running,
    }
}

fn of(typed: &str, problem: Problem, scene: Scene) -> String {
    let lesson = Lesson::parse("09_x", "lessons/09_x.md", "# 09 · X\n").unwrap();
    let failure = Failure { line: 1, typed: typed.into(), problem, scene, recorded: vec![] };
    hint(&lesson, &failure).map_or(String::new(), |hint| hint.what)
}

fn printed(typed: &str, shown: &[&str], printed: &str, status: i32) -> String {
    let shown = shown.iter().map(|line| (*line).to_owned()).collect();
    of(typed, Problem::Differs { shown, printed: printed.into(), status: (0, status) }, scene())
}

const BLUE: &str = "client1$ curl -s http://172.28.0.10:6149/blue";

#[test]
fn answers_that_differ() {
    let cases: &[(&str, &[&str], &str, i32, &str)] = &[
        (BLUE, &["x"], "", 7, "nobody accepts the connection: dev listens on 6150"),
        (BLUE, &["x"], "", 52, "closed without a whole answer; see the example's log: ERROR Fail to connect"),
        (BLUE, &["x"], "", 60, "the TLS handshake failed"),
        (
            BLUE,
            &["200"],
            "502",
            0,
            "502: the proxy could not get an answer from its upstream; its log says: ERROR",
        ),
        (BLUE, &["HTTP/1.1 200 OK"], "HTTP/1.1 500 Internal", 0, "500: a phase of the proxy failed"),
        (BLUE, &["200"], "404", 0, "404 came from green, which received: GET /blue  host=green"),
        ("client1$ curl http://x/other", &["200"], "404", 0, "no upstream was asked for /other"),
        (
            BLUE,
            &["Response from BLUE"],
            "Response from GREEN",
            0,
            "green answered; its journal says: GET /blue",
        ),
        (BLUE, &["Response from BLUE"], "Response from GREEN", 0, "logged: INFO /blue -> green"),
        ("host$ cargo city journal blue --last 1", &["GET / host=blue"], "", 0, "received nothing"),
        ("host$ cargo city journal blue", &["GET / host=blue"], "GET / host=x", 0, "did not see host=blue"),
        ("host$ cargo city journal blue --count /", &["0"], "2", 0, "reached the upstream"),
        ("host$ cargo city journal blue --count /", &["3"], "5", 0, "more often"),
        ("host$ cargo city journal blue --count /", &["3"], "1", 0, "less often"),
        (BLUE, &["HTTP/1.1 200 OK", "X-A: b"], "HTTP/1.1 200 OK\r\nX-B: b\r\n", 0, "the answer has no X-A"),
        (
            BLUE,
            &["      5 200", "      5 429"],
            "      4 200\n      6 429\n",
            0,
            "1 of the answers refused with 429",
        ),
        (
            BLUE,
            &["      5 200", "      5 429"],
            "      4 200\n      6 429\n",
            0,
            "One off: on which side of the limit",
        ),
        (
            BLUE,
            &["      7 401"],
            "      1 200\n      6 401\n",
            0,
            "1 of the answers let pass that should be refused",
        ),
        (
            BLUE,
            &["      2 200"],
            "      2 413\n",
            0,
            "2 of the answers refused with 413 that should be let pass: what",
        ),
        (
            BLUE,
            &["200 9 bytes", "413 10 bytes"],
            "413 9 bytes\n413 10 bytes",
            0,
            "413 for '9 bytes': the proxy refused",
        ),
        (BLUE, &["200 9 bytes", "413 10 bytes"], "413 9 bytes\n413 10 bytes", 0, "Only at the border"),
        (
            BLUE,
            &["200 5 bytes", "413 10 bytes"],
            "413 5 bytes\n413 10 bytes",
            0,
            "let pass. Upstream green was asked for",
        ),
        (
            BLUE,
            &["401", "401"],
            "401\n403",
            0,
            "403: it was refused, but for another reason than the lesson's 401",
        ),
        (
            "client1$ curl http://x/tea",
            &["HTTP/1.1 401 No"],
            "HTTP/1.1 200 OK",
            0,
            "it should refuse with 401. No upstream was",
        ),
        ("client1$ curl -s http://x/tea", &["Response from BLUE"], "", 0, "the answer has no body"),
        ("host$ cargo city wait-for 'dev log \"becomes healthy\"'", &[], "", 1, "Are checks made at all"),
        (
            "host$ cargo city wait-for 'journal green has /x'",
            &[],
            "",
            1,
            "green was not asked for /x, or not so often",
        ),
        ("dev$ true", &[], "", 141, "it ended with status 141 (SIGPIPE) where"),
        ("dev$ true", &[], "", 3, "it ended with status 3 where the lesson expects 0"),
    ];
    for (typed, shown, got, status, expected) in cases {
        let hint = printed(typed, shown, got, *status);
        assert!(hint.contains(expected), "{typed} {got:?}: {hint}");
    }
    assert_eq!(printed("dev$ echo a", &["a"], "b", 0), "", "where nothing is known, nothing is said");
}

#[test]
fn an_example_that_has_ended_is_said_to_have() {
    let problem = Problem::Differs { shown: vec![], printed: String::new(), status: (0, 7) };
    let hint = of(BLUE, problem, Scene { example: Example::Ended(101), ..scene() });
    assert_eq!(
        hint,
        "nobody accepts the connection: the example has ended with status 101: its last lines say why"
    );
}

#[test]
fn waits_that_ran_out() {
    let within = Duration::from_secs(15);
    let not_printed = |log: &str| {
        let scene = Scene { log: log.into(), ..scene() };
        of("x", Problem::NotPrinted { pattern: "[..] /blue -> blue".into(), within }, scene)
    };
    assert!(not_printed("INFO /blue -> green").contains("nearest line in the log is 'INFO /blue -> green'"));
    let unhealthy = Problem::NotPrinted { pattern: "[..] becomes unhealthy".into(), within };
    assert!(of("x", unhealthy, scene()).contains("Are checks made at all"));
    assert!(not_printed("").contains("printed nothing at all"));
    assert!(not_printed("hello").contains("no line in the log is like it"));

    let deadline =
        |typed: &str, scene: Scene| of(typed, Problem::Deadline { within, printed: String::new() }, scene);
    assert!(deadline(BLUE, scene()).contains("although an upstream received the request"));
    assert!(deadline(BLUE, Scene::default()).contains("no upstream was asked"));
    assert!(deadline("host$ cargo city wait-for x", scene()).contains("the condition never held"));
}

#[test]
fn examples_that_do_not_come_up() {
    let missing = vec![6149];
    let within = Duration::from_secs(1);
    let hint = of("x", Problem::NotListening { missing: missing.clone(), within }, scene());
    assert!(hint.contains("dev listens on 6150, not on 6149"));
    let hint = of("x", Problem::NotListening { missing, within }, Scene::default());
    assert!(hint.contains("nothing listens on dev, so 6149 is not open"));

    let ended = |log: &str| {
        let problem = Problem::EndedEarly { status: 1, waiting_for: "port 6149".into() };
        of("x", problem, Scene { log: log.into(), ..scene() })
    };
    assert!(ended("error: could not compile `x`").contains("does not compile"));
    assert!(ended("Address already in use").contains("is taken: dev listens on 6150"));
    assert!(ended("thread 'main' panicked at a.rs:1").contains("panicked at a.rs:1"));
    assert!(ended("bye").contains("ended with status 1 before port 6149"));
}
