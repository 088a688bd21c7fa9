//! Who of a group gets a request.

use crate::support::{Gateway, Origin, free_port, get};

/// A gateway before a group of servers with these addresses.
fn before(addresses: &[String]) -> Gateway {
    let servers: Vec<String> =
        addresses.iter().map(|address| format!("{{ address: \"{address}\" }}")).collect();
    Gateway::start(&format!(
        "
server: {{ threads: 1 }}
listeners: [{{ address: $LISTEN }}]
upstreams: {{ group: {{ servers: [{}], balance: round_robin }} }}
routes: [{{ name: all, upstream: group }}]
",
        servers.join(", ")
    ))
}

#[test]
fn each_server_has_its_turn() {
    let (blue, green) = (Origin::start("blue"), Origin::start("green"));
    let gateway = before(&[blue.address().to_string(), green.address().to_string()]);
    let bodies: Vec<String> = (0..6).map(|_| get(gateway.address(), "/").body).collect();
    assert_eq!(bodies, ["blue", "green", "blue", "green", "blue", "green"]);
}

#[test]
fn another_server_is_asked_before_a_client_hears_of_a_failure() {
    let blue = Origin::start("blue");
    let gateway = before(&[format!("127.0.0.1:{}", free_port()), blue.address().to_string()]);
    for _ in 0..4 {
        let answer = get(gateway.address(), "/");
        assert_eq!((answer.status, &*answer.body), (200, "blue"));
    }
    assert_eq!(blue.seen().len(), 4);
}

#[test]
fn where_nobody_is_left_the_client_is_told_so() {
    let gateway = before(&[format!("127.0.0.1:{}", free_port())]);
    let answer = get(gateway.address(), "/");
    assert_eq!(answer.status, 502);
    assert!(!answer.body.contains("127.0.0.1"), "nothing internal leaks: {}", answer.body);
}
