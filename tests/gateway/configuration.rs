//! What becomes of a configuration, good or bad, before anything is served.

use std::net::TcpListener;

use crate::support::{run, run_with, validate};

const GOOD: &str = "\
listeners:
  - address: 127.0.0.1:6210
upstreams:
  city:
    servers:
      - address: 127.0.0.1:9001
routes:
  - name: city
    upstream: city
";

struct Case {
    it: &'static str,
    /// What is replaced in `GOOD`, and by what.
    instead: (&'static str, &'static str),
    /// `line:column`, message and remedy of each error, in the order of the text.
    says: &'static [(&'static str, &'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        it: "an unknown key",
        instead: ("    upstream:", "    upstram:"),
        says: &[("9:5", "unknown key `upstram`", "did you mean `upstream`?")],
    },
    Case {
        it: "an unknown key that resembles none",
        instead: ("    upstream:", "    goes_to:"),
        says: &[
            ("8:5", "nothing says what becomes of these requests", "name of the upstream"),
            ("9:5", "unknown key `goes_to`", "there are "),
        ],
    },
    Case {
        it: "a section by a wrong name",
        instead: ("listeners:", "listenrs:"),
        says: &[("1:1", "unknown key `listenrs`", "did you mean `listeners`?")],
    },
    Case {
        it: "a section by a wrong name, to which others refer",
        instead: ("upstreams:", "upstrems:"),
        says: &[("3:1", "unknown key `upstrems`", "did you mean `upstreams`?")],
    },
    Case {
        it: "a key by a wrong name, without which there is nothing",
        instead: ("      - address: 127.0.0.1:9001", "      - adress: 127.0.0.1:9001"),
        says: &[("6:9", "unknown key `adress`", "did you mean `address`?")],
    },
    Case {
        it: "a wrong name for a key that is there",
        instead: ("    upstream: city", "    upstream: city\n    upstram: city"),
        says: &[("10:5", "unknown key `upstram`", "did you mean `upstream`?")],
    },
    Case {
        it: "a wrong type",
        instead: ("    upstream: city", "    upstream: 7"),
        says: &[("9:15", "text is wanted here, and a number was found", "Name of the upstream")],
    },
    Case {
        it: "a dangling name",
        instead: ("    upstream: city", "    upstream: citi"),
        says: &[("9:15", "there is no upstream `citi`", "did you mean `city`?")],
    },
    Case {
        it: "a dangling name beside an unknown key: both are said at once",
        instead: ("    upstream: city", "    upstream: citi\n    timeot: 5"),
        says: &[
            ("9:15", "there is no upstream `citi`", "did you mean `city`?"),
            ("10:5", "unknown key `timeot`", "did you mean `timeout_secs`?"),
        ],
    },
    Case {
        it: "a duplicate key",
        instead: ("  - name: city", "  - name: city\n    name: town"),
        says: &[("9:5", "the key `name` stands here a second time", "remove the other")],
    },
    Case {
        it: "two routes with one name that match the same",
        instead: ("    upstream: city", "    upstream: city\n  - { name: city, upstream: city }"),
        says: &[
            ("10:5", "route 1 (line 8) matches exactly the same requests", "more specific"),
            ("10:13", "route 1 (line 8) has this name already", "a name of its own"),
        ],
    },
    Case {
        it: "a word that YAML reads as a number",
        instead: (
            "127.0.0.1:6210",
            "127.0.0.1:6210\n    tls: { min_version: 1.2, certificates: [] }",
        ),
        says: &[
            ("3:25", "a number cannot stand here", "in quotes: `\"1.2\"`"),
            ("3:30", "this is empty", "write at least one: What the gateway presents"),
        ],
    },
    Case {
        it: "text in the place of a mapping with one key",
        instead: ("- address: 127.0.0.1:6210", "- 127.0.0.1:6210"),
        says: &[("2:5", "a mapping is wanted here, and text was found", "write `address: …`, as a mapping")],
    },
    Case {
        it: "a list that is none, and so no list that is missing",
        instead: ("      - address: 127.0.0.1:9001", "      address: 127.0.0.1:9001"),
        says: &[("5:5", "a list is wanted here, and a mapping was found", "Its servers")],
    },
    Case {
        it: "a server on a port that nobody has",
        instead: ("127.0.0.1:9001", "127.0.0.1:0"),
        says: &[("6:18", "no server listens on port 0", "the port that it has")],
    },
    Case {
        it: "methods that are none",
        instead: ("    upstream: city", "    upstream: city\n    match: { methods: [get, \"GE T\"] }"),
        says: &[
            ("10:24", "this is not a method", "write `GET`: methods have capitals"),
            ("10:29", "this is not a method", "one word in capitals"),
        ],
    },
    Case {
        it: "an address without a port",
        instead: ("127.0.0.1:6210", "127.0.0.1"),
        says: &[("2:14", "not an IP address with a port", "0.0.0.0:8080")],
    },
    Case {
        it: "the same address twice",
        instead: ("  - address: 127.0.0.1:6210", "  - address: 127.0.0.1:6210\n  - address: 127.0.0.1:6210"),
        says: &[("3:14", "listener 1 (line 2) has this address already", "another port")],
    },
    Case {
        it: "a path that no request can have",
        instead: ("    upstream: city", "    upstream: city\n    match: { path_prefix: /a/../b }"),
        says: &[("10:27", "no request has this path", "write `/b`")],
    },
    Case {
        it: "an exact path and a prefix",
        instead: ("    upstream: city", "    upstream: city\n    match: { path: /a, path_prefix: /b }"),
        says: &[("10:14", "`path` and `path_prefix` cannot both hold", "keep `path`")],
    },
    Case {
        it: "a word that is none of the choices",
        instead: ("  city:\n", "  city:\n    balance: round_robbin\n"),
        says: &[("5:14", "none of the words that can stand here", "did you mean `round_robin`?")],
    },
    Case {
        it: "no thread at all",
        instead: ("listeners:", "server: { threads: 0 }\nlisteners:"),
        says: &[("1:20", "less than the minimum of 1", "How many threads")],
    },
    Case {
        it: "a middleware that nobody defined, and one of two kinds",
        instead: (
            "    upstream: city",
            "    upstream: city\n    middlewares: [cors]\nmiddlewares:\n  both: { response_headers: {}, cors: {} }",
        ),
        says: &[
            ("10:19", "there is no middleware `cors`", "there is only `both`"),
            ("12:33", "unknown key `cors`", "`response_headers`"),
        ],
    },
    Case {
        it: "a kind of middleware that does not exist",
        instead: ("routes:", "middlewares: { h: { response_header: {} } }\nroutes:"),
        says: &[("7:21", "unknown key `response_header`", "did you mean `response_headers`?")],
    },
    Case {
        it: "a middleware of no kind",
        instead: ("routes:", "middlewares: { h: {} }\nroutes:"),
        says: &[("7:16", "exactly one key must stand here", "choose one of `body_limit`, `request_headers`, `response_headers`")],
    },
    Case {
        it: "a header that frames the body",
        instead: (
            "routes:",
            "middlewares:\n  h: { response_headers: { set: { Content-Length: \"0\", \"a b\": c } } }\nroutes:",
        ),
        says: &[
            ("8:35", "this header belongs to the body that it frames", "as it was sent"),
            ("8:56", "this is not a header's name", "letters"),
        ],
    },
    Case {
        it: "a weight of nothing, and a time without a unit",
        instead: (
            "127.0.0.1:9001",
            "127.0.0.1:9001\n        weight: 0\n    timeouts: { read: 5, idle: 0s, connect: 5 minutes }",
        ),
        says: &[
            ("7:17", "less than the minimum of 1", "Its share of the requests"),
            ("8:23", "text is wanted here, and a number was found", "From one piece of an answer"),
            ("8:32", "not written as it must be", "`500ms`, `10s`, `5m`: How long a connection is kept"),
            ("8:45", "not written as it must be", "write it like"),
        ],
    },
    Case {
        it: "listeners that are in each other's way",
        instead: (
            "  - address: 127.0.0.1:6210",
            "  - address: 127.0.0.1:6210\n  - { address: \"0.0.0.0:6210\" }\n  - { address: \"unix:relative\", allow: [::1] }\n  - { address: \"unix:/tmp/s\", deny: [::1] }",
        ),
        says: &[
            ("3:16", "listener 1 (line 2) listens there too", "another port"),
            ("4:16", "a socket needs a whole path", "unix:/run/gateway.sock"),
            ("5:31", "clients of a Unix socket have no address", "permissions"),
        ],
    },
    Case {
        it: "HTTP/2 without TLS, with TLS, whose files are not there",
        instead: (
            "  - address: 127.0.0.1:6210",
            "  - { address: 127.0.0.1:6210, h2c: true, tls: { certificates: [{ cert: no, key: no }] } }",
        ),
        says: &[
            ("2:32", "`h2c` is HTTP/2 without TLS", "h2: true"),
            ("2:73", "this certificate cannot be used", "in PEM"),
            ("2:82", "this key cannot be used", "in PEM"),
        ],
    },
    Case {
        it: "routes that nobody could tell apart",
        instead: (
            "    upstream: city",
            "    upstream: city
  - { name: a, match: { path: /a, methods: [GET, PUT] }, upstream: city }
  - { name: b, match: { path: /a, methods: [PUT, POST] }, upstream: city }
  - { name: c, match: { path: /a, methods: [DELETE] }, upstream: city }
  - { name: d, match: { path: /d, headers: { A: \"1\" } }, upstream: city }
  - { name: e, match: { path: /d, headers: { A: \"2\" } }, upstream: city }
  - { name: f, match: { path: /d, headers: { B: \"1\" } }, upstream: city }
  - { name: g, match: { path: /d, hosts: [x] }, upstream: city }",
        ),
        says: &[
            ("11:16", "some requests match route 2 (line 10) too", "more specific"),
            ("15:16", "some requests match route 5 (line 13) too", "more specific"),
        ],
    },
    Case {
        it: "expressions, hosts and methods that are none",
        instead: (
            "    upstream: city",
            "    upstream: city
  - { name: a, match: { path_regex: \"/a/(b\" }, upstream: city }
  - { name: b, match: { path_regex: \".*\" }, upstream: city }
  - { name: c, match: { hosts: [\"a:80\", \"*.\"] , methods: [get, CONNECT], headers: { \"a b\": c } }, upstream: city }",
        ),
        says: &[
            ("10:37", "this is not a regular expression", "no look-around"),
            ("11:37", "every path begins with `/`", "literal `/`"),
            ("12:33", "this is not a host", "without a port"),
            ("12:41", "this is not a host", "without a port"),
            ("12:59", "this is not a method", "write `GET`"),
            ("12:64", "CONNECT is refused", "remove it"),
            ("12:85", "this is not a header's name", "letters"),
        ],
    },
    Case {
        it: "routes that do not know what they want",
        instead: (
            "    upstream: city",
            "    upstream: city
  - { name: a, match: { path: /a }, upstream: city, strip_prefix: true }
  - { name: b, match: { path_prefix: /b }, upstream: city, strip_prefix: true, rewrite: { path: /c } }
  - { name: c, match: { path: /c }, upstream: city, respond: {} }
  - { name: d, match: { path: /d }, respond: { status: 204, body: x }, websocket: true }
  - { name: e, match: { path: /e }, redirect: { status: 302 } }
  - { name: f, match: { path: /f }, redirect: { path: /g, status: 304 } }",
        ),
        says: &[
            ("10:53", "there is no prefix to strip", "path_prefix"),
            ("11:60", "the prefix is replaced already", "keep `rewrite"),
            ("12:5", "a request has one answer", "keep one of"),
            ("13:61", "an answer with this status has no body", "another status"),
            ("13:72", "`websocket` is about what an upstream gets", "remove it"),
            ("14:37", "leads to where the request was", "at least one of"),
            ("15:67", "this status leads nowhere", "301"),
        ],
    },
    Case {
        it: "networks that are none",
        instead: ("listeners:", "server: { trusted_proxies: [10.0.0.0/8, 10.0.0.1/8, proxies] }\nlisteners:"),
        says: &[
            ("1:41", "inside a network", "write `10.0.0.0/8`"),
            ("1:53", "this is not a network", "10.0.0.0/8"),
        ],
    },
    Case {
        it: "a health check of two kinds, and one of none",
        instead: ("    servers:", "    health_check: { tcp: {}, http: { path: health } }\n    servers:"),
        says: &[("5:5", "of exactly one kind", "keep one of `tcp: {}`")],
    },
    Case {
        it: "a health check that asks for nothing: what the schema and what validation find, at once",
        instead: (
            "    servers:",
            "    health_check: { http: { path: health, host: a b, expect_status: [20], expect_body: \"\" }, healthy: 0 }\n    servers:",
        ),
        says: &[
            ("5:35", "this is not a path", "begin with `/`"),
            ("5:49", "this is not a host", "users.internal"),
            ("5:70", "less than the minimum of 200", "see its description"),
            ("5:88", "this is empty", "Text that must be in"),
            ("5:103", "less than the minimum of 1", "How many checks in a row must pass"),
        ],
    },
    Case {
        it: "a health check without a path or a host",
        instead: ("    servers:", "    health_check: { http: { path: health, host: a b } }\n    servers:"),
        says: &[
            ("5:35", "this is not a path", "begin with `/`"),
            ("5:49", "this is not a host", "users.internal"),
        ],
    },
    Case {
        it: "reasons for a retry that are none, and a budget that is no percentage",
        instead: (
            "    upstream: city",
            "    upstream: city\n    retry: { on: [conect, 200], attempts: 0, budget: 120% }",
        ),
        says: &[
            ("10:19", "none of the words that can stand here", "did you mean `connect`?"),
            ("10:27", "less than the minimum of 400", "A status from 400"),
            ("10:43", "less than the minimum of 1", "How many times it is sent"),
            ("10:54", "not written as it must be", "`20%`: How many requests may be sent again"),
        ],
    },
    Case {
        it: "a breaker that opens at nothing",
        instead: (
            "    servers:",
            "    circuit_breaker: { consecutive_errors: 0, open_for: 10 }\n    servers:",
        ),
        says: &[
            ("5:44", "less than the minimum of 1", "How many errors in a row"),
            ("5:57", "text is wanted here", "For how long the server gets no request"),
        ],
    },
    Case {
        it: "a choice by a header that has no name",
        instead: ("    servers:", "    balance: { consistent: { by: header } }\n    servers:"),
        says: &[("5:34", "by which one is not said", "add its `name`")],
    },
    Case {
        it: "a name where there is only one",
        instead: ("    servers:", "    balance: { consistent: { by: path, name: x } }\n    servers:"),
        says: &[("5:40", "has no name", "remove `name`")],
    },
    Case {
        it: "a cookie and a header that cannot be",
        instead: (
            "  city:\n",
            "  a: { servers: [{ address: 127.0.0.1:1 }], balance: { sticky: { cookie: \"a=b\" } } }
  b: { servers: [{ address: 127.0.0.1:1 }], balance: { consistent: { by: header, name: \"a b\" } } }
  city:\n",
        ),
        says: &[
            ("4:74", "this is not a cookie's name", "use letters"),
            ("5:88", "this is not a header's name", "use letters"),
        ],
    },
    Case {
        it: "a choice that needs settings, without them",
        instead: ("    servers:", "    balance: { sticky: {} }\n    servers:"),
        says: &[("5:16", "the key `cookie` is missing", "Its name")],
    },
    Case {
        it: "a forward proxy without an address",
        instead: ("    servers:", "    via: { connect_proxy: proxy }\n    servers:"),
        says: &[("5:27", "not an IP address with a port", "127.0.0.1:3128")],
    },
    Case {
        it: "a wrong type in one section hides nothing in another",
        instead: (
            "    upstream: city",
            "    upstream: citi\n    middlewares: [cors]\nmiddlewares:\n  h: { response_headers: { remove: 7, set: { \"a b\": c } } }\nserver: { threads: many }",
        ),
        says: &[
            ("9:15", "there is no upstream `citi`", "did you mean `city`?"),
            ("10:19", "there is no middleware `cors`", "there is only `h`"),
            ("12:36", "a list is wanted here, and a number was found", "Headers that are taken away"),
            ("12:46", "this is not a header's name", "letters"),
            ("13:20", "a whole number is wanted here, and text was found", "How many threads"),
        ],
    },
    Case {
        it: "a server that is none makes no name dangle, and hides no other",
        instead: ("      - address: 127.0.0.1:9001", "      - 127.0.0.1\n      - address: localhost"),
        says: &[
            ("6:9", "a mapping is wanted here, and text was found", "One server of a group"),
            ("7:18", "not an IP address with a port", "172.28.0.20:8080"),
        ],
    },
    Case {
        it: "an unknown key in a match says nothing about the other routes",
        instead: (
            "    upstream: city",
            "    upstream: city\n  - { name: b, upstream: city, match: { pth: /b } }\n  - { name: c, upstream: city, match: { path_prefix: 7 } }",
        ),
        says: &[
            ("10:41", "unknown key `pth`", "did you mean `path`?"),
            ("11:54", "text is wanted here, and a number was found", "This path and all below it"),
        ],
    },
    Case {
        it: "a process that cannot be as it is said to be",
        instead: (
            "listeners:",
            "server: { ca_file: /nowhere, user: no-such-user, group: no-such-group, pid_file: gateway.pid, error_log: /no/such/log, client_bind_to_ipv4: [127.0.0.1, 127.0.0], client_bind_to_ipv6: ['::1', 127.0.0.1], max_retries: 0, upgrade_sock: /etc/passwd, upstream_keepalive_pool_size: 1, connection_pool: { max_idle: 2 } }\nlisteners:",
        ),
        says: &[
            ("1:20", "cannot read this file: No such file", "whole path"),
            ("1:36", "no such user", "make the user"),
            ("1:57", "no such group", "make the group"),
            ("1:82", "depends on where the gateway is started", "begin it with `/`"),
            ("1:106", "no folder for this file", "make the folder"),
            ("1:153", "not an address of this kind", "192.0.2.7"),
            ("1:192", "not an address of this kind", "2001:db8::7"),
            ("1:217", "less than the minimum of 1", "How many servers may be tried"),
            ("1:234", "something that is not a socket", "another path"),
            ("1:247", "`connection_pool.max_idle` says the same already", "one setting"),
        ],
    },
    Case {
        it: "what is not YAML",
        instead: ("    upstream: city", "    upstream: [city"),
        says: &[("9:21", "this is not YAML", "brackets")],
    },
];

#[test]
fn a_good_file_can_be_used() {
    let outcome = validate(GOOD);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    assert_eq!(outcome.stdout, "gateway.yaml can be used\n");
}

#[test]
fn every_error_shows_its_place_and_its_remedy() {
    let mut wrong = Vec::new();
    for case in CASES {
        let (what, by) = case.instead;
        assert!(GOOD.contains(what), "{}", case.it);
        let outcome = validate(&GOOD.replace(what, by));
        let said = format!("{}:\n{}", case.it, outcome.stderr);
        assert_eq!(outcome.code, Some(1), "{said}");
        let mut rest = &*outcome.stderr;
        for (place, message, remedy) in case.says {
            let place = format!("gateway.yaml:{place}\n");
            for part in [*message, &*place, *remedy] {
                match rest.find(part) {
                    Some(at) => rest = &rest[at + part.len()..],
                    None => wrong.push(format!("`{part}` is not said, or too early: {said}")),
                }
            }
        }
        let problems = case.says.len();
        if !rest.contains(&format!("{problems} problem")) {
            wrong.push(format!("{problems} are expected: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn validation_opens_no_port_and_a_start_says_which_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let yaml = GOOD.replace("127.0.0.1:6210", &taken.local_addr().expect("it is bound").to_string());
    assert_eq!(validate(&yaml).code, Some(0));

    let outcome = run(&yaml, &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for part in ["cannot listen here", "gateway.yaml:2:14", "another address or port"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let outcome = run_with("other.yaml", &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.starts_with("cannot read the configuration other.yaml: "), "{}", outcome.stderr);
}
