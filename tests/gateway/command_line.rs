//! What can be typed, and what it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Authority, Gateway, Origin, get, get_with, run_in, run_with, until};

const CITY: &str = include_str!("../../conf/gateway.yaml");
const MINIMAL: &str = include_str!("../../conf/gateway_minimal.yaml");

#[test]
fn without_a_configuration_one_line_says_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    for arguments in [&[][..], &["-t"], &["routes"], &["explain", "GET", "/"]] {
        let outcome = run_in(folder.path(), arguments, &[]);
        assert_eq!(outcome.code, Some(1));
        assert_eq!(
            outcome.stderr, "no configuration: give one with `--config FILE`, or set CONFIG_PATH\n",
            "{arguments:?}"
        );
    }
}

#[test]
fn config_path_names_the_configuration_and_the_option_wins() {
    let folder = TempDir::new().expect("a folder");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/gateway_minimal.yaml");
    let outcome = run_in(folder.path(), &["-t"], &[("CONFIG_PATH", path)]);
    assert_eq!((outcome.code, outcome.stdout), (Some(0), format!("{path} can be used\n")));
    let outcome = run_in(folder.path(), &["-t", "-c", "other.yaml"], &[("CONFIG_PATH", path)]);
    assert!(outcome.stderr.starts_with("cannot read the configuration other.yaml"), "{}", outcome.stderr);
}

#[test]
fn everything_has_help() {
    let folder = TempDir::new().expect("a folder");
    for (arguments, says) in [
        (&["--help"][..], &["--config", "CONFIG_PATH", "--validate", "--daemon", "--upgrade", "explain"][..]),
        (&["explain", "--help"], &["METHOD", "URL", "--header"]),
        (&["schema", "--help"], &["JSON Schema"]),
        (&["routes", "--help"], &["table"]),
    ] {
        let outcome = run_in(folder.path(), arguments, &[]);
        assert_eq!(outcome.code, Some(0));
        for part in says {
            assert!(outcome.stdout.contains(part), "{arguments:?}: {part}:\n{}", outcome.stdout);
        }
    }
    assert_eq!(run_in(folder.path(), &["--no-such-option"], &[]).code, Some(2));
}

/// After a change: `cargo run --bin gateway -- schema > conf/gateway.schema.json`.
#[test]
fn the_schema_that_editors_use_is_current() {
    let folder = TempDir::new().expect("a folder");
    let outcome = run_in(folder.path(), &["schema"], &[]);
    assert_eq!(outcome.code, Some(0));
    let committed = include_str!("../../conf/gateway.schema.json");
    assert!(
        outcome.stdout == committed,
        "run `cargo run --bin gateway -- schema > conf/gateway.schema.json`, and commit it"
    );
}

#[test]
fn editors_accept_what_the_gateway_does() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../conf/gateway.schema.json")).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let file = |threads: &str, interval: &str| {
        serde_json::json!({
            "server": { "threads": threads, "work_stealing": "${STEAL:-true}" },
            "listeners": [{ "address": "127.0.0.1:${PORT}", "idle_timeout": interval }],
            "routes": [{ "name": "r", "redirect": { "scheme": "${SCHEME}", "status": "${S}" } }],
        })
    };
    assert!(validator.is_valid(&file("${THREADS}", "${IDLE:-5s}")));
    assert!(!validator.is_valid(&file("many", "${IDLE:-5s}")));
    assert!(!validator.is_valid(&file("${THREADS}", "soon")));
}

#[test]
fn our_files_tell_editors_where_the_schema_is_and_agree_with_it() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../conf/gateway.schema.json")).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    for (file, text) in [("gateway.yaml", CITY), ("gateway_minimal.yaml", MINIMAL)] {
        assert!(text.starts_with("# yaml-language-server: $schema=gateway.schema.json\n"), "{file}");
        let value: serde_json::Value = yaml_serde::from_str(text).expect("it is YAML");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{file}");
    }
}

