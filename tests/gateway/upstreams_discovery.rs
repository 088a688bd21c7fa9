//! Groups whose servers somebody else names.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;

use crate::support::{Gateway, NameServer, Origin, free_port, get, run_in, send, until, validate};
use crate::upstreams::answers;

/// A gateway before a group whose servers are found.
fn finding(discovery: &str) -> Gateway {
    Gateway::start(&format!(
        "
server: {{ threads: 1 }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ group: {{ discovery: {{ {discovery} }} }} }}
routes: [{{ name: all, upstream: group }}]
"
    ))
}

/// Puts another file in its place at once.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("the file is written");
    std::fs::rename(&new, path).expect("it is renamed");
}

fn list(origins: &[&Origin]) -> String {
    origins.iter().map(|origin| format!("- {{ address: \"{}\" }}\n", origin.address())).collect()
}

/// Who answers, each once.
fn team(gateway: &Gateway) -> BTreeSet<String> {
    answers(gateway, 4).into_iter().collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn a_file_is_followed() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("servers.yaml");
    put(&path, &list(&[&blue]));
    let gateway = finding(&format!("file: {{ path: {} }}, refresh: 20ms", path.display()));
    assert_eq!(team(&gateway), names(&["blue"]), "they are known from the first request");

    put(&path, &list(&[&blue, &green]));
    until("green has joined", || team(&gateway) == names(&["blue", "green"]));
    put(&path, &list(&[&green]));
    until("blue has left", || team(&gateway) == names(&["green"]));

    // What makes no sense changes nothing, and is said once.
    put(&path, "- { adress: 127.0.0.1:1 }\n");
    until("it is said", || gateway.log().contains("unknown key `adress`"));
    std::fs::remove_file(&path).expect("it was there");
    until("it is said", || gateway.log().contains("the file cannot be read"));
    assert_eq!(team(&gateway), names(&["green"]));
    assert_eq!(gateway.log().matches("the file cannot be read").count(), 1);
    put(&path, &list(&[&blue]));
    until("blue is back", || get(gateway.address(), "/").body == "blue");

    // Where nobody looks again, nothing changes.
    let gateway = finding(&format!("file: {{ path: {} }}, refresh: 1h", path.display()));
    assert_eq!(team(&gateway), names(&["blue"]));
    put(&path, &list(&[&green]));
    assert_eq!(team(&gateway), names(&["blue"]));
}

#[test]
fn what_cannot_be_found_is_said_before_anything_starts() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("servers.yaml");
    std::fs::write(&path, "- { address: 127.0.0.1:1 }\n- { address: 127.0.0.1:2, weight: 0 }\n")
        .expect("it is written");
    let bad = format!("discovery: {{ file: {{ path: {} }} }}", path.display());
    for (settings, message, remedy) in [
        ("balance: random", "there are no servers", "add `servers:"),
        (
            "servers: [{ address: 127.0.0.1:1 }], discovery: { file: { path: x } }",
            "servers are either listed or found",
            "keep one of",
        ),
        ("discovery: {}", "in exactly one place", "keep one of"),
        (
            "discovery: { file: { path: x }, dns: { name: a, port: 1 } }",
            "in exactly one place",
            "keep one of",
        ),
        ("discovery: { dns: { name: 127.0.0.1, port: 1 } }", "this is not a DNS name", "users.internal"),
        ("discovery: { srv: { name: \"\" } }", "this is not a DNS name", "users.internal"),
        (
            "discovery: { dns: { name: a, port: 1, name_servers: [dns] } }",
            "not an IP address with a port",
            "172.28.0.2:53",
        ),
        ("discovery: { dns: { name: a, port: 0 } }", "less than the minimum of 1", "On which port"),
        ("discovery: { file: { path: /nowhere } }", "this file cannot be read", "give the path"),
        (&bad, "servers.yaml:2:35: this is less than the minimum of 1", "Its share"),
    ] {
        let outcome = validate(&format!(
            "listeners: [{{ address: 127.0.0.1:6210 }}]\nroutes: [{{ name: r, upstream: u }}]\n\
             upstreams:\n  u: {{ {settings} }}\n"
        ));
        let said = format!("{settings}:\n{}", outcome.stderr);
        assert_eq!(outcome.code, Some(1), "{said}");
        for part in [message, remedy, "gateway.yaml:4:", "1 problem"] {
            assert!(outcome.stderr.contains(part), "`{part}` is not said: {said}");
        }
    }
}

