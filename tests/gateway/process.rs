//! Settings of the process of which only the machine can tell whether they hold.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::support::{Gateway, Scripted, free_port, get, read_all, run_in, until};

/// An origin that answers when it is told to, and never before.
fn patient() -> (Scripted, Arc<AtomicBool>) {
    let told = Arc::new(AtomicBool::new(false));
    let so = told.clone();
    let origin = Scripted::start(move |_| {
        until("the origin may answer", || so.load(Ordering::Relaxed));
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    (origin, told)
}

fn before(origin: &Scripted, grace: u64) -> Gateway {
    Gateway::start(&format!(
        "
server: {{ threads: 1, grace_period_seconds: {grace}, graceful_shutdown_timeout_seconds: 1 }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
routes: [{{ name: all, upstream: origin }}]
",
        origin.address()
    ))
}

/// A request that is under way when the gateway is asked to end.
fn under_way(origin: &Scripted, gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("the gateway reads");
    until("the origin is asked", || !origin.seen().is_empty());
    let sent = Command::new("kill").args(["-TERM", &gateway.pid().to_string()]).status();
    assert!(sent.expect("there is a `kill`").success());
    until("it accepts nobody any more", || TcpStream::connect(gateway.address()).is_err());
    stream
}

#[test]
fn requests_have_the_grace_period_and_no_more() {
    let (origin, told) = patient();
    let gateway = before(&origin, 60);
    let mut stream = under_way(&origin, &gateway);
    told.store(true, Ordering::Relaxed);
    let answers = read_all(&mut stream);
    assert_eq!(answers[0].body, "ok", "it has been waited for");
    assert_eq!(answers[0].header("Connection"), Some("close"), "and nothing more is to be asked here");
    assert!(gateway.wait().success());

    let (origin, told) = patient();
    let gateway = before(&origin, 1);
    let mut stream = under_way(&origin, &gateway);
    gateway.wait();
    assert!(read_all(&mut stream).is_empty(), "nobody is left who could answer");
    told.store(true, Ordering::Relaxed);
}

#[test]
fn a_server_that_takes_no_more_of_a_request_is_left() {
    // It accepts by its queue, and never reads.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gateway = Gateway::start(&format!(
        "
listeners: [{{ address: $LISTEN }}]
upstreams:
  deaf: {{ servers: [{{ address: {} }}], timeouts: {{ write: 200ms, read: 200ms }} }}
routes: [{{ name: all, upstream: deaf, retry: {{ attempts: 1 }} }}]
",
        deaf.local_addr().expect("it is bound")
    ));
    let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    let mut writer = stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let length = 64 << 20; // more than the kernel's buffers hold
        let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
        // The gateway need not read all of it.
        let _ = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&vec![b'x'; length]));
    });
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("the gateway answers");
    assert_eq!(&status, b"HTTP/1.1 504", "{}", gateway.log());
    drop(gateway);
    sender.join().expect("it ends with the connection");
}