#[test]
fn our_files_can_be_used() {
    let folder = TempDir::new().expect("a folder");
    let keys = folder.path().join("conf/keys");
    fs::create_dir_all(&keys).expect("a folder");
    let authority = Authority::new("an authority");
    let server = authority.issue("dev.pingora.local");
    for (from, to) in [
        (authority.path(), "ca.crt"),
        (server.cert.clone(), "server.crt"),
        (server.key.clone(), "server.key"),
    ] {
        fs::copy(from, keys.join(to)).expect("it is copied");
    }
    for file in ["conf/gateway.yaml", "conf/gateway_minimal.yaml"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), folder.path().join(file))
            .expect("it is copied");
        let outcome = run_in(folder.path(), &["-t", "--config", file], &[]);
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{file}");
    }
}

/// Who has only the README copies this.
#[test]
fn the_readme_shows_the_small_file_to_the_letter() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("\n## The gateway\n").expect("the section is there");
    let (_, block) = section.split_once("```yaml\n").expect("a file is shown");
    let (shown, _) = block.split_once("```").expect("it has an end");
    assert_eq!(shown, MINIMAL);
    assert!(MINIMAL.lines().count() <= 10);
}

const ROUTES: &str = "
listeners: [{ address: $LISTEN }]
upstreams:
  blue: { servers: [{ address: $BLUE }] }
  green: { servers: [{ address: $GREEN }] }
middlewares:
  first: { response_headers: { set: { X-First: '1' } } }
  second: { response_headers: { set: { X-Second: '2' } } }
routes:
  - { name: all, upstream: blue }
  - { name: users, upstream: green, match: { path_prefix: /users }, middlewares: [second, first] }
  - { name: posting, upstream: blue, match: { path_prefix: /users, methods: [POST] } }
  - { name: number, upstream: blue, match: { path_regex: '/users/[0-9]+' } }
  - { name: tenant, upstream: green, match: { headers: { X-Tenant: green } } }
  - { name: debug, upstream: green, match: { path: /debug, query: { on: '*' } } }
  - { name: api, upstream: green, match: { hosts: [api.example.com] } }
  - { name: hello, respond: { body: hi }, match: { path: /hello } }
";

/// One answer for each question, by two ways: who explains, and who serves.
#[test]
fn explain_agrees_with_what_requests_do() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let yaml =
        ROUTES.replace("$BLUE", &blue.address().to_string()).replace("$GREEN", &green.address().to_string());
    let gateway = Gateway::start(&yaml);
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("gateway.yaml"), yaml.replace("$LISTEN", "127.0.0.1:1")).expect("written");

    for (target, host, tenant, route) in [
        ("/", "test", "", "all"),
        ("/users", "test", "", "users"),
        ("/users/x", "test", "", "users"),
        ("/userspace", "test", "", "all"),
        ("/users/7", "test", "", "number"),
        ("/users/../x", "test", "green", "tenant"),
        ("//users//7", "test", "", "number"),
        ("/debug?on=", "test", "", "debug"),
        ("/debug?off=", "test", "", "all"),
        ("/x", "api.example.com", "", "api"),
        ("/users", "API.example.com:80", "", "api"),
        ("/hello", "test", "", "hello"),
        ("/%00", "test", "", "400"),
        ("/users", "a b", "", "400"),
        ("/users", "", "", "400"),
    ] {
        let mut arguments = vec!["explain", "--config", "gateway.yaml", "GET", target, "-H"];
        let host_line = format!("Host: {host}");
        arguments.push(&host_line);
        let tenant_line = format!("X-Tenant: {tenant}");
        arguments.extend(["-H", &tenant_line]);
        let outcome = run_in(folder.path(), &arguments, &[]);
        let said = format!("{target}: {}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, Some(0), "{said}");
        let line = |name: &str| {
            let line = outcome.stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.map(|line| line[name.len()..].trim_start().to_string())
        };

        let request =
            format!("GET {target} HTTP/1.1\r\n{host_line}\r\n{tenant_line}\r\nConnection: close\r\n\r\n");
        let answer = crate::support::exchange(gateway.address(), &request);
        match route {
            "400" => {
                assert!(line("answer").is_some_and(|line| line.starts_with("400")), "{said}");
                assert_eq!(answer.status, 400, "{said}");
            }
            "hello" => {
                assert_eq!(line("answer").as_deref(), Some("respond 200"), "{said}");
                assert_eq!((answer.status, &*answer.body), (200, "hi"), "{said}");
            }
            _ => {
                assert_eq!(line("route").as_deref(), Some(route), "{said}");
                let upstream = line("upstream").expect("an upstream");
                let origin = answer.header("X-Origin").expect("an origin has answered");
                assert!(upstream.starts_with(origin), "{said}{answer:?}");
                assert_eq!(line("middlewares").is_some(), answer.header("X-First").is_some(), "{said}");
            }
        }
    }

    let explained =
        run_in(folder.path(), &["explain", "-c", "gateway.yaml", "GET", "http://test/users/7?a=b"], &[]);
    for part in [
        "request      GET http://test/users/7?a=b\n",
        "route        number\n",
        "because      path like /users/",
        "upstream     blue (127.0.0.1:",
        "not          all: matches too, but is less specific: every request\n",
        "not          users: matches too, but is less specific: path /users or below it\n",
        "not          posting: not method POST\n",
        "not          tenant: not header x-tenant=green\n",
        "not          debug: not path /debug; not parameter on\n",
        "not          api: not host api.example.com\n",
    ] {
        assert!(explained.stdout.contains(part), "{part}:\n{}", explained.stdout);
    }
    let connect = run_in(folder.path(), &["explain", "-c", "gateway.yaml", "CONNECT", "/users"], &[]);
    assert!(connect.stdout.contains("answer       405: nothing is tunnelled"), "{}", connect.stdout);
    let users = run_in(folder.path(), &["explain", "-c", "gateway.yaml", "GET", "/users"], &[]);
    assert!(
        users.stdout.contains("middlewares  second (response_headers), then first (response_headers)\n"),
        "{}",
        users.stdout
    );
    let post = get_with(gateway.address(), "/users", &["X-Tenant: none"]);
    assert_eq!(post.header("X-Second"), Some("2"));

    let table = run_in(folder.path(), &["routes", "-c", "gateway.yaml"], &[]).stdout;
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("ROUTE "), "{table}");
    assert_eq!(rows.len(), 9, "{table}");
    for part in ["users", "path /users or below it", "upstream green", "second, first", "respond 200"] {
        assert!(table.contains(part), "{part}:\n{table}");
    }
}

