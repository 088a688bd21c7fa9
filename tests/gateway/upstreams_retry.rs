//! What becomes of requests that a server has failed, and of that server.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Gateway, Origin, Reply, get, post, until};
use crate::upstreams::{answers, before, server, with_route};

/// How a server fails.
fn failing(how: Reply) -> Origin {
    Origin::scripted("failing", move |_| how)
}

fn status(status: u16) -> Reply {
    Reply { status, ..Reply::default() }
}

fn mute() -> Reply {
    Reply { delay: Duration::from_secs(60), ..Reply::default() }
}

fn broken() -> Reply {
    Reply { hang_up: true, ..Reply::default() }
}

struct Case {
    it: &'static str,
    /// How the first server fails. The second is well.
    fails: fn() -> Reply,
    retry: &'static str,
    /// What a `GET` and a `POST` are told.
    get: u16,
    post: u16,
}

const CASES: &[Case] = &[
    Case {
        it: "a status that the route minds",
        fails: || status(503),
        retry: "retry: { on: [502, 503] }",
        get: 200,
        post: 503,
    },
    Case {
        it: "a status that it does not mind",
        fails: || status(500),
        retry: "retry: { on: [502, 503] }",
        get: 500,
        post: 500,
    },
    Case { it: "a status, and no word on retries", fails: || status(503), retry: "", get: 503, post: 503 },
    Case {
        it: "one attempt is no retry",
        fails: || status(503),
        retry: "retry: { on: [503], attempts: 1 }",
        get: 503,
        post: 503,
    },
    Case {
        it: "two attempts are one",
        fails: || status(503),
        retry: "retry: { on: [503], attempts: 2, only_idempotent: false }",
        get: 200,
        post: 200,
    },
    Case { it: "no answer in time", fails: mute, retry: "retry: { on: [timeout] }", get: 200, post: 504 },
    Case { it: "no answer in time, and no word on that", fails: mute, retry: "", get: 504, post: 504 },
    Case { it: "a connection that breaks", fails: broken, retry: "", get: 200, post: 502 },
    Case {
        it: "a connection that breaks, where only failed ones count",
        fails: broken,
        retry: "retry: { on: [connect] }",
        get: 502,
        post: 502,
    },
    Case {
        it: "a connection that breaks, where everything may be sent twice",
        fails: broken,
        retry: "retry: { only_idempotent: false }",
        get: 200,
        post: 200,
    },
];

#[test]
fn requests_are_sent_again_where_that_is_permitted() {
    for case in CASES {
        for (method, expected) in [("GET", case.get), ("POST", case.post)] {
            let (bad, good) = (failing((case.fails)()), Origin::start("good"));
            let gateway =
                with_route(&[server(&bad, ""), server(&good, "")], "timeouts: { read: 300ms }", case.retry);
            let answer = match method {
                "GET" => get(gateway.address(), "/"),
                _ => post(gateway.address(), "/", "hello"),
            };
            let said = format!("{} ({method}): {answer:?}", case.it);
            assert_eq!(answer.status, expected, "{said}");
            assert_eq!(bad.seen().len(), 1, "{said}");
            let again = good.seen();
            assert_eq!(again.len(), usize::from(expected == 200), "{said}");
            if let (Some(seen), "POST") = (again.first(), method) {
                assert_eq!((&seen.method, &seen.body[..]), (&http::Method::POST, &b"hello"[..]), "{said}");
            }
        }
    }
}

#[test]
fn where_all_answers_are_bad_the_last_one_is_passed_on() {
    let (blue, green) = (failing(status(503)), failing(status(503)));
    let gateway = with_route(&[server(&blue, ""), server(&green, "")], "", "retry: { on: [503] }");
    let answer = get(gateway.address(), "/");
    assert_eq!((answer.status, &*answer.body), (503, "failing"), "it is the server's own");
    assert_eq!((blue.seen().len(), green.seen().len()), (1, 1));
}

