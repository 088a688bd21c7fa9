//! 34 · Service discovery by file: the pool is a text file, and whoever edits it moves the traffic.
//!
//! Idea  Read a list of servers each second. Believe it only when all of it makes sense, else keep the last.
//! New   `ServiceDiscovery` and `update_frequency` (until now a pool was made at the start, and for ever).
//! Run   cargo run --example 34_service_discovery_file
//! Try   curl -i http://172.28.0.10:6178             then edit conf/upstreams.txt, and again; the rest is in
//!       lessons/34_service_discovery_file.md

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{self, PathBuf};
use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use futures_util::FutureExt;
use log::{Level, info, log};
use pingora::lb::discovery::ServiceDiscovery;
use pingora::lb::{Backend, Backends};
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6178";
const FILE: &str = "conf/upstreams.txt";

const CONNECT: Duration = Duration::from_millis(300);
const STEPS: usize = 256;

/// A server with weight w stands w times in a list, so an absurd one would fill the memory.
const MAX_WEIGHT: usize = 1000;

// ANCHOR: read
/// The servers that a text names, or all that is wrong with it. There is nothing in between: half a list, taken
/// for a whole one, sends all traffic to those who happen to stand in it.
fn servers(text: &str) -> Result<BTreeSet<Backend>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("its last line has no end, somebody is still writing".into());
    }
    let (mut servers, mut wrong) = (BTreeSet::<Backend>::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match server(line) {
            Ok(server) if servers.iter().any(|known| known.addr == server.addr) => {
                wrong.push(format!("line {number}: {} is there already", server.addr));
            }
            Ok(server) => _ = servers.insert(server),
            Err(why) => wrong.push(format!("line {number}: {why}")),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    if servers.is_empty() { Err("it names no server".into()) } else { Ok(servers) }
}

/// One line: an address, and a weight unless it is 1.
fn server(line: &str) -> Result<Backend, String> {
    let (address, weight) = line.split_once(char::is_whitespace).unwrap_or((line, "1"));
    let weight = match weight.trim().parse() {
        Ok(number @ 1..=MAX_WEIGHT) => number,
        _ => return Err(format!("{weight:?} is no weight from 1 to {MAX_WEIGHT}")),
    };
    let server = Backend::new_with_weight(address, weight).ok();
    let server = server.filter(|server| server.addr.as_inet().is_some_and(|inet| inet.port() != 0));
    server.ok_or_else(|| format!("{address:?} is no address with a port"))
}
// ANCHOR_END: read

// ANCHOR: discovery
/// The file, and what was last said about it: a pool is looked at each second, but told of when it changes.
struct UpstreamsFile {
    path: PathBuf,
    said: Mutex<String>,
}

impl UpstreamsFile {
    /// Reads the file. It is small and on this machine, so reading it does not need to be asynchronous.
    fn read(&self) -> Result<BTreeSet<Backend>, String> {
        let text = fs::read_to_string(&self.path).map_err(|error| format!("it cannot be read: {error}"))?;
        servers(&text)
    }
}

#[async_trait]
impl ServiceDiscovery for UpstreamsFile {
    /// An error leaves the pool as it is, and Pingora drops it without a word: so the word is ours. An empty set
    /// would be no error for Pingora, and the end of all traffic.
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let found = self.read();
        let (level, news) = match &found {
            Ok(servers) => {
                let list: Vec<_> = servers.iter().map(|s| format!("{} x{}", s.addr, s.weight)).collect();
                (Level::Info, format!("Upstreams: {}", list.join(", ")))
            }
            Err(why) => (Level::Warn, format!("{FILE} is not used, the last good one is: {why}")),
        };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != news {
            log!(level, "{news}");
            *said = news;
        }
        let nobody_switched_off = HashMap::new();
        found.map(|servers| (servers, nobody_switched_off)).map_err(|why| Error::explain(InternalError, why))
    }
}
// ANCHOR_END: discovery

struct FileDiscovered {
    upstreams: Arc<LoadBalancer<RoundRobin>>,
}

#[async_trait]
impl ProxyHttp for FileDiscovered {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let server = self.upstreams.select(b"", STEPS).or_err(HTTPStatus(503), "no server is known")?;
        let mut peer = HttpPeer::new(server, false, String::new());
        peer.options.connection_timeout = Some(CONNECT);
        Ok(Box::new(peer))
    }
}

// ANCHOR: main
/// The pool, filled for the first request. Without a good file there is none, and no last good one either.
fn upstreams() -> Result<LoadBalancer<RoundRobin>, String> {
    // A daemon lives in `/`, where there is no conf, so the path is made absolute before that.
    let path = path::absolute(FILE).map_err(|error| error.to_string())?;
    let file = UpstreamsFile { path, said: Mutex::default() };
    file.read()?;
    let mut upstreams = LoadBalancer::from_backends(Backends::new(Box::new(file)));
    upstreams.update_frequency = Some(Duration::from_secs(1));
    upstreams.update().now_or_never(); // our `discover` never waits, so by now it is done
    Ok(upstreams)
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    let upstreams = upstreams().unwrap_or_else(|why| {
        eprintln!("{FILE}: {why}");
        exit(1)
    });
    server.bootstrap(); // with `-t` this is the end: the file has been looked at by then

    let updates = background_service("upstreams", upstreams);
    let upstreams = updates.task();
    server.add_service(updates); // reads the file again, every second

    let mut proxy = http_proxy_service(&server.configuration, FileDiscovered { upstreams });
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("File Discovery running on {LISTEN}");
    server.run_forever()
}
// ANCHOR_END: main

/// A server configured by the file given with `-c`, or by Pingora's defaults with a shorter farewell: a
/// second for what is under way, where Pingora would wait five minutes (lesson 03 tells why).
fn new_server(options: Opt) -> Server {
    let Some(file) = options.conf.clone() else {
        let conf = ServerConf {
            grace_period_seconds: Some(1),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        };
        return Server::new_with_opt_and_conf(options, conf);
    };
    Server::new(options).unwrap_or_else(|error| {
        eprintln!("cannot use the configuration {file}: {}", error.root_cause());
        exit(1)
    })
}
