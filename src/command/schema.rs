//! `gateway schema`

use std::io::Write;

use clap::Args;
use pingora_city::config::editor_schema;
use pingora_city::middleware::Registry;

#[derive(Args)]
pub struct Schema {}

impl Schema {
    pub fn run(&self) -> anyhow::Result<()> {
        let schema = serde_json::to_string_pretty(&editor_schema(&Registry::default()))?;
        writeln!(std::io::stdout(), "{schema}")?;
        Ok(())
    }
}
