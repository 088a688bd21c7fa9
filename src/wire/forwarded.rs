//! Who the client is, and what the upstream is told about it: `X-Forwarded-For`, `-Proto`, `-Host`, and `Forwarded`
//! (RFC 7239).
//!
//! Anybody can send these headers. They are believed from a proxy of ours, and from nobody else: what others sent
//! is replaced.

use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Version, header};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use pingora::prelude::*;

use super::add;
use super::head::is_host;

const FOR: &str = "X-Forwarded-For";
const PROTO: &str = "X-Forwarded-Proto";
const HOST: &str = "X-Forwarded-Host";
const FORWARDED: &str = "Forwarded";
/// Others that upstreams are known to read, and that say the same.
const OTHERS: [&str; 3] = ["X-Real-IP", "X-Forwarded-Port", "X-Forwarded-Server"];
/// No header of HTTP, but CGI makes a variable of it, which programs take for their own proxy ("httpoxy").
const HTTPOXY: &str = "Proxy";
/// What an upstream is told here, or hears from whoever frames the message: nobody else says it by another spelling.
const OURS: [&str; 12] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
    "x-real-ip",
    "x-forwarded-port",
    "x-forwarded-server",
    super::request_id::LOWER,
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
];

/// The longest host that a connection remembers: a name in DNS (RFC 1035, section 2.3.4), and a port. Others are valid,
/// but with them clients that stay would hold as much memory as a head may have.
const MEMORABLE: usize = 255 + ":65535".len();

/// How many headers say it.
const TOLD: usize = 4;
/// With up to so many headers, a head is small.
const SMALL: usize = 3;

/// Who is at the other end of a connection. Written once, for all of its requests.
#[derive(Debug)]
pub struct Peer {
    /// An IPv4 address that came as IPv6 is an IPv4 address here.
    pub address: IpAddr,
    text: HeaderValue,
    /// What was told of its last request. Most connections ask for one host.
    said: Mutex<Option<Said>>,
}

impl Peer {
    /// Whoever has this address.
    pub fn new(address: IpAddr) -> Peer {
        let address = address.to_canonical();
        let text = HeaderValue::try_from(address.to_string());
        Peer { address, text: text.unwrap_or(HeaderValue::from_static("unknown")), said: Mutex::default() }
    }

    fn text(&self) -> &str {
        self.text.to_str().unwrap_or("unknown")
    }
}

/// What upstreams are told of a client's own request, and what that was made of.
#[derive(Debug)]
struct Said {
    /// A copy: the value itself is a piece of the request's head, all of which it would keep.
    host: Option<Box<[u8]>>,
    proto: &'static str,
    item: HeaderValue,
    /// A head with `Host` and all that is told, since the second small one.
    head: Option<Box<RequestHeader>>,
}

impl Said {
    fn new(peer: &Peer, host: Option<&HeaderValue>, proto: &'static str) -> Result<Said> {
        let mut item = String::new();
        add_item(&mut item, Some(peer), host, proto);
        let host = host.map(|host| host.as_bytes().into());
        Ok(Said { host, proto, item: value(item)?, head: None })
    }

    fn is_of(&self, host: Option<&HeaderValue>, proto: &str) -> bool {
        self.host.as_deref() == host.map(HeaderValue::as_bytes) && self.proto == proto
    }

    fn is_memorable(&self) -> bool {
        self.host.as_ref().is_none_or(|host| host.len() <= MEMORABLE)
    }

    fn add_to(&self, request: &mut RequestHeader, peer: &Peer, host: Option<HeaderValue>) -> Result<()> {
        let told: [_; TOLD] = [
            (FOR, Some(peer.text.clone())),
            (FORWARDED, Some(self.item.clone())),
            (PROTO, Some(HeaderValue::from_static(self.proto))),
            (HOST, host),
        ];
        for (name, value) in told {
            if let Some(value) = value {
                add(request, name, value)?;
            }
        }
        Ok(())
    }

