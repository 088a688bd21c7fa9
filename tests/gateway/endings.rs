//! How requests and connections end, when not everything ends as it should.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Ending, GOAWAY, H2Client, HEADERS, SETTINGS, block, frame,
};
use crate::support::{Gateway, GrpcOrigin, PATIENCE, Scripted, get, post, read_all, until};

/// A wish to switch protocols, and its fulfilment.
const SWITCH: &[u8] = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn before(origin: std::net::SocketAddr) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN, h2c: true }}]
upstreams: {{ origin: {{ servers: [{{ address: {origin} }}] }} }}
routes: [{{ name: all, upstream: origin }}]
"
    ))
}

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// An upstream that answers when it has been asked for as long as this.
fn slow(delay: Duration) -> Scripted {
    Scripted::start(move |_| {
        std::thread::sleep(delay); // time is the subject: something must be under way
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    })
}

/// Whether it only closes its side or leaves altogether, nobody can tell before an answer is written. Most that close
/// have left, and the work that is done for them is let go.
#[test]
fn a_client_that_closes_its_side_counts_as_gone() {
    for request in [
        "GET / HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let gateway = before(listener.local_addr().expect("it is bound"));
        let mut stream = connect(&gateway);
        stream.write_all(request.as_bytes()).expect("the gateway reads");
        let (mut upstream, _) = listener.accept().expect("the gateway connects");
        upstream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _ = upstream.read(&mut [0; 1024]).expect("it asks");
        stream.shutdown(Shutdown::Write).expect("one side closes");
        // What is left of the request, and then the end.
        let _ = upstream.read_to_end(&mut Vec::new()).expect("the upstream is let go");
        assert!(read_all(&mut stream).is_empty(), "{request:?}: there is no answer");
    }
}

#[test]
fn half_a_request_is_none() {
    let origin = slow(Duration::ZERO);
    let gateway = before(origin.address());
    for request in [
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "GET / HTTP/1.1\r\nHost: t\r\n",
    ] {
        let mut stream = connect(&gateway);
        stream.write_all(request.as_bytes()).expect("the gateway reads");
        stream.shutdown(Shutdown::Write).expect("one side closes");
        assert!(read_all(&mut stream).is_empty(), "{request:?}");
        assert!(origin.seen().is_empty(), "{request:?}");
    }
}

#[test]
fn a_client_that_leaves_in_mid_answer_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let gateway = before(listener.local_addr().expect("it is bound"));
    let mut client = connect(&gateway);
    client.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
    let (mut upstream, _) = listener.accept().expect("the gateway connects");
    upstream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let _ = upstream.read(&mut [0; 1024]).expect("it asks");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").expect("it listens");
    client.read_exact(&mut [0; 17]).expect("the answer begins");
    drop(client);
    let begun = Instant::now();
    while upstream.write_all(b"1\r\nx\r\n").is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the gateway still reads for nobody");
    }
}

/// A tunnel has no time limit: it ends with either side.
#[test]
fn a_tunnel_ends_with_its_client() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
routes: [{{ name: all, upstream: origin, websocket: true }}]
",
        listener.local_addr().expect("it is bound")
    ));
    let mut client = connect(&gateway);
    client.write_all(SWITCH).expect("the gateway reads");
    let (mut upstream, _) = listener.accept().expect("the gateway connects");
    upstream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let _ = upstream.read(&mut [0; 1024]).expect("it asks");
    // Pingora 0.9.1 takes the end of the request for that of the tunnel, if the answer is there first.
    std::thread::sleep(Duration::from_millis(20));
    upstream.write_all(SWITCHED).expect("it listens");
    client.read_exact(&mut [0; 12]).expect("the protocol is switched");
    client.write_all(b"hi").expect("the gateway reads");
    let mut hi = [0; 2];
    upstream.read_exact(&mut hi).expect("it is passed on");
    assert_eq!(&hi, b"hi");
    drop(client);
    // An end, or a reset: not a timeout.
    let end = upstream.read(&mut [0; 16]);
    assert!(!matches!(&end, Ok(1..)), "{end:?}");
    assert!(
        end.as_ref().err().is_none_or(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
        "{end:?}"
    );
}

