//! Who of a group gets a request, and for how long it is waited for.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Gateway, Origin, Reply, free_port, get, read_all};

/// A gateway before a group of servers, each as it is written in YAML, with other settings of the group.
pub fn before(servers: &[String], settings: &str) -> Gateway {
    with_route(servers, settings, "")
}

/// The same, with settings of the route.
pub fn with_route(servers: &[String], settings: &str, route: &str) -> Gateway {
    Gateway::start(&format!(
        "
server: {{ threads: 1 }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ group: {{ servers: [{}], {settings} }} }}
routes: [{{ name: all, upstream: group, {route} }}]
",
        servers.join(", ")
    ))
}

/// A server in YAML.
pub fn server(origin: &Origin, more: &str) -> String {
    format!("{{ address: \"{}\", {more} }}", origin.address())
}

/// A server that is not there.
pub fn nobody(more: &str) -> String {
    format!("{{ address: \"127.0.0.1:{}\", {more} }}", free_port())
}

/// Who answers so many requests, one after the other.
pub fn answers(gateway: &Gateway, requests: usize) -> Vec<String> {
    (0..requests).map(|_| get(gateway.address(), "/").body).collect()
}

#[test]
fn each_server_has_its_turn() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let gateway = before(&[server(&blue, ""), server(&green, "")], "balance: round_robin");
    assert_eq!(answers(&gateway, 6), ["blue", "green", "blue", "green", "blue", "green"]);
}

#[test]
fn turns_are_shared_out_by_weight() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let gateway = before(&[server(&blue, "weight: 3"), server(&green, "weight: 1")], "");
    assert_eq!(answers(&gateway, 8), ["blue", "green", "blue", "blue", "blue", "green", "blue", "blue"]);
}

#[test]
fn another_server_is_asked_before_a_client_hears_of_a_failure() {
    let blue = Origin::start("blue");
    let gateway = before(&[nobody(""), server(&blue, "")], "");
    for _ in 0..4 {
        let answer = get(gateway.address(), "/");
        assert_eq!((answer.status, &*answer.body), (200, "blue"));
    }
    assert_eq!(blue.seen().len(), 4);
}

#[test]
fn a_backup_is_asked_only_when_nobody_else_can_be() {
    let (blue, spare) = (Origin::start("blue"), Origin::start("spare"));
    let gateway = before(&[server(&spare, "backup: true"), server(&blue, "")], "");
    assert_eq!(answers(&gateway, 3), ["blue", "blue", "blue"]);
    drop(blue);
    assert_eq!(answers(&gateway, 3), ["spare", "spare", "spare"]);
}

#[test]
fn where_nobody_is_left_the_client_is_told_so() {
    let gateway = before(&[nobody("")], "");
    let answer = get(gateway.address(), "/");
    assert_eq!(answer.status, 502);
    assert!(!answer.body.contains("127.0.0.1"), "nothing internal leaks: {}", answer.body);
}

/// An origin that answers after a while, or piece by piece.
fn slow(delay: u64, pieces: usize, pause: u64) -> Origin {
    let (delay, pause) = (Duration::from_millis(delay), Duration::from_millis(pause));
    Origin::scripted("slow", move |_| Reply { delay, pieces, pause, ..Reply::default() })
}

#[test]
fn the_time_between_two_pieces_is_limited() {
    let origin = slow(400, 1, 0);
    let impatient = before(&[server(&origin, "")], "timeouts: { read: 100ms }");
    assert_eq!(get(impatient.address(), "/").status, 504);
    let patient = before(&[server(&origin, "")], "timeouts: { read: 10s }");
    assert_eq!(get(patient.address(), "/").status, 200);
}

#[test]
fn the_time_of_a_whole_request_is_limited() {
    // No read waits for longer than 100 ms, and altogether they take a minute.
    let dripping = slow(0, 600, 100);
    let gateway = with_route(&[server(&dripping, "")], "", "timeout_secs: 0.5");
    let begun = Instant::now();
    let answer = get(gateway.address(), "/");
    assert_eq!(answer.status, 200, "the head was there in time");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(answer.body.len() < 600 * "slow".len());

    let late = slow(600, 1, 0);
    let gateway = with_route(&[server(&late, "")], "", "timeout_secs: 0.2");
    assert_eq!(get(gateway.address(), "/").status, 504);
    let gateway = with_route(&[server(&late, "")], "", "timeout_secs: 0");
    assert_eq!(get(gateway.address(), "/").status, 200, "0 is no limit");
}

#[test]
fn what_the_body_took_is_gone_when_the_answer_comes() {
    // Neither takes as long as the request may, and the answer comes in one piece.
    let origin = slow(500, 1, 0);
    let gateway = with_route(&[server(&origin, "")], "", "timeout_secs: 0.7");
    let mut client = TcpStream::connect(gateway.address()).expect("the gateway listens");
    let head = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nConnection: close\r\n\r\na";
    client.write_all(head).expect("the gateway reads");
    std::thread::sleep(Duration::from_millis(500)); // time is the subject
    client.write_all(b"b").expect("the gateway reads");
    let statuses: Vec<u16> = read_all(&mut client).iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [504]);
}

