//! Compiles `norm-kernels` to the PTX that `norm-host` embeds, when asked.
//!
//! A default build takes the PTX that is checked in and needs stable Rust alone.
//! `NORM_PTX=write cargo build` compiles it anew; `NORM_PTX=check cargo build` compiles it and
//! fails where it differs from what is checked in.

#[path = "build/nightly.rs"]
mod nightly;
#[path = "build/ptx.rs"]
mod ptx;

use std::path::{Path, PathBuf};
use std::{env, fs};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    println!("cargo::rerun-if-env-changed=NORM_PTX");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let Some(mode) = env::var_os("NORM_PTX") else { return Ok(()) };

    println!("cargo::rerun-if-changed=norm-kernels");
    println!("cargo::rerun-if-changed=norm-host/ptx");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let nightly = nightly::find()?;
    for target in ptx::TARGETS {
        let text = ptx::compile(&nightly, &root, &out, target)?;
        let file = root.join("norm-host/ptx").join(format!("{target}.ptx"));
        match mode.to_str() {
            Some("write") => fs::write(&file, text)?,
            Some("check") => compare(&file, &text)?,
            _ => return Err(format!("NORM_PTX is {mode:?}: expected 'write' or 'check'").into()),
        }
    }
    Ok(())
}

/// Names the first line in which the checked-in file differs from `fresh`.
fn compare(file: &Path, fresh: &str) -> Result<(), Error> {
    let kept = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if kept == fresh {
        return Ok(());
    }
    let same = kept.lines().zip(fresh.lines()).take_while(|(kept, fresh)| kept == fresh).count();
    Err(format!(
        "{} is not what its source compiles to, from line {} on:\n  kept:  {}\n  fresh: {}\n\
         `NORM_PTX=write cargo build` writes it anew",
        file.display(),
        same + 1,
        kept.lines().nth(same).unwrap_or("(end of file)"),
        fresh.lines().nth(same).unwrap_or("(end of file)"),
    )
    .into())
}
