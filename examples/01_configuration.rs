//! 01 · Configuration: one YAML file for Pingora's settings and for our own.
//!
//! Idea  What differs between a laptop and production is written in a file, read once, shown, and checked.
//! New   `ServerConf` and the key that Pingora does not know: it skips it, we read it (lesson 00 had one
//!       echo with settings in its code).
//! Run   cargo run --example 01_configuration -- -c conf/01_config.yaml
//! Try   city raw 172.28.0.10:6143 hello             from a client; the rest is in lessons/01_configuration.md

use std::fs;
use std::io;
use std::process::exit;
use std::sync::Arc;

use async_trait::async_trait;
use env_logger::Env;
use log::{info, warn};
use pingora::apps::ServerApp;
use pingora::prelude::*;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LISTEN: &str = "0.0.0.0:6143";

// ANCHOR: ours
/// What we look for in the file. The other keys are Pingora's, and we skip them as it skips ours.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OurKeys {
    echo: EchoConf,
}

/// Our own settings. They stand under one key, and within it a name that nobody knows is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EchoConf {
    /// A line that greets each client; empty by default, and then nobody is greeted.
    greeting: String,
}
// ANCHOR_END: ours

struct Echo {
    conf: EchoConf,
}

#[async_trait]
impl ServerApp for Echo {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        if let Err(error) = self.serve(&mut stream, shutdown.clone()).await {
            warn!("A client is lost: {error}");
        }
        None
    }
}

impl Echo {
    /// Greets, then echoes as in lesson 00.
    async fn serve(&self, stream: &mut Stream, mut shutdown: ShutdownWatch) -> io::Result<()> {
        if !self.conf.greeting.is_empty() {
            stream.write_all(format!("{}\n", self.conf.greeting).as_bytes()).await?;
            stream.flush().await?;
        }
        let mut buffer = [0; 4096];
        loop {
            let count = tokio::select! {
                count = stream.read(&mut buffer) => count?,
                _ = shutdown.changed() => return Ok(()),
            };
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..count]).await?;
            stream.flush().await?;
        }
    }
}

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let options = Opt::parse_args();
    let file = options.conf.clone().unwrap_or_default();
    let (conf, echo) = load(&options).unwrap_or_else(|error| {
        eprintln!("cannot use the configuration {file}: {error}");
        exit(1)
    });

    // The file is read: handing its name on would only earn a warning that it is not read again.
    let mut server = Server::new_with_opt_and_conf(Opt { conf: None, ..options }, conf);
    println!("--- Configuration Loaded ---");
    print!("{}", server.configuration.to_yaml());
    println!("echo.greeting: {:?}", echo.greeting);
    println!("--- Configuration Loaded ---");
    server.bootstrap(); // with -t, this is the end: the file was good

    let mut service = Service::new("Echo".to_owned(), Echo { conf: echo });
    service.add_tcp(LISTEN);
    server.add_service(service);

    info!("Configured Echo running on {LISTEN}");
    server.run_forever()
}
// ANCHOR_END: main

// ANCHOR: load
/// Pingora's settings and ours: from the file given with `-c`, or the defaults of both.
fn load(options: &Opt) -> std::result::Result<(ServerConf, EchoConf), String> {
    let Some(file) = &options.conf else {
        let conf = ServerConf {
            grace_period_seconds: Some(1),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        };
        return Ok((conf, EchoConf::default()));
    };
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    // Pingora's own message holds the whole file; its root cause is the line and the column.
    let conf = ServerConf::from_yaml(&text).map_err(|error| error.root_cause().to_string())?;
    let ours: OurKeys = yaml_serde::from_str(&text).map_err(|error| error.to_string())?;
    Ok((conf, ours.echo))
}
// ANCHOR_END: load
