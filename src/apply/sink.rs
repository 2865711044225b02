//! A safetensors file that appears whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use norm_host::DType;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use tempfile::NamedTempFile;

/// A header's length is a multiple of this, so that the elements behind it are aligned.
const HEADER_ALIGN: usize = 8;

/// Why the result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot write {}: it is there and no file, which a result could replace", path.display())]
    NotAFile { path: PathBuf },
    #[error("cannot write {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot describe the tensor for {}: {source}", path.display())]
    Header { path: PathBuf, source: SafeTensorError },
}

/// A file under a temporary name in the folder of the file it is to become. Dropped before
/// [`Sink::finish`], it is gone.
pub struct Sink {
    file: NamedTempFile,
    path: PathBuf,
}

impl Sink {
    /// Opens the temporary file: a folder that cannot be written to shows before any work is done.
    pub fn create(path: &Path) -> Result<Sink, SinkError> {
        // A rename would put a file in the place of a device such as /dev/null.
        if path.exists() && !path.is_file() {
            return Err(SinkError::NotAFile { path: path.to_owned() });
        }
        // Where there is a link, the file that it leads to is replaced, not the link.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".norm-").suffix(".part");
        // A temporary file is private unless told otherwise; a result has the rights of any
        // new file, which is these less the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file =
            builder.tempfile_in(folder).map_err(|source| SinkError::Io { path: path.to_owned(), source })?;
        Ok(Sink { file, path: path.to_owned() })
    }

    /// Writes the file with its one tensor and gives it its name.
    pub fn finish(
        mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<(), SinkError> {
        let header = header(name, dtype, shape, bytes.len())
            .map_err(|source| SinkError::Header { path: self.path.clone(), source })?;
        let written = self
            .file
            .write_all(&(header.len() as u64).to_le_bytes())
            .and_then(|()| self.file.write_all(&header))
            .and_then(|()| self.file.write_all(bytes))
            .and_then(|()| self.file.as_file().sync_all());
        let path = self.path;
        written.map_err(|source| SinkError::Io { path: path.clone(), source })?;
        let persisted = self.file.persist(&path);
        persisted.map(drop::<fs::File>).map_err(|error| SinkError::Io { path, source: error.error })
    }
}

/// The JSON in front of the elements, padded with spaces.
fn header(name: &str, dtype: DType, shape: &[usize], bytes: usize) -> Result<Vec<u8>, SafeTensorError> {
    let dtype = match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
    };
    let info = TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (0, bytes) };
    let metadata = Metadata::new(None, vec![(name.to_owned(), info)])?;
    let mut header = serde_json::to_vec(&metadata).map_err(SafeTensorError::JsonError)?;
    header.resize(header.len().next_multiple_of(HEADER_ALIGN), b' ');
    Ok(header)
}
