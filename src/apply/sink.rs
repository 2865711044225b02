//! A safetensors file that appears whole or not at all, and never in place of one that was not to be replaced.

mod destination;
mod error;
mod layout;
mod part;
mod progress;

use std::io;
use std::os::unix::fs::FileExt;

use indicatif::ProgressBar;

pub use destination::{Destination, DestinationArgs};
pub use error::SinkError;
pub use layout::Layout;
use part::Part;

use crate::apply::input::SourceFile;
use crate::failure::Failure;

/// Bytes that are copied in one go.
const COPY: usize = 8 << 20;

/// The file that is being written, under a temporary name. Dropped before [`Sink::finish`], it is gone.
pub struct Sink {
    part: Part,
    destination: Destination,
    layout: Layout,
    /// Bytes of the result that have been written.
    written: u64,
    bar: ProgressBar,
}

impl Sink {
    /// Creates the file, reserves room for all of it, and writes its header: a folder that cannot be written to, or
    /// a disk without room, shows before any work is done.
    pub fn create(destination: Destination, layout: Layout) -> Result<Sink, SinkError> {
        let part = Part::create(&destination.path)?;
        let bar = progress::bar(layout.bytes);
        let sink = Sink { part, destination, layout, written: 0, bar };
        let reserved = sink.part.reserve(sink.layout.bytes);
        reserved
            .and_then(|()| sink.part.file().write_all_at(&sink.layout.header, 0))
            .map_err(|source| sink.failed(source))?;
        Ok(sink)
    }

    /// Writes the next rows of the result.
    pub fn append(&mut self, rows: &[u8]) -> Result<(), SinkError> {
        self.write(rows, self.layout.result + self.written)?;
        self.written += rows.len() as u64;
        Ok(())
    }

    fn write(&self, bytes: &[u8], start: u64) -> Result<(), SinkError> {
        self.part.file().write_all_at(bytes, start).map_err(|source| self.failed(source))?;
        self.bar.inc(bytes.len() as u64);
        Ok(())
    }

    /// Copies the tensors of `source` that the file is to have beside the result.
    pub fn copy_others(&mut self, source: &SourceFile) -> Result<(), Failure> {
        let mut piece = Vec::new();
        for run in &self.layout.copied {
            for done in (0..run.len).step_by(COPY) {
                piece.resize((run.len - done).min(COPY as u64) as usize, 0);
                source.read_exact_at(&mut piece, run.from + done)?;
                self.write(&piece, run.to + done)?;
            }
        }
        Ok(())
    }

    /// Gives the file its name, which is returned as it was asked for.
    pub fn finish(self) -> Result<String, SinkError> {
        debug_assert_eq!(self.written, self.layout.result_bytes);
        self.part.file().sync_all().map_err(|source| self.failed(source))?;
        self.bar.finish_and_clear();
        self.part.settle(&self.destination)?;
        Ok(self.destination.given.display().to_string())
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::writing(&self.destination.given, self.layout.bytes, source)
    }
}
