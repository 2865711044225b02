//! Why the result could not be written.

use std::io;
use std::path::{Path, PathBuf};

use crate::printable;

/// Why the result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(
        "--{option} -: a safetensors file appears whole or not at all, so it cannot go to stdout; \
         name a file (./- if it is to be called -)"
    )]
    Stdout { option: &'static str },
    #[error("cannot write {}: expected the name of a file at its end", printable::path(path))]
    NoName { path: PathBuf },
    #[error("cannot write {}: it is {kind}, and only files are replaced", printable::path(path))]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("cannot write {}: it is a link to a file that is not there", printable::path(path))]
    DanglingLink { path: PathBuf },
    #[error("{} exists: --force replaces it, and all that it holds, by the result", printable::path(path))]
    Exists { path: PathBuf },
    #[error(
        "{} exists and is not the file of --input, of which --into writes a copy: --force replaces it, and all \
         that it holds, by that copy",
        printable::path(path)
    )]
    ExistsInto { path: PathBuf },
    #[error(
        "--out {} is the file that --input reads, {}; --into {0} rewrites it and keeps all else that it holds, --out \
         with another name leaves it as it is",
        printable::path(path), lost(*others)
    )]
    Input { path: PathBuf, others: usize },
    #[error(
        "--{option} {} is the file that {read_by} reads, which is never replaced: name another file",
        printable::path(path)
    )]
    Parameters { option: &'static str, path: PathBuf, read_by: &'static str },
    #[error(
        "--{option} {} is the index of the model that is read, which is never replaced: name a safetensors file, \
         such as the one that has the tensor",
        printable::path(path)
    )]
    Index { option: &'static str, path: PathBuf },
    #[error("{} is read-only: --force replaces it all the same", printable::path(path))]
    ReadOnly { path: PathBuf },
    #[error(
        "{} has another tensor '{}': --force replaces that, --as gives the result another name",
        printable::path(file),
        printable::name(name)
    )]
    NameTaken { file: PathBuf, name: String },
    #[error("--as: '{name}' is no name for a tensor: safetensors files keep their metadata there")]
    NameReserved { name: String },
    #[error(
        "{} appeared while the result was computed, and is left as it is: another program writes there",
        printable::path(path)
    )]
    Appeared { path: PathBuf },
    #[error(
        "{} was changed, replaced or removed while the result was computed, and is left as it is: another program \
         writes there",
        printable::path(path)
    )]
    Changed { path: PathBuf },
    #[error("cannot write {}: there is no room for its {bytes} bytes ({source})", printable::path(path))]
    NoRoom { path: PathBuf, bytes: u64, source: io::Error },
    #[error("cannot write {}: {source}", printable::path(path))]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot describe the tensors of {}: {source}", printable::path(path))]
    Header { path: PathBuf, source: serde_json::Error },
}

impl SinkError {
    /// Why writing a file of `bytes` bytes failed.
    pub fn writing(path: &Path, bytes: u64, source: io::Error) -> SinkError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                SinkError::NoRoom { path, bytes, source }
            }
            _ => SinkError::Io { path, source },
        }
    }
}

/// What replacing the input's file by the result alone would lose.
fn lost(others: usize) -> String {
    match others {
        0 => "whose tensor would be lost".to_owned(),
        1 => "whose other tensor would be lost".to_owned(),
        _ => format!("whose {others} other tensors would be lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::lost;

    #[test]
    fn the_number_of_tensors_that_would_be_lost_is_told() {
        let told = ["whose tensor would", "whose other tensor would", "whose 2 other tensors would"];
        assert_eq!([0, 1, 2].map(lost), told.map(|who| format!("{who} be lost")));
    }
}
