//! How a request's body is framed on the wire, and what of it goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::{Gateway, PATIENCE, Scripted, read_all, send};

const SECOND: &[u8] = b"GET /second HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

fn before(origin: SocketAddr) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN, max_header_bytes: 1024 }}]
upstreams: {{ origin: {{ servers: [{{ address: {origin} }}] }} }}
routes: [{{ name: all, upstream: origin }}]
"
    ))
}

#[test]
fn a_broken_body_ends_its_request_and_the_connection() {
    let origin = Scripted::plain();
    let gateway = before(origin.address());
    for (it, body) in [
        ("a size that is none", &b"zz\r\nabc\r\n0\r\n\r\n"[..]),
        ("a size with a sign", b"+3\r\nabc\r\n0\r\n\r\n"),
        ("a size without end", b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("a chunk that is longer than its size", b"2\r\nabc\r\n0\r\n\r\n"),
        ("a chunk that is shorter", b"4\r\nabc\r\n0\r\n\r\n"),
        ("a size in another notation", b"0x3\r\nabc\r\n0\r\n\r\n"),
        ("a space before a size", b" 3\r\nabc\r\n0\r\n\r\n"),
        ("a bare line feed behind a size", b"3\nabc\r\n0\r\n\r\n"),
        ("no size", b"\r\n\r\n"),
        ("an extension of no size", b";a\r\n\r\n"),
        ("a bare line feed in an extension", b"3;a\nabc\r\n0\r\n\r\n"),
        ("a bare line feed in an extension, where both ends make sense", b"2;\nxx\r\n10\r\n0\r\n\r\n"),
        ("a null in an extension", b"3;\0\r\nabc\r\n0\r\n\r\n"),
        ("a request in trailers", b"0\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("a space in the name of a trailer", b"0\r\nX-Sum : 1\r\n\r\n"),
        ("a bare line feed behind a chunk", b"3\r\nabc\n0\r\n\r\n"),
        ("bare line feeds at the end", b"3\r\nabc\r\n0\n\n"),
        ("a bare line feed in trailers", b"3\r\nabc\r\n0\r\nX: a\nY: b\r\n\r\n"),
    ] {
        let head = b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answers = send(gateway.address(), &[head, body, SECOND].concat());
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [400], "{it}");
        assert!(origin.seen().is_empty(), "{it}: {:?}", origin.seen());
    }
}

/// What has been passed on by then is the beginning of a request, and stays one.
#[test]
fn a_broken_chunk_that_comes_later_ends_what_has_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let gateway = before(listener.local_addr().expect("it is bound"));
    let mut client = TcpStream::connect(gateway.address()).expect("the gateway listens");
    client
        .write_all(b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .expect("the gateway reads");
    let (mut upstream, _) = listener.accept().expect("the gateway connects");
    upstream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut seen = Vec::new();
    while !seen.ends_with(b"abc\r\n") {
        let mut byte = [0];
        upstream.read_exact(&mut byte).expect("the beginning goes on");
        seen.extend(byte);
    }
    client.write_all(b"2;\nxx\r\n10\r\n0\r\n\r\n").expect("the gateway reads");
    let statuses: Vec<u16> = read_all(&mut client).iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [400]);
    let mut rest = Vec::new();
    upstream.read_to_end(&mut rest).expect("the upstream is let go");
    assert_eq!(rest.escape_ascii().to_string(), "");
}

/// Where the next request begins is not known, so the connection is not kept for it.
#[test]
fn a_head_that_is_too_long_and_can_be_read_in_two_ways_is_that_first() {
    let origin = Scripted::plain();
    let gateway = before(origin.address());
    let head = |framing: &str| {
        format!("POST /a HTTP/1.1\r\nHost: t\r\nX: {}\r\n{framing}\r\n\r\n0\r\n\r\n", "x".repeat(1100))
    };
    for (framing, expected) in
        [("Transfer-Encoding: chunked", 431), ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400)]
    {
        let answers = send(gateway.address(), &[head(framing).as_bytes(), SECOND].concat());
        assert_eq!(answers.first().map(|answer| answer.status), Some(expected), "{framing}");
        assert!(expected != 400 || answers.len() == 1, "{framing}: {}", answers.len());
    }
}
