//! A name server that says what it is told to.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};

/// Priority, weight, port and name.
pub type Service<'n> = (u16, u16, u16, &'n str);

/// It answers over UDP. A name that it does not know does not exist.
pub struct NameServer {
    address: SocketAddr,
    records: Arc<Mutex<Vec<Record>>>,
    ended: Arc<AtomicBool>,
}

impl NameServer {
    pub fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let address = socket.local_addr().expect("it is bound");
        let records: Arc<Mutex<Vec<Record>>> = Arc::default();
        let (known, ended) = (records.clone(), Arc::new(AtomicBool::new(false)));
        let stop = ended.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                let mut message = Message::from_vec(&buffer[..length]).expect("a question").into_response();
                let query = message.queries[0].clone();
                let known = known.lock().expect("nobody panicked");
                let named: Vec<_> = known.iter().filter(|record| record.name == query.name).collect();
                if named.is_empty() {
                    message.metadata.response_code = ResponseCode::NXDomain;
                }
                let answers = named.into_iter().filter(|record| record.record_type() == query.query_type);
                message.answers = answers.cloned().collect();
                let _ = socket.send_to(&message.to_vec().expect("an answer"), client);
            }
        });
        NameServer { address, records, ended }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says from now on: addresses of names, and services.
    pub fn say(&self, ttl: u32, addresses: &[(&str, [u8; 4])], services: &[(&str, Service<'_>)]) {
        let name = |name: &str| Name::from_ascii(name).expect("a name");
        let addresses = addresses
            .iter()
            .map(|(own, ip)| Record::from_rdata(name(own), ttl, RData::A(A(Ipv4Addr::from(*ip)))));
        let services = services.iter().map(|(own, (priority, weight, port, target))| {
            let srv = SRV::new(*priority, *weight, *port, name(target));
            Record::from_rdata(name(own), ttl, RData::SRV(srv))
        });
        *self.records.lock().expect("nobody panicked") = addresses.chain(services).collect();
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
