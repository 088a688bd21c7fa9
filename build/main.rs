//! How the gateway is linked: the functions that requests run lie side by side.
//!
//! A request runs some four hundred functions out of twenty thousand. Where they lie as the compiler left them, they are
//! spread over twice as many pages as they need, and a request that comes after a pause waits for the address of every
//! page to be translated, which takes longest in a virtual machine. So do the tables by which they jump. `functions`
//! names them, as `scripts/build-gateway.sh --order` has seen them run; linkers that cannot be told leave everything as
//! it is.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Which functions those are, a line each. Where one name is that of many functions, those that run come first, with
/// the hashes that this compiler adds; then all come without them, so that the next compiler finds most of it too.
const FUNCTIONS: &str = "build/functions";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    if env::var("PROFILE")? != "release" || env::var("CARGO_CFG_TARGET_OS")? != "linux" {
        return Ok(());
    }
    let folder = env::var("OUT_DIR")?;
    let folder = Path::new(&folder);
    let script = folder.join("layout.ld");
    fs::write(&script, layout(&fs::read_to_string(FUNCTIONS)?))?;
    let argument = format!("-T{}", script.display());
    if links_with(&argument, folder)? {
        println!("cargo::rustc-link-arg-bin=gateway={argument}");
    } else {
        println!(
            "cargo::warning=the linker takes no order of functions: a request will cost the gateway some percent more"
        );
    }
    Ok(())
}

/// What the linker is told. Code and tables have sections of their own for each function.
fn layout(functions: &str) -> String {
    let names = || functions.lines().filter(|line| !line.starts_with('#'));
    let code: String = names().map(|name| format!("    *(.text.{name})\n")).collect();
    let tables: String = names()
        .map(|name| format!("    *(.rodata.{name})\n    *(.rodata..Lswitch.table.{name}*)\n"))
        .collect();
    format!(
        "SECTIONS {{\n  .text : {{\n{code}  }}\n}}\nINSERT BEFORE .init;\n\
         SECTIONS {{\n  .rodata : {{\n{tables}  }}\n}}\nINSERT BEFORE .eh_frame_hdr;\n"
    )
}

/// Whether a program can be linked in this way, by whatever linker is set for this build.
fn links_with(argument: &str, folder: &Path) -> Result<bool, Box<dyn Error>> {
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