/// A gateway whose upstream may be silent for as long as this, and an upstream of its own.
fn impatient() -> (Gateway, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}], timeouts: {{ read: 300ms }} }} }}
routes: [{{ name: all, upstream: origin, websocket: true, timeout_secs: 1 }}]
",
        listener.local_addr().expect("it is bound")
    ));
    (gateway, listener)
}

#[test]
fn a_tunnel_may_be_silent_for_as_long_as_it_likes() {
    let (gateway, listener) = impatient();
    let mut client = connect(&gateway);
    client.write_all(SWITCH).expect("the gateway reads");
    let (mut upstream, _) = listener.accept().expect("the gateway connects");
    upstream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let _ = upstream.read(&mut [0; 1024]).expect("it asks");
    std::thread::sleep(Duration::from_millis(20)); // as above
    upstream.write_all(SWITCHED).expect("it listens");
    let mut head = vec![0; 12];
    client.read_exact(&mut head).expect("the protocol is switched");
    // Time is the subject: longer than any limit of this route.
    std::thread::sleep(Duration::from_millis(1500));
    upstream.write_all(b"\x81\x02hi").expect("it listens");
    while !head.ends_with(b"\x81\x02hi") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("what comes late comes, too");
        head.extend(byte);
    }
    client.write_all(b"yo").expect("the gateway reads");
    let mut yo = [0; 2];
    upstream.read_exact(&mut yo).expect("it is passed on");
    assert_eq!(&yo, b"yo");
}

#[test]
fn a_wish_to_switch_is_answered_in_time() {
    let (gateway, listener) = impatient();
    let mut client = connect(&gateway);
    client.write_all(SWITCH).expect("the gateway reads");
    let silent = listener.accept().expect("the gateway connects");
    assert_eq!(read_all(&mut client).iter().map(|answer| answer.status).collect::<Vec<_>>(), [504]);
    drop(silent);
}

/// No switch, but an answer like any other: its limit is for each piece.
#[test]
fn a_wish_that_is_not_granted_has_as_much_time_as_any_request() {
    let (gateway, listener) = impatient();
    let mut client = connect(&gateway);
    client.write_all(SWITCH).expect("the gateway reads");
    let (mut upstream, _) = listener.accept().expect("the gateway connects");
    let _ = upstream.read(&mut [0; 1024]).expect("it asks");
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n")
        .expect("it listens");
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(150)); // time is the subject: in all, longer than the limit
        upstream.write_all(b"x").expect("it listens");
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"xxxx") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("all of it comes");
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

/// Some health checks are as short as that: shorter than what a client of HTTP/2 begins with.
#[test]
fn the_shortest_request_is_answered_where_http_2_is_spoken_too() {
    let origin = Scripted::plain();
    let gateway = before(origin.address());
    for request in ["GET / HTTP/1.0\r\n\r\n", "OPTIONS / HTTP/1.0\r\n\r\n", "PRI / HTTP/1.0\r\n\r\n"] {
        let mut client = connect(&gateway);
        client.write_all(request.as_bytes()).expect("the gateway reads");
        assert_eq!(read_all(&mut client).iter().map(|answer| answer.status).collect::<Vec<_>>(), [200]);
        let seen = origin.seen().pop().expect("the upstream is asked");
        // Its version has to name a host (RFC 9112, section 3.2), and the client has named none.
        assert_eq!(seen.header("Host"), Some(origin.address().to_string().as_str()), "{request:?}");
        assert_eq!(seen.header("X-Forwarded-Host"), None, "{request:?}");
    }
}

/// A client of HTTP/2 would take CANCEL for its own doing.
#[test]
fn an_answer_that_breaks_off_is_an_error_of_the_gateway() {
    let origin = Scripted::start(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf".to_vec()
    });
    let gateway = before(origin.address());
    let mut client = H2Client::connect(gateway.address(), &[]);
    let lines = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "t")];
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&lines)));
    assert_eq!(client.end_of(1), Ending::Reset(2), "INTERNAL_ERROR");
}

