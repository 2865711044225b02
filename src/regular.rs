//! Reading regular files only: others, such as a FIFO or a device, might never end.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file was not read.
#[derive(Debug)]
pub enum Unread {
    Io(io::Error),
    /// It is not a regular file.
    Kind(FileType),
}

/// Opens a regular file for reading; any other is not even opened.
pub fn open(path: &Path) -> Result<(File, Metadata), Unread> {
    regular(fs::metadata(path).map_err(Unread::Io)?)?;
    // If a FIFO has taken the file's place since, opening it must not wait for its other end.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(Unread::Io)?;
    let metadata = regular(file.metadata().map_err(Unread::Io)?)?;
    Ok((file, metadata))
}

/// All bytes of a regular file; `None` if it has more than `most`.
pub fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Unread> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    // Bounded during the read, because a file may grow, and files in /proc report a size of 0.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(Unread::Io)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

fn regular(metadata: Metadata) -> Result<Metadata, Unread> {
    let kind = metadata.file_type();
    if kind.is_file() { Ok(metadata) } else { Err(Unread::Kind(kind)) }
}

/// The kind of a file that is not regular, in words.
pub fn name_of(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}
