use super::*;
use crate::wire::present::Present;

fn request(lines: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/", None).expect("it is a request");
    for (name, value) in lines {
        request.append_header(*name, *value).expect("it is a header");
    }
    request
}

fn tell(request: &mut RequestHeader, hop: &Hop, client: Option<IpAddr>) {
    let told = Present::of(&request.headers).contains(Present::TOLD);
    super::tell(request, hop, client, told).expect("it fits");
}

fn hop(peer: &str, trusted: bool) -> Hop {
    Hop { peer: Some(Arc::new(Peer::new(peer.parse().expect("an address")))), trusted, tls: false }
}

#[test]
fn the_client_is_the_nearest_whom_nobody_vouches_for() {
    let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a network")];
    for (lines, peer, expected) in [
        (&[][..], "10.0.0.1", "10.0.0.1"),
        (&[(FOR, "1.1.1.1")], "10.0.0.1", "1.1.1.1"),
        (&[(FOR, "6.6.6.6, 1.1.1.1, 10.0.0.2")], "10.0.0.1", "1.1.1.1"),
        (&[(FOR, "6.6.6.6"), (FOR, "1.1.1.1")], "10.0.0.1", "1.1.1.1"),
        (&[(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.1", "10.0.0.3"),
        (&[(FOR, "1.1.1.1:80")], "10.0.0.1", "1.1.1.1"),
        (&[(FOR, "[fd00::1]")], "10.0.0.1", "fd00::1"),
        (&[(FOR, "nonsense")], "10.0.0.1", "10.0.0.1"),
        (&[(FOR, "")], "10.0.0.1", "10.0.0.1"),
        (&[(FORWARDED, "for=6.6.6.6, for=1.1.1.1;proto=https, for=10.0.0.2")], "10.0.0.1", "1.1.1.1"),
        (&[(FORWARDED, "for=6.6.6.6"), (FORWARDED, "For=\"[fd00::1]:80\"")], "10.0.0.1", "fd00::1"),
        (&[(FORWARDED, "for=1.1.1.1, for=unknown")], "10.0.0.1", "10.0.0.1"),
        (&[(FORWARDED, "for=1.1.1.1, nonsense, for=10.0.0.2")], "10.0.0.1", "10.0.0.2"),
        (&[(FORWARDED, "for=6.6.6.6"), (FOR, "1.1.1.1")], "10.0.0.1", "1.1.1.1"),
        (&[(FOR, ""), (FORWARDED, "for=1.1.1.1")], "10.0.0.1", "1.1.1.1"),
        (&[(FOR, "\u{e9}, 1.1.1.1")], "10.0.0.1", "1.1.1.1"),
        (&[(FORWARDED, "for=1.1.1.1;ext=\"a, for=6.6.6.6\"")], "10.0.0.1", "10.0.0.1"),
        (&[(FORWARDED, "for=1.1.1.1,, ;")], "10.0.0.1", "1.1.1.1"),
        (&[(FORWARDED, "for=6.6.6.6")], "2.2.2.2", "2.2.2.2"),
        (&[(FOR, "6.6.6.6")], "2.2.2.2", "2.2.2.2"),
        (&[(FOR, "1.1.1.1")], "::ffff:10.0.0.1", "1.1.1.1"),
    ] {
        let is_trusted = contains(&trusted, peer.parse().expect("an address"));
        let found = client(&request(lines), &hop(peer, is_trusted), &trusted);
        assert_eq!(found, expected.parse().ok(), "{lines:?} from {peer}");
    }
}

#[test]
fn strangers_are_not_believed_and_proxies_are() {
    let sent = [
        ("Host", "t"),
        (FOR, "6.6.6.6"),
        (PROTO, "https"),
        (HOST, "spoofed"),
        (FORWARDED, "for=6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("X-Forwarded_For", "6.6.6.6"),
        ("Content_Length", "6"),
        ("Proxy", "http://6.6.6.6"),
        ("their_own", "1"),
    ];
    let told = |hop| {
        let mut request = request(&sent);
        tell(&mut request, &hop, None);
        for name in ["X_Forwarded_For", "X-Forwarded_For", "Content_Length", "Proxy"] {
            assert!(!request.headers.contains_key(name), "{name}");
        }
        assert!(request.headers.contains_key("their_own"));
        let names = [FOR, PROTO, HOST, FORWARDED, "X-Real-IP"];
        names.map(|name| request.headers.get(name).map(|value| value.to_str().expect("text").to_string()))
    };
    let text = |values: [Option<&str>; 5]| values.map(|value| value.map(str::to_string));
    assert_eq!(
        told(hop("fd00::9", false)),
        text([
            Some("fd00::9"),
            Some("http"),
            Some("t"),
            Some("for=\"[fd00::9]\";host=\"t\";proto=http"),
            None
        ])
    );
    assert_eq!(
        told(hop("10.0.0.1", true)),
        text([
            Some("6.6.6.6, 10.0.0.1"),
            Some("https"),
            Some("spoofed"),
            Some("for=6.6.6.6, for=10.0.0.1;host=\"t\";proto=http"),
            Some("6.6.6.6")
        ])
    );
}

/// One connection, many hosts: what was said of one is not said of the next, and no memory grows with their length.
#[test]
fn what_is_said_is_of_this_request() {
    let mut hop = hop("10.0.0.1", false);
    let long = "a".repeat(MEMORABLE + 1);
    for (host, tls) in [("a", false), ("a", false), ("b", false), ("b", true), (&*long, true), ("b", true)] {
        hop.tls = tls;
        let mut request = request(&[("Host", host)]);
        tell(&mut request, &hop, None);
        let proto = if tls { "https" } else { "http" };
        let forwarded = format!("for=10.0.0.1;host=\"{host}\";proto={proto}");
        assert_eq!(request.headers.get(FORWARDED).and_then(|value| value.to_str().ok()), Some(&*forwarded));
        let said = hop.peer.as_ref().expect("it has one").said.lock().expect("nobody panics with it");
        let kept = said.as_ref().and_then(|said| said.host.as_deref()).expect("it was said");
        assert_eq!(kept, if host == long { b"b" } else { host.as_bytes() });
    }
}

/// What follows on a connection's first request is told of as that one was, and is otherwise what it was.
#[test]
fn a_head_that_is_written_anew_is_the_same_head() {
    for (method, target, lines, anew) in [
        ("GET", "/", &[("Host", "a.test")][..], true),
        ("GET", "/", &[("host", "a.test")], true),
        ("POST", "/a%20b?c=d&e", &[("HOST", "a.test"), ("x-A", "2"), ("X-a", "1")], true),
        ("OPTIONS", "*", &[("Host", "a.test")], true),
        ("GET", "http://a.test/b?c", &[("Host", "a.test"), ("Accept", "*/*")], false),
        ("GET", "/", &[("Accept", "*/*"), ("Host", "a.test")], false),
        ("GET", "/", &[], false),
        ("GET", "/", &[("Host", "a.test"), ("B", "2"), ("C", "3"), ("D", "4")], false),
    ] {
        let hop = hop("10.0.0.1", false);
        let written = || {
            let mut request = RequestHeader::build(method, target.as_bytes(), None).expect("it is a request");
            for (name, value) in lines {
                request.append_header(*name, *value).expect("it is a header");
            }
            request.extensions_mut().insert(7_u8);
            tell(&mut request, &hop, None);
            let mut head = Vec::new();
            request.header_to_h1_wire(&mut head);
            let mut fields = head.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
            // Ours may stand before theirs, but each list has its order.
            fields.sort();
            let list = request.headers.get_all("x-a").iter().cloned().collect::<Vec<_>>();
            let parts =
                (request.method.clone(), request.uri.clone(), request.version, request.raw_path().to_vec());
            (parts, request.extensions.get::<u8>().copied(), fields, list)
        };
        let first = written();
        assert_eq!(first.1, Some(7));
        for _ in 0..3 {
            assert_eq!(written(), first, "{method} {target} {lines:?}");
        }
        let said = hop.peer.as_ref().expect("it has one").said.lock().expect("nobody panics with it");
        assert_eq!(
            said.as_ref().is_some_and(|said| said.head.is_some()),
            anew,
            "{method} {target} {lines:?}"
        );
    }
}

/// Names have the letters that this request gave them, whatever those before it did.
#[test]
fn a_host_is_named_as_it_came() {
    let hop = hop("10.0.0.1", false);
    for name in ["Host", "Host", "host", "host", "HOST", "Host"] {
        let mut request = request(&[(name, "a.test"), ("accept", "*/*")]);
        tell(&mut request, &hop, None);
        let mut head = Vec::new();
        request.header_to_h1_wire(&mut head);
        let head = String::from_utf8(head).expect("it is text");
        assert!(
            head.starts_with(&format!("{name}: a.test\r\n")) && head.contains("\r\naccept: */*\r\n"),
            "{head}"
        );
    }
}

#[test]
fn two_headers_say_the_same_to_the_upstream() {
    const OWN: &str = "for=10.0.0.1;host=\"t\";proto=http";
    for (sent, [addresses, forwarded, proto, host]) in [
        // A proxy that knows the older one alone: the other is a stranger's.
        (
            &[(FOR, "1.1.1.1"), (FORWARDED, "for=6.6.6.6;proto=https")][..],
            ["1.1.1.1, 10.0.0.1", "for=1.1.1.1, ", "http", "t"],
        ),
        // Everybody knows his own address: that it is in the other, too, proves nothing.
        (
            &[(FOR, "1.1.1.1"), (FORWARDED, "for=1.1.1.1;host=evil"), (PROTO, "https")],
            ["1.1.1.1, 10.0.0.1", "for=1.1.1.1, ", "https", "t"],
        ),
        // One bad byte hides nobody.
        (&[(FOR, "\u{e9}, 1.1.1.1")], ["?, 1.1.1.1, 10.0.0.1", "for=unknown, for=1.1.1.1, ", "http", "t"]),
        // A proxy that knows the newer one alone.
        (
            &[(FORWARDED, "for=6.6.6.6;host=no, for=1.1.1.1;proto=https;host=\"x:1\", for=10.0.0.2")],
            [
                "6.6.6.6, 1.1.1.1, 10.0.0.2, 10.0.0.1",
                "for=6.6.6.6;host=no, for=1.1.1.1;proto=https;host=\"x:1\", for=10.0.0.2, ",
                "https",
                "x:1",
            ],
        ),
        // What nobody can read is not continued, and takes nothing from what is nearer.
        (&[(FORWARDED, "for=\"unterminated")], ["10.0.0.1", "", "http", "t"]),
        (&[(FORWARDED, "x, for=1.1.1.1")], ["1.1.1.1, 10.0.0.1", "for=1.1.1.1, ", "http", "t"]),
        (
            &[(FORWARDED, ", for=1.1.1.1; proto=https;host=\"a b\";,")],
            ["1.1.1.1, 10.0.0.1", "for=1.1.1.1;proto=https;host=\"a b\", ", "https", "t"],
        ),
        (&[(FORWARDED, "for=1.1.1.1;ext=\"a, for=6.6.6.6\"")], ["10.0.0.1", "", "http", "t"]),
        (&[(FOR, ""), (FORWARDED, "for=1.1.1.1")], ["1.1.1.1, 10.0.0.1", "for=1.1.1.1, ", "http", "t"]),
    ] {
        let mut request = request(sent);
        request.insert_header("Host", "t").expect("it fits");
        tell(&mut request, &hop("10.0.0.1", true), "1.1.1.1".parse().ok());
        let forwarded = format!("{forwarded}{OWN}");
        for (name, expected) in [(FOR, addresses), (FORWARDED, &*forwarded), (PROTO, proto), (HOST, host)] {
            let said = request.headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(said, Some(expected), "{name} after {sent:?}");
        }
    }
}

#[test]
fn who_is_named_in_one_header_is_not_lost_in_the_other() {
    let mut request = request(&[("Host", "t"), (FOR, "1.1.1.1, fd00::7"), (FOR, "10.0.0.2:80, nonsense")]);
    tell(&mut request, &hop("10.0.0.1", true), None);
    assert_eq!(
        request.headers.get(FORWARDED).and_then(|value| value.to_str().ok()),
        Some("for=1.1.1.1, for=\"[fd00::7]\", for=10.0.0.2, for=unknown, for=10.0.0.1;host=\"t\";proto=http")
    );
}