#[test]
fn what_cannot_be_explained_says_why() {
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/gateway_minimal.yaml");
    for (arguments, says) in [
        (&["explain", "G T", "/"][..], "this is not a method"),
        (&["explain", "GET", "http://["], "`http://[` is not a URL"),
        (&["explain", "GET", "/a b"], "`/a b` is not a URL (a character that none can hold is escaped"),
        (
            &["explain", "GET", "users"],
            "`users` is neither a URL nor a path: write `http://users`, or `/users`",
        ),
        (&["explain", "GET", "/", "-H", "nothing"], "a header is `Name: value`"),
        (&["explain", "GET", "/", "-H", "a b: c"], "this is not a header's name"),
    ] {
        let outcome = run_with(conf, arguments);
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.stderr.starts_with(says), "{arguments:?}: {}", outcome.stderr);
    }
}

/// As in `gateway schema | head -1`, when `head` has ended.
#[test]
fn whoever_has_read_enough_hears_no_complaint() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let schema = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("schema")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let outcome = schema.wait_with_output().expect("it ends");
    assert_eq!((outcome.status.code(), &*outcome.stderr), (Some(0), &b""[..]));
}

fn signal(pid: &str, name: &str) {
    assert!(Command::new("kill").args([name, pid]).status().expect("there is a `kill`").success());
}