    /// The same for a small head, which has no room for it: it is written anew, on a copy of one that has it. Names
    /// that are no standard's are then neither parsed nor stored again.
    fn add_to_small(&mut self, request: &mut RequestHeader, peer: &Peer) -> Result<()> {
        let mut head = match self.head.as_deref().filter(|head| first(head) == first(request)) {
            Some(head) => head.clone(),
            None => {
                let mut head = RequestHeader::build(request.method.clone(), b"/", Some(1 + TOLD))?;
                let host = HeaderValue::from_bytes(self.host.as_deref().unwrap_or_default());
                let host = host.or_err(InvalidHTTPHeader, "writing what is told to upstreams")?;
                head.append_header(Bytes::copy_from_slice(first(request)), host.clone())?;
                self.add_to(&mut head, peer, Some(host))?;
                // Its copy takes no more than it needs, for as long as the client stays.
                self.head = Some(Box::new(head.clone()));
                head
            }
        };
        head.set_method(request.method.clone());
        head.set_uri(request.uri.clone());
        *head.extensions_mut() = mem::take(request.extensions_mut());
        for (name, value) in request.case_header_iter().skip(1) {
            head.append_header(name.clone(), value.clone())?;
        }
        *request = head;
        Ok(())
    }
}

/// Whether it is as short as programs write it, and as plain: to be written anew, it must be no more than its parts.
fn is_small(request: &RequestHeader) -> bool {
    let target = request.uri.path_and_query().map(|target| target.as_str().as_bytes());
    request.headers.len() <= SMALL
        && request.version == Version::HTTP_11
        && target == Some(request.raw_path())
        // Where it should be (RFC 9110, section 7.2). HTTP/2 has no letters to be kept, and so no such names.
        && first(request).eq_ignore_ascii_case(header::HOST.as_str().as_bytes())
}

/// The name of its first header, as it is written; nothing where that is not known.
fn first(request: &RequestHeader) -> &[u8] {
    request.case_header_iter().next().map(|(name, _)| name.as_slice()).unwrap_or_default()
}

/// What is known of the connection that brought a request.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Whose it is; `None` on a Unix socket.
    pub peer: Option<Arc<Peer>>,
    /// Whether that is one of the proxies that are believed.
    pub trusted: bool,
    /// Whether it is encrypted.
    pub tls: bool,
}

/// Whether one of these networks has the address. An IPv4 address that is written as IPv6 is the same one.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The client: whoever connected or, behind proxies that are believed, the nearest whom none of them vouches for.
///
/// `Forwarded` counts where `X-Forwarded-For` is absent: a proxy that knows only the older one hands on what strangers
/// say in the other.
pub fn client(request: &RequestHeader, hop: &Hop, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = hop.peer.as_ref()?.address;
    Some(if hop.trusted { vouched_for(request, peer, trusted) } else { peer })
}

/// Whom proxies that are believed name.
#[cold]
fn vouched_for(request: &RequestHeader, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let addresses = list(request, FOR);
    match addresses.is_empty() {
        false => nearest_stranger(peer, trusted, addresses.rsplit(',').map(address)),
        true => {
            let items = items(&list(request, FORWARDED));
            nearest_stranger(peer, trusted, items.iter().rev().map(|item| named(&node(item)?)))
        }
    }
}

/// From the nearest back to the client: who is trusted has written who came before. What is no address ends it.
fn nearest_stranger(peer: IpAddr, trusted: &[IpNet], before: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut client = peer;
    for address in before {
        let Some(address) = address else { break };
        client = address;
        if !contains(trusted, client) {
            break;
        }
    }
    client
}

