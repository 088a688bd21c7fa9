//! The short form, and routes that depend on where a request came in.

use crate::support::{
    Answer, Gateway, Origin, TlsOrigin, UpstreamAuthority as Authority, get, run, until, validate,
};

fn name(answer: &Answer) -> Option<&str> {
    answer.header("X-Origin")
}

#[test]
fn each_service_has_an_address_and_servers_of_its_own() {
    let (blue, green, red) = (Origin::start("blue"), Origin::start("green"), Origin::start("red"));
    let gateway = Gateway::start(&format!(
        "
services:
  - {{ name: users, bind_address: $LISTEN, upstreams: [{}, {}], tls: false }}
  - {{ name: admin-portal, bind_address: $OTHER, upstreams: [{}] }}
",
        blue.address(),
        green.address(),
        red.address()
    ));
    let at = |address| name(&get(address, "/")).map(str::to_string);
    let mut users: Vec<_> = (0..4).map(|_| at(gateway.address())).collect();
    users.sort();
    assert_eq!(users, ["blue", "blue", "green", "green"].map(|name| Some(name.to_string())));
    until("the second service listens", || std::net::TcpStream::connect(gateway.other()).is_ok());
    assert_eq!(at(gateway.other()), Some("red".to_string()));
}

#[test]
fn both_forms_serve_side_by_side_and_do_not_mix() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ blue: {{ servers: [{{ address: {} }}] }} }}
routes: [{{ name: users, match: {{ path_prefix: /users }}, upstream: blue }}]
services: [{{ name: green, bind_address: $OTHER, upstreams: [{}] }}]
",
        blue.address(),
        green.address()
    ));
    until("the service listens", || std::net::TcpStream::connect(gateway.other()).is_ok());
    for (address, target, status, origin) in [
        (gateway.address(), "/users", 200, Some("blue")),
        (gateway.address(), "/", 404, None),
        (gateway.other(), "/users", 200, Some("green")),
        (gateway.other(), "/", 200, Some("green")),
    ] {
        let answer = get(address, target);
        assert_eq!((answer.status, name(&answer)), (status, origin), "{target} at {address}");
    }
}

#[test]
fn a_service_asks_its_servers_whether_they_take_connections() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let gateway = Gateway::start(&format!(
        "
services:
  - name: users
    bind_address: $LISTEN
    upstreams: [{}, {}]
    health_check: {{ timeout_ms: 500, frequency_secs: 1 }}
",
        blue.address(),
        green.address()
    ));
    assert_eq!(get(gateway.address(), "/").status, 200);
    drop(blue);
    until("blue is missed", || gateway.log().contains("is not well"));
    for _ in 0..4 {
        assert_eq!(name(&get(gateway.address(), "/")), Some("green"));
    }
}

