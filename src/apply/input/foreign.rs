//! Recognition of files of other formats by their first bytes.

use std::fmt;

use super::{InputError, SourceFile};

/// The number of first bytes that distinguish the formats, with the first name of a ZIP archive.
const FIRST: u64 = 512;

/// A format that people may have in place of safetensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    Empty,
    LfsPointer,
    Gguf,
    PyTorchZip,
    Npz,
    Zip,
    Pickle,
    Npy,
    Hdf5,
    Html,
    Json,
}

impl Foreign {
    /// What `file` is, where it is a known kind. Only for files whose header could not be read: some
    /// safetensors files start as a pickle does.
    pub fn recognize(file: &SourceFile) -> Result<Option<Foreign>, InputError> {
        Ok(Foreign::of(&file.read_some_at(FIRST, 0)?))
    }

    fn of(first: &[u8]) -> Option<Foreign> {
        let has = |part: &[u8]| first.windows(part.len()).any(|window| window == part);
        let trimmed = first.trim_ascii_start();
        let html = trimmed.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"<!doctype"))
            || trimmed.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"<html"));
        Some(match first {
            [] => Foreign::Empty,
            _ if first.starts_with(b"version https://git-lfs.github.com/spec/") => Foreign::LfsPointer,
            [b'G', b'G', b'U', b'F', ..] => Foreign::Gguf,
            // PyTorch's archives start with `NAME/data.pkl` (or, in TorchScript, have it further on).
            [b'P', b'K', 3, 4, ..] if has(b"/data.pkl") => Foreign::PyTorchZip,
            [b'P', b'K', 3, 4, ..] if has(b".npy") => Foreign::Npz,
            [b'P', b'K', 3, 4, ..] => Foreign::Zip,
            [0x80, 2..=5, ..] => Foreign::Pickle,
            _ if first.starts_with(b"\x93NUMPY") => Foreign::Npy,
            _ if first.starts_with(b"\x89HDF\r\n\x1a\n") => Foreign::Hdf5,
            _ if html => Foreign::Html,
            _ if is_json(first) => Foreign::Json,
            _ => return None,
        })
    }
}

/// Whether a file that starts so is JSON. A safetensors file is not: the upper bytes of its header's length are zero.
pub fn is_json(first: &[u8]) -> bool {
    let start = &first[..first.len().min(8)];
    !start.contains(&0) && first.trim_ascii_start().starts_with(b"{")
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SAVE: &str =
            "safetensors.torch.save_file(tensors, 'model.safetensors') in Python writes a safetensors file";
        match self {
            Foreign::Empty => write!(f, "an empty file: fetch it anew"),
            Foreign::LfsPointer => {
                write!(f, "a Git LFS pointer, in the place of the file itself: `git lfs pull` fetches that")
            }
            Foreign::Gguf => {
                write!(f, "a GGUF file: take the safetensors files of the model that it was converted from")
            }
            Foreign::PyTorchZip => write!(
                f,
                "a PyTorch checkpoint (a ZIP archive with a pickle): load it by \
                torch.load(file, weights_only=True); {SAVE}"
            ),
            Foreign::Npz => write!(
                f,
                "a NumPy archive (.npz): safetensors.numpy.save_file(dict(numpy.load(file)), \
                'model.safetensors') in Python writes a safetensors file"
            ),
            Foreign::Zip => write!(
                f,
                "a ZIP archive: unpack it, or, if it is a PyTorch checkpoint, load it by \
                torch.load(file, weights_only=True); {SAVE}"
            ),
            Foreign::Pickle => write!(
                f,
                "a Python pickle, as PyTorch checkpoints were: load it by \
                torch.load(file, weights_only=True); {SAVE}"
            ),
            Foreign::Npy => write!(
                f,
                "a NumPy array (.npy): safetensors.numpy.save_file({{'x': numpy.load(file)}}, \
                'model.safetensors') in Python writes a safetensors file"
            ),
            Foreign::Hdf5 => {
                write!(f, "an HDF5 file, as Keras writes: save its tensors as a safetensors file")
            }
            Foreign::Html => {
                write!(f, "a page of HTML, as a download that failed leaves: fetch the file anew")
            }
            Foreign::Json => write!(
                f,
                "JSON without a `weight_map`: of JSON files only a sharded model's index, \
                such as model.safetensors.index.json, leads to tensors"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_a_file_is() {
        for (first, expected) in [
            (&b""[..], Some(Foreign::Empty)),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", Some(Foreign::LfsPointer)),
            (b"GGUF\x03\0\0\0", Some(Foreign::Gguf)),
            (b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl", Some(Foreign::PyTorchZip)),
            (b"PK\x03\x04\0\0\x08\x08\0\0x.npy", Some(Foreign::Npz)),
            (b"PK\x03\x04\0\0\x08\x08\0\0photo.jpg", Some(Foreign::Zip)),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", Some(Foreign::Pickle)),
            (b"\x93NUMPY\x01\0", Some(Foreign::Npy)),
            (b"\x89HDF\r\n\x1a\n", Some(Foreign::Hdf5)),
            (b"\n<!DOCTYPE html>", Some(Foreign::Html)),
            (b"<html>", Some(Foreign::Html)),
            (b" {\"a\": 1}", Some(Foreign::Json)),
            (b"{}", Some(Foreign::Json)),
            (b"{\x01\0\0\0\0\0\0{", None),
            (b"no tensors here", None),
        ] {
            assert_eq!(Foreign::of(first), expected, "{}", String::from_utf8_lossy(first));
        }
    }
}
