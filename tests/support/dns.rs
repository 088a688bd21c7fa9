//! A name server that says what it is told to.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Priority, weight, port and name.
pub type Service<'n> = (u16, u16, u16, &'n str);

/// What it says.
#[derive(Default)]
struct Zone {
    records: Vec<Record>,
    broken: Vec<(Name, RecordType)>,
}

/// It answers over UDP. A name that it does not know does not exist.
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl NameServer {
    pub fn start() -> NameServer {
        NameServer::slow(Duration::ZERO)
    }

    /// One that takes its time, for each answer.
    pub fn slow(delay: Duration) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let address = socket.local_addr().expect("it is bound");
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let (asked, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (known, count, stop) = (zone.clone(), asked.clone(), ended.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(delay);
                let mut message = Message::from_vec(&buffer[..length]).expect("a question").into_response();
                let query = message.queries[0].clone();
                let known = known.lock().expect("nobody panicked");
                let named: Vec<_> = known.records.iter().filter(|record| record.name == query.name).collect();
                if known.broken.contains(&(query.name.clone(), query.query_type)) {
                    message.metadata.response_code = ResponseCode::ServFail;
                } else if named.is_empty() {
                    message.metadata.response_code = ResponseCode::NXDomain;
                } else {
                    let answers = named.into_iter().filter(|record| record.record_type() == query.query_type);
                    message.answers = answers.cloned().collect();
                }
                let _ = socket.send_to(&message.to_vec().expect("an answer"), client);
            }
        });
        NameServer { address, zone, asked, ended }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many questions there have been.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// What it says from now on: addresses of names, and services.
    pub fn say(&self, ttl: u32, addresses: &[(&str, &str)], services: &[(&str, Service<'_>)]) {
        self.say_but(ttl, addresses, services, &[]);
    }

    /// The same, but that it fails when it is asked one of these.
    pub fn say_but(
        &self,
        ttl: u32,
        addresses: &[(&str, &str)],
        services: &[(&str, Service<'_>)],
        broken: &[(&str, RecordType)],
    ) {
        let name = |name: &str| Name::from_ascii(name).expect("a name");
        let addresses = addresses.iter().map(|(own, ip)| {
            Record::from_rdata(name(own), ttl, RData::from(ip.parse::<IpAddr>().expect("an address")))
        });
        let services = services.iter().map(|(own, (priority, weight, port, target))| {
            let srv = SRV::new(*priority, *weight, *port, name(target));
            Record::from_rdata(name(own), ttl, RData::SRV(srv))
        });
        let records = addresses.chain(services).collect();
        let broken = broken.iter().map(|(own, kind)| (name(own), *kind)).collect();
        *self.zone.lock().expect("nobody panicked") = Zone { records, broken };
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
