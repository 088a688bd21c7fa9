//! What an answer may look like on the wire, and what of it goes on.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Gateway, Scripted, exchange, h2c, send};

fn before(origin: &Scripted) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN, h2c: true }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
routes:
  - {{ name: all, upstream: origin }}
  - {{ name: ws, match: {{ path: /ws }}, upstream: origin, websocket: true }}
",
        origin.address()
    ))
}

/// An upstream that answers a number with these bytes of its list, and everything else as it should be.
fn answering(list: Vec<&'static [u8]>) -> Scripted {
    Scripted::start(move |request| {
        let number = request.line().split(' ').nth(1).and_then(|target| target[1..].parse::<usize>().ok());
        match number {
            Some(number) => list[number].to_vec(),
            None => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond".to_vec(),
        }
    })
}

struct Case {
    it: &'static str,
    bytes: &'static [u8],
    /// What the client gets.
    status: u16,
    body: &'static str,
}

const fn passes(it: &'static str, bytes: &'static [u8], body: &'static str) -> Case {
    Case { it, bytes, status: 200, body }
}

const fn refused(it: &'static str, bytes: &'static [u8]) -> Case {
    let body = "{\"status\": 502, \"message\": \"the upstream did not answer properly\"}\n";
    Case { it, bytes, status: 502, body }
}