#[test]
fn a_name_is_followed() {
    let dns = NameServer::start();
    let blue = Origin::start("blue");
    let (server, port) = (dns.address(), blue.address().port());
    let found = |more: &str| {
        finding(&format!("dns: {{ name: users.internal, port: {port}, name_servers: [\"{server}\"] }}{more}"))
    };
    // Nobody has that name yet.
    let gateway = found(", refresh: 50ms");
    until("it is said", || gateway.log().contains("its servers remain as they are: DNS"));
    assert_eq!(get(gateway.address(), "/").status, 503);

    // A TTL that is over is a reason to ask again; the refresh is none.
    dns.say(1, &[("users.internal.", "127.0.0.1")], &[]);
    until("blue is found", || get(gateway.address(), "/").body == "blue");
    let patient = found(", refresh: 1h");
    until("blue is found", || get(patient.address(), "/").body == "blue");
    dns.say(3600, &[("users.internal.", "127.0.0.1"), ("users.internal.", "127.0.0.9")], &[]);
    until("there are two", || patient.log().contains("it has 2 servers now"));
    until("there are two", || gateway.log().contains("it has 2 servers now"));

    // Where DNS has no answer any more, the last one holds.
    dns.say(1, &[], &[]);
    until("it is said", || gateway.log().matches("its servers remain as they are: DNS").count() == 2);
    assert_eq!(get(gateway.address(), "/").body, "blue");
}

#[test]
fn a_service_is_followed_with_its_ports_weights_and_priorities() {
    let dns = NameServer::start();
    let [blue, green, spare] = ["blue", "green", "spare"].map(Origin::start);
    let port = |origin: &Origin| origin.address().port();
    let name = "_http._tcp.users.internal.";
    dns.say(
        1,
        &[("a.internal.", "127.0.0.1")],
        &[
            (name, (10, 300, port(&blue), "a.internal.")),
            (name, (10, 100, port(&green), "a.internal.")),
            (name, (20, 100, port(&spare), "a.internal.")),
        ],
    );
    let gateway = finding(&format!(
        "srv: {{ name: _http._tcp.users.internal, name_servers: [\"{}\"] }}",
        dns.address()
    ));
    until("they are found", || get(gateway.address(), "/").status == 200);
    let told = answers(&gateway, 8);
    let count = |name: &str| told.iter().filter(|other| *other == name).count();
    assert!((5..=7).contains(&count("blue")) && count("spare") == 0, "{told:?}");

    dns.say(1, &[("a.internal.", "127.0.0.1")], &[(name, (20, 0, port(&spare), "a.internal."))]);
    until("only one is left", || team(&gateway) == names(&["spare"]));
}

