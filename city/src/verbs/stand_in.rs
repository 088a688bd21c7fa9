//! `city stand-in`: what dev-check puts in an example's place.
//!
//! A proxy that knows nothing: every connection goes byte for byte to Blue. Or less, a server that accepts and
//! never answers. A lesson whose verification cannot tell its example from these has proven nothing.

use std::env;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::map;
use crate::trouble::{OrTrouble, Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The ports to open
    #[arg(long, value_delimiter = ',')]
    ports: Vec<u16>,
    /// What to do with connections
    #[arg(long, value_enum, default_value = "proxy")]
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Hand each on to Blue, byte for byte
    Proxy,
    /// Accept, read, never answer
    Accept,
}

pub fn run(args: Args) -> Result<ExitCode> {
    // Blue's address is the City's; from the bare machine it would lead somewhere else.
    if env::var_os("CITY_HOST").is_none() {
        return Err(Trouble::new("a stand-in stands on a host of the City")
            .remedy("`cargo city dev-check` starts it there")
            .status(2));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_trouble(|| "cannot start a runtime".into())?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> Result<ExitCode> {
    for port in args.ports {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .await
            .or_trouble(|| format!("cannot listen on port {port}"))?;
        tokio::spawn(listen(listener, args.mode));
    }
    // Until somebody ends it: an example without ports runs on, too.
    std::future::pending().await
}

async fn listen(listener: TcpListener, mode: Mode) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A connection that breaks off is the client's affair, or Blue's.
            let _ = match mode {
                Mode::Proxy => proxy(client).await,
                Mode::Accept => swallow(client).await,
            };
        });
    }
}

async fn proxy(mut client: TcpStream) -> io::Result<()> {
    let blue = map::host("blue").map_err(|trouble| io::Error::other(trouble.to_string()))?;
    let mut upstream = TcpStream::connect((blue.address(), blue.tcp[0])).await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(|_| ())
}

async fn swallow(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while client.read(&mut buffer).await? > 0 {}
    Ok(())
}
