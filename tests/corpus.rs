//! What fuzzing found worth keeping (`fuzz/`), replayed: nothing panics on it, and what the targets
//! assert holds.

use std::fs;
use std::path::Path;

use norm_testing::fuzz::{arguments, ptx, safetensors};

/// Runs every file of a target's corpus.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "no corpus for {target}");
    for file in files {
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn arguments_of_the_corpus_are_computed_or_refused() {
    replay("arguments", arguments::run);
}

#[test]
fn ptx_of_the_corpus_is_read_or_refused() {
    replay("ptx", ptx::run);
}

#[test]
fn files_of_the_corpus_are_read_or_refused() {
    replay("safetensors", safetensors::run);
}
