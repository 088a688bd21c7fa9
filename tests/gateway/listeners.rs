//! How clients reach the gateway, and what they may take.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslSession, SslStream, SslVerifyMode, SslVersion};

use crate::support::{
    Authority, Files, Gateway, H2Request, PATIENCE, Scripted, exchange, get, h2c, read_all, run, send, until,
    validate,
};

/// A gateway that answers `hi` at `/hi` by itself and leads everything else to the origin.
fn before(origin: &Scripted, listeners: &str) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{listeners}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
routes:
  - {{ name: hi, match: {{ path: /hi }}, respond: {{ body: hi }} }}
  - {{ name: all, upstream: origin }}
",
        origin.address()
    ))
}

const HI: &[u8] = b"GET /hi HTTP/1.1\r\nHost: t\r\n\r\n";
const LAST: &[u8] = b"GET /hi HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Reads one answer of `hi`.
fn hi(stream: &mut impl Read) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nhi") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the gateway answers");
        bytes.extend(byte);
    }
}

/// How long it takes until the gateway closes, without a word.
fn silence(stream: &mut TcpStream, begun: Instant) -> Duration {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
    begun.elapsed()
}

#[test]
fn a_head_has_its_time_on_every_request_of_a_connection() {
    let gateway = before(&Scripted::plain(), "{ address: $LISTEN, header_timeout: 400ms, idle_timeout: 1h }");
    // More than the limit in all, but not for any one of them: time is the subject.
    let mut stream = connect(gateway.address());
    for _ in 0..4 {
        let (first, rest) = HI.split_at(10);
        std::thread::sleep(Duration::from_millis(150));
        stream.write_all(first).expect("the gateway reads");
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(rest).expect("the gateway reads");
        hi(&mut stream);
    }
    // The fifth, and the first of another, drip: a byte now and then is no excuse.
    for mut stream in [stream, connect(gateway.address())] {
        let begun = Instant::now();
        let mut sender = stream.try_clone().expect("a second handle");
        let dripping = std::thread::spawn(move || {
            for byte in HI.iter().cycle().take(200).filter(|byte| **byte != b'\n') {
                if sender.write_all(&[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let took = silence(&mut stream, begun);
        drop(stream);
        dripping.join().expect("it only sends");
        assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&took), "{took:?}");
    }
}

#[test]
fn a_connection_waits_for_a_request_as_long_as_it_may() {
    let origin = Scripted::plain();
    let gateway =
        before(&origin, "{ address: $LISTEN, idle_timeout: 300ms }, { address: $OTHER, idle_timeout: 1h }");
    for answered in [0, 1] {
        let (mut short, mut long) = (connect(gateway.address()), connect(gateway.other()));
        for stream in [&mut short, &mut long] {
            for _ in 0..answered {
                stream.write_all(HI).expect("the gateway reads");
                hi(stream);
            }
        }
        let took = silence(&mut short, Instant::now());
        assert!((Duration::from_millis(250)..Duration::from_secs(5)).contains(&took), "{took:?}");
        long.write_all(LAST).expect("the gateway reads");
        hi(&mut long);
    }
}

#[test]
fn a_body_has_its_time_too() {
    let gateway = before(&Scripted::plain(), "{ address: $LISTEN, body_timeout: 1s }");
    let head = b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabc";
    let mut late = connect(gateway.address());
    late.write_all(head).expect("the gateway reads");
    let statuses =
        |stream: &mut TcpStream| read_all(stream).iter().map(|answer| answer.status).collect::<Vec<_>>();
    assert_eq!(statuses(&mut late), [408]);
    let mut slow = connect(gateway.address());
    slow.write_all(head).expect("the gateway reads");
    for byte in b"def" {
        std::thread::sleep(Duration::from_millis(400)); // time is the subject
        slow.write_all(&[*byte]).expect("the gateway reads");
    }
    assert_eq!(statuses(&mut slow), [200]);
}

#[test]
fn a_head_has_its_size() {
    let gateway = before(
        &Scripted::plain(),
        "{ address: $LISTEN, max_header_bytes: 1024 }, { address: $OTHER, h2c: true, max_header_bytes: 1024 }",
    );
    let request = |size: usize| {
        format!("GET /hi HTTP/1.1\r\nHost: t\r\nX: {}\r\nConnection: close\r\n\r\n", "x".repeat(size))
    };
    assert_eq!(exchange(gateway.address(), &request(900)).status, 200);
    assert_eq!(exchange(gateway.address(), &request(1100)).status, 431);
    // One that is not even complete is not waited for.
    let endless = [b"GET /hi HTTP/1.1\r\nHost: t\r\nX: ".to_vec(), b"x".repeat(1 << 20)].concat();
    assert!(send(gateway.address(), &endless).is_empty());
    let long = "x".repeat(2000);
    let ask = |value: &str| h2c(gateway.other(), &[("GET", "/hi", &[("x", value)], &[])]);
    assert_eq!(ask("short").expect("it is answered")[0].status, 200);
    assert!(ask(&long).is_err() || ask(&long).is_ok_and(|answers| answers[0].status == 431));
    assert_eq!(ask("short").expect("it is answered")[0].status, 200);
}

#[test]
fn a_connection_has_its_number_of_requests() {
    let gateway = before(
        &Scripted::plain(),
        "{ address: $LISTEN, max_requests_per_connection: 2 }, { address: $OTHER, max_requests_per_connection: 1 }",
    );
    for (address, number) in [(gateway.address(), 2), (gateway.other(), 1)] {
        let mut stream = connect(address);
        for n in 1..=number {
            stream.write_all(HI).expect("the gateway reads");
            if n < number {
                hi(&mut stream);
            }
        }
        let answers = read_all(&mut stream);
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!((answers[0].status, answers[0].header("Connection")), (200, Some("close")));
    }
}

#[test]
fn each_listener_has_its_guests() {
    for (lists, own, other) in [
        ("deny: [127.0.0.0/8]", false, true),
        ("allow: [10.0.0.0/8]", false, true),
        ("allow: [127.0.0.0/8], deny: [10.0.0.1]", true, true),
        ("allow: [127.0.0.0/8], deny: [127.0.0.1]", false, true),
    ] {
        let gateway =
            before(&Scripted::plain(), &format!("{{ address: $LISTEN, {lists} }}, {{ address: $OTHER }}"));
        assert_eq!(!send(gateway.address(), LAST).is_empty(), own, "{lists}");
        assert_eq!(!send(gateway.other(), LAST).is_empty(), other, "{lists}");
    }
}

#[test]
fn guests_are_known_before_tls_begins() {
    let authority = Authority::new("authority");
    let a = authority.issue("a.example");
    let own = format!("tls: {{ certificates: [{}] }}", certificates(&[&a]));
    let gateway = before(
        &Scripted::plain(),
        &format!("{{ address: $LISTEN, {own} }}, {{ address: $OTHER, {own}, deny: [127.0.0.1] }}"),
    );
    assert!(tls(gateway.address(), &authority, "a.example", &Client::default()).is_ok());
    assert!(tls(gateway.other(), &authority, "a.example", &Client::default()).is_err());
}

#[test]
fn a_socket_in_the_file_system_is_a_listener() {
    let origin = Scripted::plain();
    let gateway = before(&origin, "{ address: $LISTEN }, { address: \"unix:$FOLDER/socket\" }");
    let mut stream = UnixStream::connect(gateway.folder().join("socket")).expect("the gateway listens");
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").expect("the gateway reads");
    assert_eq!(read_all(&mut stream)[0].status, 200);
    let seen = origin.seen().remove(0);
    assert_eq!(seen.header("X-Forwarded-For"), None);
    assert_eq!(seen.header("Forwarded"), Some("for=unknown;host=\"t\";proto=http"));
}

#[test]
fn a_socket_is_for_those_whom_its_mode_lets_in() {
    for (mode, expected) in [("", 0o666), (", mode: \"0660\"", 0o660)] {
        let gateway = Gateway::start(&format!(
            "
listeners: [{{ address: $LISTEN }}, {{ address: \"unix:$FOLDER/socket\"{mode} }}]
routes: [{{ name: r, respond: {{}} }}]
"
        ));
        let socket = gateway.folder().join("socket");
        until("it listens", || UnixStream::connect(&socket).is_ok());
        let found = std::fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(found, expected, "{mode}");
    }
    for (listener, says) in [
        ("{ address: 127.0.0.1:1, mode: \"0660\" }", "only a Unix socket has a mode"),
        ("{ address: \"unix:/tmp/s\", mode: \"0888\" }", "this is no mode of a file"),
        ("{ address: \"unix:/tmp/s\", mode: \"7777\" }", "this is no mode of a file"),
    ] {
        let outcome =
            run(&format!("listeners: [{listener}]\nroutes: [{{ name: r, respond: {{}} }}]\n"), &["-t"]);
        assert_eq!(outcome.code, Some(1), "{listener}");
        assert!(outcome.stderr.contains(says), "{listener}: {}", outcome.stderr);
    }
}

#[test]
fn what_is_no_socket_or_somebodys_is_left_alone() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), "precious").expect("it is written");
    let _listener = UnixListener::bind(at("live")).expect("a socket");
    drop(UnixListener::bind(at("stale")).expect("a socket"));
    let yaml = |path: &Path| {
        format!(
            "listeners: [{{ address: \"unix:{}\" }}]\nroutes: [{{ name: r, respond: {{}} }}]\n",
            path.display()
        )
    };
    for (name, says) in [
        ("file", "there is something that is not a socket"),
        ("live", "somebody listens there"),
        ("no/such", "there is no folder for this file"),
    ] {
        let outcome = run(&yaml(&at(name)), &[]);
        assert_eq!(outcome.code, Some(1), "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{name}: {}", outcome.stderr);
    }
    assert_eq!(std::fs::read_to_string(at("file")).expect("it is there"), "precious");
    // What a gateway left behind that was killed is in nobody's way.
    let both = yaml(&at("stale")).replace("listeners: [", "listeners: [{ address: $LISTEN }, ");
    let gateway = Gateway::start(&both);
    assert_eq!(get(gateway.address(), "/").status, 200);
    UnixStream::connect(at("stale")).expect("the gateway listens");
}

#[test]
fn ipv6_is_a_listener() {
    let port = TcpListener::bind("[::1]:0").expect("there is IPv6").local_addr().expect("it is bound").port();
    let origin = Scripted::plain();
    let gateway = before(&origin, &format!("{{ address: $LISTEN }}, {{ address: \"[::1]:{port}\" }}"));
    assert_eq!(get(gateway.address(), "/").status, 200);
    assert_eq!(get(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)), "/").status, 200);
    let seen = origin.seen();
    assert_eq!(seen[1].header("X-Forwarded-For"), Some("::1"));
    assert_eq!(seen[1].header("Forwarded"), Some("for=\"[::1]\";host=\"test\";proto=http"));
}

#[test]
fn http2_without_tls_where_it_is_wanted() {
    let origin = Scripted::plain();
    let gateway =
        before(&origin, "{ address: $LISTEN, h2c: true, idle_timeout: 400ms }, { address: $OTHER }");
    let mut requests: Vec<H2Request<'_>> =
        vec![("GET", "/hi", &[], &[]), ("GET", "/a/../b?c", &[("x-forwarded-for", "6.6.6.6")], &[])];
    for _ in 0..5 {
        requests.push(("POST", "/body", &[], &[b"abc", b"", b"de", b""]));
        requests.push(("GET", "/after", &[], &[]));
    }
    let answers = h2c(gateway.address(), &requests).expect("all are answered");
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!((&*answers[0].body, &*answers[1].body), (&b"hi"[..], &b"ok"[..]));
    assert!(answers[1].headers.contains_key("x-request-id"));
    let seen = origin.seen();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line()).collect();
    assert_eq!(lines[0], "GET /b?c HTTP/1.1");
    // A body ends once, and not twice: nothing is left on a connection that its next request would stumble over.
    assert_eq!(lines[1..], ["POST /body HTTP/1.1", "GET /after HTTP/1.1"].repeat(5));
    assert!(seen.last().is_some_and(|seen| seen.connection < 8), "connections are used again");
    assert_eq!((seen[0].header("Host"), seen[0].header("X-Forwarded-For")), (Some("t"), Some("127.0.0.1")));
    assert_eq!(seen[1].body, b"abcde");
    assert!(seen[1].wire.ends_with(b"\r\n0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&seen[1].wire));

    // HTTP/1 is still understood there, and a client that says nothing is not waited for for ever.
    assert_eq!(get(gateway.address(), "/").status, 200);
    let took = silence(&mut connect(gateway.address()), Instant::now());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(h2c(gateway.other(), &[("GET", "/hi", &[], &[])]).is_err());
}

/// What a client of TLS brings along.
#[derive(Default)]
struct Client<'c> {
    own: Option<&'c Files>,
    newest: Option<SslVersion>,
    alpn: &'c [u8],
    session: Option<SslSession>,
}

fn tls(
    address: SocketAddr,
    authority: &Authority,
    name: &str,
    client: &Client<'_>,
) -> Result<SslStream<TcpStream>, String> {
    let mut connector = SslConnector::builder(SslMethod::tls()).expect("a connector");
    connector.set_ca_file(authority.path()).expect("an authority");
    connector.set_verify(SslVerifyMode::PEER);
    connector.set_max_proto_version(client.newest).expect("a version");
    if !client.alpn.is_empty() {
        connector.set_alpn_protos(client.alpn).expect("protocols");
    }
    if let Some(own) = client.own {
        connector.set_certificate_file(&own.cert, SslFiletype::PEM).expect("a certificate");
        connector.set_private_key_file(&own.key, SslFiletype::PEM).expect("a key");
    }
    let mut configured = connector.build().configure().expect("a connection");
    if let Some(session) = &client.session {
        // SAFETY: the session is of a context that is made the same way.
        unsafe { configured.set_session(session) }.expect("a session");
    }
    let mut stream = configured.connect(name, connect(address)).map_err(|error| error.to_string())?;
    // With TLS 1.3, a server refuses a client's certificate after the handshake.
    stream.write_all(LAST).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    Ok(stream)
}

fn certificates(files: &[&Files]) -> String {
    let one = |files: &&Files| format!("{{ cert: {}, key: {} }}", files.cert.display(), files.key.display());
    files.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_certificate_that_no_client_accepts_is_told_at_the_start_and_harms_no_other() {
    let authority = Authority::new("authority");
    let (old, good) = (authority.issue_expired("old.example"), authority.issue("good.example"));
    let gateway = before(
        &Scripted::plain(),
        &format!("{{ address: $LISTEN, tls: {{ certificates: [{}] }} }}", certificates(&[&old, &good])),
    );
    for (name, is_accepted) in [("good.example", true), ("old.example", false)] {
        let stream = tls(gateway.address(), &authority, name, &Client::default());
        assert_eq!(stream.is_ok(), is_accepted, "{name}: {:?}", stream.err());
    }
    let told = "the certificate for old.example has expired on Jan  2 00:00:00 1970 GMT";
    assert!(gateway.log().contains(told), "{}", gateway.log());
    assert!(!gateway.log().contains("the certificate for good.example"), "{}", gateway.log());
}

#[test]
fn a_client_gets_the_certificate_for_the_name_it_asks_for() {
    let authority = Authority::new("authority");
    let (a, b) = (authority.issue("a.example"), authority.issue("*.b.example"));
    let gateway = before(
        &Scripted::plain(),
        &format!("{{ address: $LISTEN, tls: {{ certificates: [{}] }} }}", certificates(&[&a, &b])),
    );
    for (name, is_known) in
        [("a.example", true), ("x.b.example", true), ("b.example", false), ("x.y.b.example", false)]
    {
        let stream = tls(gateway.address(), &authority, name, &Client::default());
        assert_eq!(stream.is_ok(), is_known, "{name}: {:?}", stream.err());
    }
    // HTTP/2 is offered, and HTTP/1.1 too; the gateway prefers the first.
    let selected = |alpn: &[u8]| {
        let mut connector = SslConnector::builder(SslMethod::tls()).expect("a connector");
        connector.set_ca_file(authority.path()).expect("an authority");
        connector.set_alpn_protos(alpn).expect("protocols");
        let stream = connector.build().connect("a.example", connect(gateway.address())).expect("a handshake");
        stream.ssl().selected_alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(selected(b"\x08http/1.1\x02h2").as_deref(), Some(&b"h2"[..]));
    assert_eq!(selected(b"\x08http/1.1").as_deref(), Some(&b"http/1.1"[..]));
    // Who speaks no TLS is not answered.
    assert!(send(gateway.address(), LAST).is_empty());
}

#[test]
fn clients_in_the_middle_of_tls_are_still_heard_when_the_end_begins() {
    let authority = Authority::new("authority");
    let own = authority.issue("a.example");
    let gateway = Gateway::start(&format!(
        "
listeners:
  - {{ address: $LISTEN }}
  - {{ address: $OTHER, tls: {{ certificates: [{{ cert: {}, key: {} }}] }} }}
routes: [{{ name: hi, respond: {{ body: hi }} }}]
",
        own.cert.display(),
        own.key.display()
    ));
    let (plain, encrypted) = (gateway.address(), gateway.other());
    let mut connector = SslConnector::builder(SslMethod::tls()).expect("a connector");
    connector.set_ca_file(authority.path()).expect("an authority");
    let connector = connector.build();
    let early = connect(encrypted);
    // Accepted in their order: once this one has spoken, the other is in.
    connector.connect("a.example", connect(encrypted)).expect("a handshake");
    let ended = std::thread::spawn(move || gateway.stop());
    until("it accepts nobody any more", || TcpStream::connect(plain).is_err());
    let mut stream = connector.connect("a.example", early).expect("a handshake");
    stream.write_all(b"GET /hi HTTP/1.1\r\nHost: a.example\r\n\r\n").expect("the gateway reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    assert!(ended.join().expect("it is waited for").success());
}

#[test]
fn versions_and_protocols_are_as_they_are_set() {
    let authority = Authority::new("authority");
    let a = authority.issue("a.example");
    let own = certificates(&[&a]);
    let gateway = before(
        &Scripted::plain(),
        &format!(
            "{{ address: $LISTEN, tls: {{ certificates: [{own}], min_version: \"1.3\", h2: false }} }},
             {{ address: $OTHER, tls: {{ certificates: [{own}] }} }}"
        ),
    );
    let old = Client { newest: Some(SslVersion::TLS1_2), ..Client::default() };
    assert!(tls(gateway.address(), &authority, "a.example", &old).is_err());
    assert!(tls(gateway.other(), &authority, "a.example", &old).is_ok());
    let older = Client { newest: Some(SslVersion::TLS1_1), ..Client::default() };
    assert!(tls(gateway.other(), &authority, "a.example", &older).is_err());
    let both = Client { alpn: b"\x02h2\x08http/1.1", ..Client::default() };
    let stream = tls(gateway.address(), &authority, "a.example", &both).expect("it is answered");
    assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn clients_prove_who_they_are_where_they_must() {
    let (authority, foreign) = (Authority::new("authority"), Authority::new("foreign"));
    let (a, client, stranger) =
        (authority.issue("a.example"), authority.issue("client"), foreign.issue("client"));
    let gateway = before(
        &Scripted::plain(),
        &format!(
            "{{ address: $LISTEN, tls: {{ certificates: [{}], client_ca: {} }} }}",
            certificates(&[&a]),
            authority.path().display()
        ),
    );
    let ask = |client: &Client<'_>| tls(gateway.address(), &authority, "a.example", client);
    assert!(ask(&Client::default()).is_err());
    assert!(ask(&Client { own: Some(&stranger), ..Client::default() }).is_err());
    // A session can be taken up again: the client is known by then. TLS 1.2, whose sessions are there at once.
    let known = Client { own: Some(&client), newest: Some(SslVersion::TLS1_2), ..Client::default() };
    let first = ask(&known).expect("it is known");
    let session = first.ssl().session().expect("there is one").to_owned();
    let again = ask(&Client { session: Some(session), ..known }).expect("it is known");
    assert!(again.ssl().session_reused());
}

#[test]
fn what_cannot_be_presented_is_said_before_anything_starts() {
    let authority = Authority::new("authority");
    let (a, b) = (authority.issue("a.example"), authority.issue("b.example"));
    let yaml = |cert: &Path, key: &Path| {
        format!(
            "listeners: [{{ address: 127.0.0.1:1, tls: {{ certificates: [{{ cert: {}, key: {} }}] }} }}]
routes: [{{ name: r, respond: {{}} }}]
",
            cert.display(),
            key.display()
        )
    };
    assert_eq!(validate(&yaml(&a.cert, &a.key)).code, Some(0));
    for (cert, key, says) in [
        (&a.cert, &b.key, "the key does not belong to the certificate"),
        (&a.key, &a.key, "there is no certificate in it"),
        (&a.cert, &a.cert, "there is no private key in it"),
        (&a.cert.join("no"), &a.key, "it cannot be read"),
    ] {
        let outcome = validate(&yaml(cert, key));
        assert_eq!(outcome.code, Some(1), "{says}");
        assert!(outcome.stderr.contains(says), "{says}: {}", outcome.stderr);
    }
}