#[test]
fn connections_begin_at_the_addresses_that_they_are_bound_to() {
    let Ok(origin) = TcpListener::bind("[::1]:0") else {
        eprintln!("this machine has no IPv6: nothing to see");
        return;
    };
    let address = origin.local_addr().expect("it is bound");
    let status = |bound: &str| {
        let gateway = Gateway::start(&format!(
            "
server: {{ client_bind_to_ipv6: [\"{bound}\"] }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ origin: {{ servers: [{{ address: \"{address}\" }}] }} }}
routes: [{{ name: all, upstream: origin }}]
"
        ));
        get(gateway.address(), "/").status
    };
    // No address of this machine, so nothing can begin there.
    assert_eq!(status("2001:db8::7"), 502);
    let peer = std::thread::spawn(move || {
        let (mut stream, peer) = origin.accept().expect("the gateway connects");
        let _ = stream.read(&mut [0; 4096]).expect("it asks");
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("it listens");
        peer.ip().to_string()
    });
    assert_eq!(status("::1"), 204);
    assert_eq!(peer.join().expect("it has answered"), "::1");
}

/// Nor does a signal that is meant for those who serve, while a start still waits for its upstreams.
#[test]
fn signals_for_the_serving_do_not_end_a_start() {
    let deaf = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let folder = TempDir::new().expect("a folder");
    let own = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let yaml = format!(
        "
listeners: [{{ address: \"{own}\" }}]
upstreams:
  u: {{ servers: [{{ address: \"{}\" }}], health_check: {{ http: {{}}, timeout: 1m }} }}
routes: [{{ name: all, respond: {{ body: hi }} }}, {{ name: u, match: {{ path: /u }}, upstream: u }}]
",
        deaf.local_addr().expect("it is bound")
    );
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, yaml).expect("it is written");
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--config")
        .arg(&file)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it is there");
    // It is being checked: the start is under way.
    let _check = deaf.accept().expect("the gateway asks");
    for signal in ["-USR1", "-HUP"] {
        let sent = Command::new("kill").args([signal, &gateway.id().to_string()]).status();
        assert!(sent.expect("there is a `kill`").success());
    }
    until("it serves, or has ended", || {
        TcpStream::connect(own).is_ok() || gateway.try_wait().is_ok_and(|ended| ended.is_some())
    });
    let serves = TcpStream::connect(own).is_ok() && get(own, "/").body == "hi";
    gateway.kill().expect("it is our child");
    gateway.wait().expect("it is our child");
    assert!(serves);
}

#[test]
fn a_hangup_ends_nothing() {
    let (origin, told) = patient();
    told.store(true, Ordering::Relaxed);
    let gateway = before(&origin, 1);
    assert_eq!(get(gateway.address(), "/").status, 200, "it is up, and so listens to signals");
    let sent = Command::new("kill").args(["-HUP", &gateway.pid().to_string()]).status();
    assert!(sent.expect("there is a `kill`").success());
    until("it says what it does not do", || gateway.log().contains("SIGHUP changes nothing"));
    assert_eq!(get(gateway.address(), "/").status, 200);
}

/// Listeners are opened by the user that it becomes. What he may not open ends the process, and the log says why.
#[test]
fn a_process_that_cannot_listen_does_not_stay() {
    if id("-u") != "0" {
        eprintln!("only root can become somebody else: nothing to see");
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let yaml = format!(
        "
server: {{ threads: 1, daemon: true, pid_file: {}, error_log: {}, user: nobody, group: nogroup }}
listeners: [{{ address: \"unix:{}\" }}]
routes: [{{ name: all, respond: {{ body: hi }} }}]
",
        file("gateway.pid"),
        file("error.log"),
        file("socket"),
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).expect("it is written");
    run_in(folder.path(), &["-c", "gateway.yaml"], &[]);
    let log = || fs::read_to_string(file("error.log")).unwrap_or_default();
    until("it says why", || log().contains("a listener cannot be opened, so nothing is served"));
    let pid = fs::read_to_string(file("gateway.pid")).expect("it has written its number");
    until("it has left", || !fs::exists(format!("/proc/{}", pid.trim())).unwrap_or(true));
}

/// Its threads begin behind the fork, and it stands elsewhere then.
#[test]
fn a_daemon_writes_its_logs_to_the_end() {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let read = |name: &str| fs::read_to_string(file(name)).unwrap_or_default();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let yaml = format!(
        "
server: {{ threads: 1, daemon: true, pid_file: {}, error_log: {} }}
log: {{ access: ./access }}
listeners: [{{ address: {address} }}]
routes: [{{ name: all, respond: {{ body: hi }} }}]
",
        file("gateway.pid").display(),
        file("error.log").display(),
    );
    fs::write(file("gateway.yaml"), yaml).expect("it is written");
    let outcome = run_in(folder.path(), &["-c", "gateway.yaml"], &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("listening on"), "what is said before the fork is read by who starts it");
    until("the gateway in the background listens", || TcpStream::connect(address).is_ok());
    let pid = read("gateway.pid").trim().to_string();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.expect("there is a `kill`").success());
    };
    assert_eq!(get(address, "/one").status, 200);
    until("the line is written", || read("access").contains("path=/one"));
    fs::rename(file("access"), file("access.1")).expect("it is there");
    signal("-USR1");
    until("it has a new file", || read("error.log").contains("the access log's file was opened again"));
    assert_eq!(get(address, "/two").status, 200);
    signal("-TERM");
    until("it ends", || !fs::exists(format!("/proc/{pid}")).unwrap_or(true));
    assert!(read("access").contains("path=/two") && !read("access.1").contains("path=/two"));
    assert!(read("error.log").ends_with("nothing is left to do\n"), "{}", read("error.log"));
}

fn id(option: &str) -> String {
    let said = Command::new("id").arg(option).output().expect("there is an `id`").stdout;
    String::from_utf8_lossy(&said).trim().to_string()
}

#[test]
fn in_the_background_it_becomes_the_user_that_it_is_told() {
    // Who is not root can only become himself.
    let (user, group) =
        if id("-u") == "0" { ("nobody".into(), "nogroup".into()) } else { (id("-un"), id("-gn")) };
    let number = |option: &str, name: &str, file: &str| {
        let entry = fs::read_to_string(file).expect("it can be read");
        let line = entry.lines().find(|line| line.starts_with(&format!("{name}:"))).map(str::to_string);
        line.and_then(|line| line.split(':').nth(2).map(str::to_string)).unwrap_or_else(|| id(option))
    };
    let folder = TempDir::new().expect("a folder");
    let pid_file = folder.path().join("gateway.pid");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let yaml = format!(
        "
server: {{ threads: 1, daemon: true, pid_file: {}, error_log: {}, user: {user}, group: {group} }}
listeners: [{{ address: {address} }}]
routes: [{{ name: all, respond: {{ body: hi }} }}]
",
        pid_file.display(),
        folder.path().join("error.log").display(),
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).expect("it is written");
    let outcome = run_in(folder.path(), &["-c", "gateway.yaml"], &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    until("the gateway in the background listens", || TcpStream::connect(address).is_ok());
    let pid = fs::read_to_string(&pid_file).expect("it has written its number");
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("it runs");
    let sent = Command::new("kill").args(["-TERM", pid.trim()]).status();
    assert!(sent.expect("there is a `kill`").success());
    let has = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).expect("the kernel says so");
        line.split_whitespace().nth(1).expect("a number").to_string()
    };
    assert_eq!(has("Uid:"), number("-u", &user, "/etc/passwd"));
    assert_eq!(has("Gid:"), number("-g", &group, "/etc/group"));
    until("it ends", || TcpStream::connect(address).is_err());
}
