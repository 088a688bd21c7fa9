//! No bytes that a client can send make the gateway panic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Gateway, Scripted, get};

/// Xorshift: the same bytes on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is small")
    }
}

const SEEDS: &[&[u8]] = &[
    b"GET /users/7?a=b&debug=1 HTTP/1.1\r\nHost: api.example.com\r\nAccept: text/html;q=0.5\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET http://t/%2e%2e//a HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 1.1.1.1, [::1]\r\nForwarded: for=a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01t",
];

#[test]
fn random_bytes_do_no_harm() {
    let origin = Scripted::plain();
    let gateway = Gateway::start(&format!(
        "
server: {{ trusted_proxies: [127.0.0.1] }}
log: {{ access: $FOLDER/access, format: json }}
listeners: [{{ address: $LISTEN, h2c: true, header_timeout: 200ms, idle_timeout: 200ms, body_timeout: 200ms }}]
upstreams: {{ origin: {{ servers: [{{ address: {} }}] }} }}
middlewares: {{ small: {{ body_limit: {{ max_bytes: 64 }} }} }}
routes:
  - {{ name: users, match: {{ path_regex: \"/users/.+\", query: {{ debug: \"*\" }} }}, upstream: origin, rewrite: {{ path: /$0, query: {{ remove: [debug] }} }} }}
  - {{ name: ws, match: {{ path: /ws }}, upstream: origin, websocket: true }}
  - {{ name: hosts, match: {{ hosts: [\"*.example.com\"] }}, redirect: {{ scheme: https }} }}
  - {{ name: all, upstream: origin, middlewares: [small] }}
",
        origin.address()
    ));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let mut bytes = SEEDS[random.below(SEEDS.len())].to_vec();
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = u8::try_from(random.below(256)).expect("it is a byte"),
                1 => bytes.insert(at, u8::try_from(random.below(256)).expect("it is a byte")),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        if round % 10 == 0 {
            bytes =
                (0..random.below(600)).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
        }
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
        let _ = stream.write_all(&bytes);
        // Whatever it says, it says something or hangs up; half of the clients do not wait for it.
        if random.below(2) == 0 {
            stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            let _ = stream.read(&mut [0; 512]);
        }
    }
    assert_eq!(get(gateway.address(), "/after").status, 200);
    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}
