//! The map of the City: its hosts, their addresses, and the ports that their services open.
//!
//! This table is the one place where an address is written. The network, the DNS zone, the certificates,
//! `status` and the picture that `up` prints are all made from it.

use std::net::Ipv4Addr;

use crate::trouble::{Result, Trouble, nearest};

/// The domain of every name in the City.
pub const DOMAIN: &str = "pingora.local";
/// The bridge's own address, and the prefix length of the City's subnet 172.28.0.0/24.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 28, 0, 1);
/// Prefix length of the City's subnet.
pub const PREFIX: u8 = 24;
/// Nobody lives here, and nothing ever answers: the black hole of the timeout lessons.
pub const NOWHERE: Ipv4Addr = Ipv4Addr::new(172, 28, 0, 99);

/// One host of the City.
#[derive(Debug)]
pub struct Host {
    /// Its short name, as typed: `blue`.
    pub name: &'static str,
    /// The last byte of its address in 172.28.0.0/24.
    last_byte: u8,
    /// Its container in the Docker City.
    pub container: &'static str,
    /// The TCP ports that its services open; none for hosts that only send.
    pub tcp: &'static [u16],
    /// The UDP ports that its services open.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "asked of the local City's hosts"))]
    pub udp: &'static [u16],
    /// What it is for, in a few words.
    pub about: &'static str,
}

impl Host {
    /// Its address.
    pub const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 28, 0, self.last_byte)
    }

    /// Its full name, such as `blue.pingora.local`.
    #[cfg(target_os = "linux")]
    pub fn fqdn(&self) -> String {
        format!("{}.{DOMAIN}", self.name)
    }

    /// Whether `city service` runs anything on it.
    pub const fn serves(&self) -> bool {
        !self.tcp.is_empty()
    }
}

/// Every host that exists. `nowhere` is not among them: it is an address and a name without a host.
pub const HOSTS: &[Host] = &[
    Host {
        name: "dev",
        last_byte: 10,
        container: "pingora_dev",
        tcp: &[],
        udp: &[],
        about: "your workstation: the repository, cargo, your proxy",
    },
    Host {
        name: "blue",
        last_byte: 20,
        container: "pingora_blue",
        tcp: &[8080],
        udp: &[],
        about: "HTTP on 8080, answers 'Response from BLUE'",
    },
    Host {
        name: "green",
        last_byte: 21,
        container: "pingora_green",
        tcp: &[8080],
        udp: &[],
        about: "HTTP on 8080, answers 'Response from GREEN'",
    },
    Host {
        name: "advanced",
        last_byte: 22,
        container: "upstream_advanced",
        tcp: &[80, 443, 8081, 8443, 8444, 8445],
        udp: &[],
        about: "HTTP 80, HTTPS + h2 443, h2c 8081, mTLS 8443, expired 8444, foreign CA 8445",
    },
    Host {
        name: "grpc",
        last_byte: 23,
        container: "upstream_grpc",
        tcp: &[9000, 9001],
        udp: &[],
        about: "gRPC, plaintext on 9000 and TLS on 9001",
    },
    Host {
        name: "client1",
        last_byte: 30,
        container: "pingora_client_1",
        tcp: &[],
        udp: &[],
        about: "user A",
    },
    Host {
        name: "client2",
        last_byte: 31,
        container: "pingora_client_2",
        tcp: &[],
        udp: &[],
        about: "user B",
    },
    Host {
        name: "dns",
        last_byte: 53,
        container: "pingora_dns",
        tcp: &[53],
        udp: &[53],
        about: "authoritative DNS of pingora.local",
    },
];

/// The host of this name, or of this full name; a mistyped one is answered with the nearest.
pub fn host(name: &str) -> Result<&'static Host> {
    let short = name.strip_suffix(&format!(".{DOMAIN}")).unwrap_or(name);
    HOSTS.iter().find(|host| host.name == short).ok_or_else(|| {
        let known: Vec<_> = HOSTS.iter().map(|host| host.name).collect();
        let trouble = Trouble::new(format!("no host '{name}' in the City")).status(2);
        match nearest(short, known.iter().copied()) {
            Some(near) => trouble.remedy(format!("did you mean '{near}'?")),
            None => trouble.remedy(format!("its hosts are {}", known.join(", "))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_by_either_name() {
        assert_eq!(host("blue").unwrap().address(), Ipv4Addr::new(172, 28, 0, 20));
        assert_eq!(host("dns.pingora.local").unwrap().address(), Ipv4Addr::new(172, 28, 0, 53));
    }

    #[test]
    fn a_mistyped_host_is_answered_with_the_nearest() {
        assert!(host("bleu").unwrap_err().to_string().contains("did you mean 'blue'?"));
    }

    #[test]
    fn no_two_hosts_share_an_address() {
        let mut addresses: Vec<_> = HOSTS.iter().map(Host::address).collect();
        addresses.dedup();
        assert_eq!(addresses.len(), HOSTS.len());
        assert!(!addresses.contains(&NOWHERE) && !addresses.contains(&GATEWAY));
    }
}