/// RFC 9110, section 6.4.1. HTTP/1 has no place for it; HTTP/2 has.
#[test]
fn an_answer_without_a_body_has_none() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN, h2c: true }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}], protocol: h2c }} }}
routes: [{{ name: all, upstream: origin }}]
",
        listener.local_addr().expect("it is bound")
    ));
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the gateway connects");
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).expect("it listens");
        stream.read_exact(&mut [0; 24]).expect("the preface");
        let mut stream = H2Client::on(stream);
        let asked = stream.until(|frame| frame.kind == HEADERS).pop().expect("it asks").stream;
        let mut answer = frame(HEADERS, END_HEADERS, asked, &block(&[(":status", "204")]));
        answer.extend(frame(DATA, END_STREAM, asked, b"ok"));
        stream.send(&answer);
        // Until the gateway leaves.
        while stream.next().is_some() {}
    });
    let mut client = H2Client::connect(gateway.address(), &[]);
    let lines = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "t")];
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&lines)));
    let frames = client.until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0);
    assert!(frames.last().is_some_and(|last| last.stream == 1), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame.kind == DATA && !frame.payload.is_empty()), "{frames:?}");
    drop((client, gateway));
    upstream.join().expect("it ends with the gateway");
}

/// An upstream may answer before it has heard everything. The client hears of it, and that nothing more is wanted.
#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let gateway = before(listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("the gateway connects");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        }
    });
    let mut client = connect(&gateway);
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\nabc")
        .expect("the gateway reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"big") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("the gateway answers");
        answer.extend(byte);
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

/// Who asks before it sends its body may be answered instead, and servers disagree whether the body then still
/// comes. What is not shared cannot be poisoned.
#[test]
fn a_request_that_expects_shares_its_connection_with_nobody() {
    let origin = Scripted::plain();
    let gateway = before(origin.address());
    let expecting = || {
        let mut stream = connect(&gateway);
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc")
            .expect("the gateway reads");
        assert_eq!(read_all(&mut stream).last().map(|answer| answer.status), Some(200));
    };
    get(gateway.address(), "/");
    expecting();
    expecting();
    post(gateway.address(), "/", "abc");
    let connections: Vec<usize> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2, 0]);
}

/// An upstream of HTTP/2 is not heard before its answer, so the gateway asks for the body.
#[test]
fn a_client_that_waits_to_be_asked_is_asked_before_http_2_too() {
    let origin = GrpcOrigin::start();
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}], protocol: h2c }} }}
middlewares: {{ silent: {{ request_headers: {{ remove: [Expect] }} }} }}
routes:
  - {{ name: all, upstream: origin }}
  - {{ name: silent, match: {{ path: /silent }}, upstream: origin, middlewares: [silent] }}
",
        origin.address()
    ));
    for (version, path, expects, asked) in [
        ("1.1", "/a", "100-continue", true),
        // The policy is about what the upstream is told.
        ("1.1", "/silent", "100-continue", true),
        ("1.1", "/a", "more", false),
        ("1.0", "/a", "100-continue", false),
    ] {
        let mut stream = connect(&gateway);
        write!(stream, "POST {path} HTTP/{version}\r\nHost: t\r\nContent-Length: 3\r\nExpect: {expects}\r\nConnection: close\r\n\r\n")
            .expect("the gateway reads");
        if asked {
            let mut line = [0; 25];
            stream.read_exact(&mut line).expect("it is asked");
            assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        stream.write_all(b"abc").expect("the gateway reads");
        let answers = read_all(&mut stream);
        assert_eq!(
            answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
            [200],
            "{version} {path} {expects}"
        );
        // Its trailers end here: HTTP/1 has not asked for them.
        assert_eq!((answers[0].body.as_str(), answers[0].header("Trailer")), (path, None));
    }
}

