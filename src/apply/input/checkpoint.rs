//! A checkpoint: a safetensors file, or the index of a model in several of them.

use std::path::Path;

use super::foreign::{self, Foreign};
use super::index::Index;
use super::{Entry, FileId, Header, InputError, SourceFile};
use crate::nearest::nearest;

/// The number of names that a message about a missing tensor suggests.
const NEAR_NAMES: usize = 5;
/// The number of first bytes that distinguish JSON, with white space in front, from a safetensors file.
const FIRST: u64 = 64;

/// A safetensors file, open, its header read and checked.
#[derive(Debug)]
pub struct TensorFile {
    pub source: SourceFile,
    pub header: Header,
}

impl TensorFile {
    fn read(source: SourceFile) -> Result<TensorFile, InputError> {
        match Header::read(&source) {
            Ok(header) => Ok(TensorFile { source, header }),
            Err(error @ InputError::NotSafetensors { .. }) => match Foreign::recognize(&source)? {
                Some(found) => Err(InputError::Foreign { file: source.path, found }),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}

/// A checkpoint that a path leads to.
#[derive(Debug)]
pub enum Checkpoint {
    File(TensorFile),
    Sharded(Index),
}

/// A tensor of a checkpoint.
#[derive(Debug)]
pub struct Listed {
    pub name: String,
    pub entry: Entry,
    /// The file that has it, if there are several.
    pub shard: Option<String>,
}

impl Checkpoint {
    pub fn open(path: &Path) -> Result<Checkpoint, InputError> {
        let source = SourceFile::open(path)?;
        if foreign::is_json(&source.read_some_at(FIRST, 0)?) {
            Index::read(&source).map(Checkpoint::Sharded)
        } else {
            TensorFile::read(source).map(Checkpoint::File)
        }
    }

    /// The file that has `tensor`, what its header says of it, and which file the index is that led there.
    pub fn find(self, tensor: &str) -> Result<(TensorFile, Entry, Option<FileId>), InputError> {
        match self {
            Checkpoint::File(file) => match file.header.get(tensor).cloned() {
                Some(entry) => Ok((file, entry, None)),
                None => {
                    let names = file.header.tensors.iter().map(|(name, _)| name.as_str());
                    Err(no_tensor(&file.source.path, tensor, names.collect()))
                }
            },
            Checkpoint::Sharded(index) => {
                let Some((_, shard)) = index.tensors.iter().find(|(name, _)| name == tensor) else {
                    let names = index.tensors.iter().map(|(name, _)| name.as_str());
                    return Err(no_tensor(&index.path, tensor, names.collect()));
                };
                let file = TensorFile::read(index.open(shard, tensor)?)?;
                match file.header.get(tensor).cloned() {
                    Some(entry) => Ok((file, entry, Some(index.id))),
                    None => Err(index.not_in(shard, tensor)),
                }
            }
        }
    }

    /// Every tensor: a file's in the order of their bytes, an index's in its own.
    pub fn list(self) -> Result<Vec<Listed>, InputError> {
        match self {
            Checkpoint::File(file) => {
                let tensors = file.header.tensors.into_iter();
                Ok(tensors.map(|(name, entry)| Listed { name, entry, shard: None }).collect())
            }
            Checkpoint::Sharded(index) => index.list(|file| TensorFile::read(file).map(|file| file.header)),
        }
    }
}

fn no_tensor(file: &Path, tensor: &str, names: Vec<&str>) -> InputError {
    let count = names.len();
    // If there are few, all are listed.
    let most = if count <= NEAR_NAMES { names.clone() } else { nearest(tensor, names, NEAR_NAMES) };
    let near = most.into_iter().map(str::to_owned).collect();
    InputError::NoTensor { file: file.to_owned(), tensor: tensor.to_owned(), near, count }
}
