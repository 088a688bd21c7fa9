//! A forward proxy that knows CONNECT and nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// It leads to every target but those on port 1, and writes down who was asked for.
pub struct ForwardProxy {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl ForwardProxy {
    pub fn start() -> ForwardProxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let targets: Arc<Mutex<Vec<String>>> = Arc::default();
        let journal = targets.clone();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, journal.clone()));
            }
        });
        ForwardProxy { address, targets, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For whom it was asked so far.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().expect("nobody panicked").clone()
    }
}

async fn serve(client: TcpStream, journal: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut target = None;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.ok()?;
        match line.trim_end() {
            "" => break,
            line if target.is_none() => {
                target = Some(line.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1")?.to_string());
            }
            _ => {}
        }
    }
    let target = target?;
    journal.lock().expect("nobody panicked").push(target.clone());
    if target.ends_with(":1") {
        let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        client.write_all(refusal).await.ok()?;
        return None;
    }
    let mut server = TcpStream::connect(target).await.ok()?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n").await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()?;
    None
}
