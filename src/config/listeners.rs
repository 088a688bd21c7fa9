//! `listeners`: where clients connect.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use openssl::x509::X509;

pub use super::raw::TlsVersion;
use super::{At, Place, Process, all, files, networks, raw};
use crate::tls::certificate::{self, Certificate};

/// One address on which clients are served.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub address: Address,
    /// Where it was written: that it is taken only shows when it is opened.
    pub place: Place,
    /// Who may connect to a socket in the file system.
    pub mode: u32,
    /// How it encrypts; plain if it does not.
    pub tls: Option<ListenerTls>,
    /// Whether HTTP/2 is understood without TLS.
    pub h2c: bool,
    /// How long a head may take.
    pub header_timeout: Duration,
    /// How long a connection may wait for a request.
    pub idle_timeout: Duration,
    /// How long a client may take between two pieces of a body.
    pub body_timeout: Duration,
    /// How large a head may be.
    pub max_header_bytes: u32,
    /// How many requests a connection may bring; `None`: any.
    pub max_requests: Option<u32>,
    /// Whose connections are accepted; everybody's if empty.
    pub allow: Vec<IpNet>,
    /// Whose are not.
    pub deny: Vec<IpNet>,
    /// Whether it belongs to one of `services`, so that no route but that one's holds for it.
    pub is_service: bool,
}

impl Listener {
    /// With everything but its address as it is unless set.
    pub(super) fn plain(address: Address, place: Place) -> Listener {
        Listener {
            address,
            place,
            mode: 0o666,
            tls: None,
            h2c: false,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            max_header_bytes: 64 * 1024,
            max_requests: None,
            allow: Vec::new(),
            deny: Vec::new(),
            is_service: false,
        }
    }
}

/// TLS for clients.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// What is presented; at least one.
    pub certificates: Arc<[Certificate]>,
    /// Who must have signed a client's certificate; `None`: no client is asked for one.
    pub client_ca: Option<Vec<X509>>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered.
    pub h2: bool,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// From its text; `None` if it is no address.
    pub(super) fn parse(written: &str) -> Option<Address> {
        match written.strip_prefix("unix:") {
            Some(path) => {
                (path.starts_with('/') && path.len() < 108).then(|| Address::Unix(PathBuf::from(path)))
            }
            None => written.parse().ok().map(Address::Tcp),
        }
    }

    /// Whether both cannot be opened. On Linux, `[::]` listens for IPv4 too.
    fn overlaps(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Tcp(one), Address::Tcp(other)) => {
                let all = |wide: IpAddr, narrow: IpAddr| {
                    wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
                };
                let (a, b) = (one.ip(), other.ip());
                one.port() == other.port() && one.port() != 0 && (a == b || all(a, b) || all(b, a))
            }
            _ => self == other,
        }
    }
}

/// Addresses that were seen, where, and what errors call who has them.
pub(super) type Taken<'c> = Vec<(String, At<'c>, Address)>;

/// Says so if somebody else listens there.
pub(super) fn take<'c>(taken: &mut Taken<'c>, who: String, address: &Address, at: &At<'c>) {
    if let Some((other, there, theirs)) = taken.iter().find(|(_, _, theirs)| theirs.overlaps(address)) {
        let same = if theirs == address { "has this address already" } else { "listens there too" };
        let place = there.seen_from(at);
        at.error(format!("{other}{place} {same}"), "remove one of the two, or give it another port");
    }
    taken.push((who, at.clone(), address.clone()));
}

