//! What listens on a host, seen in the kernel's tables: a connection would be counted and logged by whoever
//! listens.

use procfs::ProcResult;
use procfs::net::TcpState;
use procfs::process::Process;

use crate::map::Host;

/// The TCP ports on which something listens in the network of a process.
pub fn tcp(process: &Process) -> Vec<u16> {
    let entries = process.tcp().into_iter().chain(process.tcp6()).flatten();
    let mut ports: Vec<u16> = entries
        .filter(|entry| entry.state == TcpState::Listen)
        .map(|entry| entry.local_address.port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The ports of the map, TCP and UDP, that a host does not serve, in the network of a process.
pub fn missing(host: &Host, process: ProcResult<Process>) -> Vec<u16> {
    let Ok(process) = process else { return host.tcp.to_vec() };
    let open = tcp(&process);
    let mut missing: Vec<u16> = host.tcp.iter().copied().filter(|port| !open.contains(port)).collect();
    if !host.udp.is_empty() {
        let entries = process.udp().unwrap_or_default();
        let open: Vec<u16> = entries.iter().map(|entry| entry.local_address.port()).collect();
        missing.extend(host.udp.iter().filter(|port| !open.contains(port)));
    }
    missing
}