#[test]
fn a_server_that_is_alone_is_asked_as_often_as_the_attempts_say() {
    let first = AtomicBool::new(true);
    let origin = Origin::scripted("blue", move |_| {
        status(if first.swap(false, Ordering::Relaxed) { 503 } else { 200 })
    });
    let gateway = with_route(&[server(&origin, "")], "", "retry: { on: [503], attempts: 2 }");
    assert_eq!(get(gateway.address(), "/").status, 200);
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_body_that_is_too_long_to_be_remembered_is_sent_once() {
    let (bad, good) = (failing(status(503)), Origin::start("good"));
    let gateway = with_route(
        &[server(&bad, ""), server(&good, "")],
        "",
        "retry: { on: [503], only_idempotent: false }",
    );
    assert_eq!(post(gateway.address(), "/", &"x".repeat(100 * 1024)).status, 503);
    assert_eq!((bad.seen()[0].body.len(), good.seen().len()), (100 * 1024, 0));
}

#[test]
fn a_budget_limits_how_many_requests_are_sent_again() {
    let ask = |budget: &str| {
        let (blue, green) = (failing(status(503)), failing(status(503)));
        let gateway = with_route(
            &[server(&blue, ""), server(&green, "")],
            "",
            &format!("retry: {{ on: [503], {budget} }}"),
        );
        let begun = std::time::Instant::now();
        (0..40).for_each(|_| assert_eq!(get(gateway.address(), "/").status, 503));
        let floor = 10 + begun.elapsed().as_secs() as usize + 1;
        (blue.seen().len() + green.seen().len() - 40, floor)
    };
    let (again, floor) = ask("budget: 0%");
    assert!((10..=floor).contains(&again), "{again}, {floor}");
    let (again, floor) = ask("budget: 25%");
    assert!((20..=floor + 10).contains(&again), "{again}, {floor}");
    assert_eq!(ask("budget: 100%").0, 40);
}

/// Answers one request on each connection, and closes it at the second, as if both had crossed on their way.
fn stale() -> Origin {
    let known = Mutex::new(HashSet::new());
    Origin::scripted("stale", move |seen| {
        let first = known.lock().expect("nobody panicked").insert(seen.connection);
        Reply { hang_up: !first, ..Reply::default() }
    })
}

#[test]
fn a_kept_connection_that_has_been_closed_is_no_failure() {
    let origin = stale();
    // It is alone, and retries are off: only a fresh connection to it can help.
    let gateway = with_route(&[server(&origin, "")], "", "retry: { attempts: 1, on: [connect] }");
    for _ in 0..3 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
    // The server may have done what a POST asks for.
    let origin = stale();
    let gateway = with_route(&[server(&origin, "")], "", "");
    assert_eq!(post(gateway.address(), "/", "hello").status, 200);
    assert_eq!(post(gateway.address(), "/", "hello").status, 502);
}

/// A server that can be told to fail.
fn fallible(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let now = fails.clone();
    let origin = Origin::scripted(name, move |_| status(if now.load(Ordering::Relaxed) { 500 } else { 200 }));
    (origin, fails)
}

fn said(gateway: &Gateway, what: &str) -> usize {
    gateway.log().matches(what).count()
}

#[test]
fn who_fails_too_often_gets_a_rest() {
    let asked = |settings: &str| {
        let ((blue, _), green) = (fallible("blue"), Origin::start("green"));
        let gateway = before(&[server(&blue, ""), server(&green, "")], settings);
        answers(&gateway, 12);
        blue.seen().len()
    };
    assert_eq!(asked("circuit_breaker: { consecutive_errors: 2, open_for: 1h }"), 2);
    assert_eq!(asked("circuit_breaker: { consecutive_errors: 3, open_for: 1h }"), 3);
    assert_eq!(asked("circuit_breaker: { consecutive_errors: 7, open_for: 1h }"), 6);
    assert_eq!(asked(""), 6);
}

#[test]
fn after_the_rest_one_request_decides() {
    let ((blue, fails), green) = (fallible("blue"), Origin::start("green"));
    let gateway = before(
        &[server(&blue, ""), server(&green, "")],
        "circuit_breaker: { consecutive_errors: 2, open_for: 300ms }",
    );
    until("it rests, is tried, and rests again", || {
        get(gateway.address(), "/");
        said(&gateway, "fails too often") == 2
    });
    assert_eq!(blue.seen().len(), 3, "two to open it, one to try");

    fails.store(false, Ordering::Relaxed);
    until("it works again", || {
        get(gateway.address(), "/");
        said(&gateway, "works again") == 1
    });
    let answers = answers(&gateway, 6);
    assert_eq!(answers.iter().filter(|name| *name == "blue").count(), 3, "{answers:?}");
}

#[test]
fn where_all_rest_the_client_is_told_at_once() {
    let (blue, _) = fallible("blue");
    let gateway = before(&[server(&blue, "")], "circuit_breaker: { consecutive_errors: 1, open_for: 1h }");
    assert_eq!(get(gateway.address(), "/").status, 500);
    let answer = get(gateway.address(), "/");
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
    assert_eq!(blue.seen().len(), 1);
}
