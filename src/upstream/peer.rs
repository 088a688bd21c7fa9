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

/// What Pingora must know to connect to a server of this group.
pub fn peer(address: SocketAddr, group: &Upstream) -> HttpPeer {
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