#[test]
fn a_successor_takes_over_the_listeners() {
    let origin = Origin::start("blue");
    let yaml = format!(
        "
server: {{ threads: 1, upgrade_sock: $FOLDER/upgrade.sock }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ blue: {{ servers: [{{ address: {} }}] }} }}
middlewares: {{ h: {{ response_headers: {{ set: {{ X-Generation: \"${{GENERATION:-first}}\" }} }} }} }}
routes: [{{ name: all, upstream: blue, middlewares: [h] }}]
",
        origin.address()
    );
    let first = Gateway::start(&yaml);
    let generation = || get(first.address(), "/").header("X-Generation").map(str::to_string);
    assert_eq!(generation().as_deref(), Some("first"));

    let config = first.folder().join("gateway.yaml");
    let mut second = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--upgrade")
        .arg("--config")
        .arg(config)
        .env("GENERATION", "second")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    until("the successor waits for the listeners", || first.folder().join("upgrade.sock").exists());
    signal(&first.pid().to_string(), "-QUIT");
    until("the successor answers", || generation().as_deref() == Some("second"));
    signal(&second.id().to_string(), "-TERM");
    assert!(second.wait().expect("it is our child").success());
}

/// What a client cannot see is at least accepted, by a gateway that serves with it.
#[test]
fn settings_of_the_process_take_effect() {
    let origin = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = origin.local_addr().expect("it is bound");
    let gateway = Gateway::start(&format!(
        "
server:
  threads: 2
  work_stealing: false
  listener_tasks_per_fd: 2
  upstream_keepalive_pool_size: 1
  client_bind_to_ipv4: [127.0.0.9]
  max_retries: 1
listeners: [{{ address: $LISTEN }}]
upstreams:
  one: {{ servers: [{{ address: {address} }}] }}
  two: {{ servers: [{{ address: 127.0.0.1:{closed} }}, {{ address: {address}, backup: true }}] }}
routes:
  - {{ name: one, upstream: one }}
  - {{ name: two, upstream: two, match: {{ path: /two }} }}
",
        closed = crate::support::free_port(),
    ));
    // One try, so the second server is never asked.
    assert_eq!(get(gateway.address(), "/two").status, 502);

    let peer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, peer) = origin.accept().expect("the gateway connects");
        let _ = stream.read(&mut [0; 4096]).expect("it asks");
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("it listens");
        peer.ip().to_string()
    });
    assert_eq!(get(gateway.address(), "/").status, 204);
    assert_eq!(peer.join().expect("it has answered"), "127.0.0.9");
}

/// One thread has a scheduler of its own kind.
#[test]
fn one_thread_serves_many_at_once() {
    const CROWD: usize = 8;
    let origin = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = origin.local_addr().expect("it is bound");
    let gateway = Gateway::start(&format!(
        "
server: {{ threads: 1 }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ one: {{ servers: [{{ address: {address} }}] }} }}
routes: [{{ name: one, upstream: one }}]
"
    ));
    // Nobody is answered before all have asked.
    let answers = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let asked = |_| {
            let (mut stream, _) = origin.accept().expect("the gateway connects");
            let _ = stream.read(&mut [0; 4096]).expect("it asks");
            stream
        };
        let streams: Vec<_> = (0..CROWD).map(asked).collect();
        for mut stream in streams {
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("it listens");
        }
    });
    let address = gateway.address();
    let clients: Vec<_> = (0..CROWD).map(|_| std::thread::spawn(move || get(address, "/").status)).collect();
    for client in clients {
        assert_eq!(client.join().expect("it has asked"), 204);
    }
    answers.join().expect("it has answered");
}

#[test]
fn a_gateway_in_the_background_writes_its_number() {
    for (arguments, key) in
        [(&["--daemon", "-c", "gateway.yaml"][..], "false"), (&["-c", "gateway.yaml"], "true")]
    {
        background(arguments, key);
    }
}

fn background(arguments: &[&str], daemon: &str) {
    let origin = Origin::start("blue");
    let folder = TempDir::new().expect("a folder");
    let port = crate::support::free_port();
    let pid_file = folder.path().join("gateway.pid");
    let yaml = format!(
        "
server: {{ threads: 1, daemon: {daemon}, pid_file: {pid}, error_log: {log} }}
listeners: [{{ address: 127.0.0.1:{port} }}]
upstreams: {{ blue: {{ servers: [{{ address: {origin} }}] }} }}
routes: [{{ name: all, upstream: blue }}]
",
        pid = pid_file.display(),
        log = folder.path().join("error.log").display(),
        origin = origin.address(),
    );
    fs::write(folder.path().join("gateway.yaml"), yaml).expect("it is written");
    let outcome = run_in(folder.path(), arguments, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let address = ([127, 0, 0, 1], port).into();
    until("the gateway in the background listens", || std::net::TcpStream::connect(address).is_ok());
    let answer = get(address, "/");
    let pid = fs::read_to_string(&pid_file).expect("it has written its number");
    signal(pid.trim(), "-TERM");
    assert_eq!(answer.body, "blue");
    until("it ends", || std::net::TcpStream::connect(address).is_err());
    assert!(folder.path().join("error.log").exists());
}