#[test]
fn who_is_refused_hears_of_it_although_it_did_not_wait_to_be_asked() {
    let gateway = before(Scripted::plain().address());
    let mut stream = connect(&gateway);
    let body = "x".repeat(1 << 20);
    let head = format!(
        "POST /%zz HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("the gateway reads");
    let statuses: Vec<u16> = read_all(&mut stream).iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [400]);
}

#[test]
fn the_end_of_the_process_waits_for_what_is_under_way_and_for_nothing_else() {
    let delay = Duration::from_millis(700);
    let origin = slow(delay);
    let gateway = before(origin.address());
    // Connections that wait, which nobody waits for.
    let _silent = connect(&gateway);
    let mut kept = connect(&gateway);
    kept.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
    kept.read_exact(&mut [0; 17]).expect("the gateway answers");
    // Requests that are under way.
    let mut h1 = connect(&gateway);
    h1.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
    let mut h2 = H2Client::connect(gateway.address(), &[]);
    let lines = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "t")];
    h2.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&lines)));
    until("they are under way", || origin.seen().len() == 3);
    let begun = Instant::now();
    let ended = std::thread::spawn(move || gateway.stop());
    assert_eq!(read_all(&mut h1).iter().map(|answer| answer.status).collect::<Vec<_>>(), [200]);
    let frames = h2.until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0);
    assert!(frames.last().is_some_and(|frame| frame.payload == b"ok"), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.kind == GOAWAY) || h2.end_of(3) != Ending::Answer);
    assert!(ended.join().expect("it is waited for").success());
    // Long before the grace period is over.
    assert!(begun.elapsed() < delay + Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// What it asks may be on its way when the end begins.
#[test]
fn a_client_that_has_just_connected_is_still_heard() {
    let origin = Scripted::plain();
    let gateway = before(origin.address());
    let mut silent = connect(&gateway);
    let mut half = connect(&gateway);
    half.write_all(b"GET / HTTP/1.1\r\nHo").expect("the gateway reads");
    // Accepted in their order: once this one is answered, the others are in.
    assert_eq!(get(gateway.address(), "/").status, 200);
    let address = gateway.address();
    let ended = std::thread::spawn(move || gateway.stop());
    until("it accepts nobody any more", || TcpStream::connect(address).is_err());
    silent.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
    half.write_all(b"st: t\r\n\r\n").expect("the gateway reads");
    for client in [&mut silent, &mut half] {
        let answers = read_all(client);
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200]);
        assert_eq!(answers[0].header("Connection"), Some("close"));
    }
    assert!(ended.join().expect("it is waited for").success());
}

/// Open files of a process.
fn files(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("it runs").count()
}

#[test]
fn where_no_connection_can_be_taken_it_is_taken_later() {
    let origin = Scripted::plain();
    let gateway = before(origin.address());
    let limit = files(&gateway) + 8;
    let pid = gateway.pid().to_string();
    let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}")]).status();
    assert!(set.expect("there is a `prlimit`").success());
    let crowd: Vec<TcpStream> = (0..50).map(|_| connect(&gateway)).collect();
    until("all files are open", || gateway.log().contains("Too many open files"));
    drop(crowd);
    // Whoever waits at the door gets in. The crowd does so first, and only then finds that it has left: until that is
    // over, there may be no file left for a connection to the upstream.
    until("somebody is served again", || get(gateway.address(), "/").status == 200);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn nothing_is_left_of_clients_that_have_gone() {
    let origin = Scripted::plain();
    // Connections to the upstream are kept for a moment.
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN, h2c: true }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}], timeouts: {{ idle: 20ms }} }} }}
routes: [{{ name: all, upstream: origin }}]
",
        origin.address()
    ));
    let before = files(&gateway);
    let requests = [
        "",
        "GET / HTTP/1.1\r\nHo",
        "GET / HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nabc",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for round in 0..100 {
        for request in requests {
            let mut stream = connect(&gateway);
            stream.write_all(request.as_bytes()).expect("the gateway reads");
            if round % 2 == 0 {
                stream.shutdown(Shutdown::Both).expect("it is open");
            }
        }
    }
    until("their files are closed", || files(&gateway) <= before);
    assert_eq!(get(gateway.address(), "/").status, 200);
}
