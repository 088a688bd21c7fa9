//! What the upstream is told about the client, and by which name both sides know a request.

use crate::support::{Gateway, Scripted, free_port, get, get_with};

fn before(origin: &Scripted, server: &str) -> Gateway {
    Gateway::start(&format!(
        "
server: {{ {server} }}
listeners: [{{ address: $LISTEN }}]
upstreams:
  origin: {{ servers: [{{ address: {} }}] }}
  gone: {{ servers: [{{ address: 127.0.0.1:{} }}] }}
routes:
  - {{ name: all, upstream: origin }}
  - {{ name: gone, match: {{ path: /gone }}, upstream: gone }}
",
        origin.address(),
        free_port()
    ))
}

const SPOOFED: &[&str] = &[
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: spoofed",
    "Forwarded: for=6.6.6.6",
    "X-Real-IP: 6.6.6.6",
];
const NAMES: [&str; 5] =
    ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP"];

#[test]
fn a_stranger_is_not_believed() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "trusted_proxies: [10.0.0.0/8, \"fd00::/8\"]");
    for lines in [SPOOFED, &[]] {
        get_with(gateway.address(), "/", lines);
        let seen = origin.seen().pop().expect("it was asked");
        let told = NAMES.map(|name| seen.all(name).join("|"));
        assert_eq!(told, ["127.0.0.1", "http", "test", "for=127.0.0.1;host=\"test\";proto=http", ""]);
    }
}

#[test]
fn a_proxy_of_ours_is() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "trusted_proxies: [127.0.0.1]");
    get_with(gateway.address(), "/", SPOOFED);
    let seen = origin.seen().pop().expect("it was asked");
    let told = NAMES.map(|name| seen.all(name).join("|"));
    let forwarded = "for=6.6.6.6, for=127.0.0.1;host=\"test\";proto=http";
    assert_eq!(told, ["6.6.6.6, 127.0.0.1", "https", "spoofed", forwarded, "6.6.6.6"]);
}

#[test]
fn a_request_has_one_id_everywhere() {
    let origin = Scripted::start(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: another\r\n\r\nok".to_vec()
    });
    let gateway = before(&origin, "");

    let answer = get_with(gateway.address(), "/", &["X-Request-Id: mine-7"]);
    assert_eq!(answer.all("X-Request-Id"), ["mine-7"]);
    assert_eq!(origin.seen().pop().expect("it was asked").all("X-Request-Id"), ["mine-7"]);

    for lines in [&[][..], &["X-Request-Id: a \"b\""], &["X-Request-Id: a", "X-Request-Id: b"]] {
        let answer = get_with(gateway.address(), "/", lines);
        let id = answer.header("X-Request-Id").expect("it has one").to_string();
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "{lines:?}: {id}");
        assert_eq!(origin.seen().pop().expect("it was asked").all("X-Request-Id"), [id]);
    }
    // Whoever has no answer can at least name the request.
    let answer = get_with(gateway.address(), "/gone", &["X-Request-Id: mine-8"]);
    assert_eq!((answer.status, answer.header("X-Request-Id")), (502, Some("mine-8")));
    assert_ne!(get(gateway.address(), "/gone").header("X-Request-Id"), None);
}
