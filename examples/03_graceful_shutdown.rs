//! 03 · Graceful shutdown: what SIGTERM gives time for, and what it does not wait for.
//!
//! Idea  A server that is told to stop finishes what it began, and begins nothing new.
//! New   The grace period, and a service that decides where it may be interrupted (lesson 02 stopped anywhere).
//! Run   cargo run --example 03_graceful_shutdown
//! Try   pkill -TERM 03_graceful                     on dev; the rest is in lessons/03_graceful_shutdown.md

use std::process::exit;
use std::time::Duration;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::prelude::*;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;
use tokio::time::sleep;

// ANCHOR: times
/// A job takes this many steps of one second each.
const STEPS: u32 = 20;
const STEP: Duration = Duration::from_secs(1);
const PAUSE_BETWEEN_JOBS: Duration = Duration::from_secs(5);

/// Must be longer than the longest job: when it is over, what still runs is cut off.
const GRACE_PERIOD: u64 = 25;
// ANCHOR_END: times

struct Batch;

// ANCHOR: batch
#[async_trait]
impl BackgroundService for Batch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        for number in 1.. {
            // Not raced with the shutdown: half a job is worse than a late one.
            run_job(number).await;

            if *shutdown.borrow() {
                info!("Job {number} completed gracefully during shutdown");
                return;
            }
            info!("Job {number} completed");

            // Between two jobs there is nothing to lose, so here a shutdown ends the service at once.
            tokio::select! {
                _ = sleep(PAUSE_BETWEEN_JOBS) => {}
                _ = shutdown.changed() => {
                    info!("Batch service stops between two jobs");
                    return;
                }
            }
        }
    }
}

async fn run_job(number: u32) {
    info!("Job {number} started");
    for step in 1..=STEPS {
        sleep(STEP).await; // stands for real work that lets go of its thread while it waits
        info!("Job {number}: {step} of {STEPS} steps done");
    }
}
// ANCHOR_END: batch

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    server.add_service(background_service("Batch", Batch));

    info!("Batch Service running");
    server.run_forever()
}

// ANCHOR: new_server
/// A server configured by the file given with `-c`, or by the defaults and the grace period of this lesson.
fn new_server(options: Opt) -> Server {
    let Some(file) = options.conf.clone() else {
        let conf = ServerConf {
            grace_period_seconds: Some(GRACE_PERIOD),
            graceful_shutdown_timeout_seconds: Some(3),
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