/// An address as proxies write it, some of them with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().or_else(|_| entry.parse().map(|address: std::net::SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Tells the upstream. `client` is who that was, as far as it is known, and `told` whether the request came with
/// headers that say such things ([`Present::TOLD`](super::present::Present::TOLD)).
///
/// # Errors
/// Never for what clients can send: hosts and addresses fit into headers.
pub fn tell(request: &mut RequestHeader, hop: &Hop, client: Option<IpAddr>, told: bool) -> Result<()> {
    let peer = match hop.peer.as_deref() {
        Some(peer) if !told => peer,
        _ => return tell_on(request, hop, client),
    };
    let (host, proto) = (request.headers.get(header::HOST).cloned(), proto(hop));
    let mut last = peer.said.lock().unwrap_or_else(PoisonError::into_inner);
    match last.as_mut().filter(|said| said.is_of(host.as_ref(), proto)) {
        Some(said) if is_small(request) => said.add_to_small(request, peer),
        Some(said) => said.add_to(request, peer, host),
        None => {
            let said = Said::new(peer, host.as_ref(), proto)?;
            said.add_to(request, peer, host)?;
            if said.is_memorable() {
                *last = Some(said);
            }
            Ok(())
        }
    }
}

fn proto(hop: &Hop) -> &'static str {
    if hop.tls { "https" } else { "http" }
}

/// The same where something was said already, or by somebody without an address.
#[cold]
fn tell_on(request: &mut RequestHeader, hop: &Hop, client: Option<IpAddr>) -> Result<()> {
    forget(request, hop);
    let host = request.headers.get(header::HOST).cloned();
    let (peer, proto) = (hop.peer.as_deref(), proto(hop));
    // What is there now was said by a proxy that is believed.
    let Told { mut addresses, mut forwarded } = match hop.trusted {
        true => told_so_far(request, client)?,
        false => Told::default(),
    };
    if let Some(peer) = peer {
        append(&mut addresses, &[peer.text()]);
    }
    match addresses.is_empty() {
        true => _ = request.remove_header(FOR),
        false => request.insert_header(FOR, value(addresses)?)?,
    }
    add_item(&mut forwarded, peer, host.as_ref(), proto);
    request.insert_header(FORWARDED, value(forwarded)?)?;
    if !hop.trusted || !request.headers.contains_key(PROTO) {
        request.insert_header(PROTO, HeaderValue::from_static(proto))?;
    }
    if !hop.trusted || !request.headers.contains_key(HOST) {
        match host {
            Some(host) => request.insert_header(HOST, host)?,
            None => _ = request.remove_header(HOST),
        }
    }
    Ok(())
}

fn value(text: String) -> Result<HeaderValue> {
    HeaderValue::try_from(text).or_err(InvalidHTTPHeader, "writing what is told to upstreams")
}

/// Whether a header says what is told here, by its own name, in lower case, or by another spelling. Of most requests,
/// none does, and there is nothing to look for.
pub(super) fn tells(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(name, "forwarded" | "x-real-ip" | "proxy")
        || name.contains('_')
}

/// Removes what nobody says to an upstream, and what a stranger says of himself in headers that are not replaced.
#[cold]
fn forget(request: &mut RequestHeader, hop: &Hop) {
    if !hop.trusted {
        for name in OTHERS {
            request.remove_header(name);
        }
    }
    request.remove_header(HTTPOXY);
    remove_disguised(request);
}

/// CGI and what came after it read `X_Forwarded_For` as `X-Forwarded-For`: a name with an underscore is a second way
/// to write one with a hyphen. Those that are not ours to say remain.
fn remove_disguised(request: &mut RequestHeader) {
    let ours = |name: &HeaderName| {
        let name = name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
        OURS.iter().any(|own| own.bytes().eq(name.clone()))
    };
    let disguised = |name: &&HeaderName| name.as_str().contains('_') && ours(name);
    while let Some(name) = request.headers.keys().find(disguised).cloned() {
        request.remove_header(&name);
    }
}

/// All lines of a list in one. A byte that is no text spoils only the item that it is in.
fn list(request: &RequestHeader, name: &str) -> String {
    let mut list = String::new();
    for value in request.headers.get_all(name) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let text = text.replace(|letter: char| !letter.is_ascii() || letter.is_ascii_control(), "?");
        if !text.trim().is_empty() {
            append(&mut list, &[&text]);
        }
    }
    list
}

/// What proxies that are believed have said of those before them, in both headers.
#[derive(Default)]
struct Told {
    addresses: String,
    forwarded: String,
}

