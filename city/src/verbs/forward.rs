//! `city forward`: a port of dev, reachable from this machine's browser on loopback.
//!
//! A socket stays in the network namespace in which it was made. So a helper on dev makes the connections and
//! passes them out, and this process copies bytes between them and those of the browser.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{ExitCode, Stdio};
use std::thread;

use super::which::Which;
use crate::lab::City;
use crate::trouble::{OrTrouble, Result, Trouble};

#[cfg(target_os = "linux")]
use namespaces::{helper, in_namespaces};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The port on dev
    port: u16,
    /// The port on this machine, if it is to be another
    #[arg(long)]
    local: Option<u16>,
    /// The helper on dev: makes a connection for each byte that it reads
    #[arg(long, hide = true)]
    helper: bool,
    /// The helper in a container: one connection, by way of standard input and output
    #[arg(long, hide = true, conflicts_with = "helper")]
    pipe: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    if args.helper {
        return helper(args.port);
    }
    if args.pipe {
        return pipe(args.port).or_trouble(|| "forward".into()).map(|()| ExitCode::SUCCESS);
    }
    let city = args.which.city()?;
    let local = args.local.unwrap_or(args.port);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).map_err(|error| {
        Trouble::new(format!("cannot listen on 127.0.0.1:{local}"))
            .cause(error)
            .remedy("choose another port with --local PORT")
    })?;
    if city.docker().is_some() {
        return in_docker(&city, &listener, local, args.port);
    }
    in_namespaces(&city, listener, local, args.port)
}

/// No socket can be passed out of a container, which may run on another kernel: each connection is a command
/// there, whose standard input and output are the two directions.
fn in_docker(city: &City, listener: &TcpListener, local: u16, port: u16) -> Result<ExitCode> {
    println!("http://127.0.0.1:{local}/ is port {port} of dev. End with Ctrl-C.");
    for client in listener.incoming().flatten() {
        let mut command = city.exec("dev");
        command.args(["city", "forward", "--pipe", &port.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut helper = command.spawn().or_trouble(|| "cannot start the helper on dev".into())?;
        let (stdin, stdout) = (helper.stdin.take(), helper.stdout.take());
        if let (Ok(mut from), Some(mut to)) = (client.try_clone(), stdin) {
            thread::spawn(move || drop(copy(&mut from, &mut to)));
        }
        let mut client = client;
        thread::spawn(move || {
            if let Some(mut stdout) = stdout {
                let _ = copy(&mut stdout, &mut client);
            }
            let _ = client.shutdown(Shutdown::Both);
            let _ = helper.wait();
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// In a container: one connection to a port of dev, and both its directions copied.
fn pipe(port: u16) -> io::Result<()> {
    let upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let mut upstream = upstream.inspect_err(|_| eprintln!("city: nothing listens on port {port} of dev"))?;
    let mut there = upstream.try_clone()?;
    thread::spawn(move || {
        let _ = copy(&mut io::stdin().lock(), &mut there);
        let _ = there.shutdown(Shutdown::Write);
    });
    copy(&mut upstream, &mut io::stdout().lock())
}

/// As it comes: what is held back in a buffer would never be answered.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = [0; 16 << 10];
    loop {
        let read = from.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&bytes[..read])?;
        to.flush()?;
    }
}

#[cfg(not(target_os = "linux"))]
fn helper(_port: u16) -> Result<ExitCode> {
    Err(Trouble::new("there is no local City here"))
}

#[cfg(not(target_os = "linux"))]
fn in_namespaces(_city: &City, _listener: TcpListener, _local: u16, port: u16) -> Result<ExitCode> {
    helper(port)
}

/// The local City.
#[cfg(target_os = "linux")]
mod namespaces {
    use std::io::{self, IoSlice, IoSliceMut, Read, Write};
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::process::ExitCode;
    use std::thread;

    use nix::cmsg_space;
    use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

    use crate::lab::City;
    use crate::trouble::{OrTrouble, Result};

    /// What runs on dev.
    pub fn helper(port: u16) -> Result<ExitCode> {
        dial_on_request(port).or_trouble(|| "forward".into()).map(|()| ExitCode::SUCCESS)
    }

    /// Forwards until the City or its user ends it.
    pub fn in_namespaces(city: &City, listener: TcpListener, local: u16, port: u16) -> Result<ExitCode> {
        let (ours, theirs) = UnixStream::pair().or_trouble(|| "cannot make a socket pair".into())?;
        let tool = std::env::current_exe().or_trouble(|| "cannot find this tool".into())?;
        let mut helper = city.exec("dev");
        helper.arg(tool).args(["forward", "--helper", &port.to_string()]).stdin(OwnedFd::from(theirs));
        let mut helper = helper.spawn().or_trouble(|| "cannot start the helper on dev".into())?;
        println!("http://127.0.0.1:{local}/ is port {} of dev. End with Ctrl-C.", port);
        let forwarding = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                match request(&ours) {
                    Ok(upstream) => join(client, upstream),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        eprintln!("city: nothing listens on that port of dev");
                    }
                    Err(_) => return,
                }
            }
        });
        // The helper gets the terminal's Ctrl-C as well, and City or helper may end before anybody asks for it.
        let ended = helper.wait();
        drop(forwarding);
        ended.or_trouble(|| "cannot wait for the helper".into())?;
        Ok(ExitCode::SUCCESS)
    }

    /// On dev: one connection for each byte, passed out through the socket that the byte came in by.
    fn dial_on_request(port: u16) -> io::Result<()> {
        // SAFETY: the process that started this helper gave it this socket as its standard input.
        let mut asked = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
        let mut byte = [0];
        while asked.read(&mut byte)? == 1 {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(made) => {
                    let rights = [made.as_raw_fd()];
                    let rights = [ControlMessage::ScmRights(&rights)];
                    sendmsg::<()>(
                        asked.as_raw_fd(),
                        &[IoSlice::new(b"+")],
                        &rights,
                        MsgFlags::empty(),
                        None,
                    )?;
                }
                Err(_) => asked.write_all(b"-")?,
            }
        }
        Ok(())
    }

    /// On the machine: a connection made on dev.
    fn request(mut helper: &UnixStream) -> io::Result<TcpStream> {
        helper.write_all(b"?")?;
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let mut space = cmsg_space!([i32; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(helper.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control
                && let Some(fd) = received.first()
            {
                // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
                return Ok(TcpStream::from(unsafe { OwnedFd::from_raw_fd(*fd) }));
            }
        }
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    /// Copies both ways until both sides are done; the end of one direction does not end the other.
    fn join(client: TcpStream, upstream: TcpStream) {
        let pairs = [(client.try_clone(), upstream.try_clone()), (Ok(upstream), Ok(client))];
        for (from, to) in pairs {
            if let (Ok(mut from), Ok(mut to)) = (from, to) {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    }
}
