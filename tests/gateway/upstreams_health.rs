//! Servers that are not well, and what clients notice of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Gateway, GrpcOrigin, Origin, Reply, get, until, validate};
use crate::upstreams::{answers, before, nobody, server};

/// An origin whose `/health` has this status; everything else is well.
fn moody(name: &'static str) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let health = status.clone();
    let origin = Origin::scripted(name, move |seen| match &*seen.target {
        "/health" => Reply { status: health.load(Ordering::Relaxed), ..Reply::default() },
        _ => Reply::default(),
    });
    (origin, status)
}

/// Requests that were no checks.
fn requests(origin: &Origin) -> usize {
    origin.seen().iter().filter(|seen| seen.target != "/health").count()
}

fn said(gateway: &Gateway, what: &str) -> usize {
    gateway.log().matches(what).count()
}

#[test]
fn who_fails_its_check_gets_no_request_until_it_passes() {
    let (blue, health) = moody("blue");
    let green = Origin::start("green");
    let gateway = before(
        &[server(&blue, ""), server(&green, "")],
        "health_check: { http: { path: /health }, interval: 20ms, timeout: 5s }",
    );
    until("blue was asked", || blue.seen().iter().any(|seen| seen.target == "/health"));
    let check = blue.seen().into_iter().find(|seen| seen.target == "/health").expect("it was asked");
    let agent = check.headers["user-agent"].to_str().expect("text");
    assert!(agent.starts_with("gateway-health-check/"), "{agent}");
    assert_eq!(check.headers["host"], blue.address().to_string());
    assert_eq!(answers(&gateway, 2).len(), 2);

    health.store(500, Ordering::Relaxed);
    until("blue is not well", || said(&gateway, "is not well: it answered with status 500") == 1);
    let asked = requests(&blue);
    assert_eq!(answers(&gateway, 4), ["green"; 4]);
    assert_eq!(requests(&blue), asked);

    health.store(200, Ordering::Relaxed);
    until("blue is well", || said(&gateway, "is well again") == 1);
    let answers = answers(&gateway, 4);
    assert_eq!(answers.iter().filter(|name| *name == "blue").count(), 2, "{answers:?}");
}

#[test]
fn a_check_expects_what_it_was_told_to() {
    let picky = |check: &str| {
        let (blue, health) = moody("blue");
        health.store(204, Ordering::Relaxed);
        let gateway = before(
            &[server(&blue, "")],
            &format!("health_check: {{ http: {{ path: /health, {check} }}, interval: 20ms, timeout: 5s }}"),
        );
        until("it was asked", || blue.seen().iter().filter(|seen| seen.target == "/health").count() > 2);
        let hosts: Vec<_> = blue.seen().iter().map(|seen| seen.headers["host"].clone()).collect();
        (get(gateway.address(), "/").status, hosts[0].clone())
    };
    assert_eq!(picky("expect_status: [200, 204]").0, 200);
    assert_eq!(picky("expect_status: [200]").0, 503);
    assert_eq!(picky("").0, 503);
    assert_eq!(picky("host: users.internal, expect_status: [204]"), (200, "users.internal".parse().unwrap()));

    let body = |text: &str| {
        let (blue, _) = moody("blue");
        let gateway = before(
            &[server(&blue, "")],
            &format!(
                "health_check: {{ http: {{ path: /health, expect_body: {text} }}, interval: 20ms, timeout: 5s }}"
            ),
        );
        until("it was asked", || blue.seen().iter().filter(|seen| seen.target == "/health").count() > 2);
        get(gateway.address(), "/").status
    };
    assert_eq!(body("lu"), 200);
    assert_eq!(body("green"), 503);
}

