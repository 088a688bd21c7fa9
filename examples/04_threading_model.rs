//! 04 · Threading model: whose threads run a task, and whether it may change them.
//!
//! Idea  Each service has threads of its own. `work_stealing` decides whether they share their work.
//! New   `threads` of a service and of the configuration, `work_stealing` (lessons 02 and 03 had one thread).
//! Run   cargo run --example 04_threading_model
//! Try   the same with -- -c conf/04_stealing.yaml   the rest is in lessons/04_threading_model.md

use std::collections::HashSet;
use std::process::exit;
use std::thread::{self, ThreadId};
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::{info, warn};
use pingora::prelude::*;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;
use tokio::task::JoinSet;
use tokio::time::interval;

const TASKS: usize = 8;
const HOLD: Duration = Duration::from_millis(10);

struct Reporter {
    name: &'static str,
}

// ANCHOR: reporter
#[async_trait]
impl BackgroundService for Reporter {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut every_second = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = every_second.tick() => self.report().await,
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl Reporter {
    /// Spawns the tasks all at once and says which threads they ran on.
    async fn report(&self) {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn(async {
                // Blocks, which a task should never do. Here it shows who would take the work over.
                thread::sleep(HOLD);
                thread::current().id()
            });
        }
        let mut seen: HashSet<ThreadId> = HashSet::new();
        while let Some(task) = tasks.join_next().await {
            match task {
                Ok(id) => _ = seen.insert(id),
                Err(error) => warn!("{}: a task was lost: {error}", self.name),
            }
        }
        info!("{}: {TASKS} tasks, threads seen: {} {seen:?}", self.name, seen.len());
    }
}
// ANCHOR_END: reporter

// ANCHOR: main
fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    for name in ["Reporter A", "Reporter B"] {
        let mut service = background_service(name, Reporter { name });
        // A background service asks for one thread. `None` leaves the number to the configuration.
        service.threads = None;
        server.add_service(service);
    }

    let conf = &server.configuration;
    info!("Each service has {} threads, work stealing {}", conf.threads, conf.work_stealing);
    server.run_forever()
}
// ANCHOR_END: main

// ANCHOR: new_server
/// A server configured by the file given with `-c`, or by two threads a service that share nothing.
fn new_server(options: Opt) -> Server {
    let Some(file) = options.conf.clone() else {
        let conf = ServerConf {
            threads: 2,
            work_stealing: false,
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
// ANCHOR_END: new_server
