//! 09 · Path routing: one proxy in front of two services.
//!
//! Idea  The first path segment picks the upstream; a path that nobody owns is answered here, with 404.
//! New   `request_filter`, which may answer in the upstream's place, and a context that carries what it
//!       decided to the later phases (lesson 06 had one upstream and nothing to remember).
//! Run   cargo run --example 09_path_routing
//! Try   curl -i http://172.28.0.10:6149/blue        from a client; the rest is in lessons/09_path_routing.md

use std::process::exit;

use async_trait::async_trait;
use env_logger::Env;
use log::info;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const LISTEN: &str = "0.0.0.0:6149";

// ANCHOR: routes
/// One service behind the proxy: the path segment it owns, where it listens, and the name it answers to.
struct Route {
    segment: &'static str,
    address: &'static str,
    host: &'static str,
}

const ROUTES: &[Route] = &[
    Route { segment: "blue", address: "172.28.0.20:8080", host: "blue.pingora.local" },
    Route { segment: "green", address: "172.28.0.21:8080", host: "green.pingora.local" },
];
// ANCHOR_END: routes

// ANCHOR: find_route
/// The route that owns `path`, by its whole first segment: `/blue` and `/blue/sky`, but not `/bluebird`.
///
/// `starts_with("/blue")` would hand `/bluebird` to Blue, and with it whatever the owner of that path
/// thought was protected.
fn find_route(path: &str) -> Option<&'static Route> {
    let first = path.strip_prefix('/')?.split('/').next()?;
    ROUTES.iter().find(|route| route.segment == first)
}
// ANCHOR_END: find_route

// ANCHOR: decision
/// What one request has decided so far: written once in `request_filter`, read by the phases after it.
struct Decision {
    route: Option<&'static Route>,
}
// ANCHOR_END: decision

struct PathRouter;

#[async_trait]
impl ProxyHttp for PathRouter {
    type CTX = Decision;

    fn new_ctx(&self) -> Decision {
        Decision { route: None }
    }

    // ANCHOR: phases
    async fn request_filter(&self, session: &mut Session, decision: &mut Decision) -> Result<bool> {
        let path = session.req_header().uri.path();
        decision.route = find_route(path);
        match decision.route {
            Some(route) => {
                info!("{path} -> {}", route.host);
                Ok(false) // not answered yet: go on to upstream_peer
            }
            None => {
                info!("{path} -> 404, no route");
                session.respond_error(404).await?;
                Ok(true) // answered: no upstream is chosen, none is contacted
            }
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, decision: &mut Decision) -> Result<Box<HttpPeer>> {
        let route = decision.route.or_err(InternalError, "no route, and yet request_filter let it pass")?;
        Ok(Box::new(HttpPeer::new(route.address, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        decision: &mut Decision,
    ) -> Result<()> {
        if let Some(route) = decision.route {
            upstream_request.insert_header("Host", route.host)?;
        }
        Ok(())
    }
    // ANCHOR_END: phases
}

fn main() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();

    let mut server = new_server(Opt::parse_args());
    server.bootstrap();

    let mut proxy = http_proxy_service(&server.configuration, PathRouter);
    proxy.add_tcp(LISTEN);
    server.add_service(proxy);

    info!("Path Router running on {LISTEN}");
    server.run_forever()
}

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