const CASES: &[Case] = &[
    passes("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
    passes("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    passes("a body until the end", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "hello"),
    passes("an old version", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "hello"),
    passes("chunks, and a length that does not count", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    passes("the same length twice", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello"),
    passes("the same length in a list", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "hello"),
    passes("more than was announced", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "hello"),
    passes("a folded line", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", "hello"),
    passes("trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", "hello"),
    refused("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nhello"),
    refused("a length with a sign", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
    refused("two codings", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    refused("a coding twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    refused("a coding that only looks like chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\nConnection: close\r\n\r\nhello"),
    refused("a coding of nothing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nConnection: close\r\n\r\nhello"),
    refused("a coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    refused("a status that is none", b"HTTP/1.1 abc OK\r\nConnection: close\r\n\r\nhello"),
    refused("a status of two digits", b"HTTP/1.1 99 OK\r\nConnection: close\r\n\r\nhello"),
    refused("another protocol", b"ICY 200 OK\r\nConnection: close\r\n\r\nhello"),
    refused("no head", b"<html>Connection: close</html>"),
    refused("half a head", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Le"),
    refused("a carriage return in a value", b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 5\r\n\r\nhello"),
    refused("a NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 5\r\n\r\nhello"),
    refused("a line without a colon", b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 5\r\n\r\nhello"),
    refused("a switch that nobody has asked for", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
];

/// Behind each, a second request on the same connection gets its own answer and nothing else.
#[test]
fn what_can_be_read_in_two_ways_is_a_bad_gateway() {
    let origin = answering(CASES.iter().map(|case| case.bytes).collect());
    let gateway = before(&origin);
    let mut wrong = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let first = format!("GET /{number} HTTP/1.1\r\nHost: t\r\n\r\n");
        let second = "GET /second HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        let answers = send(gateway.address(), format!("{first}{second}").as_bytes());
        let said: Vec<_> = answers.iter().map(|answer| (answer.status, answer.body.as_str())).collect();
        let expected = [(case.status, case.body), (200, "second")];
        // After 502, the connection is closed.
        let expected = if case.status == 200 { &expected[..] } else { &expected[..1] };
        let lengths = answers.iter().map(|answer| answer.all("Content-Length").len()).max();
        if said != expected || lengths > Some(1) {
            wrong.push(format!("{}: {answers:?}", case.it));
        }
        // Whatever became of the connection to the upstream: it is not mistaken for a good one.
        let again = exchange(gateway.address(), second);
        if (again.status, again.body.as_str()) != (200, "second") {
            wrong.push(format!("{}, afterwards: {again:?}", case.it));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What has no body by its nature has none, whatever the upstream sends behind it.
#[test]
fn a_body_where_there_is_none_is_not_taken_for_the_next_answer() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let origin = Scripted::start(|request| {
        let (status, framing) = match request.line().split(' ').nth(1).unwrap_or_default() {
            "/204" => ("204 No Content", "Content-Length: 42"),
            "/204-chunks" => ("204 No Content", "Transfer-Encoding: chunked"),
            "/304" => ("304 Not Modified", "Content-Length: 42"),
            "/head" => ("200 OK", "Content-Length: 42"),
            _ => return b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond".to_vec(),
        };
        format!("HTTP/1.1 {status}\r\n{framing}\r\n\r\n{EVIL}").into_bytes()
    });
    let gateway = before(&origin);
    for (first, announces) in
        [("GET /204", false), ("GET /204-chunks", false), ("GET /304", true), ("HEAD /head", true)]
    {
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
        write!(
            stream,
            "{first} HTTP/1.1\r\nHost: t\r\n\r\nGET /second HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        )
        .expect("the gateway reads");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("the gateway answers, and closes");
        assert!(!answers.contains("evil") && answers.ends_with("\r\n\r\nsecond"), "{first}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{first}: {answers}");
        let head = answers.split("\r\n\r\n").next().unwrap_or_default();
        assert_eq!(head.contains("Content-Length"), announces, "{first}: {head}");
        assert!(!head.contains("Transfer-Encoding"), "{first}: {head}");
    }
}

/// A client must not take half an answer for a whole one.
#[test]
fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let cases: [(&str, &[u8]); 4] = [
        ("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nX: Connection: close\r\n\r\nhello"),
        (
            "chunks",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: Connection: close\r\n\r\n5\r\nhello\r\n",
        ),
        (
            "a chunk",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: Connection: close\r\n\r\n50\r\nhello",
        ),
        ("a broken chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
    ];
    let origin = answering(cases.iter().map(|(_, bytes)| *bytes).collect());
    let gateway = before(&origin);
    for (number, (it, _)) in cases.iter().enumerate() {
        let target = format!("/{number}");
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("hello"), "{it}: {answer}");
        // Closed, and neither complete nor with another answer behind it.
        assert!(!answer.contains("\r\n0\r\n") && answer.matches("HTTP/1.1").count() == 1, "{it}: {answer}");
        assert!(h2c(gateway.address(), &[("GET", &target, &[], &[])]).is_err(), "{it}, in HTTP/2");
    }
}

/// The head waits in the gateway for what comes behind it, and that never comes.
#[test]
fn a_head_whose_body_never_comes_is_seen_all_the_same() {
    let origin = answering(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nX: Connection: close\r\n\r\n"]);
    let gateway = before(&origin);
    let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    write!(stream, "GET /0 HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[test]
fn head_and_body_leave_together() {
    const BODY: usize = 60_000;
    let origin = Scripted::start(|_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
        [head.as_bytes(), &[b'x'; BODY]].concat()
    });
    let gateway = before(&origin);
    let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    // Of one connection, where the second head comes behind the first body.
    for number in 0..20 {
        write!(stream, "GET /{number} HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
        let mut piece = vec![0; 2 * BODY];
        let mut length = stream.read(&mut piece).expect("the gateway answers");
        let first = String::from_utf8_lossy(&piece[..length]);
        let (head, body) = first.split_once("\r\n\r\n").expect("the head is complete");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !body.is_empty(), "{head}");
        let whole = head.len() + 4 + BODY;
        while length < whole {
            length += stream.read(&mut piece[length..]).expect("the rest of the body");
        }
        assert_eq!(length, whole);
        assert!(piece[whole - BODY..whole].iter().all(|&byte| byte == b'x'));
    }
}

#[test]
fn a_client_of_http_1_0_gets_what_it_can_read() {
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let until_the_end = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";
    let hints =
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let origin = answering(vec![chunks, until_the_end, hints]);
    let gateway = before(&origin);
    for (number, kept) in [false, false, true].into_iter().enumerate() {
        for (line, keep) in [("", false), ("Connection: keep-alive\r\n", kept)] {
            let request = format!("GET /{number} HTTP/1.0\r\nHost: t\r\n{line}\r\n");
            let last = if keep { "GET /second HTTP/1.0\r\nHost: t\r\n\r\n" } else { "" };
            let answers = send(gateway.address(), format!("{request}{last}").as_bytes());
            assert_eq!(answers.len(), 1 + usize::from(keep), "{answers:?}");
            let first = &answers[0];
            assert_eq!((first.status, first.body.as_str()), (200, "hello"), "{first:?}");
            assert_eq!(first.header("Transfer-Encoding"), None);
            let connection = if keep { "keep-alive" } else { "close" };
            assert_eq!(first.header("Connection"), Some(connection), "{first:?}");
        }
    }
}

#[test]
fn answers_before_the_answer_have_an_end() {
    fn origin(informational: usize) -> Scripted {
        Scripted::start(move |_| {
            let hints =
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n".repeat(informational);
            format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").into_bytes()
        })
    }
    for (informational, last) in [(3, 200), (1000, 502)] {
        let gateway = before(&origin(informational));
        let answers = send(gateway.address(), b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let (end, before) = answers.split_last().expect("it is answered");
        assert_eq!(end.status, last);
        assert!(
            before.iter().all(|answer| answer.status == 103 && answer.header("Content-Length").is_none())
        );
        assert_eq!(before.len(), informational.min(32));
    }
}
