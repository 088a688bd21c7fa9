//! What it costs to refuse a connection, at layer 4 and at layer 7 (lesson 39).
//!
//! A server in a process of its own, on loopback, with lesson 39's two rules. A client that is blocked connects
//! again and again; each time it sends a request and reads until the connection ends. Measured is the processor
//! time of the server, the kernel's share included, from /proc.
//!
//! Run by hand, on Linux: cargo bench --bench refused_connection

use std::env;
use std::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, exit};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::listeners::ConnectionFilter;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

const BLOCKED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const CONNECTIONS: u32 = 20_000;
/// What /proc counts processor time in: 100 a second on every Linux that matters here.
const TICK: Duration = Duration::from_millis(10);

struct Rule {
    at_layer_7: bool,
}

#[async_trait]
impl ProxyHttp for Rule {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        let address = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        if self.at_layer_7 && address == Some(BLOCKED) {
            session.respond_error(403).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        pingora::Error::e_explain(HTTPStatus(502), "there is no upstream in this measurement")
    }
}

#[derive(Debug)]
struct Door;

#[async_trait]
impl ConnectionFilter for Door {
    async fn should_accept(&self, address: Option<&SocketAddr>) -> bool {
        address.is_none_or(|address| address.ip() != BLOCKED)
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, word, layer, port] = arguments.as_slice()
        && word == "serve"
    {
        serve(layer == "7", port);
    }
    for layer in ["7", "4"] {
        match measure(layer) {
            Ok(each) => println!("layer {layer}: {each:.1} µs of processor time for each refused connection"),
            Err(error) => {
                eprintln!("layer {layer}: {error}");
                exit(1)
            }
        }
    }
}

fn serve(at_layer_7: bool, port: &str) -> ! {
    let mut server = Server::new_with_opt_and_conf(Opt::default(), ServerConf::default());
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Rule { at_layer_7 });
    if !at_layer_7 {
        service.set_connection_filter(Arc::new(Door));
    }
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever()
}

/// Ends the server with the measurement, however that goes.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(layer: &str) -> Result<f64, Box<dyn Error>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = Served(Command::new(env::current_exe()?).args(["serve", layer, &port.to_string()]).spawn()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(target).await.is_err() {
            if Instant::now() > deadline {
                return Err("the server does not listen".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        connect_often(target, CONNECTIONS / 10).await?; // to warm up
        let before = processor_time(server.0.id())?;
        connect_often(target, CONNECTIONS).await?;
        let spent = processor_time(server.0.id())? - before;
        Ok(spent.as_secs_f64() * 1e6 / f64::from(CONNECTIONS))
    })
}

async fn connect_often(target: SocketAddr, times: u32) -> Result<(), Box<dyn Error>> {
    let mut answer = Vec::with_capacity(1024);
    for _ in 0..times {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(BLOCKED, 0))?;
        let mut stream = socket.connect(target).await?;
        // A server that has hung up already makes either of these fail, and that is what is measured.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: dev\r\nUser-Agent: bench\r\n\r\n").await;
        let _ = stream.read_to_end(&mut answer).await;
        answer.clear();
    }
    Ok(())
}

/// User and system time of a process, as /proc/PID/stat has them (see proc(5)): fields 14 and 15.
fn processor_time(pid: u32) -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").ok_or("a line of /proc without a name")?.1;
    let mut ticks = after_name.split(' ').skip(11).map(str::parse::<u32>);
    let (Some(user), Some(system)) = (ticks.next(), ticks.next()) else {
        return Err("a line of /proc that is too short".into());
    };
    Ok(TICK * (user? + system?))
}
