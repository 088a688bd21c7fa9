//! dns: the authoritative server of `pingora.local`, over UDP and TCP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Message, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, NS, PTR, SOA, SRV};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use super::journal::{Head, Journal};
use super::wire::Wire;
use super::zone::{self, Changes, Fault, Found, Names, TTL};
use crate::map;

/// A TCP client that says nothing for this long is hung up on.
const IDLE: Duration = Duration::from_secs(30);
/// How long another server may take.
const ELSEWHERE: Duration = Duration::from_secs(4);
/// Answers that may wait for a TCP client to read them.
const WAITING_ANSWERS: usize = 32;

/// Starts answering on the given sockets, until the server is dropped. What lies outside the City is asked
/// `elsewhere`, and refused without.
pub fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    journal: Arc<Journal>,
    folder: Option<PathBuf>,
    elsewhere: Option<SocketAddr>,
) -> Server<Dns> {
    let port = udp.local_addr().map_or(0, |address| address.port());
    let mut server = Server::new(Dns { journal, folder, port, elsewhere });
    server.register_socket(udp);
    server.register_listener(tcp, IDLE, WAITING_ANSWERS);
    server
}

/// Answers queries from the zone as it is at that moment.
#[derive(Debug)]
pub struct Dns {
    journal: Arc<Journal>,
    folder: Option<PathBuf>,
    port: u16,
    elsewhere: Option<SocketAddr>,
}

/// What one query is answered with.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    code: ResponseCode,
    answers: Vec<Record>,
    /// Says of an answer without records for how long it holds (RFC 2308).
    soa: Vec<Record>,
    additionals: Vec<Record>,
}

impl Answer {
    fn error(code: ResponseCode) -> Answer {
        Answer { code, ..Answer::default() }
    }
}

#[async_trait]
impl RequestHandler for Dns {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let Ok(info) = request.request_info() else {
            return send(request, metadata, Answer::error(ResponseCode::FormErr), &mut response).await;
        };
        let name = Name::from(info.query.name());
        let kind = info.query.query_type();
        let connection = self.journal.connection(info.src, self.port, None);
        let record = self.journal.begin(
            &connection,
            Head {
                version: if info.protocol == Protocol::Udp { "DNS/UDP" } else { "DNS/TCP" },
                method: Wire::from(kind.to_string()),
                target: Wire::from(name.to_ascii().trim_end_matches('.')),
                headers: Vec::new(),
            },
        );
        record.complete();

        // A zone that cannot be read must not look like one that is empty.
        let changes = match self.folder.as_deref().map(Changes::read).transpose() {
            Ok(changes) => changes.unwrap_or_default(),
            Err(trouble) => {
                eprintln!("dns: {trouble}");
                return send(request, metadata, Answer::error(ResponseCode::ServFail), &mut response).await;
            }
        };
        let relative = zone::relative(&name.to_ascii());
        let fault = relative.as_ref().and_then(|name| changes.faults.get(name));
        let answer = match fault {
            Some(Fault::Drop) => {
                return ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() });
            }
            Some(Fault::Fail) => Answer::error(ResponseCode::ServFail),
            _ if metadata.op_code != OpCode::Query => Answer::error(ResponseCode::NotImp),
            _ => answer(&changes.applied(), relative.as_deref(), &name, kind),
        };
        let answer = match self.elsewhere {
            Some(elsewhere) if answer.code == ResponseCode::Refused => {
                ask(elsewhere, request.as_slice()).await
            }
            _ => answer,
        };
        if let Some(Fault::Delay(ms)) = fault {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
        }
        metadata.authoritative = matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain);
        record.answered(u16::from(answer.code), None);
        send(request, metadata, answer, &mut response).await
    }
}

async fn send<R: ResponseHandler>(
    request: &Request,
    mut metadata: Metadata,
    answer: Answer,
    response: &mut R,
) -> ResponseInfo {
    metadata.response_code = answer.code;
    let edns = Edns::new();
    let mut message = MessageResponseBuilder::from_message_request(request);
    if request.edns.is_some() {
        message.edns(&edns);
    }
    let message = message.build(metadata, &answer.answers, &[], &answer.soa, &answer.additionals);
    // A client that is gone does not miss its answer.
    let sent = response.send_response(message).await;
    sent.unwrap_or_else(|_| ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() }))
}

/// Hands a query on and returns what it is answered with; a server that says nothing has failed.
async fn ask(elsewhere: SocketAddr, query: &[u8]) -> Answer {
    let asked = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(elsewhere).await?;
        socket.send(query).await?;
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).await?;
        Message::from_vec(&bytes[..length]).map_err(std::io::Error::other)
    };
    match tokio::time::timeout(ELSEWHERE, asked).await {
        Ok(Ok(message)) => Answer {
            code: message.metadata.response_code,
            answers: message.answers,
            soa: message.authorities,
            additionals: Vec::new(),
        },
        _ => Answer::error(ResponseCode::ServFail),
    }
}

