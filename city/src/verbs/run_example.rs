//! `city run-example`: where `scripts/cargo-runner` sends an example that was started on the bare machine.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::lab::{City, DEFAULT_NAME, Lifetime, UpOptions};
use crate::trouble::{Result, Trouble};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The example's binary and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// Runs it on dev: of the City that is up, or of one that lives until its last command ends.
pub fn run(args: Args) -> Result<ExitCode> {
    let city = match City::find(None) {
        Ok(city) => city,
        Err(none) if none.status == crate::lab::NONE_IS_UP => bring_one_up()?,
        Err(trouble) => return Err(trouble),
    };
    if city.docker().is_some() {
        // A container has a target folder of its own, in which cargo finds or builds the same example.
        let name = args.command.first().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
        let mut command: Vec<OsString> = ["cargo", "run", "--example"].map(OsString::from).into();
        command.extend([name.to_owned(), "--".into()]);
        command.extend(args.command.iter().skip(1).cloned());
        return super::exec::enter(&city, "dev", command);
    }
    // The same script, on dev now: it keeps a copy of the log there.
    let mut command = vec![crate::paths::repository()?.join("scripts/cargo-runner").into_os_string()];
    command.extend(args.command);
    super::exec::enter(&city, "dev", command)
}

fn bring_one_up() -> Result<City> {
    crate::certs::ensure(&crate::paths::repository()?)?;
    let options = UpOptions {
        name: DEFAULT_NAME.into(),
        conf: None,
        nginx: false,
        lifetime: Lifetime::LastCommand,
        private: false,
    };
    let city = City::up_or_join(&options).map_err(|trouble| {
        Trouble::new(format!("an example runs on the City's dev host only, and there is no City: {trouble}"))
    })?;
    eprintln!("No City was up: this one lives until its last command ends. (cargo city up keeps one.)");
    Ok(city)
}
