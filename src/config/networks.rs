//! Lists of networks, such as `10.0.0.0/8`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{At, all};

/// Networks; an address by itself is a network of one. `None` if something was reported.
pub(super) fn validate(raw: &[String], at: &At<'_>) -> Option<Vec<IpNet>> {
    all(raw.iter().enumerate().map(|(index, text)| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match network {
            Ok(network) if network == network.trunc() => Some(network),
            Ok(network) => {
                at.index(index).error(
                    "this address is inside a network, and not the network's",
                    format!("write `{}` for the network, or the address without `/`", network.trunc()),
                );
                None
            }
            Err(_) => {
                at.index(index)
                    .error("this is not a network", "write it like `10.0.0.0/8`, `fd00::/8` or `10.0.0.1`");
                None
            }
        }
    }))
}
