//! Opens the ports of a host and serves on them until SIGTERM.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use hickory_server::Server;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};

use super::dns::{self, Dns};
use super::http::Context;
use super::journal::Journal;
use super::port::{Port, Speaks};
use super::{advanced, echo, grpc, nowhere, state};
use crate::trouble::{OrTrouble, Result, Trouble};

/// Runs all services of one host in the foreground; returns when it is told to end.
pub fn run(host: &str, keys: &Path) -> Result {
    // One thread: a host's services are small, and a City has many of them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_trouble(|| "cannot start the runtime".into())?;
    let ended = runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).or_trouble(|| "cannot watch for SIGTERM".into())?;
        let mut interrupt =
            signal(SignalKind::interrupt()).or_trouble(|| "cannot watch for SIGINT".into())?;
        let _running = start(host, keys).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    });
    // Dropping the runtime drops every connection, and with it closes them.
    drop(runtime);
    ended
}

/// What must be kept for the services to go on.
enum Running {
    /// Their tasks are all there is.
    Tasks,
    Dns {
        _server: Server<Dns>,
    },
    Nowhere {
        _full: Vec<nowhere::Full>,
    },
}

async fn start(host: &str, keys: &Path) -> Result<Running> {
    let folder = state::own_folder()?;
    let journal = Journal::open(folder.as_deref())
        .or_trouble(|| format!("cannot open the journal of {host} in CITY_STATE"))?;
    let ports = match host {
        "blue" => vec![Port { number: 8080, about: "HTTP", tls: None, speaks: Speaks::http1(echo::blue) }],
        "green" => vec![Port { number: 8080, about: "HTTP", tls: None, speaks: Speaks::http1(echo::green) }],
        "advanced" => advanced::ports(keys)?,
        "grpc" => grpc::ports(keys).await?,
        "dns" => {
            let about = "DNS over UDP";
            let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).await;
            let udp = udp.map_err(|error| cannot_open(host, 53, about, error))?;
            println!("{host}: {about} on 0.0.0.0:53");
            let tcp = listen(host, 53, "DNS over TCP").await?;
            return Ok(Running::Dns { _server: dns::serve(udp, tcp, journal, folder, elsewhere()?) });
        }
        "nowhere" => {
            let mut full = Vec::new();
            for port in nowhere::PORTS {
                let filled = nowhere::fill(port).await;
                full.push(filled.map_err(|error| cannot_open(host, port, "nothing", error))?);
                println!("{host}: nothing on 0.0.0.0:{port}, behind a queue that is full");
            }
            return Ok(Running::Nowhere { _full: full });
        }
        _ => {
            return Err(Trouble::new(format!("'{host}' has no services"))
                .remedy("blue, green, advanced, grpc, dns and nowhere have")
                .status(2));
        }
    };
    let breakable = matches!(host, "blue" | "green");
    let context = Context { journal, folder, breakable };
    for port in ports {
        let listener = listen(host, port.number, port.about).await?;
        tokio::spawn(port.serve(listener, context.clone()));
    }
    Ok(Running::Tasks)
}

/// Where the name server asks for what is not the City's: in a container, so that cargo finds its registry.
fn elsewhere() -> Result<Option<SocketAddr>> {
    let Ok(text) = std::env::var("CITY_DNS_FORWARD") else { return Ok(None) };
    let address = text.parse().or_trouble(|| format!("CITY_DNS_FORWARD is no address: {text}"))?;
    Ok(Some(address))
}

async fn listen(host: &str, port: u16, about: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
    let listener = bound.map_err(|error| cannot_open(host, port, about, error))?;
    println!("{host}: {about} on 0.0.0.0:{port}");
    Ok(listener)
}

fn cannot_open(host: &str, port: u16, about: &str, error: io::Error) -> Trouble {
    let kind = error.kind();
    let trouble = Trouble::new(format!("{host} cannot open port {port} ({about})")).cause(error);
    match kind {
        io::ErrorKind::AddrInUse => {
            trouble.remedy(format!("`ss -lntup 'sport = :{port}'` shows who holds it"))
        }
        io::ErrorKind::PermissionDenied => {
            trouble.remedy("run it on the host itself, where net.ipv4.ip_unprivileged_port_start is 0")
        }
        _ => trouble,
    }
}
