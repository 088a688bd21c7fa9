//! The same for HTTP/2: what a client may send there, and how much of it.

use std::time::{Duration, Instant};

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Ending, GOAWAY, H2Client, HEADERS, PING, RST_STREAM, block,
    frame,
};
use crate::support::{Gateway, PATIENCE, Received, Scripted, get, h2c};

fn before(origin: &Scripted, listener: &str) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN, h2c: true, {listener} }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
routes:
  - {{ name: hi, match: {{ path: /hi }}, respond: {{ body: hi }} }}
  - {{ name: admin, match: {{ path_prefix: /admin }}, respond: {{ status: 403, body: no }} }}
  - {{ name: ws, match: {{ path: /ws }}, upstream: origin, websocket: true }}
  - {{ name: all, upstream: origin }}
",
        origin.address()
    ))
}

type Lines = &'static [(&'static str, &'static str)];

const METHOD: (&str, &str) = (":method", "GET");
const POST: (&str, &str) = (":method", "POST");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/a");
const HOST: (&str, &str) = (":authority", "t");

/// Requests of which nothing may go on.
const REFUSED: &[(&str, Lines)] = &[
    ("a name in capitals", &[METHOD, SCHEME, PATH, HOST, ("X", "y")]),
    ("a name with a space", &[METHOD, SCHEME, PATH, HOST, ("x y", "z")]),
    ("a name with a colon", &[METHOD, SCHEME, PATH, HOST, ("x:", "y")]),
    ("an empty name", &[METHOD, SCHEME, PATH, HOST, ("", "y")]),
    ("a space before a value", &[METHOD, SCHEME, PATH, HOST, ("x", " y")]),
    ("a space behind a value", &[METHOD, SCHEME, PATH, HOST, ("x", "y ")]),
    ("a tab behind a value", &[METHOD, SCHEME, PATH, HOST, ("x", "y\t")]),
    ("a line feed in a value", &[METHOD, SCHEME, PATH, HOST, ("x", "y\r\nz: a")]),
    ("a NUL in a value", &[METHOD, SCHEME, PATH, HOST, ("x", "y\0")]),
    ("a header of the connection", &[METHOD, SCHEME, PATH, HOST, ("connection", "close")]),
    ("a coding", &[METHOD, SCHEME, PATH, HOST, ("transfer-encoding", "chunked")]),
    ("a wish to switch", &[METHOD, SCHEME, PATH, HOST, ("upgrade", "websocket")]),
    ("TE other than for trailers", &[METHOD, SCHEME, PATH, HOST, ("te", "gzip")]),
    ("no method", &[SCHEME, PATH, HOST]),
    ("no scheme", &[METHOD, PATH, HOST]),
    ("no path", &[METHOD, SCHEME, HOST]),
    ("nobody it is for", &[METHOD, SCHEME, PATH]),
    ("an empty path", &[METHOD, SCHEME, (":path", ""), HOST]),
    ("a query without a path", &[METHOD, SCHEME, (":path", "?a"), HOST]),
    ("a path without a slash", &[METHOD, SCHEME, (":path", "a"), HOST]),
    ("a path with a line of HTTP/1", &[METHOD, SCHEME, (":path", "/a HTTP/1.1\r\nX: y"), HOST]),
    ("an asterisk", &[METHOD, SCHEME, (":path", "*"), HOST]),
    ("another protocol", &[METHOD, (":scheme", "ftp"), PATH, HOST]),
    ("an empty scheme", &[METHOD, (":scheme", ""), PATH, HOST]),
    ("a method with a line of HTTP/1", &[(":method", "GET /b HTTP/1.1\r\n"), SCHEME, PATH, HOST]),
    ("two paths", &[METHOD, SCHEME, PATH, (":path", "/b"), HOST]),
    ("two methods", &[METHOD, POST, SCHEME, PATH, HOST]),
    ("two hosts", &[METHOD, SCHEME, PATH, HOST, (":authority", "u")]),
    ("a Host of another", &[METHOD, SCHEME, PATH, HOST, ("host", "u")]),
    ("a host with a user", &[METHOD, SCHEME, PATH, (":authority", "a@t")]),
    ("a host with a port that is none", &[METHOD, SCHEME, PATH, (":authority", "t:ab")]),
    ("a pseudo-header nobody knows", &[METHOD, SCHEME, PATH, HOST, (":x", "y")]),
    ("a pseudo-header behind a header", &[METHOD, SCHEME, HOST, ("x", "y"), PATH]),
    ("two lengths", &[POST, SCHEME, PATH, HOST, ("content-length", "3"), ("content-length", "4")]),
    ("the same length twice", &[POST, SCHEME, PATH, HOST, ("content-length", "3"), ("content-length", "3")]),
    ("a length with a sign", &[POST, SCHEME, PATH, HOST, ("content-length", "+3")]),
    ("a length that is none", &[POST, SCHEME, PATH, HOST, ("content-length", "a")]),
    ("CONNECT", &[(":method", "CONNECT"), HOST]),
    (
        "WebSocket over HTTP/2",
        &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, (":path", "/ws"), HOST],
    ),
    ("a path that leads elsewhere", &[METHOD, SCHEME, (":path", "/a/%2e%2e/admin"), HOST]),
];

