//! Which requests go where, and what the upstream sees of them.

use crate::support::{Gateway, Origin, get};

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
