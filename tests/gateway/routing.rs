//! Which requests go where, and what the upstream sees of them.

use crate::support::{Gateway, Origin, Scripted, exchange, get, get_with, validate};

struct Case {
    it: &'static str,
    target: &'static str,
    status: u16,
    /// The upstream that answers, and the target that it saw.
    upstream: Option<(&'static str, &'static str)>,
}

const fn to(it: &'static str, target: &'static str, upstream: &'static str, seen: &'static str) -> Case {
    Case { it, target, status: 200, upstream: Some((upstream, seen)) }
}

const fn refused(it: &'static str, target: &'static str, status: u16) -> Case {
    Case { it, target, status, upstream: None }
}

const CASES: &[Case] = &[
    to("a prefix holds for itself", "/users", "blue", "/users"),
    to("a prefix holds with a slash", "/users/", "blue", "/users/"),
    to("a prefix holds for all below it", "/users/7/posts", "blue", "/users/7/posts"),
    refused("a prefix ends at a segment's end", "/userspace", 404),
    to("a longer prefix wins", "/users/admin/x", "green", "/users/admin/x"),
    refused("and ends at a segment's end too", "/user", 404),
    to("an exact path holds", "/hello", "green", "/hello"),
    refused("an exact path holds for nothing below it", "/hello/", 404),
    to("an exact path wins over a prefix", "/users/me", "green", "/users/me"),
    to("a query is no part of the path", "/users?a=/hello&b=%2e%2e", "blue", "/users?a=/hello&b=%2e%2e"),
    to("what is matched is what is forwarded", "/users/%2e%2e/hello?q=1", "green", "/hello?q=1"),
    to("slashes are merged", "//users///7", "blue", "/users/7"),
    to("letters need no escape", "/%75sers", "blue", "/users"),
    refused("an escaped slash separates nothing", "/users%2f7", 404),
    refused("dots lead out of a prefix", "/users/../secret", 404),
    refused("a broken escape", "/users/%zz", 400),
    refused("a NUL", "/users/%00", 400),
    refused("an escaped backslash", "/users/..%5chello", 400),
];

#[test]
fn requests_reach_the_upstream_of_the_most_specific_route() {
    let blue = Origin::start("blue");
    let green = Origin::start("green");
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams:
  blue: {{ servers: [{{ address: {} }}] }}
  green: {{ servers: [{{ address: {} }}] }}
routes:
  - {{ name: users, match: {{ path_prefix: /users }}, upstream: blue }}
  - {{ name: admin, match: {{ path_prefix: /users/admin/ }}, upstream: green }}
  - {{ name: me, match: {{ path: /users/me }}, upstream: green }}
  - {{ name: hello, match: {{ path: /hello }}, upstream: green }}
",
        blue.address(),
        green.address()
    ));

    for case in CASES {
        let before = (blue.seen().len(), green.seen().len());
        let answer = get(gateway.address(), case.target);
        let said = format!("{} ({}): {answer:?}", case.it, case.target);
        assert_eq!(answer.status, case.status, "{said}");
        assert_eq!(answer.header("X-Origin"), case.upstream.map(|(name, _)| name), "{said}");
        match case.upstream {
            Some((name, target)) => {
                let origin = if name == "blue" { &blue } else { &green };
                assert_eq!(origin.seen().last().expect("it was asked").target, target, "{said}");
            }
            None => {
                assert_eq!((blue.seen().len(), green.seen().len()), before, "{said}");
                assert_eq!(answer.header("Content-Type"), Some("application/json"), "{said}");
                assert!(answer.body.contains(&case.status.to_string()), "{said}");
            }
        }
    }
    assert!(gateway.stop().success());
}

#[test]
fn policies_apply_where_they_are_named_and_nowhere_else() {
    let origin = Origin::start("blue");
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ blue: {{ servers: [{{ address: {} }}] }} }}
middlewares:
  sealed: {{ response_headers: {{ remove: [X-Origin], set: {{ X-Frame-Options: DENY }} }} }}
routes:
  - {{ name: with, match: {{ path: /with }}, upstream: blue, middlewares: [sealed] }}
  - {{ name: without, match: {{ path: /without }}, upstream: blue }}
",
        origin.address()
    ));

    let with = get(gateway.address(), "/with");
    assert_eq!((with.header("X-Frame-Options"), with.header("X-Origin")), (Some("DENY"), None));
    let without = get(gateway.address(), "/without");
    assert_eq!((without.header("X-Frame-Options"), without.header("X-Origin")), (None, Some("blue")));
}