pub(super) fn validate<'c>(
    raw: &[raw::Listener],
    process: &Process,
    taken: &mut Taken<'c>,
    at: &At<'c>,
) -> Option<Vec<Listener>> {
    all(raw.iter().enumerate().map(|(index, raw)| {
        let here = at.index(index);
        let address = address(&raw.address, process, &here.key("address"));
        if let Some(address) = &address {
            take(taken, format!("listener {}", index + 1), address, &here.key("address"));
        }
        let is_unix = matches!(address, Some(Address::Unix(_)));
        for (key, list) in [("allow", &raw.allow), ("deny", &raw.deny)] {
            if is_unix && !list.is_empty() {
                here.key(key).error_at_key(
                    "clients of a Unix socket have no address",
                    "remove it: who may connect is up to the file's permissions",
                );
            }
        }
        let mode = raw.mode.as_ref().map(|written| mode(written, is_unix, &here.key("mode")));
        if raw.h2c && raw.tls.is_some() {
            here.key("h2c").error_at_key(
                "`h2c` is HTTP/2 without TLS, and this listener has TLS",
                "remove it: `tls: { h2: true }` offers HTTP/2 there",
            );
        }
        let tls = raw.tls.as_ref().map(|raw| tls(raw, &here.key("tls")));
        let allow = networks::validate(&raw.allow, &here.key("allow"));
        let deny = networks::validate(&raw.deny, &here.key("deny"));
        let plain = Listener::plain(address?, here.key("address").place());
        let time = |raw: Option<raw::Duration>, unset| raw.map_or(unset, |raw| raw.0);
        Some(Listener {
            mode: match mode {
                Some(mode) => mode?,
                None => plain.mode,
            },
            tls: match tls {
                Some(tls) => Some(tls?),
                None => None,
            },
            h2c: raw.h2c,
            header_timeout: time(raw.header_timeout, plain.header_timeout),
            idle_timeout: time(raw.idle_timeout, plain.idle_timeout),
            body_timeout: time(raw.body_timeout, plain.body_timeout),
            max_header_bytes: raw.max_header_bytes.unwrap_or(plain.max_header_bytes),
            max_requests: raw.max_requests_per_connection,
            allow: allow?,
            deny: deny?,
            ..plain
        })
    }))
}

pub(super) fn address(written: &str, process: &Process, at: &At<'_>) -> Option<Address> {
    let address = Address::parse(written);
    match &address {
        Some(Address::Unix(path)) => files::can_be_socket(path, process.writes(), at),
        Some(Address::Tcp(tcp)) if (1..process.first_port()).contains(&tcp.port()) && !at.asks() => at.error(
            format!(
                "`server.user` may not listen here: a port below {} is for root alone",
                process.first_port()
            ),
            "choose a higher port; or remove `server.user`, and start the gateway as that user, with the right to \
             open such ports (CAP_NET_BIND_SERVICE)",
        ),
        Some(Address::Tcp(_)) => {}
        None if written.starts_with("unix:") => at.error(
            "a socket needs a whole path, of at most 107 bytes",
            "write it like `unix:/run/gateway.sock`",
        ),
        None => at.error(
            "this is not an IP address with a port",
            "write it like `0.0.0.0:8080` or `[::]:8080`, or `unix:/run/gateway.sock` for a Unix socket",
        ),
    }
    address
}

fn mode(written: &str, is_unix: bool, at: &At<'_>) -> Option<u32> {
    if !is_unix {
        at.error_at_key("only a Unix socket has a mode", "remove it, or listen at `unix:` and a path");
        return None;
    }
    let mode = u32::from_str_radix(written, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        at.error("this is no mode of a file", "three digits from 0 to 7 behind a zero, such as `\"0660\"`");
    }
    mode
}

fn tls(raw: &raw::ListenerTls, at: &At<'_>) -> Option<ListenerTls> {
    let certificates = all::<_, Vec<_>>(raw.certificates.iter().enumerate().map(|(index, files)| {
        let at = at.key("certificates").index(index);
        let chain = usable(&files.cert, &at.key("cert"), "certificate", certificate::read_chain);
        let key = usable(&files.key, &at.key("key"), "key", certificate::read_key);
        let pair = Certificate::new(chain?, key?);
        pair.map_err(|error| {
            at.key("key").error(error.to_string(), "name the key that the certificate was made with");
        })
        .ok()
    }));
    let client_ca = raw
        .client_ca
        .as_ref()
        .map(|path| usable(path, &at.key("client_ca"), "authorities' certificate", certificate::read_chain));
    Some(ListenerTls {
        certificates: certificates?.into(),
        client_ca: match client_ca {
            Some(authorities) => Some(authorities?),
            None => None,
        },
        min_version: raw.min_version,
        h2: raw.h2,
    })
}

fn usable<T>(
    path: &Path,
    at: &At<'_>,
    what: &str,
    read: fn(&Path) -> Result<T, certificate::Unusable>,
) -> Option<T> {
    read(path)
        .map_err(|error| {
            let error = format!("this {what} cannot be used: {error}");
            at.error(
                error,
                "name a file in PEM that the gateway may read, from the folder in which it is started",
            );
        })
        .ok()
}