/// And requests of which it may: what the upstream sees.
const PASSED: &[(&str, Lines, &str)] = &[
    ("a plain request", &[METHOD, SCHEME, PATH, HOST], "GET /a HTTP/1.1"),
    ("a Host beside the authority", &[METHOD, SCHEME, PATH, HOST, ("host", "t")], "GET /a HTTP/1.1"),
    ("a Host alone", &[METHOD, SCHEME, PATH, ("host", "t")], "GET /a HTTP/1.1"),
    ("TE for trailers", &[METHOD, SCHEME, PATH, HOST, ("te", "trailers")], "GET /a HTTP/1.1"),
    ("a body without a length", &[POST, SCHEME, PATH, HOST], "POST /a HTTP/1.1"),
    ("a length", &[POST, SCHEME, PATH, HOST, ("content-length", "3")], "POST /a HTTP/1.1"),
    ("a path to be normalized", &[METHOD, SCHEME, (":path", "/b/..//a?c"), HOST], "GET /a?c HTTP/1.1"),
    ("https, as a proxy before us may say", &[METHOD, (":scheme", "https"), PATH, HOST], "GET /a HTTP/1.1"),
];

fn ask(gateway: &Gateway, lines: Lines) -> (Ending, Vec<u8>) {
    let mut client = H2Client::connect(gateway.address(), &[]);
    let body = lines.contains(&POST);
    let flags = END_HEADERS | if body { 0 } else { END_STREAM };
    client.send(&frame(HEADERS, flags, 1, &block(lines)));
    if body {
        client.send(&frame(DATA, END_STREAM, 1, b"abc"));
    }
    let mut data = Vec::new();
    let frames = client.until(|frame| {
        frame.kind == GOAWAY
            || frame.stream == 1 && (frame.kind == RST_STREAM || frame.flags & END_STREAM != 0)
    });
    for frame in frames.iter().filter(|frame| frame.kind == DATA) {
        data.extend(&frame.payload);
    }
    let ending = match frames.last() {
        Some(frame) if frame.kind == GOAWAY => Ending::GoAway(frame.payload[7]),
        Some(frame) if frame.kind == RST_STREAM => Ending::Reset(frame.payload[3]),
        Some(_) => Ending::Answer,
        None => Ending::Closed,
    };
    (ending, data)
}

#[test]
fn what_is_no_request_is_refused_and_nothing_of_it_goes_on() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "");
    let mut wrong = Vec::new();
    for (it, lines) in REFUSED {
        let (ending, data) = ask(&gateway, lines);
        // An error of the protocol, or an answer that is the gateway's own.
        let refused = match ending {
            Ending::Answer => data != b"ok",
            Ending::Reset(code) | Ending::GoAway(code) => code == 1,
            Ending::Closed => false,
        };
        if !refused || !origin.seen().is_empty() {
            wrong.push(format!("{it}: {ending:?} {:?}", origin.seen()));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (it, lines, line) in PASSED {
        let already = origin.seen().len();
        assert_eq!(ask(&gateway, lines), (Ending::Answer, b"ok".to_vec()), "{it}");
        let seen = origin.seen();
        assert_eq!(seen[already..].iter().map(Received::line).collect::<Vec<_>>(), [*line], "{it}");
        assert_eq!(seen[already].header("Host"), Some("t"), "{it}");
        assert_eq!(seen[already].body, if lines.contains(&POST) { &b"abc"[..] } else { b"" }, "{it}");
    }
}

#[test]
fn a_body_is_as_long_as_it_was_announced() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "");
    for (length, ending) in [("3", Ending::Answer), ("4", Ending::Reset(1)), ("2", Ending::Reset(1))] {
        let mut client = H2Client::connect(gateway.address(), &[]);
        client.send(&frame(
            HEADERS,
            END_HEADERS,
            1,
            &block(&[POST, SCHEME, PATH, HOST, ("content-length", length)]),
        ));
        client.send(&frame(DATA, END_STREAM, 1, b"abc"));
        assert_eq!(client.end_of(1), ending, "{length}");
    }
    assert_eq!(origin.seen().len(), 1, "only the one that was right is whole");
}