/// Each route answers with its name, so that the answer says which one it was.
const NAMED: &[(&str, &str)] = &[
    ("exact-host", "hosts: [api.example.com, \"[::1]\"]"),
    ("wildcard", "hosts: [\"*.example.com\"]"),
    ("longer-wildcard", "hosts: [\"*.eu.example.com\"]"),
    ("host-and-path", "hosts: [api.example.com], path: /hello"),
    ("exact", "path: /users/me"),
    ("pattern", "path_regex: \"/users/[0-9]+\""),
    ("prefix", "path_prefix: /users"),
    ("deep-pattern", "path_pattern: \"/users/admin/.+\""),
    ("post", "path_prefix: /users, methods: [POST, PUT]"),
    ("version", "path_prefix: /users, headers: { X-Version: \"2\" }"),
    ("any-version", "path: /any, headers: { X-Version: \"*\" }"),
    ("debug", "path_prefix: /users, query: { debug: \"on off\" }"),
    ("both", "path_prefix: /users, methods: [GET], headers: { X-Version: \"2\" }, query: { debug: \"*\" }"),
];

#[test]
fn the_most_specific_route_gets_a_request() {
    let routes: String = NAMED
        .iter()
        .map(|(name, matches)| {
            format!("  - {{ name: {name}, match: {{ {matches} }}, respond: {{ body: {name} }} }}\n")
        })
        .collect();
    let gateway = Gateway::start(&format!("listeners: [{{ address: $LISTEN }}]\nroutes:\n{routes}"));
    for (method, target, lines, name) in [
        ("GET", "/", &["Host: api.example.com"][..], "exact-host"),
        ("GET", "/", &["Host: API.Example.com.:8080"], "exact-host"),
        ("GET", "/", &["Host: [::1]:8080"], "exact-host"),
        ("GET", "/", &["Host: other.example.com"], "wildcard"),
        ("GET", "/", &["Host: a.b.example.com"], "wildcard"),
        ("GET", "/", &["Host: a.eu.example.com"], "longer-wildcard"),
        ("GET", "/", &["Host: example.com"], "404"),
        ("GET", "/", &["Host: notexample.com"], "404"),
        ("GET", "/hello", &["Host: api.example.com"], "host-and-path"),
        ("GET", "/users/me", &["Host: api.example.com"], "exact-host"),
        ("GET", "/users/me", &[], "exact"),
        ("GET", "/users/7", &[], "pattern"),
        ("GET", "/users/7/x", &[], "prefix"),
        ("GET", "/users/seven", &[], "prefix"),
        ("GET", "/users/admin/x", &[], "deep-pattern"),
        ("GET", "/users/admin", &[], "prefix"),
        ("POST", "/users", &[], "post"),
        ("DELETE", "/users", &[], "prefix"),
        ("GET", "/users", &["X-Version: 2"], "version"),
        ("GET", "/users", &["X-Version: 3"], "prefix"),
        ("POST", "/users", &["X-Version: 2"], "post"),
        ("GET", "/any", &["X-Version: 3"], "any-version"),
        ("GET", "/any", &[], "404"),
        ("GET", "/users?a=b&debug=on%20off", &[], "debug"),
        ("GET", "/users?debug=on", &[], "prefix"),
        ("GET", "/users?debug=on", &["X-Version: 2"], "both"),
    ] {
        let host = if lines.iter().any(|line| line.starts_with("Host")) { "" } else { "Host: t\r\n" };
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("{method} {target} HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n");
        let answer = exchange(gateway.address(), &request);
        let found = if answer.status == 404 { "404" } else { &*answer.body };
        assert_eq!(found, name, "{method} {target} {lines}");
    }
}

