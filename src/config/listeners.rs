//! `listeners`: where clients connect.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::{At, Place, all, raw};

/// One address on which clients are served.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// Where it was written: that it is taken only shows when it is opened.
    pub place: Place,
}

pub(super) fn validate(raw: &[raw::Listener], at: &At<'_>) -> Option<Vec<Listener>> {
    let mut seen = HashMap::new();
    all(raw.iter().enumerate().map(|(index, listener)| {
        let at = at.index(index).key("address");
        let Ok(address) = listener.address.parse::<SocketAddr>() else {
            at.error("this is not an IP address with a port", "write it like `0.0.0.0:8080` or `[::]:8080`");
            return None;
        };
        if let Some(first) = seen.insert(address, index) {
            at.error(
                format!("listener {} has this address already", first + 1),
                "remove one of the two, or give it another port",
            );
            return None;
        }
        Some(Listener { address, place: at.place() })
    }))
}