#[test]
fn cookies_come_to_http_1_in_one_line() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "");
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    h2c(gateway.address(), &[("GET", "/a", &crumbs, &[]), ("GET", "/a", &crumbs[..1], &[])])
        .expect("both are answered");
    let seen = origin.seen();
    assert_eq!(seen[0].all("Cookie"), ["a=1; b=2; c=3"]);
    assert_eq!(seen[1].all("Cookie"), ["a=1"]);
}

/// What costs a client nothing and others something has an end. The code is 11, for "calm down".
#[test]
fn floods_end_with_their_connection() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "");
    let get_ = block(&[METHOD, SCHEME, PATH, HOST]);
    let open = |stream: u32, flags: u8| frame(HEADERS, flags, stream, &get_);
    let rapid_reset = |round: u32| {
        let stream = 2 * round + 1;
        [open(stream, END_HEADERS | END_STREAM), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let continuation = |round: u32| match round {
        0 => open(1, END_STREAM),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x", "y")])),
    };
    let empty_data = |round: u32| match round {
        0 => frame(HEADERS, END_HEADERS, 1, &block(&[POST, SCHEME, PATH, HOST])),
        _ => frame(DATA, 0, 1, b""),
    };
    let streams = |round: u32| open(2 * round + 1, END_HEADERS);
    for (it, flood) in [
        ("rapid resets", &rapid_reset as &dyn Fn(u32) -> Vec<u8>),
        ("a head without an end", &continuation),
        ("data without data", &empty_data),
        ("more streams than are allowed", &streams),
    ] {
        let mut client = H2Client::connect(gateway.address(), &[]);
        // Bounded: whoever is not stopped by then is not stopped.
        let _ = (0..50_000).all(|round| client.send(&flood(round)));
        let end = client.until(|frame| frame.kind == GOAWAY).pop();
        // A close on unread bytes may cost the last frame. It is a close all the same.
        assert!(end.is_none_or(|end| end.kind != GOAWAY || end.payload[7] == 11), "{it}");
        assert!(!client.send(&frame(PING, 0, 0, &[0; 8])) || client.next().is_none(), "{it}");
        assert_eq!(get(gateway.address(), "/hi").body, "hi", "others are served: {it}");
    }
}

#[test]
fn a_client_that_does_not_read_is_not_waited_for() {
    let origin = Scripted::start(|_| {
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec(), vec![b'x'; 1_000_000]].concat()
    });
    let gateway = before(&origin, "body_timeout: 300ms");
    // Windows of nothing: the head of an answer may come, and no body.
    let mut client = H2Client::connect(gateway.address(), &[0, 4, 0, 0, 0, 0]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[METHOD, SCHEME, PATH, HOST])));
    let begun = Instant::now();
    assert!(matches!(client.end_of(1), Ending::Reset(_)));
    assert!((Duration::from_millis(250)..PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // One with windows reads all of it.
    let answers = h2c(gateway.address(), &[("GET", "/a", &[], &[])]).expect("it is answered");
    assert_eq!(answers[0].body.len(), 1_000_000);
}

#[test]
fn half_a_head_is_not_waited_for() {
    let gateway = before(&Scripted::plain(), "idle_timeout: 300ms");
    let hi = block(&[METHOD, SCHEME, (":path", "/hi"), HOST]);
    for first in [false, true] {
        let mut client = H2Client::connect(gateway.address(), &[]);
        if first {
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &hi));
            assert_eq!(client.end_of(1), Ending::Answer);
        }
        client.send(&frame(HEADERS, END_STREAM, 3, &hi[..5]));
        let begun = Instant::now();
        while client.next().is_some() {}
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
}
