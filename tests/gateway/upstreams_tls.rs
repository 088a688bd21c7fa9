//! The connection to an upstream: TLS, the versions of HTTP, and the way through a forward proxy.

use crate::support::{
    ForwardProxy, Gateway, GrpcOrigin, Origin, TlsOrigin, UpstreamAuthority as Authority, get, get_with,
    validate,
};
use crate::upstreams::{before, server, with_route};

const BOTH: &[u8] = b"\x02h2\x08http/1.1";
const OLD: &[u8] = b"\x08http/1.1";

/// What a client is told by an upstream with these settings.
fn told(origin: &TlsOrigin, settings: &str) -> (u16, String) {
    let gateway = before(&[format!("{{ address: \"{}\" }}", origin.address())], settings);
    let answer = get(gateway.address(), "/");
    (answer.status, if answer.status == 200 { answer.body } else { String::new() })
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_string())
}

#[test]
fn only_the_right_certificate_is_believed() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = TlsOrigin::start(&authority.sign("users.internal"), BOTH, None);
    let (ca, foreign) = (authority.ca(), other.ca());
    let (ca, foreign) = (ca.display(), foreign.display());
    let refused = (502, String::new());
    assert_eq!(told(&origin, &format!("tls: {{ sni: users.internal, ca: {ca} }}")), ok("HTTP/1.1 nobody"));
    assert_eq!(told(&origin, &format!("tls: {{ sni: posts.internal, ca: {ca} }}")), refused);
    assert_eq!(told(&origin, &format!("tls: {{ sni: users.internal, ca: {foreign} }}")), refused);
    assert_eq!(told(&origin, "tls: { sni: users.internal }"), refused, "the system does not know it");
    assert_eq!(told(&origin, "tls: { verify: false }"), ok("HTTP/1.1 nobody"));
}

#[test]
fn the_gateway_shows_its_own_certificate() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(&authority.sign("users.internal"), BOTH, Some(&authority));
    let (cert, key) = authority.files("gateway");
    let tls = format!("sni: users.internal, ca: {}", authority.ca().display());
    let client = format!("client_cert: {}, client_key: {}", cert.display(), key.display());
    assert_eq!(told(&origin, &format!("tls: {{ {tls}, {client} }}")), ok("HTTP/1.1 gateway"));
    assert_eq!(told(&origin, &format!("tls: {{ {tls} }}")).0, 502);
}

