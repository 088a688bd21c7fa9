//! Assembly: from a configuration to a process that serves.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::prelude::*;
use pingora::proxy::http_proxy;
use pingora::server::RunArgs;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::services::background::background_service;

use crate::config::{Config, Listener, Report};
use crate::gateway::Gateway;
use crate::listen;
use crate::observe;
use crate::state::State;
use crate::upkeep::{Upkeep, Work};
use crate::upstream::{self, Watch};

/// How a start differs from what the configuration says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// In the background, also where the configuration does not say so.
    pub daemon: bool,
    /// With the listeners of the gateway that runs, which hands them over when it gets SIGQUIT.
    pub upgrade: bool,
}

/// Serves until a signal ends it.
///
/// # Errors
/// Only before anything is served: what cannot be opened, all of it.
pub fn run(config: &Config, start: &Start) -> Result<std::convert::Infallible, Report> {
    if !start.upgrade {
        listen::preflight(config)?;
    }
    let work = Work::default();
    let access = observe::open_access_log(config)?.map(Arc::new);

    let state = Arc::new(ArcSwap::from_pointee(State::new(config, None)));
    // While nobody asks yet, or somebody else still answers.
    upstream::warm_up(state.load().upstreams.values());

    let options = Opt { daemon: start.daemon, upgrade: start.upgrade, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(options, conf(config));
    server.bootstrap();

    let proxy = http_proxy(&server.configuration, Gateway::new(state.clone(), access.clone(), work.clone()));
    let service = listen::service(proxy, config, work.clone()).expect("validation has read all certificates");
    server.add_service(service);
    let mut upkeep = background_service("upkeep", Upkeep { work, access: access.clone() });
    upkeep.threads = Some(1);
    server.add_service(upkeep);

    let upstreams = move || state.load().upstreams.values().cloned().collect();
    let mut watch = background_service("upstreams", Watch(upstreams));
    watch.threads = Some(1);
    server.add_service(watch);

    leave_if_deaf();
    config.listeners.iter().for_each(announce);
    server.run(RunArgs::default());
    // It was not upkeep that ended it: there was no time left.
    observe::flush(access.as_deref());
    std::process::exit(0)
}

/// Pingora opens its listeners in threads of their own, after it has become the user that it is to run as. What
/// cannot be opened then ends that thread alone, and would leave a process that serves nobody.
fn leave_if_deaf() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref().copied());
        if let Some(trouble) = text.filter(|text| text.contains("Failed to build listeners")) {
            log::error!("a listener cannot be opened, so nothing is served: {trouble}");
            observe::flush(None);
            std::process::exit(1);
        }
        if !observe::say_panic(panic) {
            usual(panic);
        }
    }));
}

/// Where requests are awaited, and what clients there will mind. It is no reason not to start: a machine that comes up
/// again with one certificate too old still serves everybody else.
fn announce(listener: &Listener) {
    log::info!("listening on {}", listener.address);
    for certificate in listener.tls.iter().flat_map(|tls| &*tls.certificates) {
        if let Some(why) = certificate.untimely() {
            log::warn!("{}: the certificate for {} {why}", listener.address, certificate.names.join(", "));
        }
    }
}

/// What Pingora is to know.
fn conf(config: &Config) -> ServerConf {
    let process = &config.server.process;
    let default = ServerConf::default();
    let text = |path: &std::path::PathBuf| path.display().to_string();
    ServerConf {
        threads: config.server.threads,
        work_stealing: process.work_stealing,
        listener_tasks_per_fd: process.listener_tasks_per_fd,
        daemon: process.daemon,
        pid_file: process.pid_file.as_ref().map_or(default.pid_file, text),
        error_log: process.error_log.as_ref().map(text),
        user: process.user.clone(),
        group: process.group.clone(),
        upgrade_sock: process.upgrade_sock.as_ref().map_or(default.upgrade_sock, text),
        grace_period_seconds: Some(process.grace_period_seconds),
        graceful_shutdown_timeout_seconds: Some(process.graceful_shutdown_timeout_seconds),
        ca_file: process.ca_file.as_ref().map(text),
        client_bind_to_ipv4: process.client_bind_to_ipv4.iter().map(ToString::to_string).collect(),
        client_bind_to_ipv6: process.client_bind_to_ipv6.iter().map(ToString::to_string).collect(),
        upstream_keepalive_pool_size: config.server.connection_pool.max_idle,
        max_retries: process.max_retries.unwrap_or(default.max_retries),
        ..ServerConf::default()
    }
}
