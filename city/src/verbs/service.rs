use crate::trouble::Result;
use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub struct Args {
    host: String,
}
pub fn run(args: Args) -> Result<ExitCode> {
    let host = crate::map::host(&args.host)?;
    let mut ls = vec![];
    for p in host.tcp {
        ls.push(std::net::TcpListener::bind(("0.0.0.0", *p)).unwrap());
    }
    let us: Vec<_> = host.udp.iter().map(|p| std::net::UdpSocket::bind(("0.0.0.0", *p)).unwrap()).collect();
    let name = host.name.to_uppercase();
    loop {
        use std::io::{Read, Write};
        let (mut s, _) = ls[0].accept().unwrap();
        let mut b = [0; 4096];
        let _ = s.read(&mut b);
        let body = format!("Response from {name}\n");
        let _ =
            write!(s, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let _ = us.len();
    }
}