#[test]
fn a_check_that_hangs_keeps_no_other_server_waiting() {
    let hanging = Origin::scripted("hanging", |seen| match &*seen.target {
        "/health" => Reply { delay: Duration::from_secs(3600), ..Reply::default() },
        _ => Reply::default(),
    });
    let (blue, health) = moody("blue");
    let gateway = before(
        &[server(&hanging, ""), server(&blue, "")],
        "health_check: { http: { path: /health }, interval: 20ms, timeout: 1h }",
    );
    // A start does not wait for ever, and who has not answered yet serves.
    until("it is said", || said(&gateway, "not all is known about its servers") == 1);
    assert!(answers(&gateway, 2).contains(&"hanging".to_string()));

    let checks = || blue.seen().len() - requests(&blue);
    let begun = checks();
    until("blue is asked again and again", || checks() > begun + 5);
    health.store(500, Ordering::Relaxed);
    until("blue is not well", || said(&gateway, "is not well: it answered with status 500") == 1);
    health.store(200, Ordering::Relaxed);
    until("blue is well", || said(&gateway, "is well again") == 1);
    // Once before the start, and once since: one at a time.
    assert_eq!(hanging.seen().len() - requests(&hanging), 2);
}

#[test]
fn who_is_ill_from_the_start_gets_no_request() {
    let (blue, health) = moody("blue");
    health.store(500, Ordering::Relaxed);
    let green = Origin::start("green");
    // Neither is waited for: not the next check, nor as many as it takes later.
    let gateway = before(
        &[server(&blue, ""), server(&green, "")],
        "health_check: { http: { path: /health }, interval: 1000000h, timeout: 5s, unhealthy: 1000 }",
    );
    assert_eq!(answers(&gateway, 4), ["green"; 4]);
    assert_eq!((requests(&blue), blue.seen().len()), (0, 1), "and it was asked once");
}

#[test]
fn who_only_wants_to_know_whether_a_configuration_can_be_used_asks_nobody() {
    let blue = Origin::start("blue");
    let outcome = validate(&format!(
        "listeners: [{{ address: 127.0.0.1:6210 }}]\nroutes: [{{ name: r, upstream: u }}]\n\
         upstreams:\n  u: {{ servers: [{}], health_check: {{ http: {{}} }} }}\n",
        server(&blue, "")
    ));
    assert_eq!((outcome.code, blue.seen().len()), (Some(0), 0), "{}", outcome.stderr);
}

#[test]
fn a_check_is_wholly_under_its_time_limit() {
    // The head is there at once; then a piece every 20 ms, for a minute.
    let origin = Origin::scripted("drip", |seen| match &*seen.target {
        "/health" => Reply { pieces: 3000, pause: Duration::from_millis(20), ..Reply::default() },
        _ => Reply::default(),
    });
    let gateway = before(
        &[server(&origin, "")],
        "health_check: { http: { path: /health, expect_body: no }, interval: 20ms, timeout: 200ms }",
    );
    until("it is not well", || said(&gateway, "no answer within 200ms") == 1);
}

#[test]
fn it_takes_as_many_checks_as_the_thresholds_say() {
    // Two good checks, two bad ones, and so on.
    let checks = Arc::new(AtomicUsize::new(0));
    let count = checks.clone();
    let origin = Origin::scripted("blue", move |seen| match &*seen.target {
        "/health" => {
            let bad = count.fetch_add(1, Ordering::Relaxed) % 4 >= 2;
            Reply { status: if bad { 500 } else { 200 }, ..Reply::default() }
        }
        _ => Reply::default(),
    });
    let verdicts = |thresholds: &str| {
        let gateway = before(
            &[server(&origin, "")],
            &format!(
                "health_check: {{ http: {{ path: /health }}, interval: 20ms, timeout: 5s, {thresholds} }}"
            ),
        );
        let begun = checks.load(Ordering::Relaxed);
        until("it was asked often", || checks.load(Ordering::Relaxed) > begun + 16);
        (said(&gateway, "is not well"), said(&gateway, "is well again"))
    };
    assert_eq!(verdicts("unhealthy: 3"), (0, 0));
    let (down, up) = verdicts("unhealthy: 2, healthy: 2");
    assert!(down >= 2 && up >= 2, "{down}, {up}");
    let (down, up) = verdicts("unhealthy: 2, healthy: 3");
    assert!(down == 1 && up == 0, "{down}, {up}");
}

