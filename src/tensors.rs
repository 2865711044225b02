//! `norm tensors`: lists the tensors of a safetensors file, or of all files of a sharded model.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::apply::input::{Checkpoint, Listed};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::printable;

/// The arguments of `norm tensors`.
#[derive(Args, Debug)]
pub struct TensorsArgs {
    /// A safetensors file, or a sharded model's index, such as model.safetensors.index.json
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

/// The contents of a file.
#[derive(Serialize)]
struct List {
    file: String,
    tensors: Vec<Tensor>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: u64,
    /// The file that has it, if the model is sharded.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// Reads only headers, however large the files are.
pub fn run(args: &TensorsArgs) -> Result<Outcome, Failure> {
    let tensors = Checkpoint::open(&args.file)?.list()?;
    let tensors = tensors.into_iter().map(|Listed { name, entry, shard }| {
        let bytes = entry.bytes();
        Tensor { name, dtype: entry.dtype, shape: entry.shape, bytes, file: shard }
    });
    let list = List { file: args.file.display().to_string(), tensors: tensors.collect() };
    if args.json {
        output::json(&list)?
    } else {
        output::text(&text(&list.tensors))?
    }
    Ok(Outcome::Good)
}

/// One line for each tensor, and their total size.
fn text(tensors: &[Tensor]) -> String {
    let rows: Vec<[String; 4]> = tensors
        .iter()
        .map(|tensor| {
            let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            let file = tensor.file.as_deref().unwrap_or_default();
            [
                printable::name(&tensor.name).to_string(),
                printable::name(&tensor.dtype).to_string(),
                shape.join(" × "),
                printable::name(file).to_string(),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (names, dtypes, shapes) = (width(0), width(1), width(2));
    let mut text = String::new();
    for [name, dtype, shape, file] in &rows {
        let line = format!("{name:<names$}  {dtype:<dtypes$}  {shape:<shapes$}  {file}");
        text += line.trim_end();
        text.push('\n');
    }
    let bytes = tensors.iter().map(|tensor| tensor.bytes).sum();
    let s = if tensors.len() == 1 { "" } else { "s" };
    text + &format!("{} tensor{s}, {}\n", tensors.len(), indicatif::BinaryBytes(bytes))
}