#[test]
fn a_service_loses_only_those_that_have_no_address() {
    let dns = NameServer::start();
    let [blue, green] = ["blue", "green"].map(Origin::start);
    let port = |origin: &Origin| origin.address().port();
    let name = "_http._tcp.users.internal.";
    let both = [(name, (10, 1, port(&blue), "a.internal.")), (name, (10, 1, port(&green), "b.internal."))];
    let only = |own: &'static str| [(own, "127.0.0.1")];

    // A fresh start, with a name that does not exist.
    dns.say(1, &only("a.internal."), &both);
    let gateway = finding(&format!(
        "srv: {{ name: _http._tcp.users.internal, name_servers: [\"{}\"] }}",
        dns.address()
    ));
    until("blue is found", || team(&gateway) == names(&["blue"]));
    let said = |what: &str| gateway.log().matches(what).count();
    until("it is said", || said("b.internal. is left out: DNS: there is no such name") == 1);

    dns.say(1, &[only("a.internal."), only("b.internal.")].concat(), &both);
    until("green has joined", || team(&gateway) == names(&["blue", "green"]));

    // Who cannot be asked for remains, and who does not exist goes.
    dns.say_but(
        1,
        &only("a.internal."),
        &both,
        &[("b.internal.", RecordType::A), ("b.internal.", RecordType::AAAA)],
    );
    until("it is said", || said("the IPv4 addresses of b.internal. remain as they are: DNS") == 1);
    assert_eq!(team(&gateway), names(&["blue", "green"]));
    dns.say(1, &only("b.internal."), &both);
    until("blue has left", || team(&gateway) == names(&["green"]));

    // Where nobody is left, all remain.
    dns.say(1, &[], &both);
    until("it is said", || said("remain as they are: DNS names no server with an address") == 1);
    assert_eq!(team(&gateway), names(&["green"]));
}

#[test]
fn a_family_that_cannot_be_asked_for_remains_as_it_is() {
    let dns = NameServer::start();
    let blue = Origin::start("blue");
    let (name, port) = ("users.internal.", blue.address().port());
    dns.say(1, &[(name, "127.0.0.1")], &[]);
    let gateway = finding(&format!(
        "dns: {{ name: users.internal, port: {port}, name_servers: [\"{}\"] }}",
        dns.address()
    ));
    assert_eq!(get(gateway.address(), "/").body, "blue");

    // Nobody listens there.
    dns.say_but(1, &[(name, "127.0.0.1"), (name, "::1")], &[], &[(name, RecordType::A)]);
    let said = |what: &str| gateway.log().matches(what).count();
    until("it is said", || said("the IPv4 addresses of users.internal. remain as they are: DNS") == 1);
    until("there is one more", || said("it has 2 servers now") == 1);
    assert_eq!(get(gateway.address(), "/").body, "blue");

    // That there are no such addresses is an answer.
    let one = said("it has 1 servers now");
    dns.say(1, &[(name, "::1")], &[]);
    until("one is left", || said("it has 1 servers now") == one + 1);
    assert_eq!(get(gateway.address(), "/").status, 502);
}

#[test]
fn servers_are_known_when_the_gateway_opens_its_door() {
    let blue = Origin::start("blue");
    let port = blue.address().port();
    for source in [format!("dns: {{ name: a.internal, port: {port}"), "srv: { name: b.internal".into()] {
        // One for each: a gateway that has ended leaves questions in its queue.
        let dns = NameServer::slow(Duration::from_millis(100));
        dns.say(3600, &[("a.internal.", "127.0.0.1")], &[("b.internal.", (1, 1, port, "a.internal."))]);
        let discovery = format!("{source}, name_servers: [\"{}\"] }}", dns.address());
        let outcome = validate(&format!(
            "listeners: [{{ address: 127.0.0.1:6210 }}]\nroutes: [{{ name: r, upstream: u }}]\n\
             upstreams:\n  u: {{ discovery: {{ {discovery} }} }}\n"
        ));
        assert_eq!((outcome.code, dns.asked()), (Some(0), 0), "{}", outcome.stderr);
        let gateway = finding(&discovery);
        let answer = get(gateway.address(), "/");
        assert_eq!((answer.status, &*answer.body), (200, "blue"), "{}", gateway.log());
    }
}