#[test]
fn who_takes_no_connection_is_not_well() {
    let blue = Origin::start("blue");
    let gateway =
        before(&[server(&blue, ""), nobody("")], "health_check: { tcp: {}, interval: 20ms, timeout: 5s }");
    until("one is not well", || said(&gateway, "is not well") == 1);
    let address = blue.address();
    drop(blue);
    until("none is well", || said(&gateway, "is not well") == 2);

    // At once, and without asking anybody.
    let answer = get(gateway.address(), "/");
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));

    let _blue = Origin::again("blue", address);
    until("one is well", || said(&gateway, "is well again") == 1);
    assert_eq!(answers(&gateway, 2), ["blue", "blue"]);
}

#[test]
fn a_backup_takes_over_while_nobody_else_is_well() {
    let (blue, health) = moody("blue");
    let spare = Origin::start("spare");
    let gateway = before(
        &[server(&spare, "backup: true"), server(&blue, "")],
        "health_check: { http: { path: /health }, interval: 20ms, timeout: 5s }",
    );
    assert_eq!(answers(&gateway, 2), ["blue", "blue"]);
    health.store(503, Ordering::Relaxed);
    until("blue is not well", || said(&gateway, "is not well") == 1);
    assert_eq!(answers(&gateway, 2), ["spare", "spare"]);
    health.store(200, Ordering::Relaxed);
    until("blue is well", || said(&gateway, "is well again") == 1);
    assert_eq!(answers(&gateway, 2), ["blue", "blue"]);
}

#[test]
fn a_grpc_server_is_as_well_as_its_health_service_says() {
    let origin = GrpcOrigin::start();
    let start = |grpc: &str| {
        Gateway::start(&format!(
            "
listeners: [{{ address: $LISTEN }}]
upstreams:
  group:
    servers: [{{ address: \"{}\" }}]
    health_check: {{ grpc: {{ {grpc} }}, interval: 20ms, timeout: 5s }}
routes: [{{ name: all, upstream: group }}]
",
            origin.address()
        ))
    };
    let gateway = start("service: users");
    origin.serving(false);
    until("it does not serve", || said(&gateway, "is not well: the service is not serving") == 1);
    assert_eq!(get(gateway.address(), "/").status, 503);
    origin.serving(true);
    until("it serves", || said(&gateway, "is well again") == 1);

    let gateway = start("service: posts");
    until("it does not know the service", || {
        said(&gateway, "is not well: it answered with gRPC status 5") == 1
    });
    let http1 = Origin::start("blue");
    let gateway = before(&[server(&http1, "")], "health_check: { grpc: {}, interval: 20ms, timeout: 5s }");
    until("it is not a gRPC server", || said(&gateway, "is not well") == 1);
}

/// Clients that ask all the time; what they were told, once they are stopped.
fn steadily(gateway: &Gateway, meanwhile: impl FnOnce()) -> Vec<(u16, String)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = || {
            let mut told = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = get(gateway.address(), "/");
                told.push((answer.status, answer.body));
            }
            told
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("no client panicked")).collect()
    })
}

#[test]
fn one_of_two_is_killed_under_load_and_comes_back() {
    for settings in ["", "health_check: { tcp: {}, interval: 20ms, timeout: 5s }"] {
        let (blue, green) = (Origin::start("blue"), Origin::start("green"));
        let gateway = before(&[server(&blue, ""), server(&green, "")], settings);
        let address = blue.address();
        let mut back = None;
        let told = steadily(&gateway, || {
            until("both work", || blue.seen().len() > 50 && green.seen().len() > 50);
            drop(blue);
            let asked = green.seen().len();
            until("green works alone", || green.seen().len() > asked + 100);
            let blue = back.insert(Origin::again("blue", address));
            until("blue is back", || blue.seen().len() > 50);
        });
        // Where bytes had already been sent to blue, the request was one that can be sent again.
        let failed: Vec<_> = told.iter().filter(|(status, _)| *status != 200).collect();
        assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), told.len());
    }
}
