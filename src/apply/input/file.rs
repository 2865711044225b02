//! Regular files, opened for reading at any position.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::InputError;

/// Names that a message about a folder offers.
const OFFERED: usize = 5;

/// Which file it is, whatever path or link leads to it: its device and inode.
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
    /// Bytes, when it was opened.
    pub len: u64,
    file: File,
}

impl SourceFile {
    /// Opens a regular file. Anything else, such as a FIFO, which might never have an end, is refused unopened.
    pub fn open(path: &Path) -> Result<SourceFile, InputError> {
        let failed = |source| InputError::Open { file: path.to_owned(), source };
        regular(path, fs::metadata(path).map_err(failed)?.file_type())?;
        // Should a FIFO have taken the file's place since, opening it does not wait for its other end.
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        regular(path, metadata.file_type())?;
        Ok(SourceFile { path: path.to_owned(), id: FileId::of(&metadata), len: metadata.len(), file })
    }

    /// Fills `bytes` with what stands at `start`.
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

fn regular(path: &Path, kind: FileType) -> Result<(), InputError> {
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(InputError::Folder { file: path.to_owned(), offered: tensor_files(path) })
    } else {
        Err(InputError::NotRegular { file: path.to_owned(), kind: name_of(kind) })
    }
}

/// What is no regular file, in words.
pub fn name_of(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
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