/// A proxy that knows one of the headers hands on what strangers say in the other: where there is `X-Forwarded-For`, it
/// counts, and `Forwarded` is made of it. Of a `Forwarded` that is alone, the other one is made, so that nobody gets
/// lost (RFC 7239, section 7.4), with the scheme and the host under which the client came. Of that one, what stands
/// before an item that cannot be read is left out, as it is for [`client`].
#[cold]
fn told_so_far(request: &mut RequestHeader, client: Option<IpAddr>) -> Result<Told> {
    let addresses = list(request, FOR);
    if !addresses.is_empty() {
        return Ok(Told { forwarded: as_forwarded(&addresses), addresses });
    }
    let items = items(&list(request, FORWARDED));
    let readable = items.iter().rev().map_while(|item| Some((item, node(item)?))).collect::<Vec<_>>();
    let mut told = Told::default();
    for (item, node) in readable.iter().rev() {
        append(&mut told.forwarded, &[item]);
        append(&mut told.addresses, &[&named(node).map_or("unknown".to_string(), |ip| ip.to_string())]);
    }
    let theirs = readable.iter().find(|(_, node)| client.is_some() && named(node) == client);
    let Some((_, node)) = theirs else { return Ok(told) };
    let proto = node.protocol.filter(|proto| ["http", "https"].contains(proto));
    let host = node.host.map(|host| host.trim_matches('"')).filter(|host| is_host(host.as_bytes()));
    for (name, value) in [(PROTO, proto), (HOST, host)] {
        if let Some(value) = value.filter(|_| !request.headers.contains_key(name)) {
            request.insert_header(name, self::value(value.to_string())?)?;
        }
    }
    Ok(told)
}

/// The items of a `Forwarded`, without the empty parts and the spaces that its grammar permits and its parser does not.
/// None where a quoted string holds what the parser would take for a separator.
fn items(list: &str) -> Vec<String> {
    if list.split('"').skip(1).step_by(2).any(|quoted| quoted.contains([',', ';', '\\'])) {
        return Vec::new();
    }
    let pairs = |item: &str| {
        let pairs = item.split(';').map(str::trim).filter(|pair| !pair.is_empty());
        pairs.collect::<Vec<_>>().join(";")
    };
    list.split(',').map(pairs).filter(|item| !item.is_empty()).collect()
}

/// An item, if it can be read.
fn node(item: &str) -> Option<rfc7239::Forwarded<'_>> {
    rfc7239::parse(item).next()?.ok()
}

/// Whom an item names.
fn named(node: &rfc7239::Forwarded<'_>) -> Option<IpAddr> {
    Some(node.forwarded_for.as_ref()?.ip()?.to_canonical())
}

/// Adds what is known of this hop.
#[cold]
fn add_item(forwarded: &mut String, peer: Option<&Peer>, host: Option<&HeaderValue>, proto: &str) {
    let address = peer.map_or("unknown", Peer::text);
    let (open, close) = quotes(peer.map(|peer| peer.address));
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    append(forwarded, &["for=", open, address, close, ";host=\"", host, "\";proto=", proto]);
}

/// The addresses of `X-Forwarded-For` as items of `Forwarded`.
fn as_forwarded(addresses: &str) -> String {
    let mut forwarded = String::new();
    for entry in addresses.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let address = address(entry);
        let (open, close) = quotes(address);
        let text = address.map_or_else(|| "unknown".to_string(), |address| address.to_string());
        append(&mut forwarded, &["for=", open, &text, close]);
    }
    forwarded
}

/// What an address is written between. RFC 7239, section 6: a colon needs quotes.
fn quotes(address: Option<IpAddr>) -> (&'static str, &'static str) {
    if matches!(address, Some(IpAddr::V6(_))) { ("\"[", "]\"") } else { ("", "") }
}

/// One more item, which is written in these parts.
fn append(list: &mut String, parts: &[&str]) {
    let separator = if list.is_empty() { "" } else { ", " };
    // To the byte: what is left over would cost a header value an allocation more.
    list.reserve_exact(separator.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    list.push_str(separator);
    list.extend(parts.iter().copied());
}

#[cfg(test)]
mod tests;
