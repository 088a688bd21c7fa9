//! 02 · Daemon mode: a process that leaves its terminal and can still be found, read and stopped.
//!
//! Idea  With `daemon: true` Pingora forks: the command returns, the server lives on without a terminal.
//! New   `BackgroundService`, a service that listens to nothing; the daemon's keys (lesson 01 showed the file).
//! Run   cargo run --example 02_daemon_mode -- -c conf/02_daemon.yaml
//! Try   cat /tmp/pingora_02.log                     on dev; the rest is in lessons/02_daemon_mode.md

use std::process::{self, exit};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::{Env, WriteStyle};
use log::info;
use pingora::prelude::*;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;
use tokio::time::{MissedTickBehavior, interval};

const BEAT: Duration = Duration::from_secs(1);

struct Heartbeat;

// ANCHOR: heartbeat
#[async_trait]
impl BackgroundService for Heartbeat {
    /// Runs from the server's start until it returns. Nobody stops it: it has to watch for the shutdown.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let pid = process::id(); // asked for here, and not in `main`: the fork lies between the two
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => info!("Beep… (PID {pid})"),
                _ = shutdown.changed() => break,
            }
        }
        info!("Heartbeat stops (PID {pid})");
    }
}
// ANCHOR_END: heartbeat

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info"))
        // Colours are chosen now, for this terminal. The daemon's log is a file.
        .write_style(WriteStyle::Never)
        .init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    // Not a thread, not a runtime, not a connection before this line: the fork is in `run_forever`, and a
    // forked process has only the thread that forked.
    server.add_service(background_service("Heartbeat", Heartbeat));

    info!("Heartbeat starts (PID {})", process::id());
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