#[test]
fn a_start_does_not_wait_for_ever_for_a_name_server() {
    let dns = NameServer::slow(Duration::from_secs(60));
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams:
  silent: {{ discovery: {{ srv: {{ name: a.internal, name_servers: [\"{}\"] }} }} }}
routes:
  - {{ name: all, upstream: silent }}
  - {{ name: own, match: {{ path: /own }}, respond: {{ body: hi }} }}
",
        dns.address()
    ));
    assert_eq!(get(gateway.address(), "/own").body, "hi");
    assert_eq!(get(gateway.address(), "/").status, 503);
    until("it is said", || gateway.log().contains("its servers remain as they are: DNS"));
}

/// What was found out before the gateway left for the background must not keep it from finding out more there.
#[test]
fn servers_are_followed_in_the_background() {
    let dns = NameServer::start();
    let [blue, green] = ["blue", "green"].map(Origin::start);
    let port = |origin: &Origin| origin.address().port();
    let name = "users.internal.";
    dns.say(1, &[("a.internal.", "127.0.0.1")], &[(name, (1, 1, port(&blue), "a.internal."))]);
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let yaml = format!(
        "
server: {{ threads: 1, daemon: true, pid_file: {}, error_log: {} }}
listeners: [{{ address: {address} }}]
upstreams:
  group:
    discovery: {{ srv: {{ name: users.internal, name_servers: [\"{}\"] }} }}
    health_check: {{ http: {{}}, interval: 20ms, timeout: 5s }}
routes: [{{ name: all, upstream: group }}]
",
        file("gateway.pid"),
        file("error.log"),
        dns.address()
    );
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("it is written");
    let outcome = run_in(folder.path(), &["-c", "gateway.yaml"], &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut pid = String::new();
    until("it has written its number", || {
        pid = std::fs::read_to_string(file("gateway.pid")).unwrap_or_default().trim().to_string();
        !pid.is_empty()
    });
    let _end = End(pid);
    until("it listens", || TcpStream::connect(address).is_ok());
    assert_eq!(get(address, "/").body, "blue");

    dns.say(1, &[("a.internal.", "127.0.0.1")], &[(name, (1, 1, port(&green), "a.internal."))]);
    until("green is found", || get(address, "/").body == "green");
    drop(green);
    until("green is not well", || get(address, "/").status == 503);
}

/// Ends a process that is not our child, or not for as long as the test runs.
struct End(String);

impl Drop for End {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0]).status();
    }
}

#[test]
fn who_takes_over_knows_the_servers_before() {
    let dns = NameServer::slow(Duration::from_millis(100));
    let blue = Origin::start("blue");
    dns.say(3600, &[("a.internal.", "127.0.0.1")], &[]);
    let gateway = Gateway::start(&format!(
        "
server: {{ threads: 1, upgrade_sock: $FOLDER/upgrade, grace_period_seconds: 1 }}
listeners: [{{ address: $LISTEN }}]
upstreams:
  group: {{ discovery: {{ dns: {{ name: a.internal, port: {}, name_servers: [\"{}\"] }} }} }}
routes: [{{ name: all, upstream: group }}]
",
        blue.address().port(),
        dns.address()
    ));
    let address = gateway.address();
    let log = std::fs::File::create(gateway.folder().join("next.log")).expect("a log");
    let mut next = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["--upgrade", "--config"])
        .arg(gateway.folder().join("gateway.yaml"))
        .stderr(log)
        .spawn()
        .expect("it starts");
    let end = End(next.id().to_string());
    let sent = Command::new("kill").args(["-QUIT", &gateway.pid().to_string()]).status();
    assert!(sent.expect("there is a `kill`").success());
    let over = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut told = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                // A connection that the old one drops as it leaves has no answer, and is not the subject.
                let request = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
                told.extend(send(address, request).iter().map(|answer| answer.status));
            }
            told
        });
        gateway.wait();
        over.store(true, Ordering::Relaxed);
        client.join().expect("the client is well")
    });
    assert_eq!(told, BTreeSet::from([200]));
    assert_eq!(get(address, "/").body, "blue");
    drop(end);
    next.wait().expect("it is our child");
}
