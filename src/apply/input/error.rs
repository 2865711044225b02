//! Errors of reading tensors.

use std::io;
use std::path::PathBuf;
use std::str::Utf8Error;

use super::foreign::Foreign;
use crate::printable;

/// Why a tensor could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error(
        "expected FILE:TENSOR, such as model.safetensors:model.norm.weight, given '{}'",
        printable::name(given)
    )]
    Syntax { given: String },
    #[error("cannot open {}: {source}", printable::path(file))]
    Open { file: PathBuf, source: io::Error },
    #[error("{} is a folder, not a file; {}", printable::path(file), offer_files(offered))]
    Folder { file: PathBuf, offered: Vec<String> },
    #[error(
        "{} is {kind}; expected a regular file, which can be read at any position",
        printable::path(file)
    )]
    NotRegular { file: PathBuf, kind: &'static str },
    #[error("cannot read {}: {source}", printable::path(file))]
    Read { file: PathBuf, source: io::Error },
    #[error(
        "{} has become shorter than the {len} bytes that it had at first: another program writes to it",
        printable::path(file)
    )]
    Truncated { file: PathBuf, len: u64 },
    #[error("{} is no safetensors file but {found}", printable::path(file))]
    Foreign { file: PathBuf, found: Foreign },
    #[error("{} is not a safetensors file: {source}", printable::path(file))]
    NotSafetensors { file: PathBuf, source: HeaderError },
    #[error("{} is no index of a sharded model: {problem}", printable::path(file))]
    NotIndex { file: PathBuf, problem: String },
    #[error(
        "{} has tensor '{}' in '{}'; expected the plain name of a file beside it",
        printable::path(index),
        printable::name(tensor),
        printable::name(shard)
    )]
    ShardName { index: PathBuf, tensor: String, shard: String },
    #[error(
        "{} has tensor '{}' in {}, which is not there: fetch all files of the model",
        printable::path(index),
        printable::name(tensor),
        printable::path(shard)
    )]
    MissingShard { index: PathBuf, tensor: String, shard: PathBuf },
    #[error(
        "{} has tensor '{}' in {}, which has no such tensor: the files are not of one model",
        printable::path(index),
        printable::name(tensor),
        printable::path(shard)
    )]
    NotInShard { index: PathBuf, tensor: String, shard: PathBuf },
    #[error("{} has no tensor '{}'; {}", printable::path(file), printable::name(tensor), offer(near, *count))]
    NoTensor { file: PathBuf, tensor: String, near: Vec<String>, count: usize },
    #[error(
        "{}:{} is of dtype {}; expected F16, BF16, F32 or F64",
        printable::path(file),
        printable::name(tensor),
        printable::name(dtype)
    )]
    Dtype { file: PathBuf, tensor: String, dtype: String },
    #[error(
        "{}:{} has the F64 element {value:e} at {index}, which f32 cannot hold: norms are computed in f32",
        printable::path(file),
        printable::name(tensor)
    )]
    OutOfRange { file: PathBuf, tensor: String, index: u64, value: f64 },
    #[error(
        "{}:{} needs {bytes} bytes of memory at once, for a row of all its heads or all its weights, and they are \
         not to be had",
        printable::path(file),
        printable::name(tensor)
    )]
    Memory { file: PathBuf, tensor: String, bytes: usize },
}

/// How a file's header violates the format.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("it has fewer than the 8 bytes of a header's length")]
    TooShort,
    #[error("its first 8 bytes say a header of {length} bytes; expected 100000000 at most")]
    TooLong { length: u64 },
    #[error("its header of {length} bytes would end behind the file, which has {file}: it is not complete")]
    PastTheEnd { length: u64, file: u64 },
    #[error("its header is no UTF-8: {0}")]
    Utf8(#[from] Utf8Error),
    #[error("its header is not the JSON expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("what its header says of tensor '{}' is not what is expected: {source}", printable::name(name))]
    Entry { name: String, source: serde_json::Error },
    #[error("its header has the name '{}' twice", printable::name(name))]
    Repeated { name: String },
    #[error(
        "tensor '{}' has its bytes at {first}..{last}; expected {expected}, where the one in front of it ends",
        printable::name(name)
    )]
    Offsets { name: String, expected: u64, first: u64, last: u64 },
    #[error("tensor '{}' has more elements than can be counted", printable::name(name))]
    Overflow { name: String },
    #[error(
        "tensor '{}' has {given} bytes; expected {bits} bits, by its shape and dtype",
        printable::name(name)
    )]
    Size { name: String, bits: usize, given: u64 },
    #[error(
        "its tensors have {expected} bytes, and the file {given} behind its header: it is not complete, or damaged"
    )]
    End { expected: u64, given: u64 },
}

/// What to say about the `count` tensors a file has, `near` being the likeliest meant.
fn offer(near: &[String], count: usize) -> String {
    let near: Vec<String> = near.iter().map(|name| printable::name(name).to_string()).collect();
    match &near[..] {
        [] if count == 0 => "it has none at all".to_owned(),
        [] => format!("none of its {count} is near to that; `norm tensors` lists them"),
        _ if near.len() == count => format!("it has: {}", near.join(", ")),
        _ => format!("nearest of its {count}: {}", near.join(", ")),
    }
}

/// What to say about the files in a folder that could have been meant.
fn offer_files(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| printable::name(name).to_string()).collect();
    match &names[..] {
        [] => "expected a safetensors file, of which it has none".to_owned(),
        _ => format!("name one in it, such as {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_that_a_file_has_are_offered_as_far_as_that_helps() {
        let near = ["a".to_owned(), "b".to_owned()];
        for (near, count, said) in [
            (&near[..0], 0, "it has none at all"),
            (&near[..0], 3, "none of its 3 is near to that; `norm tensors` lists them"),
            (&near[..], 2, "it has: a, b"),
            (&near[..], 3, "nearest of its 3: a, b"),
        ] {
            assert_eq!(offer(near, count), said);
        }
    }
}
