//! The ways to choose a server.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::support::{Gateway, Origin, Reply, get, get_with, until};
use crate::upstreams::{answers, before, nobody, server};

const NAMES: [&str; 3] = ["red", "green", "blue"];

fn three() -> Vec<Origin> {
    NAMES.map(Origin::start).into()
}

fn all(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(|origin| server(origin, "")).collect()
}

/// Who answers requests to these targets with these headers.
fn who(gateway: &Gateway, target: &str, header: &str) -> String {
    let headers = if header.is_empty() { vec![] } else { vec![header] };
    get_with(gateway.address(), target, &headers).body
}

#[test]
fn chance_leaves_nobody_out_and_keeps_no_order() {
    let origins = three();
    let gateway = before(&all(&origins), "balance: random");
    let answers = answers(&gateway, 60);
    let mut counts = HashMap::new();
    answers.iter().for_each(|name| *counts.entry(name.as_str()).or_insert(0) += 1);
    // Each of them is missing once in 10^10 runs.
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert!(answers.chunks(3).any(|round| round.iter().collect::<BTreeSet<_>>().len() < 3), "{answers:?}");
}

#[test]
fn who_is_busy_gets_less() {
    for balance in ["least_connections", "p2c"] {
        let slow = Origin::scripted("slow", |seen| match &*seen.target {
            "/long" => Reply { delay: Duration::from_secs(60), ..Reply::default() },
            _ => Reply::default(),
        });
        let quick = Origin::scripted("quick", |seen| match &*seen.target {
            "/long" => Reply { delay: Duration::from_secs(60), ..Reply::default() },
            _ => Reply::default(),
        });
        let gateway = before(&[server(&slow, ""), server(&quick, "")], &format!("balance: {balance}"));
        let address = gateway.address();
        // One of the two has a request that does not end.
        let mut held = std::net::TcpStream::connect(address).expect("the gateway listens");
        std::io::Write::write_all(&mut held, b"GET /long HTTP/1.1\r\nHost: t\r\n\r\n").expect("it reads");
        crate::support::until("one is busy", || !slow.seen().is_empty() || !quick.seen().is_empty());
        let (busy, free) = if slow.seen().is_empty() { ("quick", "slow") } else { ("slow", "quick") };
        let answers = answers(&gateway, 20);
        let to_busy = answers.iter().filter(|name| *name == busy).count();
        let most = if balance == "p2c" { 6 } else { 0 };
        assert!(to_busy <= most, "{balance}: {to_busy} of 20 went to the busy one, not to {free}");
        drop(held);
    }
    // In turns, half of them would.
    let origins = three();
    let gateway = before(&all(&origins)[..2], "balance: round_robin");
    assert_eq!(answers(&gateway, 20).iter().filter(|name| *name == "red").count(), 10);
}

/// Whoever is asked in vain first takes no turns away from those who come after him.
#[test]
fn backups_share_what_nobody_else_can_take() {
    let origins = three();
    let backups = ["backup: true", "backup: true, weight: 2", "backup: true"];
    let mut servers: Vec<_> = origins.iter().zip(backups).map(|(one, more)| server(one, more)).collect();
    servers.insert(0, nobody(""));
    for balance in ["round_robin", "least_connections"] {
        for check in ["", ", health_check: { tcp: {}, interval: 50ms }"] {
            let gateway = before(&servers, &format!("balance: {balance}{check}"));
            until("nobody is known to be there", || {
                check.is_empty() || gateway.log().contains("is not well")
            });
            let answers = answers(&gateway, 24);
            let shares = NAMES.map(|name| answers.iter().filter(|other| *other == name).count());
            assert_eq!(shares, [6, 12, 6], "{balance}{check}: {answers:?}");
        }
    }
}

