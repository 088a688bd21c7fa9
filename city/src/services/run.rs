//! Opens the ports of a host and serves on them until SIGTERM.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};

use super::http::{Context, Site, serve_http1};
use super::journal::Journal;
use super::{dns, echo, state};
use crate::map::Host;
use crate::trouble::{OrTrouble, Result, Trouble};

/// Runs all services of one host in the foreground; returns when it is told to end.
pub fn run(host: &Host, keys: &Path) -> Result {
    // One thread: a host's services are small, and a City has many of them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_trouble(|| "cannot start the runtime".into())?;
    let ended = runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).or_trouble(|| "cannot listen for SIGTERM".into())?;
        let mut interrupt =
            signal(SignalKind::interrupt()).or_trouble(|| "cannot listen for SIGINT".into())?;
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
    Http,
    Dns { _server: hickory_server::Server<dns::Dns> },
}

async fn start(host: &Host, _keys: &Path) -> Result<Running> {
    let folder = state::own_folder()?;
    let journal = Journal::open(folder.as_deref())
        .or_trouble(|| format!("cannot open the journal of {} in CITY_STATE", host.name))?;
    let breakable = matches!(host.name, "blue" | "green");
    let context = Context { journal: Arc::clone(&journal), folder: folder.clone(), breakable };
    match host.name {
        "blue" | "green" => {
            let site: Arc<Site> =
                if host.name == "blue" { Arc::new(echo::blue) } else { Arc::new(echo::green) };
            for port in host.tcp {
                let listener = listen(host, *port, "HTTP").await?;
                tokio::spawn(http1_listener(listener, context.clone(), Arc::clone(&site)));
            }
            Ok(Running::Http)
        }
        "dns" => {
            let port = host.tcp[0];
            let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await;
            let udp = udp.map_err(|error| cannot_open(host, port, "DNS over UDP", error))?;
            println!("{}: DNS over UDP on 0.0.0.0:{port}", host.name);
            let tcp = listen(host, port, "DNS over TCP").await?;
            Ok(Running::Dns { _server: dns::serve(udp, tcp, journal, folder) })
        }
        name => Err(Trouble::new(format!("{name} serves nothing")).status(2)),
    }
}

/// Serves HTTP/1 to everybody who connects.
pub async fn http1_listener(listener: TcpListener, context: Context, site: Arc<Site>) {
    accept(listener, move |stream, peer, port| {
        let connection = context.journal.connection(peer, port, None);
        serve_http1(stream, connection, context.clone(), Arc::clone(&site))
    })
    .await;
}

/// Accepts connections for ever, and gives each a task of its own.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream, SocketAddr, u16) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // What a client sees must not depend on how the kernel gathers small writes.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, peer, port));
            }
            // The client was gone before it was its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // No file descriptors left: others must end first.
                eprintln!("port {port}: cannot accept: {error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn listen(host: &Host, port: u16, what: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
    let listener = bound.map_err(|error| cannot_open(host, port, what, error))?;
    println!("{}: {what} on 0.0.0.0:{port}", host.name);
    Ok(listener)
}

fn cannot_open(host: &Host, port: u16, what: &str, error: io::Error) -> Trouble {
    let kind = error.kind();
    let trouble = Trouble::new(format!("{} cannot open port {port} ({what})", host.name)).cause(error);
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
