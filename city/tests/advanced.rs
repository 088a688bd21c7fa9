//! advanced is two implementations, one in Rust and nginx: one table of requests, asked of both.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::path::Path;

use support::{Lab, repository};

/// A request by curl from client1, and the lines of the answer that count: status, the headers named below, and
/// the body.
struct Case {
    request: &'static str,
    expected: &'static [&'static str],
}

/// The headers that are compared. Server, Date and those of the connection are each server's own business.
const COMPARED: [&str; 3] = ["cache-control", "etag", "content-type"];

const HTTPS: &str = "Response from Advanced Upstream (HTTPS + HTTP/2)";
const TRUSTING: &str = "--cacert conf/keys/ca.crt";

const CASES: &[Case] = &[
    Case {
        request: "http://advanced.pingora.local/any?x=1",
        expected: &["HTTP/1.1 200", "content-type: text/plain", "Response from Advanced Upstream (HTTP)"],
    },
    Case {
        request: "-d 'a body' http://172.28.0.22/form",
        expected: &["HTTP/1.1 200", "content-type: text/plain", "Response from Advanced Upstream (HTTP)"],
    },
    Case { request: "-I http://172.28.0.22/", expected: &["HTTP/1.1 200", "content-type: text/plain"] },
    Case {
        request: "http://172.28.0.22/cache-control",
        expected: &[
            "HTTP/1.1 200",
            "cache-control: public, max-age=60",
            "content-type: text/plain",
            "etag: \"city-1\"",
            "Response from Advanced Upstream (HTTP)",
        ],
    },
    Case {
        request: r#"-H 'If-None-Match: "city-1"' http://172.28.0.22/cache-control"#,
        expected: &["HTTP/1.1 304", "cache-control: public, max-age=60", "etag: \"city-1\""],
    },
    Case {
        request: r#"-H 'If-None-Match: "x", W/"city-1"' http://172.28.0.22/cache-control"#,
        expected: &["HTTP/1.1 304", "cache-control: public, max-age=60", "etag: \"city-1\""],
    },
    Case {
        request: r#"-H 'If-None-Match: "city-2"' http://172.28.0.22/cache-control"#,
        expected: &[
            "HTTP/1.1 200",
            "cache-control: public, max-age=60",
            "content-type: text/plain",
            "etag: \"city-1\"",
            "Response from Advanced Upstream (HTTP)",
        ],
    },
    Case {
        request: "$TRUSTING https://v7.api.pingora.local/",
        expected: &["HTTP/2 200", "content-type: text/plain", HTTPS],
    },
    Case {
        request: "$TRUSTING --http1.1 https://advanced.pingora.local/",
        expected: &["HTTP/1.1 200", "content-type: text/plain", HTTPS],
    },
    Case { request: "https://advanced.pingora.local/", expected: &["curl ended with 60"] },
    Case {
        request: "--http2-prior-knowledge -d 'a body' http://172.28.0.22:8081/",
        expected: &[
            "HTTP/2 200",
            "content-type: text/plain",
            "Response from Advanced Upstream (H2C - Cleartext HTTP/2)",
        ],
    },
    Case {
        request: "--http2-prior-knowledge http://172.28.0.22:8081/trailers",
        expected: &[
            "HTTP/2 200",
            "content-type: text/plain",
            "Response from Advanced Upstream (H2C - Cleartext HTTP/2)",
            "x-city-trailer: end",
        ],
    },
    Case {
        request: "$TRUSTING --cert conf/keys/client.crt --key conf/keys/client.key https://advanced.pingora.local:8443/",
        expected: &[
            "HTTP/2 200",
            "content-type: text/plain",
            "Response from mTLS Protected Upstream. Hello, Authenticated Client!",
        ],
    },
    Case {
        request: "$TRUSTING --http1.1 https://advanced.pingora.local:8443/",
        expected: &[
            "HTTP/1.1 400",
            "content-type: text/html",
            "<html><head><title>400 No required SSL certificate was sent</title></head>",
            "<body><center><h1>400 Bad Request</h1></center>",
            "<center>No required SSL certificate was sent</center></body></html>",
        ],
    },
    Case {
        request: "$TRUSTING --http1.1 --cert conf/keys/foreign.crt --key conf/keys/foreign.key https://advanced.pingora.local:8443/",
        expected: &[
            "HTTP/1.1 400",
            "content-type: text/html",
            "<html><head><title>400 The SSL certificate error</title></head>",
            "<body><center><h1>400 Bad Request</h1></center>",
            "<center>The SSL certificate error</center></body></html>",
        ],
    },
    // 60: the certificate cannot be verified.
    Case { request: "$TRUSTING https://advanced.pingora.local:8444/", expected: &["curl ended with 60"] },
    Case { request: "$TRUSTING https://advanced.pingora.local:8445/", expected: &["curl ended with 60"] },
    Case {
        request: "-k https://advanced.pingora.local:8444/",
        expected: &["HTTP/2 200", "content-type: text/plain", HTTPS],
    },
];

