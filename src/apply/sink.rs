//! Writing a safetensors file: it appears whole or not at all, and replaces no file unless told to.

mod destination;
mod error;
mod layout;
mod progress;
mod temporary_file;

use std::io;
use std::os::unix::fs::FileExt;

use indicatif::ProgressBar;

pub use destination::{Destination, DestinationArgs};
pub use error::SinkError;
pub use layout::FileLayout;
use temporary_file::TemporaryFile;

use crate::apply::input::SourceFile;
use crate::failure::Failure;

/// Bytes that are copied at a time.
const COPY: usize = 8 << 20;

/// The file that is being written, under a temporary name. If it is dropped before [`Sink::finish`], the file is removed.
pub struct Sink {
    temporary: TemporaryFile,
    destination: Destination,
    layout: FileLayout,
    /// Bytes of the result that have been written.
    written: u64,
    bar: ProgressBar,
}

impl Sink {
    /// Creates the file, reserves room for all of it, and writes its header, so that a folder without write access or
    /// a full disk is reported before any work is done.
    pub fn create(destination: Destination, layout: FileLayout) -> Result<Sink, SinkError> {
        let temporary = TemporaryFile::create(&destination.path)?;
        let bar = progress::bar(layout.bytes);
        let sink = Sink { temporary, destination, layout, written: 0, bar };
        let reserved = sink.temporary.reserve(sink.layout.bytes);
        reserved
            .and_then(|()| sink.temporary.file().write_all_at(&sink.layout.header, 0))
            .map_err(|source| sink.failed(source))?;
        Ok(sink)
    }

    /// Writes the next rows of the result.
    pub fn append(&mut self, rows: &[u8]) -> Result<(), SinkError> {
        self.write(rows, self.layout.result + self.written)?;
        self.written += rows.len() as u64;
        Ok(())
    }

    /// Writes the second result, all of it.
    pub fn write_second(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.write(bytes, self.layout.second)
    }

    fn write(&self, bytes: &[u8], start: u64) -> Result<(), SinkError> {
        self.temporary.file().write_all_at(bytes, start).map_err(|source| self.failed(source))?;
        self.bar.inc(bytes.len() as u64);
        Ok(())
    }

    /// Copies the other tensors of `source` that belong in the file.
    pub fn copy_others(&mut self, source: &SourceFile) -> Result<(), Failure> {
        let mut piece = Vec::new();
        for range in &self.layout.copied {
            for done in (0..range.len).step_by(COPY) {
                piece.resize((range.len - done).min(COPY as u64) as usize, 0);
                source.read_exact_at(&mut piece, range.from + done)?;
                self.write(&piece, range.to + done)?;
            }
        }
        Ok(())
    }

    /// Gives the file its final name, which is returned as the user gave it.
    pub fn finish(self) -> Result<String, SinkError> {
        debug_assert_eq!(self.written, self.layout.result_bytes);
        self.temporary.file().sync_all().map_err(|source| self.failed(source))?;
        self.bar.finish_and_clear();
        self.temporary.persist(&self.destination)?;
        Ok(self.destination.given.display().to_string())
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::writing(&self.destination.given, self.layout.bytes, source)
    }
}
