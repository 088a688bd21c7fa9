//! nowhere, in the Docker City: a port whose accept queue is full, so that SYNs are dropped.
//!
//! It looks as if nobody were there, and needs no privilege. The local City has a better black hole, and
//! never runs this.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// The ports that anybody might try.
pub const PORTS: [u16; 3] = [80, 443, 8080];

/// A connection to ourselves that takes this long has met a full queue.
const PATIENCE: Duration = Duration::from_millis(200);
/// The kernel rounds a queue up a little; no kernel rounds it up this far.
const MOST: usize = 64;

/// The port, and the connections that fill its queue. They must be kept.
#[derive(Debug)]
pub struct Full {
    _listener: TcpListener,
    _filling: Vec<TcpStream>,
}

/// Opens a port and fills its queue with connections of our own, which nobody accepts.
pub async fn fill(port: u16) -> io::Result<Full> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    let listener = socket.listen(0)?;

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
    let mut filling = Vec::new();
    while filling.len() < MOST {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(stream) => filling.push(stream?),
            Err(_) => return Ok(Full { _listener: listener, _filling: filling }),
        }
    }
    Err(io::Error::new(ErrorKind::Unsupported, "this kernel goes on accepting beyond a full queue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_answers_nothing() {
        let full = fill(0).await.unwrap();
        let port = full._listener.local_addr().unwrap().port();
        let connecting = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        assert!(timeout(PATIENCE, connecting).await.is_err());
    }
}