/// What the journal must hold afterwards, among the rest.
const JOURNAL: &[&str] = &[
    "GET /any?x=1  host=advanced.pingora.local  from=172.28.0.30",
    "POST /form  host=172.28.0.22  from=172.28.0.30",
    "GET /  host=v7.api.pingora.local  from=172.28.0.30  sni=v7.api.pingora.local",
    "POST /  host=172.28.0.22:8081  from=172.28.0.30",
    "GET /  host=advanced.pingora.local:8443  from=172.28.0.30  sni=advanced.pingora.local  client=client.pingora.local",
];

fn ask_everything(lab: &Lab, which: &str) {
    for Case { request, expected } in CASES {
        let line = request.replace("$TRUSTING", TRUSTING);
        let script = format!("curl -si --max-time 10 {line} || echo curl ended with $?");
        let answer = lab.ok(&["exec", "client1", "bash", "-c", &script]);
        assert_eq!(compared(&answer), *expected, "{which}: {request}\n{answer}");
    }
    let journal = lab.ok(&["journal", "advanced"]);
    for line in JOURNAL {
        assert!(journal.lines().any(|other| other == *line), "{which}: no '{line}' in\n{journal}");
    }
    let full = lab.ok(&["journal", "advanced", "--full"]);
    let client = full.lines().find(|line| line.contains("client client.pingora.local")).unwrap_or_default();
    let serial = openssl_serial(&repository().join("conf/keys/client.crt"));
    assert!(
        client.contains(&format!("ALPN h2, client client.pingora.local (serial {serial})")),
        "{which}: {full}"
    );
}

/// The status without its reason, the headers that are compared, in order of their names, and the body.
fn compared(answer: &str) -> Vec<String> {
    let answer = answer.replace('\r', "");
    let Some((head, body)) = answer.split_once("\n\n") else {
        return answer.lines().map(str::to_owned).collect();
    };
    let mut lines = head.lines();
    let status: Vec<_> = lines.next().unwrap_or_default().split(' ').take(2).collect();
    let is_304 = status.last() == Some(&"304");
    let mut headers: Vec<String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        // A 304 may repeat what it says of the body, or not.
        .filter(|(name, _)| COMPARED.contains(&name.as_str()) && !(is_304 && name == "content-type"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    [status.join(" ")].into_iter().chain(headers).chain(body.lines().map(str::to_owned)).collect()
}

fn openssl_serial(certificate: &Path) -> String {
    let output = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-serial", "-in"])
        .arg(certificate)
        .output()
        .expect("openssl is on every machine that runs the lessons");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.strip_prefix("serial=").unwrap_or(&text).to_owned()
}

#[test]
fn in_rust() {
    let lab = Lab::new();
    lab.ok(&["up", "--detach"]);
    ask_everything(&lab, "Rust");
}

#[test]
fn as_nginx() {
    let lab = Lab::new();
    let (status, out, err) = lab.city(&["up", "--detach", "--nginx"]);
    if err.contains("there is no nginx on this machine") {
        assert_eq!((status, err.lines().count()), (1, 1), "{err}");
        eprintln!("skipped: there is no nginx on this machine");
        return;
    }
    assert_eq!(status, 0, "{out}{err}");
    ask_everything(&lab, "nginx");
}
