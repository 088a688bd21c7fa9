//! How the gateway is linked: the functions that requests run lie side by side.
//!
//! A request runs some four hundred functions out of twenty thousand. Where they lie as the compiler left them, they are
//! spread over twice as many pages as they need, and a request that comes after a pause waits for the address of every
//! page to be translated, which takes longest in a virtual machine. `functions.ld` names them, as
//! `scripts/build-gateway.sh --order` has seen them run; linkers that cannot be told leave everything as it is.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Which functions those are, for the linker. Where one name is that of many functions, those that run come first, with
/// the hashes that this compiler adds; then all come without them, so that the next compiler finds most of it too.
const FUNCTIONS: &str = "build/functions.ld";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    if env::var("PROFILE")? != "release" || env::var("CARGO_CFG_TARGET_OS")? != "linux" {
        return Ok(());
    }
    let functions = format!("-T{}/{FUNCTIONS}", env::var("CARGO_MANIFEST_DIR")?);
    if links_with(&functions)? {
        println!("cargo::rustc-link-arg-bin=gateway={functions}");
    } else {
        println!(
            "cargo::warning=the linker does not take {FUNCTIONS}: a request will cost the gateway some percent more"
        );
    }
    Ok(())
}

/// Whether a program can be linked in this way, by whatever linker is set for this build.
fn links_with(argument: &str) -> Result<bool, Box<dyn Error>> {
    let folder = env::var("OUT_DIR")?;
    let folder = Path::new(&folder);
    let source = folder.join("probe.rs");
    fs::write(&source, "fn main() {}")?;
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.arg(source).arg("-o").arg(folder.join("probe"));
    rustc.args(["--target", &env::var("TARGET")?, "-C", &format!("link-arg={argument}")]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    Ok(rustc.output()?.status.success())
}
