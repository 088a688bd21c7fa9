//! How to connect to a server.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::CertKey;

use super::via::Tunnel;
use crate::config::{Protocol, Upstream};

/// How many requests share a connection of HTTP/2, where the server permits as many. Pingora's own number is one.
const STREAMS: usize = 100;
/// How much of an answer may be on its way in one stream, in bytes. Pingora gives a stream as much as the whole
/// connection: two clients that do not read would keep it from everybody else (RFC 9113, section 5.2.2).
const STREAM_WINDOW: u32 = 256 * 1024;
/// For all streams of a connection: who does not read holds up nobody.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// How to connect to a server: made once, and copied for each request.
pub struct Way {
    peer: HttpPeer,
    /// Where it leads, if nothing but time is to be said of it.
    plain: Option<SocketAddr>,
}

impl Way {
    /// To a server of this group.
    pub fn new(address: SocketAddr, group: &Upstream) -> Way {
        let plain = group.tls.is_none() && group.via.is_none() && group.protocol == Protocol::H1;
        Way { peer: peer(address, group), plain: plain.then_some(address) }
    }

    /// For Pingora, which wants one of its own for each request.
    pub fn copy(&self) -> Box<HttpPeer> {
        let Some(address) = self.plain else { return Box::new(self.peer.clone()) };
        // Pingora's peer has some thirty settings, most of them on the heap if they are set. A new one has none, and
        // takes half of what it takes to look at each of them.
        let mut peer = Box::new(HttpPeer::new(address, false, String::new()));
        peer.group_key = self.peer.group_key;
        let (options, ours) = (&mut peer.options, &self.peer.options);
        options.connection_timeout = ours.connection_timeout;
        options.total_connection_timeout = ours.total_connection_timeout;
        options.read_timeout = ours.read_timeout;
        options.write_timeout = ours.write_timeout;
        options.idle_timeout = ours.idle_timeout;
        peer
    }
}

/// What Pingora must know to connect to a server of this group.
fn peer(address: SocketAddr, group: &Upstream) -> HttpPeer {
    let sni = group.tls.as_ref().map(|tls| tls.sni.clone()).unwrap_or_default();
    // Before a kept connection is used again, Pingora compares this address with the socket's: through a forward
    // proxy, that is the proxy's.
    let mut peer = HttpPeer::new(group.via.unwrap_or(address), group.tls.is_some(), sni);
    peer.group_key = group_key(address, group);
    let options = &mut peer.options;
    if group.via.is_some() {
        options.custom_l4 = Some(Arc::new(Tunnel { target: address, patience: group.timeouts.connect }));
    }
    // The first is for TCP and TLS each, the second for both together.
    options.connection_timeout = Some(group.timeouts.connect);
    options.total_connection_timeout = Some(group.timeouts.connect);
    options.read_timeout = Some(group.timeouts.read);
    options.write_timeout = Some(group.timeouts.write);
    options.idle_timeout = Some(group.timeouts.idle);
    match group.protocol {
        Protocol::H1 => options.set_http_version(1, 1),
        Protocol::H2 | Protocol::H2c => options.set_http_version(2, 2),
        // Without TLS there is nothing to agree in, and Pingora speaks HTTP/1.1.
        Protocol::Auto => options.set_http_version(2, 1),
    }
    if group.protocol != Protocol::H1 {
        options.max_h2_streams = STREAMS;
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
    }
    if let Some(tls) = &group.tls {
        options.verify_cert = tls.verify;
        options.verify_hostname = tls.verify;
        if !tls.authorities.is_empty() {
            options.ca = Some(Arc::new(tls.authorities.clone().into_boxed_slice()));
        }
        if let Some((chain, key)) = &tls.client {
            peer.client_cert_key = Some(Arc::new(CertKey::new(chain.clone(), key.clone())));
        }
    }
    peer
}

/// Connections are shared only between peers for whom this is equal. Pingora's own key leaves out authorities and
/// protocols, and knows a certificate by its serial number alone.
fn group_key(address: SocketAddr, group: &Upstream) -> u64 {
    let mut hash = DefaultHasher::new();
    address.hash(&mut hash);
    group.via.hash(&mut hash);
    group.protocol.hash(&mut hash);
    group.tls.as_ref().map(|tls| tls.identity()).hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::server::tests::group;

    /// Nothing that is said of a plain server is forgotten where its peer is made anew.
    #[test]
    fn a_copy_is_a_copy() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        for (yaml, plain) in [
            ("{ servers: [{ address: 127.0.0.1:1 }] }", true),
            (
                "{ servers: [{ address: 127.0.0.1:1 }], timeouts: { connect: 1s, read: 2s, write: 3s, idle: 4s } }",
                true,
            ),
            ("{ servers: [{ address: 127.0.0.1:1 }], protocol: h2c }", false),
            ("{ servers: [{ address: 127.0.0.1:1 }], tls: { sni: a.test } }", false),
        ] {
            let group = group(yaml);
            let way = Way::new(address, &group);
            assert_eq!(way.plain.is_some(), plain, "{yaml}");
            assert_eq!(format!("{:?}", way.copy()), format!("{:?}", peer(address, &group)), "{yaml}");
        }
    }
}
