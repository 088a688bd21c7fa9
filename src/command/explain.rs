//! `gateway explain METHOD URL [-H …]`

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use pingora::http::RequestHeader;
use pingora_city::config::{Action, Address, Config, Listener};
use pingora_city::route::explain::{Verdict, explain};
use pingora_city::route::normalized_target;
use pingora_city::wire::head;
use pingora_city::wire::present::Present;

use super::{File, routes};

#[derive(Args)]
pub struct Explain {
    /// The request's method, such as `GET`.
    method: String,
    /// Its URL, such as `http://api.example.com/users/7`, or only the path. Where routes depend on the listener,
    /// its address or port says which one the request came in at; the first one, without a port.
    url: String,
    /// A header, such as `X-Tenant: blue`. As many as there are.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

impl Explain {
    pub fn run(&self, file: &File) -> anyhow::Result<()> {
        let config = file.load()?;
        let mut request = self.request()?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "request      {} {}", self.method, self.url)?;
        // Only a host that was named can be wrong; a path alone is a question about routes.
        if request.headers.contains_key(header::HOST)
            && let Err(error) = head::check(&request, None, Present::of(&request.headers))
        {
            writeln!(out, "answer       400: {error}")?;
            return Ok(());
        }
        if request.method == Method::CONNECT {
            writeln!(out, "answer       405: nothing is tunnelled for clients")?;
            return Ok(());
        }
        match normalized_target(&request) {
            Err(error) => {
                writeln!(out, "answer       400: {error}")?;
                return Ok(());
            }
            Ok(Some(target)) => {
                request.set_raw_path(target.as_bytes())?;
                writeln!(out, "seen as      {target}")?;
            }
            Ok(None) => {}
        }
        let listener = self.listener(&config)?;
        if config.routes.iter().any(|route| !route.matches.listeners.is_empty()) {
            writeln!(out, "came in at   {}", listener.address)?;
        }
        let verdicts = explain(&config.listeners, &config.routes, listener, &request);
        let winner =
            config.routes.iter().zip(&verdicts).find(|(_, verdict)| matches!(verdict, Verdict::Wins));
        match winner {
            None => writeln!(out, "answer       404: no route matches")?,
            Some((route, _)) => {
                writeln!(out, "route        {}", route.name)?;
                writeln!(out, "because      {}", route.matches)?;
                let middlewares = route
                    .middlewares
                    .iter()
                    .map(|name| format!("{name} ({})", config.middlewares[name].kind));
                let middlewares: Vec<String> = middlewares.collect();
                if !middlewares.is_empty() {
                    writeln!(out, "middlewares  {}", middlewares.join(", then "))?;
                }
                writeln!(out, "{}", destination(&config, &route.action))?;
            }
        }
        for (route, verdict) in config.routes.iter().zip(&verdicts) {
            match verdict {
                Verdict::Wins => {}
                Verdict::LessSpecific => {
                    writeln!(
                        out,
                        "not          {}: matches too, but is less specific: {}",
                        route.name, route.matches
                    )?;
                }
                Verdict::Fails(reasons) => {
                    writeln!(out, "not          {}: {}", route.name, reasons.join("; "))?
                }
            }
        }
        Ok(())
    }

    /// The listener with the URL's address, or else with its port, or else the first.
    fn listener<'c>(&self, config: &'c Config) -> anyhow::Result<&'c Listener> {
        let url = self.url()?;
        let with = |fits: &dyn Fn(&SocketAddr) -> bool| {
            let is_it =
                |listener: &&Listener| matches!(&listener.address, Address::Tcp(address) if fits(address));
            config.listeners.iter().find(is_it)
        };
        let named = url.authority().and_then(|authority| authority.as_str().parse().ok());
        let has_port = |address: &SocketAddr| url.port_u16() == Some(address.port());
        let listener = with(&|address| named == Some(*address)).or_else(|| with(&has_port));
        listener.or(config.listeners.first()).context("there is no listener")
    }

    fn url(&self) -> anyhow::Result<Uri> {
        let url = &self.url;
        // Taken by itself, a word would be a host.
        if !url.starts_with('/') && !url.contains("://") && url != "*" {
            bail!("`{url}` is neither a URL nor a path: write `http://{url}`, or `/{url}`");
        }
        url.parse().with_context(|| {
            format!(
                "`{url}` is not a URL (a character that none can hold is escaped, such as a space as `%20`)"
            )
        })
    }

    fn request(&self) -> anyhow::Result<RequestHeader> {
        let method = Method::from_bytes(self.method.as_bytes()).context("this is not a method")?;
        let url = self.url()?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        if !target.starts_with('/') {
            bail!("the path of the URL begins with `/`");
        }
        let mut request = RequestHeader::build(method, target.as_bytes(), None)?;
        if let Some(host) = url.authority() {
            request.insert_header(header::HOST, host.as_str())?;
        }
        for line in &self.headers {
            let (name, value) = line.split_once(':').context("a header is `Name: value`")?;
            let name = HeaderName::try_from(name.trim()).context("this is not a header's name")?;
            let value = HeaderValue::try_from(value.trim()).context("this is not a header's value")?;
            if name == header::HOST {
                request.insert_header(name, value)?;
            } else {
                request.append_header(name, value)?;
            }
        }
        Ok(request)
    }
}

fn destination(config: &Config, action: &Action) -> String {
    match action {
        Action::Proxy(proxy) => {
            let servers = &config.upstreams[&proxy.upstream].servers;
            let servers: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
            let servers = if servers.is_empty() { "to be discovered".into() } else { servers.join(", ") };
            format!("upstream     {} ({servers})", proxy.upstream)
        }
        other => format!("answer       {}", routes::action(other)),
    }
}