/// Two that ask for different things tie, unless somebody else gets whoever has both.
#[test]
fn routes_for_two_headers_need_a_third_for_both() {
    let routes = |more: &str| {
        format!(
            "
listeners: [{{ address: $LISTEN }}]
routes:
  - {{ name: canary, match: {{ headers: {{ X-Canary: \"1\" }} }}, respond: {{ body: canary }} }}
  - {{ name: debug, match: {{ headers: {{ X-Debug: \"*\" }}, methods: [GET, PUT] }}, respond: {{ body: debug }} }}
  - {{ name: trace, match: {{ headers: {{ X-Canary: \"1\" }}, methods: [GET] }}, respond: {{ body: trace }} }}
  - {{ name: rest, respond: {{ body: rest }} }}
{more}"
        )
    };
    let third = |conditions: &str| {
        format!("  - {{ name: both, match: {{ {conditions} }}, respond: {{ body: both }} }}\n")
    };
    for (conditions, can_be_used) in [
        ("headers: { X-Canary: \"1\", X-Debug: \"2\" }, methods: [GET]", false),
        ("headers: { X-Canary: \"1\", X-Debug: \"*\" }, methods: [PUT]", false),
        ("headers: { X-Canary: \"1\", X-Other: \"*\" }, methods: [GET]", false),
        ("path: /a, headers: { X-Canary: \"1\", X-Debug: \"*\" }, methods: [GET]", false),
        ("hosts: [a], headers: { X-Canary: \"1\", X-Debug: \"*\" }, methods: [GET]", false),
        ("headers: { X-Canary: \"1\", X-Debug: \"*\" }, methods: [GET]", true),
        ("headers: { X-Canary: \"*\", X-Debug: \"*\" }, methods: [GET, POST]", true),
    ] {
        let outcome = validate(&routes(&third(conditions)).replace("$LISTEN", "127.0.0.1:1"));
        assert_eq!(outcome.code == Some(0), can_be_used, "{conditions}: {}", outcome.stderr);
    }
    let gateway =
        Gateway::start(&routes(&third("headers: { X-Canary: \"1\", X-Debug: \"*\" }, methods: [GET]")));
    for (lines, body) in [
        (&[][..], "rest"),
        (&["X-Canary: 1"], "trace"),
        (&["X-Debug: 1"], "debug"),
        (&["X-Canary: 1", "X-Debug: 2"], "both"),
        (&["X-Canary: 2", "X-Debug: 2"], "debug"),
    ] {
        assert_eq!(get_with(gateway.address(), "/", lines).body, body, "{lines:?}");
    }
}

#[test]
fn the_upstream_sees_the_target_that_the_route_makes() {
    let origin = Scripted::plain();
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
routes:
  - {{ name: strip, match: {{ path_prefix: /strip }}, upstream: origin, strip_prefix: true }}
  - {{ name: kept, match: {{ path_prefix: /kept }}, upstream: origin }}
  - {{ name: path, match: {{ path_prefix: /path }}, upstream: origin, rewrite: {{ path: /v2/new }} }}
  - {{ name: exact, match: {{ path: /exact }}, upstream: origin, rewrite: {{ path: /other }} }}
  - {{ name: groups, match: {{ path_regex: \"/u/([a-z]+)/(?P<id>[0-9]+)\" }}, upstream: origin, rewrite: {{ path: \"/id/$${{id}}/$1\" }} }}
  - {{ name: query, match: {{ path: /query }}, upstream: origin, rewrite: {{ query: {{ remove: [debug], add: {{ ref: pingora }} }} }} }}
",
        origin.address()
    ));
    for (target, seen) in [
        ("/strip/a/b?c=d", "/a/b?c=d"),
        ("/strip", "/"),
        ("/strip/", "/"),
        ("/kept/a", "/kept/a"),
        ("/path/a?b", "/v2/new/a?b"),
        ("/path", "/v2/new"),
        ("/exact?q", "/other?q"),
        ("/u/ann/7", "/id/7/ann"),
        ("/query?debug=1&a=%20&d%65bug", "/query?a=%20&ref=pingora"),
        ("/query", "/query?ref=pingora"),
    ] {
        assert_eq!(get(gateway.address(), target).status, 200, "{target}");
        let line = origin.seen().pop().expect("it was asked").line().to_string();
        assert_eq!(line, format!("GET {seen} HTTP/1.1"), "{target}");
    }
}

#[test]
fn routes_can_answer_by_themselves() {
    let gateway = Gateway::start(
        "
listeners: [{ address: $LISTEN }]
middlewares: { marked: { response_headers: { set: { X-Mark: here } } } }
routes:
  - { name: hello, match: { path: /hello }, respond: { body: hi }, middlewares: [marked] }
  - { name: made, match: { path: /made }, respond: { status: 418, content_type: application/json, body: \"{}\" } }
  - { name: none, match: { path: /none }, respond: { status: 204 } }
  - { name: tls, match: { path_prefix: /tls }, redirect: { scheme: https } }
  - { name: moved, match: { path_prefix: /moved }, redirect: { path: /new, status: 302 } }
  - { name: away, match: { path_prefix: /away }, redirect: { host: \"example.com:8443\", path: / } }
",
    );
    let hello = get(gateway.address(), "/hello");
    assert_eq!((hello.status, &*hello.body, hello.header("X-Mark")), (200, "hi", Some("here")));
    assert_eq!(hello.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert!(hello.header("X-Request-Id").is_some());
    let made = get(gateway.address(), "/made");
    assert_eq!((made.status, &*made.body, made.header("X-Mark")), (418, "{}", None));
    assert_eq!(made.header("Content-Type"), Some("application/json"));
    let none = get(gateway.address(), "/none");
    assert_eq!((none.status, &*none.body), (204, ""));
    for (target, status, place) in [
        ("/tls/a?b=c", 308, "https://t.example/tls/a?b=c"),
        ("/moved/a?b", 302, "/new/a?b"),
        ("/away/a", 308, "http://example.com:8443/a"),
    ] {
        let answer = get_with(gateway.address(), target, &["Host: T.example:8080"]);
        assert_eq!((answer.status, answer.header("Location")), (status, Some(place)), "{target}");
    }
}
