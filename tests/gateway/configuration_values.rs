//! Values that come from outside of the file: variables, other files, and keys that variables set.

use std::fs;

use tempfile::TempDir;

use crate::support::{Gateway, Origin, Outcome, get, run_in};

const GOOD: &str = "\
listeners: [{ address: \"127.0.0.1:${PORT:-6210}\" }]
server: { threads: \"${THREADS:-1}\" }
upstreams: { city: { servers: [{ address: 127.0.0.1:9001 }] } }
middlewares: { h: { response_headers: { set: { X-Key: \"${KEY:-none}\" } } } }
routes: [{ name: city, upstream: city, middlewares: [h] }]
";

fn validate(yaml: &str, variables: &[(&str, &str)]) -> Outcome {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("gateway.yaml"), yaml).expect("it is written");
    run_in(folder.path(), &["-t", "--config", "gateway.yaml"], variables)
}

#[test]
fn variables_and_files_reach_clients() {
    let origin = Origin::start("blue");
    let folder = TempDir::new().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "from a file\n").expect("it is written");
    let yaml = format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ blue: {{ servers: [{{ address: \"127.0.0.1:${{ORIGIN_PORT}}\" }}] }} }}
middlewares:
  h:
    response_headers:
      set:
        X-Variable: ${{A_NUMBER}}
        X-Default: ${{NOT_SET_ANYWHERE:-a default}}
        X-File: ${{file:{}}}
        X-Literal: $${{A_NUMBER}}
        X-Overridden: from the file
routes: [{{ name: all, upstream: blue, middlewares: [h] }}]
",
        secret.display()
    );
    let gateway = Gateway::start_with(&yaml, |command| {
        command.env("ORIGIN_PORT", origin.address().port().to_string());
        // It looks like a number, and the header's value is text all the same.
        command.env("A_NUMBER", "0042");
        command.env("GATEWAY__MIDDLEWARES__H__RESPONSE_HEADERS__SET__X_OVERRIDDEN", "12");
    });
    let answer = get(gateway.address(), "/");
    for (name, value) in [
        ("X-Variable", "0042"),
        ("X-Default", "a default"),
        ("X-File", "from a file"),
        ("X-Literal", "${A_NUMBER}"),
        ("X-Overridden", "12"),
        ("X-Origin", "blue"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

struct Case {
    it: &'static str,
    instead: (&'static str, &'static str),
    variables: &'static [(&'static str, &'static str)],
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        it: "a variable that is not set",
        instead: (":-none", ""),
        variables: &[],
        says: &["the variable `KEY` is not set", "gateway.yaml:4:55\n", "${KEY:-default}", "1 problem"],
    },
    Case {
        it: "a file that cannot be read",
        instead: ("${KEY:-none}", "${file:/nowhere/key}"),
        variables: &[],
        says: &[
            "cannot read the file `/nowhere/key`: No such file",
            "gateway.yaml:4:55\n",
            "whole path",
            "1 problem",
        ],
    },
    Case {
        it: "a reference that does not end",
        instead: ("${KEY:-none}", "${KEY"),
        variables: &[],
        says: &["`${` begins a name", "gateway.yaml:4:55\n", "`$${`", "1 problem"],
    },
    Case {
        it: "a variable of the wrong type, and what is wrong beside it",
        instead: ("upstream: city, ", "upstream: citi, "),
        variables: &[("THREADS", "sekret-many")],
        says: &[
            "a whole number is wanted here, and text was found",
            "gateway.yaml:2:20\n",
            "there is no upstream `citi`",
            "2 problems",
        ],
    },
    Case {
        it: "a variable out of its range",
        instead: ("x", "x"),
        variables: &[("PORT", "sekret")],
        says: &[
            "not an IP address with a port",
            "gateway.yaml:1:24\n",
            "correct what `${PORT:-6210}` stands for",
        ],
    },
    Case {
        it: "a name from a variable",
        instead: ("upstream: city,", "upstream: \"${KEY}\","),
        variables: &[("KEY", "sekret")],
        says: &["there is no upstream `${KEY}`", "gateway.yaml:5:34\n", "correct what `${KEY}` stands for"],
    },
    Case {
        it: "a variable that sets a key badly",
        instead: ("x", "x"),
        variables: &[("GATEWAY__SERVER__THREADS", "sekret")],
        says: &[
            "a whole number is wanted here, and text was found",
            "$GATEWAY__SERVER__THREADS:1:1\n",
            "GATEWAY__SERVER__THREADS=…",
            "How many threads",
            "1 problem",
        ],
    },
    Case {
        it: "WORKER_THREADS, badly",
        instead: ("x", "x"),
        variables: &[("WORKER_THREADS", "0")],
        says: &["less than the minimum of 1", "$WORKER_THREADS:1:1\n", "1 problem"],
    },
    Case {
        it: "a variable that sets a key which does not exist",
        instead: ("x", "x"),
        variables: &[("GATEWAY__SERVER__THREDS", "sekret")],
        says: &[
            "unknown key `threds`",
            "$GATEWAY__SERVER__THREDS:1:1\n",
            "did you mean `threads`?",
            "1 problem",
        ],
    },
    Case {
        it: "a variable that leads below a value",
        instead: ("x", "x"),
        variables: &[("GATEWAY__ROUTES__0__NAME__X", "sekret")],
        says: &["there are no keys below this value", "$GATEWAY__ROUTES__0__NAME__X:1:1\n", "1 problem"],
    },
];

#[test]
fn what_is_wrong_shows_its_place_and_never_its_value() {
    for case in CASES {
        let (what, by) = case.instead;
        let outcome = validate(&GOOD.replace(what, by), case.variables);
        let said = format!("{}:\n{}", case.it, outcome.stderr);
        assert_eq!(outcome.code, Some(1), "{said}");
        for part in case.says {
            assert!(outcome.stderr.contains(part), "`{part}` is not said: {said}");
        }
        assert!(!outcome.stderr.contains("sekret"), "{said}");
    }
    assert_eq!(validate(GOOD, &[]).code, Some(0));
}

#[test]
fn a_variable_sets_a_key_and_the_more_exact_name_wins() {
    for (variables, code) in [
        (&[("WORKER_THREADS", "2")][..], 0),
        (&[("WORKER_THREADS", "0")], 1),
        (&[("WORKER_THREADS", "0"), ("GATEWAY__SERVER__THREADS", "2")], 0),
        (&[("WORKER_THREADS", "2"), ("GATEWAY__SERVER__THREADS", "0")], 1),
        (&[("GATEWAY__ROUTES", "[{ name: r, upstream: city }, { name: s, upstream: city }]")], 1),
        (&[("GATEWAY__ROUTES", "[{ name: r, upstream: city }]")], 0),
        (
            &[
                ("GATEWAY__ROUTES__1__NAME", "x"),
                ("GATEWAY__ROUTES__1__UPSTREAM", "city"),
                ("GATEWAY__ROUTES__1__MATCH__PATH", "/x"),
            ],
            0,
        ),
        (&[("GATEWAY__ROUTES__1__NAME", "x")], 1),
    ] {
        let outcome = validate(GOOD, variables);
        assert_eq!(outcome.code, Some(code), "{variables:?}: {}", outcome.stderr);
    }
}

#[test]
fn rust_log_says_how_much_is_logged() {
    let yaml = "
listeners: [{ address: $LISTEN }]
upstreams: { none: { servers: [{ address: 127.0.0.1:1 }] } }
routes: [{ name: all, upstream: none }]
";
    let talkative = Gateway::start(yaml);
    assert!(talkative.log().contains("listening on"), "{}", talkative.log());
    let silent = Gateway::start_with(yaml, |command| {
        command.env("RUST_LOG", "error");
    });
    assert!(!silent.log().contains("listening on"), "{}", silent.log());
}

/// Who names a user wants to have fewer rights, and must not find out later that it has not come to that.
#[test]
fn a_gateway_in_the_foreground_becomes_nobody_else() {
    let yaml = |server: &str| format!("server: {{ {server} }}\n{}", GOOD.replace("server: {", "# {"));
    let run = |verb: &[&str], server: &str| {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("gateway.yaml"), yaml(server)).expect("it is written");
        run_in(folder.path(), &[verb, &["--config", "gateway.yaml"]].concat(), &[])
    };
    for (server, column) in [("user: root", 11), ("group: root", 11), ("daemon: false, user: root", 26)] {
        // With `-t` or without it.
        for verb in [&["-t"][..], &[]] {
            let outcome = run(verb, server);
            assert_eq!(outcome.code, Some(1), "{server}: {}", outcome.stderr);
            let place = format!("gateway.yaml:1:{column}\n");
            for says in
                ["in the foreground, the gateway keeps the", &place, "add `daemon: true`", ": 1 problem"]
            {
                assert!(outcome.stderr.contains(says), "{server}: not in it: {says}\n{}", outcome.stderr);
            }
        }
        // In any form of it; and who asks what the file means does not serve with it.
        for verb in [&["-t", "--daemon"][..], &["routes"]] {
            assert_eq!(run(verb, server).code, Some(0), "{server}: {}", run(verb, server).stderr);
        }
        assert_eq!(
            run(&["-t"], &format!("{server}, daemon: true").replace("daemon: false, ", "")).code,
            Some(0)
        );
    }
    let by_variable = validate(&yaml("user: root"), &[("GATEWAY__SERVER__DAEMON", "true")]);
    assert_eq!(by_variable.code, Some(0), "{}", by_variable.stderr);
}

/// Listeners are opened by the user that it becomes.
#[test]
fn who_is_not_root_any_more_opens_no_port_of_roots() {
    let set =
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("the kernel says so");
    let first: u32 = set.trim().parse().expect("a number");
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root || first <= 80 {
        eprintln!("here, nobody needs to be root for it: only that it is not refused can be seen");
    }
    let text = |server: &str, port: u32| {
        format!(
            "server: {{ {server} }}\nlisteners: [{{ address: 127.0.0.1:{port} }}]\n\
             services: [{{ name: s, bind_address: \"127.0.0.2:{port}\", upstreams: [127.0.0.1:1] }}]\n\
             routes: [{{ name: r, respond: {{}} }}]\n"
        )
    };
    for (server, port, refused) in [
        ("daemon: true, user: nobody", 80, is_root && first > 80),
        ("daemon: true, user: nobody", 1023, is_root && first > 1023),
        ("daemon: true, user: nobody", first.max(1024), false),
        ("daemon: true, user: root", 80, false),
        ("daemon: true", 80, false),
    ] {
        let outcome = validate(&text(server, port), &[]);
        assert_eq!(outcome.code, Some(i32::from(refused)), "{server}, {port}: {}", outcome.stderr);
        let says = [
            "`server.user` may not listen here",
            "gateway.yaml:2:",
            "gateway.yaml:3:",
            "choose a higher port",
            ": 2 problems",
        ];
        for says in says.iter().filter(|_| refused) {
            assert!(outcome.stderr.contains(says), "not in it: {says}\n{}", outcome.stderr);
        }
    }
}