#[test]
fn routes_without_a_limit_have_that_of_the_server() {
    let late = slow(600, 1, 0);
    let gateway = |server_timeout: f64| {
        Gateway::start(&format!(
            "
server: {{ upstream_timeout_secs: {server_timeout} }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ group: {{ servers: [{{ address: \"{}\" }}] }} }}
routes:
  - {{ name: own, match: {{ path: /own }}, upstream: group, timeout_secs: 10 }}
  - {{ name: all, upstream: group }}
",
            late.address()
        ))
    };
    let short = gateway(0.2);
    assert_eq!(get(short.address(), "/").status, 504);
    assert_eq!(get(short.address(), "/own").status, 200);
    assert_eq!(get(gateway(10.0).address(), "/").status, 200);
}

/// A port that takes no connection: nobody accepts, and its queue is full.
struct Deaf {
    listener: std::net::TcpListener,
    _queue: Vec<std::net::TcpStream>,
}

impl Deaf {
    fn start() -> Deaf {
        // The standard library's queue is too long to be filled; a socket that is bound twice gives a short one.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("loopback has a free port");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(async { socket.listen(1) }).expect("it listens");
        let listener = listener.into_std().expect("a listener");
        let address = listener.local_addr().expect("it is bound");
        let brief = Duration::from_millis(200);
        let queue =
            (0..8).map_while(|_| std::net::TcpStream::connect_timeout(&address, brief).ok()).collect();
        Deaf { listener, _queue: queue }
    }

    fn server(&self) -> String {
        format!("{{ address: \"{}\" }}", self.listener.local_addr().expect("it is bound"))
    }
}

#[test]
fn making_a_connection_is_limited_in_time() {
    let deaf = Deaf::start();
    let own = before(&[deaf.server()], "timeouts: { connect: 200ms }");
    let begun = Instant::now();
    assert_eq!(get(own.address(), "/").status, 504);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

    let yaml = |secs| {
        format!(
            "
server: {{ connection_pool: {{ connect_timeout_secs: {secs} }} }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ group: {{ servers: [{}] }} }}
routes: [{{ name: all, upstream: group, timeout_secs: 4 }}]
",
            deaf.server()
        )
    };
    let pool = Gateway::start(&yaml(1));
    let begun = Instant::now();
    assert_eq!(get(pool.address(), "/").status, 504);
    let quick = begun.elapsed();
    let pool = Gateway::start(&yaml(60));
    let begun = Instant::now();
    assert_eq!(get(pool.address(), "/").status, 504);
    let slow = begun.elapsed();
    assert!(quick < slow && slow < Duration::from_secs(15), "{quick:?}, {slow:?}");
}

#[test]
fn connections_are_kept_for_as_long_as_they_may_be_idle() {
    let origin = Origin::start("blue");
    let connections = |gateway: &Gateway, wait: u64| {
        let before = origin.seen().len();
        get(gateway.address(), "/");
        std::thread::sleep(Duration::from_millis(wait)); // time is the subject
        get(gateway.address(), "/");
        let seen = origin.seen();
        seen[before + 1].connection - seen[before].connection
    };
    let kept = before(&[server(&origin, "")], "timeouts: { idle: 60s }");
    assert_eq!(connections(&kept, 300), 0);
    let dropped = before(&[server(&origin, "")], "timeouts: { idle: 50ms }");
    assert_eq!(connections(&dropped, 300), 1);

    let pool = |secs| {
        Gateway::start(&format!(
            "
server: {{ threads: 1, connection_pool: {{ idle_timeout_secs: {secs}, max_idle: 4 }} }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ group: {{ servers: [{}] }} }}
routes: [{{ name: all, upstream: group }}]
",
            server(&origin, "")
        ))
    };
    assert_eq!(connections(&pool(60), 1300), 0);
    assert_eq!(connections(&pool(1), 1300), 1);
}

#[test]
fn no_more_connections_are_kept_than_may_be() {
    // Two requests at a time, twice: how many connections had been made in the end?
    let connections = |max_idle: usize| {
        let origin = slow(200, 1, 0);
        let gateway = Gateway::start(&format!(
            "
server: {{ threads: 1, connection_pool: {{ max_idle: {max_idle} }} }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ group: {{ servers: [{}] }} }}
routes: [{{ name: all, upstream: group }}]
",
            server(&origin, "")
        ));
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| get(gateway.address(), "/"));
                }
            });
        }
        origin.seen().iter().map(|seen| seen.connection).max()
    };
    assert_eq!(connections(4), Some(2));
    assert_eq!(connections(1), Some(3));
}
