//! Assembly: from a configuration to a process that serves.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::prelude::*;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::background::background_service;

use crate::config::{Config, Report};
use crate::gateway::Gateway;
use crate::listen;
use crate::observe;
use crate::state::State;
use crate::upkeep::{Upkeep, Work};
use crate::upstream::Watch;

/// How long requests in flight may take to finish after SIGTERM, in seconds.
const GRACE: u64 = 30;

/// Serves until a signal ends it.
///
/// # Errors
/// Only before anything is served: what cannot be opened, all of it.
pub fn run(config: &Config) -> Result<std::convert::Infallible, Report> {
    listen::preflight(config)?;
    let work = Work::default();
    let access = observe::open_access_log(config)?.map(Arc::new);

    let conf = ServerConf {
        threads: config.server.threads,
        upstream_keepalive_pool_size: config.server.connection_pool.max_idle,
        grace_period_seconds: Some(GRACE),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let state = Arc::new(ArcSwap::from_pointee(State::new(config, None)));
    let proxy =
        http_proxy(&server.configuration, Gateway::new(state.clone(), access.clone(), work.requests.clone()));
    let service = listen::service(proxy, config, work.connections.clone())
        .expect("validation has read all certificates");
    server.add_service(service);
    let mut upkeep = background_service("upkeep", Upkeep { work, access });
    upkeep.threads = Some(1);
    server.add_service(upkeep);

    let upstreams = move || state.load().upstreams.values().cloned().collect();
    let mut watch = background_service("upstreams", Watch(upstreams));
    watch.threads = Some(1);
    server.add_service(watch);

    for listener in &config.listeners {
        log::info!("listening on {}", listener.address);
    }
    server.run_forever()
}