#[test]
fn connections_are_not_shared_between_different_beliefs() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = TlsOrigin::start(&authority.sign("users.internal"), BOTH, None);
    let (address, ca, foreign) = (origin.address(), authority.ca(), other.ca());
    let gateway = Gateway::start(&format!(
        "
server: {{ threads: 1 }}
listeners: [{{ address: $LISTEN }}]
upstreams:
  right: {{ servers: [{{ address: \"{address}\" }}], tls: {{ sni: users.internal, ca: {} }} }}
  wrong: {{ servers: [{{ address: \"{address}\" }}], tls: {{ sni: users.internal, ca: {} }} }}
routes:
  - {{ name: right, match: {{ path: /right }}, upstream: right }}
  - {{ name: wrong, match: {{ path: /wrong }}, upstream: wrong }}
",
        ca.display(),
        foreign.display()
    ));
    for _ in 0..3 {
        assert_eq!(get(gateway.address(), "/right").status, 200);
        assert_eq!(get(gateway.address(), "/wrong").status, 502);
    }
}

#[test]
fn the_version_of_http_is_the_one_that_is_wanted() {
    let authority = Authority::new();
    let own = authority.sign("users.internal");
    let (new, old) = (TlsOrigin::start(&own, BOTH, None), TlsOrigin::start(&own, OLD, None));
    let tls = format!("tls: {{ sni: users.internal, ca: {} }}", authority.ca().display());
    for (protocol, with_new, with_old) in [
        ("h1", ok("HTTP/1.1 nobody"), ok("HTTP/1.1 nobody")),
        ("auto", ok("HTTP/2.0 nobody"), ok("HTTP/1.1 nobody")),
    ] {
        assert_eq!(told(&new, &format!("{tls}, protocol: {protocol}")), with_new, "{protocol}");
        assert_eq!(told(&old, &format!("{tls}, protocol: {protocol}")), with_old, "{protocol}");
    }
    assert_eq!(told(&new, &format!("{tls}, protocol: h2")), ok("HTTP/2.0 nobody"));
    assert_eq!(told(&old, &format!("{tls}, protocol: h2")).0, 502, "it does not agree to it");

    // Without TLS.
    let h2c = GrpcOrigin::start();
    let to = |settings: &str| before(&[format!("{{ address: \"{}\" }}", h2c.address())], settings);
    let gateway = to("protocol: h2c");
    let bodies: Vec<_> = (0..3).map(|_| get(gateway.address(), "/").status).collect();
    assert_eq!(bodies, [200; 3]);
    assert_eq!(get(to("protocol: h1").address(), "/").status, 502);
    let h1 = Origin::start("blue");
    assert_eq!(get(before(&[server(&h1, "")], "protocol: auto").address(), "/").status, 200);
    assert_eq!(get(before(&[server(&h1, "")], "protocol: h2c").address(), "/").status, 502);
}

#[test]
fn who_may_choose_http2_is_not_asked_to_switch_in_it() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(&authority.sign("users.internal"), BOTH, None);
    let tls = format!("tls: {{ sni: users.internal, ca: {} }}, protocol: auto", authority.ca().display());
    let servers = [format!("{{ address: \"{}\" }}", origin.address())];
    let switch =
        ["Connection: close", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    for (route, asked) in [("websocket: true", "HTTP/1.1 nobody"), ("websocket: false", "HTTP/2.0 nobody")] {
        let gateway = with_route(&servers, &tls, route);
        // First, so that a connection is kept that must not be used for it.
        assert_eq!(get(gateway.address(), "/").body, "HTTP/2.0 nobody", "{route}");
        assert_eq!(get_with(gateway.address(), "/", &switch).body, asked, "{route}");
    }
}

#[test]
fn websocket_and_http2_alone_do_not_go_together() {
    let authority = Authority::new();
    let tls = format!("tls: {{ sni: a.b, ca: {} }}", authority.ca().display());
    let outcome = |settings: &str, websocket: bool| {
        validate(&format!(
            "listeners: [{{ address: 127.0.0.1:6210 }}]\nroutes: [{{ name: r, upstream: u, websocket: {websocket} }}]\n\
             upstreams:\n  u: {{ servers: [{{ address: 127.0.0.1:1 }}], {settings} }}\n"
        ))
    };
    for settings in [format!("{tls}, protocol: h2"), "protocol: h2c".to_string()] {
        let refused = outcome(&settings, true);
        assert_eq!(refused.code, Some(1), "{settings}: {}", refused.stderr);
        for part in
            ["upstream `u` speaks HTTP/2 only", "gateway.yaml:2:34\n", "`protocol: auto`", "1 problem"]
        {
            assert!(refused.stderr.contains(part), "`{part}` is not said: {}", refused.stderr);
        }
        assert_eq!(outcome(&settings, false).code, Some(0), "{settings}");
    }
    for settings in
        ["protocol: h1".to_string(), format!("{tls}, protocol: auto"), "protocol: auto".to_string()]
    {
        assert_eq!(outcome(&settings, true).code, Some(0), "{settings}");
    }
}

#[test]
fn a_check_sees_the_certificate_too() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(&authority.sign("users.internal"), BOTH, None);
    let check = "health_check: { http: {}, interval: 20ms, timeout: 5s }";
    let tls = format!("tls: {{ sni: users.internal, ca: {} }}", authority.ca().display());
    for (protocol, sni, well) in
        [("h1", "users", true), ("h2", "users", true), ("auto", "users", true), ("h1", "posts", false)]
    {
        let tls = tls.replace("users.internal", &format!("{sni}.internal"));
        let gateway = before(
            &[format!("{{ address: \"{}\" }}", origin.address())],
            &format!("{check}, {tls}, protocol: {protocol}"),
        );
        if well {
            assert_eq!(get(gateway.address(), "/").status, 200);
            assert!(!gateway.log().contains("is not well"), "{protocol}: {}", gateway.log());
        } else {
            crate::support::until("it is not well", || gateway.log().contains("is not well"));
        }
    }
}

#[test]
fn what_cannot_work_is_said_before_anything_starts() {
    let authority = Authority::new();
    let (cert, _) = authority.files("gateway");
    let (_, foreign) = authority.files("somebody");
    let (cert, foreign) = (cert.display(), foreign.display());
    for (settings, message, remedy) in [
        ("tls: {}".to_string(), "nothing of the certificate would be verified", "add the DNS name"),
        ("tls: { sni: 127.0.0.1 }".to_string(), "this is not a DNS name", "users.internal"),
        ("tls: { sni: \"\" }".to_string(), "this is not a DNS name", "users.internal"),
        ("tls: { sni: a.b, ca: /nowhere }".to_string(), "cannot be read: No such file", "give the path"),
        (format!("tls: {{ sni: a.b, ca: {foreign} }}"), "no certificate in this file", "give the path"),
        ("tls: { verify: false, ca: x }".to_string(), "nobody would read this", "remove `ca`"),
        (format!("tls: {{ sni: a.b, client_cert: {cert} }}"), "its key is missing", "add `client_key`"),
        ("tls: { sni: a.b, client_key: x }".to_string(), "its certificate is missing", "add `client_cert`"),
        (
            format!("tls: {{ sni: a.b, client_cert: {cert}, client_key: {foreign} }}"),
            "this key does not belong to the certificate",
            "from which the certificate",
        ),
        (format!("tls: {{ sni: a.b, client_cert: {cert}, client_key: {cert} }}"), "no private key", "in PEM"),
        ("protocol: h2".to_string(), "`h2` goes with TLS", "`h2c`"),
        ("protocol: h2c, tls: { sni: a.b }".to_string(), "`h2c` goes without TLS", "write `h2`"),
        ("protocol: h3".to_string(), "none of the words", "`h1`"),
    ] {
        let outcome = validate(&format!(
            "listeners: [{{ address: 127.0.0.1:6210 }}]\nroutes: [{{ name: r, upstream: u }}]\n\
             upstreams:\n  u: {{ servers: [{{ address: 127.0.0.1:1 }}], {settings} }}\n"
        ));
        let said = format!("{settings}:\n{}", outcome.stderr);
        assert_eq!(outcome.code, Some(1), "{said}");
        for part in [message, remedy, "gateway.yaml:4:", "1 problem"] {
            assert!(outcome.stderr.contains(part), "`{part}` is not said: {said}");
        }
    }
}

#[test]
fn a_forward_proxy_leads_to_the_servers() {
    let (proxy, blue, green) = (ForwardProxy::start(), Origin::start("blue"), Origin::start("green"));
    let via = format!("via: {{ connect_proxy: \"{}\" }}", proxy.address());
    let gateway = before(&[server(&blue, ""), server(&green, "")], &via);
    let answers = crate::upstreams::answers(&gateway, 6);
    assert_eq!(answers, ["blue", "green", "blue", "green", "blue", "green"]);
    let (blue, green) = (blue.address().to_string(), green.address().to_string());
    assert_eq!(
        proxy.targets(),
        [blue.clone(), green],
        "kept connections are used again, each for its server"
    );

    // TLS is spoken with the server, not with the proxy.
    let authority = Authority::new();
    let secret = TlsOrigin::start(&authority.sign("users.internal"), BOTH, None);
    let tls = format!("tls: {{ sni: users.internal, ca: {} }}, protocol: h2", authority.ca().display());
    assert_eq!(told(&secret, &format!("{via}, {tls}")), ok("HTTP/2.0 nobody"));

    // A proxy that says no, and one that is none.
    let to = |address: &str, settings: &str| before(&[format!("{{ address: \"{address}\" }}")], settings);
    assert_eq!(get(to("127.0.0.1:1", &via).address(), "/").status, 502);
    let nobody = format!("via: {{ connect_proxy: 127.0.0.1:{} }}", crate::support::free_port());
    assert_eq!(get(to(&blue, &nobody).address(), "/").status, 502);
}
