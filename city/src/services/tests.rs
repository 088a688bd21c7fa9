//! The services as a client meets them: each test serves a port on loopback and talks to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fault::{Fault, Instead};
use super::http::Context;
use super::journal::{self, Entry, Journal};
use super::port::{Port, Speaks};
use super::{advanced, echo, grpc};
use crate::certs;
use crate::clients::dial::{self, TlsArgs};
use crate::clients::grpc::{Call, Options, call, status_line};
use crate::clients::raw::{End, Script, play};

/// Nothing here takes long; what takes longer than this has failed.
const LONG: Duration = Duration::from_secs(5);

/// A port that is served, and the folder of its host.
struct Served {
    address: String,
    folder: TempDir,
}

impl Served {
    async fn port(port: Port) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let context = Context {
            journal: Journal::open(Some(folder.path())).unwrap(),
            folder: Some(folder.path().into()),
            breakable: true,
        };
        tokio::spawn(port.serve(listener, context));
        Served { address, folder }
    }

    async fn blue() -> Served {
        Served::port(Port { number: 0, about: "HTTP", tls: None, speaks: Speaks::http1(echo::blue) }).await
    }

    fn breaks(&self, fault: Fault) {
        fault.write(self.folder.path()).unwrap();
    }

    fn journal(&self) -> Vec<Entry> {
        journal::read(self.folder.path()).unwrap()
    }

    /// The last request, once it has come to an end.
    async fn last_ended(&self) -> Entry {
        tokio::time::timeout(LONG, async {
            loop {
                if let Some(entry) = self.journal().pop().filter(|entry| entry.outcome.ended) {
                    return entry;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("a request that ends")
    }

    /// Sends the pieces and reads until the server closes.
    async fn talk(&self, pieces: &[&str]) -> String {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let script = Script {
            pieces: pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect(),
            repeat: 1,
            pause: Duration::from_millis(5),
            half_close: false,
            patience: LONG,
        };
        let mut out = Vec::new();
        let end = play(Box::new(stream), &script, &mut out).await.unwrap();
        assert!(!matches!(end, End::Silence(_)), "the server says nothing more, and does not close");
        format!("{}{end}", String::from_utf8(out).unwrap())
    }
}

#[tokio::test]
async fn a_request_is_journalled_to_the_byte_before_its_answer_is_there() {
    let blue = Served::blue().await;
    let answer = blue
        .talk(&[
            "GET /a/../b?x=%2F&&y HTTP/1.1\r\nhOSt: Blue\r\nX-One:",
            " 1\r\nx-one: 2\r\nConnection: close\r\n\r\n",
        ])
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\nX-App-Name: http-echo\nX-App-Version: 1.0.0\n"), "{answer}");
    assert!(answer.ends_with("\n\nResponse from BLUE\n(closed by the server)"), "{answer}");

    let [entry] = &blue.journal()[..] else { panic!("one request") };
    assert_eq!(entry.line(), "GET /a/../b?x=%2F&&y  host=Blue  from=127.0.0.1");
    let full = entry.full();
    assert!(
        full.starts_with("GET /a/../b?x=%2F&&y HTTP/1.1\nhOSt: Blue\nX-One: 1\nx-one: 2\nConnection: close\n-> 200, body 0 bytes, connection 1 from 127.0.0.1:"),
        "{full}"
    );
    let date = entry.outcome.date.as_deref().unwrap();
    assert!(answer.contains(&format!("Date: {date}\n")), "{answer}");
}

#[tokio::test]
async fn requests_on_one_connection_are_told_apart() {
    let blue = Served::blue().await;
    blue.talk(&[
        "PUT /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nPUT /2 HTTP/1.1\r\nContent-Le",
        "ngth: 4\r\n\r\nfourHEAD /3 HTTP/1.1\r\nConnection: close\r\n\r\n",
    ])
    .await;
    let seen: Vec<_> = blue
        .journal()
        .iter()
        .map(|entry| {
            (
                entry.request.target.to_string(),
                entry.outcome.body,
                entry.outcome.complete,
                entry.request.connection,
            )
        })
        .collect();
    assert_eq!(seen, [("/1".into(), 5, true, 1), ("/2".into(), 4, true, 1), ("/3".into(), 0, true, 1)]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_counted_as_far_as_it_came() {
    for head in ["Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n64\r\nhello"] {
        let blue = Served::blue().await;
        let mut stream = TcpStream::connect(&blue.address).await.unwrap();
        stream.write_all(format!("PUT / HTTP/1.1\r\n{head}").as_bytes()).await.unwrap();
        drop(stream);
        let outcome = blue.last_ended().await.outcome;
        assert_eq!((outcome.status, outcome.body, outcome.complete), (None, 5, false), "{head}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_journalled_too() {
    let blue = Served::blue().await;
    let too_long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let too_many = format!("GET /many HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(150));
    let cases = [
        ("GE\x01T / HTTP/1.1\r\n\r\n", "no valid HTTP: GE\\x01T / HTTP/1.1  from=127.0.0.1", Some(400)),
        ("PUT /x HTTP/1.1\r\nContent-Length: x\r\n\r\n", "PUT /x  from=127.0.0.1", Some(400)),
        (&too_long, &format!("GET {}  from=127.0.0.1", &too_long[4..70_005]), Some(414)),
        (&too_many, "GET /many  from=127.0.0.1", Some(431)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no valid HTTP: PRI * HTTP/2.0  from=127.0.0.1", None),
    ];
    for (request, line, status) in cases {
        blue.talk(&[request]).await;
        let entry = blue.last_ended().await;
        assert_eq!((entry.line().as_str(), entry.outcome.status), (line, status));
    }
}

#[tokio::test]
async fn the_citys_own_requests_are_not_counted() {
    let blue = Served::blue().await;
    blue.talk(&["GET /x HTTP/1.1\r\nUser-Agent: city-health\r\n\r\nGET /x?y HTTP/1.1\r\n\r\nGET /_city/echo HTTP/1.1\r\nConnection: close\r\n\r\n"]).await;
    let entries = blue.journal();
    assert_eq!(entries.len(), 3);
    assert_eq!(journal::count(&entries, "/x"), 1);
    assert_eq!(journal::count(&entries, "/x?y"), 1);
    assert_eq!(journal::count(&entries, "GET /x"), 1);
    assert_eq!(journal::count(&entries, "PUT /x"), 0);
    assert_eq!(journal::count(&entries, "/xy"), 0);
}

#[tokio::test]
async fn the_city_answers_questions_about_itself() {
    let blue = Served::blue().await;
    blue.breaks(Fault { instead: Some(Instead::Reset), ..Fault::default() });
    let body = |answer: String| -> serde_json::Value {
        let (_, body) = answer.split_once("\n\n").unwrap();
        serde_json::from_str(body.trim_end_matches("(closed by the server)")).unwrap()
    };
    let echo = blue
        .talk(&["POST /_city/echo?q HTTP/1.1\r\nX-Mixed: One\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"])
        .await;
    let echo = body(echo);
    assert_eq!(echo["headers"][0], serde_json::json!(["X-Mixed", "One"]));
    assert_eq!(
        (&echo["target"], &echo["body"], &echo["body_bytes"]),
        (&"/_city/echo?q".into(), &"hello".into(), &5.into())
    );

    Fault::heal(blue.folder.path()).unwrap();
    blue.talk(&["GET /leaf HTTP/1.1\r\nConnection: close\r\n\r\n"]).await;
    let ask = |method| format!("{method} /_city/journal HTTP/1.1\r\nConnection: close\r\n\r\n");
    let listed = body(blue.talk(&[&ask("GET")]).await);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["target"], "/leaf");
    blue.talk(&[&ask("DELETE")]).await;
    assert_eq!(journal::count(&blue.journal(), "/leaf"), 0);
}

#[tokio::test]
async fn a_broken_host_does_what_it_was_told() {
    let blue = Served::blue().await;
    let cases = [
        (
            Instead::Status(503),
            "HTTP/1.1 503 Service Unavailable\n",
            "Response from BLUE\n(closed by the server)",
            Some(503),
        ),
        (Instead::Status(204), "HTTP/1.1 204 No Content\n", "\n\n(closed by the server)", Some(204)),
        (Instead::Reset, "", "(reset by the server)", None),
        (Instead::HalfClose, "", "(closed by the server)", None),
        (Instead::Garbage, "\\x00\\x01 this is no HTTP", "(closed by the server)", None),
        (Instead::Cut, "HTTP/1.1 200 OK\n", "Content-Length: 19\nDate", Some(200)),
        (Instead::Early, "HTTP/1.1 200 OK\n", "Response from BLUE\n(closed by the server)", Some(200)),
    ];
    for (instead, start, rest, status) in cases {
        blue.breaks(Fault { slow: Some(1), instead: Some(instead), ..Fault::default() });
        let answer = blue.talk(&["GET / HTTP/1.1\r\nConnection: close\r\n\r\n"]).await;
        assert!(answer.starts_with(start) && answer.contains(rest), "{instead:?}: {answer}");
        assert_eq!(blue.last_ended().await.outcome.status, status, "{instead:?}");
    }
    Fault::heal(blue.folder.path()).unwrap();
    let answer = blue.talk(&["GET / HTTP/1.1\r\nConnection: close\r\n\r\n"]).await;
    assert!(answer.ends_with("Response from BLUE\n(closed by the server)"), "{answer}");
}

#[tokio::test]
async fn an_answer_in_pieces_is_the_same_answer() {
    let blue = Served::blue().await;
    let proxy_wants_a_password = Fault { instead: Some(Instead::Status(407)), ..Fault::default() };
    let mut answers = Vec::new();
    for pieces in [false, true] {
        blue.breaks(Fault { pieces, ..proxy_wants_a_password });
        let answer = blue.talk(&["GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n"]).await;
        assert_eq!(answer.matches("HTTP/1.1 407 Proxy Authentication Required\n").count(), 2, "{answer}");
        answers.push(answer.lines().filter(|line| !line.starts_with("Date:")).collect::<String>());
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_half_closed_connection_is_still_read_and_counted() {
    let blue = Served::blue().await;
    blue.breaks(Fault { instead: Some(Instead::HalfClose), ..Fault::default() });
    let mut stream = TcpStream::connect(&blue.address).await.unwrap();
    stream.write_all(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    stream.write_all(b"hello").await.unwrap();
    drop(stream);
    let outcome = blue.last_ended().await.outcome;
    assert_eq!((outcome.status, outcome.body, outcome.complete), (None, 5, true));
}

#[tokio::test]
async fn a_client_may_close_its_side_after_its_last_request() {
    let blue = Served::blue().await;
    let mut stream = TcpStream::connect(&blue.address).await.unwrap();
    stream.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answers = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers.matches("Response from BLUE\n").count(), 2, "{answers}");
    assert!(blue.journal().iter().all(|entry| entry.outcome.status == Some(200)));
}

#[tokio::test]
async fn a_request_that_its_client_gives_up_has_no_answer() {
    let blue = Served::blue().await;
    blue.breaks(Fault { slow: Some(60_000), ..Fault::default() });
    let mut stream = TcpStream::connect(&blue.address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\n\r\n").await.unwrap();
    while blue.journal().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!blue.journal()[0].outcome.ended);
    drop(stream);
    assert_eq!(blue.last_ended().await.outcome.status, None);
}

#[test]
fn a_journal_stops_at_its_limit_and_goes_on_when_it_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::with_limit(Some(folder.path()), 1000).unwrap();
    let connection = journal.connection("127.0.0.1:1".parse().unwrap(), 8080, None);
    let head = |target: &str| journal::Head {
        version: "HTTP/1.1",
        method: "GET".into(),
        target: target.into(),
        headers: Vec::new(),
    };
    for _ in 0..20 {
        drop(journal.begin(&connection, head("/many")));
    }
    let news = journal::Reader::new(folder.path()).news().unwrap();
    assert!(news.begun.len() < 20 && news.full.is_some());
    journal::clear(folder.path()).unwrap();
    drop(journal.begin(&connection, head("/again")));
    assert_eq!(journal::read(folder.path()).unwrap().len(), 1);
}

#[test]
fn a_reader_follows_a_journal_that_grows_and_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = journal::Reader::new(folder.path());
    assert!(reader.news().unwrap().begun.is_empty());

    let journal = Journal::open(Some(folder.path())).unwrap();
    let connection = journal.connection("127.0.0.1:1".parse().unwrap(), 8080, None);
    let head =
        journal::Head { version: "HTTP/1.1", method: "GET".into(), target: "/".into(), headers: Vec::new() };
    let record = journal.begin(&connection, head.clone());
    let news = reader.news().unwrap();
    assert!(!news.begun[0].outcome.ended);
    record.answered(200, None);
    drop(record);
    let news = reader.news().unwrap();
    assert_eq!((news.begun.len(), news.ended.len(), news.ended[0].1.status), (0, 1, Some(200)));

    journal::clear(folder.path()).unwrap();
    drop(journal.begin(&connection, head));
    let news = reader.news().unwrap();
    assert!(news.cleared && news.begun.len() == 1 && news.begun[0].outcome.ended);
}

#[test]
fn a_journal_may_be_written_by_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"entry":{"run":0,"number":7,"time":"2026-01-01T00:00:00+00:00","connection":3,
        "peer":"172.28.0.10:51034","port":443,"version":"HTTP/2.0","method":"GET","target":"/a%2F",
        "headers":[["Host","v1.api.pingora.local"],["Accept",""]],
        "tls":{"sni":"v1.api.pingora.local","alpn":"","client":{"cn":"?","serial":"","trusted":false}},
        "status":200,"date":null,"body":0,"complete":true,"ended":true}}"#;
    std::fs::write(journal::path(folder.path()), line.replace('\n', "") + "\n").unwrap();
    let [entry] = &journal::read(folder.path()).unwrap()[..] else { panic!("one request") };
    assert_eq!(
        entry.line(),
        "GET /a%2F  host=v1.api.pingora.local  from=172.28.0.10  sni=v1.api.pingora.local"
    );
    assert_eq!(entry.outcome.status, Some(200));
    // What was left empty did not come.
    assert_eq!(entry.request.headers.len(), 1);
    let tls = entry.request.tls.as_ref().unwrap();
    assert_eq!((&tls.alpn, &tls.client), (&None, &None));
}

fn keys() -> (TempDir, PathBuf) {
    let repository = tempfile::tempdir().unwrap();
    let keys = certs::ensure(repository.path()).unwrap().folder;
    (repository, keys)
}

fn tls(keys: &Path, identity: Option<&str>) -> TlsArgs {
    let file = |suffix| identity.map(|name| keys.join(format!("{name}.{suffix}")));
    TlsArgs {
        ca: keys.join("ca.crt"),
        sni: Some("v1.api.pingora.local".into()),
        cert: file("crt"),
        key: file("key"),
    }
}

fn port_of(keys: &Path, number: u16) -> Port {
    advanced::ports(keys).unwrap().into_iter().find(|port| port.number == number).unwrap()
}

async fn https(served: &Served, tls_args: &TlsArgs) -> Result<String, String> {
    let stream = dial::tcp(&served.address, LONG).await.map_err(|trouble| trouble.to_string())?;
    let dialled = dial::tls(stream, &served.address, tls_args, &["http/1.1"]).await;
    let (mut stream, _) = dialled.map_err(|trouble| trouble.to_string())?;
    stream.write_all(b"GET /auth HTTP/1.1\r\nConnection: close\r\n\r\n").await.map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    Ok(answer)
}

#[tokio::test]
async fn mutual_tls_tells_friends_from_strangers() {
    let (_repository, keys) = keys();
    let served = Served::port(port_of(&keys, 8443)).await;
    let cases = [
        (None, "400 Bad Request", "No required SSL certificate was sent", ""),
        (Some("client"), "200 OK", "Hello, Authenticated Client!", "  client=client.pingora.local"),
        (Some("client2"), "200 OK", "Hello, Authenticated Client!", "  client=client2.pingora.local"),
        (Some("foreign"), "400 Bad Request", "The SSL certificate error", "  client=*.pingora.local"),
        // Signed by the right authority, for servers.
        (Some("server"), "400 Bad Request", "The SSL certificate error", "  client=dev.pingora.local"),
    ];
    for (identity, status, body, client) in cases {
        let answer = https(&served, &tls(&keys, identity)).await.unwrap();
        assert!(answer.contains(status) && answer.contains(body), "{identity:?}: {answer}");
        let line = served.last_ended().await.line();
        assert_eq!(line, format!("GET /auth  from=127.0.0.1  sni=v1.api.pingora.local{client}"));
    }
}

#[tokio::test]
async fn bad_certificates_are_bad_in_their_own_way() {
    let (_repository, keys) = keys();
    for (number, wrong) in [(8444, "expired"), (8445, "UnknownIssuer")] {
        let served = Served::port(port_of(&keys, number)).await;
        let refused = https(&served, &tls(&keys, None)).await.unwrap_err();
        assert!(refused.contains(wrong), "{refused}");
        assert!(served.journal().is_empty());
    }
    let foreign = Served::port(port_of(&keys, 8445)).await;
    let trusting = TlsArgs { ca: keys.join("foreign-ca.crt"), ..tls(&keys, None) };
    assert!(https(&foreign, &trusting).await.unwrap().contains("(HTTPS + HTTP/2)"));
}

#[tokio::test]
async fn an_etag_saves_a_body() {
    let (_repository, keys) = keys();
    let served = Served::port(port_of(&keys, 80)).await;
    let get = |header: &str| format!("GET /cache-control HTTP/1.1\r\n{header}Connection: close\r\n\r\n");
    let first = served.talk(&[&get("")]).await;
    assert!(first.contains("Cache-Control: public, max-age=60\n") && first.contains("(HTTP)\n"), "{first}");
    let second = served.talk(&[&get("If-None-Match: \"city-1\"\r\n")]).await;
    assert!(second.starts_with("HTTP/1.1 304 Not Modified\n") && !second.contains("(HTTP)"), "{second}");
}

async fn grpc_call(options: &Options, wanted: Call) -> (String, String) {
    let mut out = Vec::new();
    let status = call(options, wanted, &mut out).await.unwrap();
    (String::from_utf8(out).unwrap(), status_line(&status))
}

#[tokio::test]
async fn grpc_serves_every_kind_of_call() {
    use grpc::pb::{EchoRequest, FailRequest};

    let routes = grpc::routes().await.unwrap();
    let served =
        Served::port(Port { number: 0, about: "gRPC", tls: None, speaks: Speaks::Grpc(routes) }).await;
    let options = Options {
        address: served.address.clone(),
        tls: None,
        authority: Some("grpc.pingora.local".into()),
        deadline: None,
        metadata: vec![("x-leaf".into(), "green".into())],
    };
    let echo = |text: &str| EchoRequest { text: text.into(), count: 2, delay_ms: 0 };
    let ok = "grpc-status: 0 (OK)";
    let cases = [
        (Call::Health(String::new()), "SERVING\n", ok),
        (Call::Health("nobody".into()), "", "grpc-status: 5 (NotFound) service not registered"),
        (Call::List, "city.echo.v1.Echo\ngrpc.health.v1.Health\ngrpc.reflection.v1.ServerReflection\n", ok),
        (Call::Unary(echo("a")), "1: a\n", ok),
        (Call::ServerStream(echo("a")), "1: a\n2: a\n", ok),
        (Call::ClientStream(vec![echo("a"), echo("b")]), "2: a b\n", ok),
        (Call::Bidi(vec![echo("a"), echo("b")]), "1: a\n2: b\n", ok),
        (
            Call::Fail(FailRequest { code: 7, message: "no".into() }),
            "",
            "grpc-status: 7 (PermissionDenied) no",
        ),
    ];
    for (wanted, printed, status) in cases {
        assert_eq!(grpc_call(&options, wanted).await, (printed.into(), status.into()));
        let entry = served.last_ended().await;
        assert_eq!(entry.request.header("x-leaf").map(ToString::to_string).as_deref(), Some("green"));
        assert!(entry.line().contains("  host=grpc.pingora.local  from=127.0.0.1"), "{}", entry.line());
        assert!(entry.outcome.complete, "{}", entry.full());
    }
    let slow = EchoRequest { text: "a".into(), count: 1, delay_ms: 60_000 };
    let hurried = Options { deadline: Some(Duration::from_millis(50)), ..options };
    let (_, status) = grpc_call(&hurried, Call::Unary(slow)).await;
    assert_eq!(status, "grpc-status: 4 (DeadlineExceeded) deadline exceeded");
}

#[tokio::test]
async fn trailers_follow_a_body_over_http2() {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let (_repository, keys) = keys();
    let served = Served::port(port_of(&keys, 8081)).await;
    let stream = TcpStream::connect(&served.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://advanced.pingora.local/trailers");
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert!(
        !response.headers().contains_key("content-length"),
        "curl leaves at the last byte, before trailers"
    );
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-city-trailer"], "end");
    assert_eq!(body.to_bytes(), "Response from Advanced Upstream (H2C - Cleartext HTTP/2)\n");
    let entry = served.last_ended().await;
    assert_eq!(entry.line(), "GET /trailers  host=advanced.pingora.local  from=127.0.0.1");
    assert_eq!(entry.request.version, "HTTP/2");
}

#[tokio::test]
async fn dns_answers_over_udp_and_sees_changes() {
    use super::zone::{Changes, Holds};
    use hickory_server::proto::op::{Message, Query, ResponseCode};
    use hickory_server::proto::rr::rdata::A;
    use hickory_server::proto::rr::{Name, RData, Record, RecordType};
    use tokio::net::UdpSocket;

    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path())).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Another name server, which answers every question with one address.
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = other.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((size, from)) = other.recv_from(&mut buffer).await {
            let mut answer = Message::from_vec(&buffer[..size]).unwrap();
            let data = RData::A(A::new(192, 0, 2, 7));
            answer.answers.push(Record::from_rdata(answer.queries[0].name().clone(), 2, data));
            other.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let _server =
        super::dns::serve(udp, tcp, Arc::clone(&journal), Some(folder.path().into()), Some(elsewhere));

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ask = async |name: &str| {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        client.send_to(&query.to_vec().unwrap(), address).await.unwrap();
        let mut buffer = [0; 512];
        let size = tokio::time::timeout(LONG, client.recv(&mut buffer)).await.unwrap().unwrap();
        let answer = Message::from_vec(&buffer[..size]).unwrap();
        let data: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
        (answer.metadata.response_code, data.join(" "))
    };
    assert_eq!(ask("blue.pingora.local.").await, (ResponseCode::NoError, "172.28.0.20".into()));

    // What is not the City's is asked elsewhere.
    assert_eq!(ask("example.org.").await, (ResponseCode::NoError, "192.0.2.7".into()));

    let mut changes = Changes::default();
    let addresses = vec!["172.28.0.21".parse().unwrap(), "172.28.0.20".parse().unwrap()];
    changes.records.insert("blue".into(), Some(Holds { addresses, services: vec![] }));
    changes.records.insert("green".into(), None);
    changes.faults.insert("dev".into(), super::zone::Fault::Fail);
    changes.write(folder.path()).unwrap();
    assert_eq!(ask("blue.pingora.local.").await, (ResponseCode::NoError, "172.28.0.21 172.28.0.20".into()));
    assert_eq!(ask("green.pingora.local.").await, (ResponseCode::NXDomain, String::new()));
    assert_eq!(ask("dev.pingora.local.").await, (ResponseCode::ServFail, String::new()));
    assert_eq!(journal::count(&journal::read(folder.path()).unwrap(), "A blue.pingora.local"), 2);
}