#[test]
fn the_same_key_has_the_same_server() {
    let origins = three();
    for (by, same, other) in [
        ("by: path", ("/users/7?page=1", ""), ("/users/", "")),
        ("by: header, name: X-Tenant", ("/", "X-Tenant: 7"), ("/", "X-Tenant: ")),
        ("by: cookie, name: user", ("/", "Cookie: a=b; user=7"), ("/", "Cookie: user=")),
    ] {
        let gateway = before(&all(&origins), &format!("balance: {{ consistent: {{ {by} }} }}"));
        let first = who(&gateway, same.0, same.1);
        for _ in 0..5 {
            assert_eq!(who(&gateway, same.0, same.1), first, "{by}");
        }
        // Other keys have others: of 30, not all have one server.
        let others = (0..30).map(|n| match other {
            (path, "") => who(&gateway, &format!("{path}{n}"), ""),
            (path, header) => who(&gateway, path, &format!("{header}{n}")),
        });
        assert!(others.collect::<BTreeSet<_>>().len() > 1, "{by}");
    }
    // The query is no part of the path, and a request without a key has its turn.
    let gateway = before(&all(&origins), "balance: { consistent: { by: path } }");
    assert_eq!(who(&gateway, "/a?x", ""), who(&gateway, "/a?y", ""));
    let gateway = before(&all(&origins), "balance: { consistent: { by: header, name: X-Tenant } }");
    assert_eq!(answers(&gateway, 3).into_iter().collect::<BTreeSet<_>>().len(), 3);
    // All of these come from one address.
    let gateway = before(&all(&origins), "balance: { consistent: { by: client_ip } }");
    assert_eq!(answers(&gateway, 6).into_iter().collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn a_key_whose_server_is_gone_has_another_one_and_the_others_stay() {
    let mut origins = three();
    let gateway = before(&all(&origins), "balance: { consistent: { by: path } }");
    let places: Vec<_> = (0..20).map(|n| who(&gateway, &format!("/{n}"), "")).collect();
    let gone = origins_address(&places[0], &origins);
    origins.retain(|origin| origin.address() != gone);
    for (n, place) in places.iter().enumerate() {
        let now = who(&gateway, &format!("/{n}"), "");
        assert!(now == *place || *place == places[0], "/{n} moved from {place} to {now}");
        assert_ne!(now, places[0]);
    }
}

fn origins_address(name: &str, origins: &[Origin]) -> std::net::SocketAddr {
    let number = NAMES.iter().position(|other| *other == name).expect("one of them");
    origins[number].address()
}

#[test]
fn a_client_comes_back_to_its_server() {
    let mut origins = three();
    let gateway = before(&all(&origins), "balance: { sticky: { cookie: session-id } }");
    let first = get(gateway.address(), "/");
    let cookie = first.header("Set-Cookie").expect("a new client gets a cookie").to_string();
    let (pair, attributes) = cookie.split_once("; ").expect("it has attributes");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(attributes.split("; ").any(|other| other == attribute), "{cookie}");
    }
    let value = pair.strip_prefix("session-id=").expect("its name");
    let own = origins_address(&first.body, &origins);
    assert!(value.len() >= 32 && !value.contains(&own.port().to_string()), "{value}");

    let header = format!("Cookie: theme=dark; {pair}");
    for _ in 0..5 {
        let answer = get_with(gateway.address(), "/", &[&header]);
        assert_eq!((&answer.body, answer.header("Set-Cookie")), (&first.body, None));
    }
    // Clients without it, and with one that nobody gave them, are shared out.
    assert_eq!(answers(&gateway, 3).into_iter().collect::<BTreeSet<_>>().len(), 3);
    let forged = get_with(gateway.address(), "/", &["Cookie: session-id=0"]);
    assert!(forged.header("Set-Cookie").is_some());

    // Without its server, the client has another one, and remembers that.
    origins.retain(|origin| origin.address() != own);
    let moved = get_with(gateway.address(), "/", &[&header]);
    assert_ne!(moved.body, first.body);
    assert!(moved.header("Set-Cookie").is_some_and(|other| !other.contains(value)));
}

#[test]
fn gateways_with_one_key_understand_each_others_cookies() {
    let origins = three();
    let value = |key: &str| {
        let gateway = before(&all(&origins)[..1], &format!("balance: {{ sticky: {{ cookie: s{key} }} }}"));
        get(gateway.address(), "/").header("Set-Cookie").expect("a cookie").to_string()
    };
    assert_eq!(value(", key: one"), value(", key: one"));
    assert_ne!(value(", key: one"), value(", key: two"));
    assert_ne!(value(""), value(""));
}