/// Answers one question; `relative` is the name within the domain, none if it lies outside.
fn answer(names: &Names, relative: Option<&str>, name: &Name, kind: RecordType) -> Answer {
    let record = |data| Record::from_rdata(name.clone(), TTL, data);
    let Some(relative) = relative else { return reverse(name, kind) };
    let found = zone::find(names, relative);
    let mut answer = Answer::default();
    let wants = |this| kind == this || kind == RecordType::ANY;
    if relative == "@" {
        if wants(RecordType::SOA) {
            answer.answers.extend(soa(map::DOMAIN));
        }
        if wants(RecordType::NS) {
            answer.answers.extend(full("dns").map(|name| record(RData::NS(NS(name)))));
        }
    }
    match found {
        Found::NoName => answer.code = ResponseCode::NXDomain,
        Found::Nothing => {}
        Found::Holds(holds) => {
            if wants(RecordType::A) {
                answer.answers.extend(holds.addresses.iter().map(|ip| record(RData::A(A(*ip)))));
            }
            if wants(RecordType::SRV) {
                for service in &holds.services {
                    let Some(target) = full(&service.host) else { continue };
                    answer.answers.push(record(RData::SRV(SRV::new(0, 1, service.port, target.clone()))));
                    if let Found::Holds(host) = zone::find(names, &service.host) {
                        let address = |ip: &_| Record::from_rdata(target.clone(), TTL, RData::A(A(*ip)));
                        answer.additionals.extend(host.addresses.iter().map(address));
                    }
                }
            }
        }
    }
    if answer.answers.is_empty() {
        answer.soa.extend(soa(map::DOMAIN));
    }
    answer
}

/// The names behind the City's addresses; everything else is somebody else's to answer.
fn reverse(name: &Name, kind: RecordType) -> Answer {
    let text = name.to_ascii().to_ascii_lowercase();
    let [a, b, c, _] = map::GATEWAY.octets();
    let domain = format!("{c}.{b}.{a}.in-addr.arpa");
    let Some(below) = text.trim_end_matches('.').strip_suffix(&domain) else {
        return Answer::error(ResponseCode::Refused);
    };
    let last = below.trim_end_matches('.').parse::<u8>().ok();
    let host = map::HOSTS.iter().find(|host| Some(host.address().octets()[3]) == last);
    let mut answer = Answer::default();
    match host.and_then(|host| full(host.name)) {
        Some(host) if matches!(kind, RecordType::PTR | RecordType::ANY) => {
            answer.answers.push(Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(host))));
        }
        Some(_) => {}
        None if below.is_empty() => {}
        None => answer.code = ResponseCode::NXDomain,
    }
    if answer.answers.is_empty() {
        answer.soa.extend(soa(&domain));
    }
    answer
}

fn soa(domain: &str) -> Option<Record> {
    let owner = Name::from_ascii(format!("{domain}.")).ok()?;
    let data = SOA::new(full("dns")?, full("hostmaster")?, 1, 60, 10, 600, TTL);
    Some(Record::from_rdata(owner, TTL, RData::SOA(data)))
}

fn full(relative: &str) -> Option<Name> {
    Name::from_ascii(format!("{relative}.{}.", map::DOMAIN)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>, usize) {
        let full = Name::from_ascii(name).unwrap();
        let answer = answer(&zone::built_in(), zone::relative(name).as_deref(), &full, kind);
        let shown = answer.answers.iter().map(|record| record.data.to_string()).collect();
        (answer.code, shown, answer.soa.len())
    }

    #[test]
    fn what_exists_is_answered() {
        let cases: [(&str, RecordType, &[&str]); 6] = [
            ("blue.pingora.local.", RecordType::A, &["172.28.0.20"]),
            ("v2.api.pingora.local.", RecordType::A, &["172.28.0.22"]),
            ("anything.api.pingora.local.", RecordType::A, &["172.28.0.22"]),
            (
                "_http._tcp.app.pingora.local.",
                RecordType::SRV,
                &["0 1 8080 blue.pingora.local.", "0 1 8080 green.pingora.local."],
            ),
            ("pingora.local.", RecordType::NS, &["dns.pingora.local."]),
            ("20.0.28.172.in-addr.arpa.", RecordType::PTR, &["blue.pingora.local."]),
        ];
        for (name, kind, expected) in cases {
            let (code, records, soa) = ask(name, kind);
            assert_eq!((code, soa), (ResponseCode::NoError, 0), "{name}");
            assert_eq!(records, expected, "{name}");
        }
    }

    #[test]
    fn what_does_not_exist_is_denied_in_the_right_way() {
        let cases = [
            ("blue.pingora.local.", RecordType::AAAA, ResponseCode::NoError, 1),
            ("api.pingora.local.", RecordType::A, ResponseCode::NoError, 1),
            ("purple.pingora.local.", RecordType::A, ResponseCode::NXDomain, 1),
            ("example.org.", RecordType::A, ResponseCode::Refused, 0),
            ("99.0.28.172.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, 1),
            ("8.8.8.8.in-addr.arpa.", RecordType::PTR, ResponseCode::Refused, 0),
        ];
        for (name, kind, code, soa) in cases {
            assert_eq!(ask(name, kind), (code, vec![], soa), "{name} {kind}");
        }
    }
}
