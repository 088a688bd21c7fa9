//! The policies that come along.

use crate::support::{Gateway, Scripted, get, get_with, send};

fn before(origin: &Scripted) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
middlewares:
  marked: {{ request_headers: {{ remove: [Cookie], set: {{ Host: inner.example, X-Set: new }}, add: {{ X-Add: mine }} }} }}
  small: {{ body_limit: {{ max_bytes: 10 }} }}
routes:
  - {{ name: marked, match: {{ path: /marked }}, upstream: origin, middlewares: [marked] }}
  - {{ name: small, match: {{ path: /small }}, upstream: origin, middlewares: [small] }}
  - {{ name: other, upstream: origin }}
",
        origin.address()
    ))
}

#[test]
fn request_headers_are_changed_where_it_is_said() {
    let origin = Scripted::plain();
    let gateway = before(&origin);
    let lines = ["Cookie: a=b", "X-Set: old", "X-Add: theirs"];
    let names = ["Cookie", "Host", "X-Set", "X-Add", "X-Forwarded-Host"];
    for (target, expected) in [
        ("/marked", ["", "inner.example", "new", "theirs|mine", "test"]),
        ("/other", ["a=b", "test", "old", "theirs", "test"]),
    ] {
        get_with(gateway.address(), target, &lines);
        let seen = origin.seen().pop().expect("it was asked");
        assert_eq!(names.map(|name| seen.all(name).join("|")), expected, "{target}");
    }
}

/// Browsers look for some of them on each answer. What only announces an answer is none.
#[test]
fn response_headers_are_on_answers_to_errors_too() {
    let origin = Scripted::plain();
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams:
  origin: {{ servers: [{{ address: {} }}] }}
  gone: {{ servers: [{{ address: 127.0.0.1:1 }}] }}
middlewares: {{ strict: {{ response_headers: {{ set: {{ X-Strict: always }} }} }} }}
routes:
  - {{ name: well, match: {{ path: /well }}, upstream: origin, middlewares: [strict] }}
  - {{ name: gone, match: {{ path: /gone }}, upstream: gone, middlewares: [strict] }}
  - {{ name: other, upstream: gone }}
",
        origin.address()
    ));
    for (target, status, header) in
        [("/well", 200, Some("always")), ("/gone", 502, Some("always")), ("/other", 502, None)]
    {
        let answer = get(gateway.address(), target);
        assert_eq!((answer.status, answer.header("X-Strict")), (status, header), "{target}");
    }
    let request = "POST /well HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc";
    let answers = send(gateway.address(), request.as_bytes());
    let found: Vec<_> = answers.iter().map(|answer| (answer.status, answer.header("X-Strict"))).collect();
    assert_eq!(found, [(100, None), (200, Some("always"))]);
}

#[test]
fn bodies_are_as_large_as_they_may_be() {
    let origin = Scripted::plain();
    let gateway = before(&origin);
    let announced = |target: &str, size: usize| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{}",
            "x".repeat(size)
        )
    };
    let counted = |target: &str, sizes: &[usize]| {
        let chunks: String =
            sizes.iter().map(|size| format!("{size:x}\r\n{}\r\n", "x".repeat(*size))).collect();
        format!(
            "POST {target} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}0\r\n\r\n"
        )
    };
    for (request, status) in [
        (announced("/small", 10), 200),
        (announced("/small", 11), 413),
        (announced("/other", 11), 200),
        (counted("/small", &[4, 6]), 200),
        (counted("/small", &[4, 7]), 413),
        (counted("/other", &[4, 7]), 200),
    ] {
        let before = origin.seen().len();
        let answers = send(gateway.address(), request.as_bytes());
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [status], "{request}");
        assert_eq!(origin.seen().len() - before, usize::from(status == 200), "{request}");
    }
}