#[test]
fn a_service_believes_the_servers_that_its_authority_knows() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = TlsOrigin::start(&authority.sign("users.internal"), b"\x08http/1.1", None);
    let told = |authority: &Authority, sni: &str| {
        let gateway = Gateway::start(&format!(
            "
server: {{ ca_file: {} }}
services: [{{ name: users, bind_address: $LISTEN, upstreams: [\"{}\"], tls: true, sni: {sni} }}]
",
            authority.ca().display(),
            origin.address()
        ));
        get(gateway.address(), "/").status
    };
    assert_eq!(told(&authority, "users.internal"), 200);
    assert_eq!(told(&authority, "posts.internal"), 502, "it is somebody else's certificate");
    assert_eq!(told(&other, "users.internal"), 502, "nobody knows who has signed it");
}

#[test]
fn a_route_can_be_for_one_listener() {
    let gateway = Gateway::start(
        "
listeners: [{ address: $LISTEN }, { address: $OTHER }]
routes:
  - { name: all, respond: { body: all } }
  - { name: tls, match: { listeners: [$OTHER] }, redirect: { scheme: https } }
  - { name: health, match: { listeners: [$OTHER], path: /health }, respond: { body: well } }
",
    );
    until("the second one listens", || std::net::TcpStream::connect(gateway.other()).is_ok());
    for (address, target, status, body) in [
        (gateway.address(), "/", 200, "all"),
        (gateway.address(), "/health", 200, "all"),
        (gateway.other(), "/", 308, ""),
        (gateway.other(), "/health", 200, "well"),
    ] {
        let answer = get(address, target);
        assert_eq!((answer.status, &*answer.body), (status, body), "{target} at {address}");
    }
}

const SERVICES: &str = "\
listeners: [{ address: 127.0.0.1:1 }, { address: 127.0.0.1:2 }, { address: 127.0.0.2:1 }]
routes:
  - { name: all, respond: { body: all } }
  - { name: two, match: { listeners: [127.0.0.1:2] }, respond: { body: two } }
  - { name: other, match: { listeners: [127.0.0.2:1] }, respond: { body: other } }
services:
  - { name: users, bind_address: 127.0.0.1:3, upstreams: [127.0.0.1:9001] }
";

#[test]
fn explain_and_the_table_know_the_listeners() {
    for (url, came_in, route) in [
        ("/", "127.0.0.1:1", "all"),
        ("http://localhost:1/", "127.0.0.1:1", "all"),
        ("http://localhost:2/", "127.0.0.1:2", "two"),
        ("http://127.0.0.2:1/", "127.0.0.2:1", "other"),
        ("http://localhost:3/", "127.0.0.1:3", "users"),
    ] {
        let outcome = run(SERVICES, &["explain", "GET", url]);
        let says = [format!("came in at   {came_in}\n"), format!("route        {route}\n")];
        assert!(says.iter().all(|line| outcome.stdout.contains(line)), "{url}: {}", outcome.stdout);
    }
    let elsewhere = run(SERVICES, &["explain", "GET", "http://localhost:3/"]).stdout;
    for line in ["not          all: not at one of `listeners`\n", "not          two: not at 127.0.0.1:2\n"] {
        assert!(elsewhere.contains(line), "{elsewhere}");
    }
    let table = run(SERVICES, &["routes"]).stdout;
    assert!(table.contains("two    at 127.0.0.1:2  respond 200"), "{table}");
    assert!(table.contains("users  at 127.0.0.1:3  upstream users"), "{table}");
}

#[test]
fn what_is_wrong_with_a_service_has_its_place_and_its_remedy() {
    let wrong = "\
listeners: [{ address: 0.0.0.0:3 }]
routes:
  - { name: posts, match: { listeners: [0.0.0.0:4] }, upstream: users }
services:
  - { name: users, bind_address: 127.0.0.1:3, upstreams: [127.0.0.1:9001, 127.0.0.1:9001] }
  - { name: users, bind_address: localhost, upstreams: [here] }
  - { name: posts, bind_address: 127.0.0.1:4, upstreams: [], tls: true }
  - { name: other, bind_address: 127.0.0.1:5, upstreams: [127.0.0.1:1], sni: users.internal, tsl: true }
";
    let outcome = validate(wrong);
    assert_eq!(outcome.code, Some(1));
    for (place, message, fix) in [
        ("3:41", "there is no listener with this address", "did you mean `0.0.0.0:3`?"),
        ("3:65", "there is no upstream `users`", "there is none"),
        ("5:34", "listener 1 (line 1) listens there too", "another port"),
        ("5:75", "server 1 of this group has this address already", "remove one"),
        ("6:13", "service 1 (line 5) has this name already", "choose another"),
        ("6:34", "not an IP address with a port", "0.0.0.0:8080"),
        ("6:57", "not an IP address with a port", "172.28.0.20:8080"),
        ("7:13", "route 1 (line 3) has this name already", "choose another"),
        ("7:47", "this is empty", "IP addresses and ports"),
        ("7:62", "nothing of the servers' certificate would be verified", "sni: users.internal"),
        ("8:73", "a name is asked for in TLS", "tls: true"),
        ("8:94", "unknown key `tsl`", "`bind_address`"),
    ] {
        let at = format!("gateway.yaml:{place}");
        assert!(
            outcome.stderr.contains(&at) && outcome.stderr.contains(message) && outcome.stderr.contains(fix),
            "{place} {message}:\n{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_file_of_neither_form_serves_nobody() {
    for (text, says) in [
        ("upstreams: {}\n", &["there are no `listeners`", "there are no `routes`"][..]),
        ("listeners: [{ address: 127.0.0.1:1 }]\n", &["there are no `routes`"]),
        ("routes: [{ name: a, respond: {} }]\n", &["there are no `listeners`"]),
        ("services: []\n", &["there are no `listeners`", "there are no `routes`"]),
    ] {
        let outcome = validate(text);
        assert_eq!(outcome.code, Some(1), "{text}");
        for message in says {
            assert!(outcome.stderr.contains(message), "{text}: {}", outcome.stderr);
        }
    }
}

#[test]
fn services_by_a_wrong_name_are_one_mistake() {
    let wrong = "service:\n  - { name: users, bind_address: 127.0.0.1:3, upstreams: [127.0.0.1:9001] }\n";
    let outcome = validate(wrong);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("did you mean `services`?"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 problem"), "{}", outcome.stderr);
}
