//! Regular files, opened for reading at any position.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::InputError;
use crate::regular::{self, Unread, name_of};

/// The number of names that a message about a folder suggests.
const OFFERED: usize = 5;

/// A file's identity, whatever path or link leads to it: its device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct SourceFile {
    pub path: PathBuf,
    pub id: FileId,
    /// The size in bytes when the file was opened.
    pub len: u64,
    file: File,
}

impl SourceFile {
    /// Opens a regular file. Anything else, such as a FIFO, which might never have an end, is refused unopened.
    pub fn open(path: &Path) -> Result<SourceFile, InputError> {
        let (file, metadata) = regular::open(path).map_err(|unread| unopened(path, unread))?;
        Ok(SourceFile { path: path.to_owned(), id: FileId::of(&metadata), len: metadata.len(), file })
    }

    /// Reads `bytes.len()` bytes from offset `start`.
    pub fn read_exact_at(&self, bytes: &mut [u8], start: u64) -> Result<(), InputError> {
        self.file.read_exact_at(bytes, start).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => InputError::Truncated { file: self.path.clone(), len: self.len },
            _ => InputError::Read { file: self.path.clone(), source },
        })
    }

    /// The bytes from `start` on, `at_most` of them.
    pub fn read_some_at(&self, at_most: u64, start: u64) -> Result<Vec<u8>, InputError> {
        let len = at_most.min(self.len.saturating_sub(start));
        let mut bytes = vec![0; len as usize];
        self.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }
}

fn unopened(path: &Path, unread: Unread) -> InputError {
    let file = path.to_owned();
    match unread {
        Unread::Io(source) => InputError::Open { file, source },
        Unread::Kind(kind) if kind.is_dir() => InputError::Folder { file, offered: tensor_files(path) },
        Unread::Kind(kind) => InputError::NotRegular { file, kind: name_of(kind) },
    }
}

/// Files in a folder that tensors could be read from, an index first.
fn tensor_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"))
        .collect();
    names.sort_by_key(|name| (!name.ends_with(".json"), name.clone()));
    names.truncate(OFFERED);
    names
}
