//! How exchanges with an upstream of HTTP/2 end, and whose fault it is when they do not end well.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, H2Client, HEADERS, RST_STREAM, SETTINGS, block, frame,
};
use crate::support::{Gateway, PATIENCE, get, post, read_all};

const WINDOW_UPDATE: u8 = 8;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// A server of HTTP/2 that does what it is told with each connection, once both sides have begun.
fn upstream(serve: impl Fn(H2Client) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("the gateway connects");
            let serve = serve.clone();
            std::thread::spawn(move || {
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).ok()?;
                stream.read_exact(&mut [0; 24]).ok()?;
                serve(H2Client::on(stream));
                Some(())
            });
        }
    });
    address
}

fn answer(stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]));
    [head, frame(DATA, END_STREAM, stream, b"ok")].concat()
}

/// Answers each request when it is whole.
fn well(mut stream: H2Client) {
    while let Some(frame) = stream.next() {
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
            stream.send(&answer(frame.stream));
        }
    }
}

fn before(upstream: SocketAddr, settings: &str, middlewares: &str) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams:
  u: {{ servers: [{{ address: \"{upstream}\" }}], circuit_breaker: {{ consecutive_errors: 1 }}, {settings} }}
middlewares: {{ small: {{ body_limit: {{ max_bytes: 10 }} }} }}
routes: [{{ name: all, upstream: u, middlewares: [{middlewares}] }}]
"
    ))
}

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// RFC 9113, section 8.7: that the method is not idempotent is no reason then.
#[test]
fn what_the_server_has_not_looked_at_is_sent_again() {
    let refuse = |code: u32| move |stream: u32| frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    let leave = |_: u32| frame(GOAWAY, 0, 0, &[0u32.to_be_bytes(), NO_ERROR.to_be_bytes()].concat());
    type Refusal = Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>;
    for (how, refusal, status, asked) in [
        ("GOAWAY", Box::new(leave) as Refusal, 200, 2),
        ("REFUSED_STREAM", Box::new(refuse(REFUSED_STREAM)), 200, 2),
        ("INTERNAL_ERROR", Box::new(refuse(INTERNAL_ERROR)), 502, 1),
    ] {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let server = upstream(move |mut stream| {
            while let Some(asked) = stream.until(|frame| frame.kind == HEADERS).pop() {
                if asked.kind != HEADERS {
                    break;
                }
                if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                    stream.send(&refusal(asked.stream));
                } else {
                    stream.send(&answer(asked.stream));
                }
            }
        });
        let gateway = before(server, "protocol: h2c", "");
        assert_eq!(post(gateway.address(), "/", "abc").status, status, "{how}");
        assert_eq!(requests.load(Ordering::Relaxed), asked, "{how}");
    }
}

/// Not when an upstream loses patience that waits for the rest.
#[test]
fn a_body_that_is_too_large_is_refused_at_once() {
    let gateway = before(upstream(well), "protocol: h2c", "small");
    let mut stream = connect(&gateway);
    let head = "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{head}6\r\n123456\r\n").as_bytes()).expect("the gateway reads");
    stream.write_all(b"6\r\n123456\r\n0\r\n\r\n").expect("the gateway reads");
    assert_eq!(read_all(&mut stream).iter().map(|answer| answer.status).collect::<Vec<_>>(), [413]);
    assert_eq!(get(gateway.address(), "/").status, 200, "its breaker has not heard of it");
}

/// It is told so, and the server gets requests as before: else anybody could take it from everybody.
#[test]
fn a_client_that_keeps_back_its_body_is_the_one_who_is_late() {
    let h1 = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("the gateway connects");
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Some(read) = stream.read(&mut buffer).ok().filter(|read| *read > 0) {
                        if buffer[..read].starts_with(b"GET") {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                        }
                    }
                });
            }
        });
        address
    };
    for (server, protocol) in [(h1(), "h1"), (upstream(well), "h2c")] {
        let settings = format!("protocol: {protocol}, timeouts: {{ read: 300ms }}");
        let gateway = before(server, &settings, "");
        let mut stream = connect(&gateway);
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\na")
            .expect("the gateway reads");
        let statuses: Vec<u16> = read_all(&mut stream).iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [408], "{protocol}");
        assert_eq!(get(gateway.address(), "/").status, 200, "{protocol}: it has not failed");

        // Where everything was sent, the server is the one.
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let gateway = before(silent.local_addr().expect("it is bound"), &settings, "");
        assert_eq!(post(gateway.address(), "/", "abc").status, 504, "{protocol}");
        assert_eq!(get(gateway.address(), "/").status, 503, "{protocol}: its breaker is open");
    }
    // Whoever waits to be asked for his body keeps nothing back.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let gateway = before(silent.local_addr().expect("it is bound"), "timeouts: { read: 300ms }", "");
    let mut stream = connect(&gateway);
    stream
        .write_all(b"PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n")
        .expect("the gateway reads");
    assert_eq!(read_all(&mut stream).iter().map(|answer| answer.status).collect::<Vec<_>>(), [504]);
    assert_eq!(get(gateway.address(), "/").status, 503, "its breaker is open");
}

/// RFC 9113, section 5.2.2: streams that are not read must not use up what all of them share.
#[test]
fn the_window_of_a_connection_is_large_enough_for_all_its_streams() {
    const STREAMS: u32 = 100;
    let (tell, told) = std::sync::mpsc::channel();
    let server = upstream(move |mut stream| {
        let hello = stream.until(|frame| frame.kind == HEADERS);
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        let settings = |frame: &&Frame| frame.kind == SETTINGS && !frame.payload.is_empty();
        let initial = hello.iter().find(settings).and_then(|frame| {
            frame
                .payload
                .chunks(6)
                .find(|setting| setting[..2] == [0, 4])
                .map(|setting| number(&setting[2..]))
        });
        let connection: u32 = hello
            .iter()
            .filter(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0)
            .map(|frame| number(&frame.payload))
            .sum();
        let asked = hello.last().expect("it asks").stream;
        stream.send(&answer(asked));
        let _ = tell.send((initial.expect("it is set"), 65_535 + connection));
        while stream.next().is_some() {}
    });
    let gateway = before(server, "protocol: h2c", "");
    assert_eq!(get(gateway.address(), "/").status, 200);
    let (stream, connection) = told.recv().expect("the server was asked");
    assert!(connection >= STREAMS * stream, "{connection} for {STREAMS} of {stream}");
}

/// What is left of it is not read then, so nobody can find the next request behind it.
#[test]
fn an_answer_before_the_body_ends_the_connection_and_says_so() {
    let server = upstream(|mut stream| {
        while let Some(frame) = stream.next() {
            if frame.kind == HEADERS {
                stream.send(&answer(frame.stream));
            }
        }
    });
    let gateway = before(server, "protocol: h2c", "");
    let mut stream = connect(&gateway);
    stream.write_all(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\n").expect("the gateway reads");
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the gateway answers");
        bytes.extend(byte);
    }
    let head = String::from_utf8_lossy(&bytes);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nConnection: close\r\n"), "{head}");
}
