//! What requests see of the configuration: compiled, and swapped as a whole when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::{self, Config, Name};
use crate::middleware::Chain;
use crate::route::{Action, Route, Routers};
use crate::upstream::{Retry, Upstream};

/// Routes, and the upstreams behind them.
pub struct State {
    /// Whose word about clients is believed.
    pub trusted_proxies: Box<[IpNet]>,
    /// From requests to routes.
    pub routers: Routers,
    /// All upstreams, also those to which no route leads.
    pub upstreams: BTreeMap<Name, Arc<Upstream>>,
}

impl State {
    /// Compiles a configuration. Upstreams that are the same as in the previous state are taken over from it,
    /// with their servers' counters and everything that is known of their health.
    pub fn new(config: &Config, previous: Option<&State>) -> State {
        let upstream = |name: &Name, config: &crate::config::Upstream| {
            let kept =
                previous.and_then(|state| state.upstreams.get(name)).filter(|kept| kept.config == *config);
            kept.cloned().unwrap_or_else(|| Arc::new(Upstream::new(name.clone(), config.clone())))
        };
        let upstreams: BTreeMap<Name, Arc<Upstream>> =
            config.upstreams.iter().map(|(name, config)| (name.clone(), upstream(name, config))).collect();
        let compile = |route: &config::Route| {
            let policies = route.middlewares.iter().map(|name| config.middlewares[name].instance.clone());
            Arc::new(Route {
                name: route.name.clone(),
                path: route.matches.path.clone(),
                action: match &route.action {
                    // Validation has seen to it that all names exist.
                    config::Action::Proxy(proxy) => {
                        Action::Proxy(upstreams[&proxy.upstream].clone(), proxy.rewrite.clone())
                    }
                    config::Action::Respond(respond) => Action::Respond(respond.clone()),
                    config::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
                },
                websocket: route.websocket,
                timeout: route.timeout,
                retry: Retry::new(route.retry.clone()),
                chain: Chain::new(policies),
            })
        };
        let routes: Vec<_> = config.routes.iter().map(|route| (&route.matches, compile(route))).collect();
        let routers = Routers::new(&config.listeners, routes);
        State { trusted_proxies: config.server.trusted_proxies.clone().into(), routers, upstreams }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::Registry;

    fn config(second: &str) -> Config {
        let text = format!(
            "
listeners: [{{ address: 127.0.0.1:80 }}]
upstreams:
  a: {{ servers: [{{ address: 127.0.0.1:1 }}] }}
  b: {{ servers: [{{ address: {second} }}] }}
routes: [{{ name: r, upstream: a }}]
"
        );
        Config::parse("test", &text, &Registry::default()).expect("it is valid")
    }

    #[test]
    fn what_did_not_change_is_kept() {
        let before = State::new(&config("127.0.0.1:2"), None);
        let after = State::new(&config("127.0.0.1:3"), Some(&before));
        assert!(Arc::ptr_eq(&before.upstreams["a"], &after.upstreams["a"]));
        assert!(!Arc::ptr_eq(&before.upstreams["b"], &after.upstreams["b"]));
    }
}
