//! `gateway routes`

use std::io::Write;

use clap::Args;
use pingora_city::config::{Action, Route};

use super::File;

#[derive(Args)]
pub struct Routes {}

impl Routes {
    pub fn run(&self, file: &File) -> anyhow::Result<()> {
        let config = file.load()?;
        let mut table = vec![["ROUTE", "MATCH", "ACTION", "MIDDLEWARES"].map(str::to_string)];
        table.extend(config.routes.iter().map(row));
        let mut widths = [0; 4];
        for row in &table {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut out = std::io::stdout().lock();
        for row in &table {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn row(route: &Route) -> [String; 4] {
    [route.name.to_string(), route.matches.to_string(), action(&route.action), route.middlewares.join(", ")]
}

/// What becomes of requests, in a few words.
pub fn action(action: &Action) -> String {
    match action {
        Action::Proxy(proxy) => format!("upstream {}", proxy.upstream),
        Action::Respond(respond) => format!("respond {}", respond.status.as_u16()),
        Action::Redirect(redirect) => format!("redirect {}", redirect.status.as_u16()),
    }
}
