//! What clients are told when something is wrong.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{Gateway, Scripted, exchange, free_port, get_with, read_all};

fn before(origin: &Scripted) -> Gateway {
    Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams:
  origin: {{ servers: [{{ address: {} }}] }}
  gone: {{ servers: [{{ address: 127.0.0.1:{} }}] }}
routes:
  - {{ name: origin, match: {{ path_prefix: /origin }}, upstream: origin, timeout_secs: 0.3 }}
  - {{ name: gone, match: {{ path: /gone }}, upstream: gone }}
",
        origin.address(),
        free_port()
    ))
}

fn misbehaving() -> Scripted {
    Scripted::start(|request| match request.line().split(' ').nth(1) {
        Some("/origin/slow") => {
            // Time is the subject: longer than the route's.
            std::thread::sleep(std::time::Duration::from_secs(2));
            Vec::new()
        }
        Some("/origin/nonsense") => b"SSH-2.0-OpenSSH\r\n\r\nConnection: close".to_vec(),
        _ => b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\ntheir".to_vec(),
    })
}

#[test]
fn each_failure_has_its_status_and_nothing_internal_leaks() {
    let origin = misbehaving();
    let gateway = before(&origin);
    for (target, status, says) in [
        ("/nowhere", 404, "there is nothing at this address"),
        ("/%zz", 400, "the request could not be understood"),
        ("/gone", 502, "the upstream did not answer properly"),
        ("/origin/nonsense", 502, "the upstream did not answer properly"),
        ("/origin/slow", 504, "the upstream took too long"),
    ] {
        let answer = get_with(gateway.address(), target, &[]);
        let said = format!("{target}: {answer:?}");
        assert_eq!(
            (answer.status, answer.header("Content-Type")),
            (status, Some("application/json")),
            "{said}"
        );
        assert!(answer.body.contains(says) && answer.body.contains(&status.to_string()), "{said}");
        assert!(!said.contains("127.0.0.1") && !said.to_lowercase().contains("pingora"), "{said}");
        assert_eq!(answer.header("Cache-Control"), Some("private, no-store"), "{said}");

        let answer = get_with(gateway.address(), target, &["Accept: text/html,*/*;q=0.8"]);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"), "{answer:?}");
        assert!(answer.body.starts_with("<!doctype html>") && answer.body.contains(says), "{answer:?}");
    }
    // What the upstream itself says is its own business.
    assert_eq!(get_with(gateway.address(), "/origin/500", &[]).body, "thei");
}

#[test]
fn grpc_is_told_in_grpc() {
    let origin = misbehaving();
    let gateway = before(&origin);
    for (target, status) in [("/nowhere", "12"), ("/gone", "14"), ("/origin/slow", "4")] {
        let answer = get_with(gateway.address(), target, &["Content-Type: application/grpc"]);
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(status)), "{target}");
        assert_eq!(answer.header("Content-Type"), Some("application/grpc"));
        assert_eq!(answer.body, "");
    }
}

#[test]
fn a_refusal_costs_a_client_its_connection_only_where_it_must() {
    let origin = misbehaving();
    let gateway = before(&origin);
    let statuses = |requests: &str| {
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
        write!(stream, "{requests}").expect("the gateway reads");
        read_all(&mut stream).iter().map(|answer| answer.status).collect::<Vec<_>>()
    };
    let nowhere = "GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n";
    let close = "HEAD /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&format!("{nowhere}{nowhere}{close}")), [404, 404, 404]);
    // After 400 nobody knows where the next one begins; after 502 Pingora closes.
    assert_eq!(statuses(&format!("GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n{close}")), [400]);
    assert_eq!(statuses(&format!("GET /gone HTTP/1.1\r\nHost: t\r\n\r\n{close}")), [502]);
}

#[test]
fn who_is_refused_while_sending_still_hears_of_it() {
    let origin = misbehaving();
    let gateway = before(&origin);
    let body = "x".repeat(1 << 20);
    let length = body.len();
    let answer = exchange(
        gateway.address(),
        &format!("POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}"),
    );
    assert_eq!((answer.status, answer.header("Connection")), (404, Some("close")));
}
