//! The layout of the file that is written.

use std::cmp::Reverse;
use std::collections::HashMap;

use norm_host::DType;

use super::{DestinationArgs, SinkError};
use crate::apply::input::header::METADATA;
use crate::apply::input::{Entry, Header, Tensor};

/// The positions of the header, the result and the copied tensors in the file that is written.
#[derive(Debug, PartialEq, Eq)]
pub struct FileLayout {
    /// The first bytes.
    pub header: Vec<u8>,
    /// The offset of the result.
    pub result: u64,
    pub result_bytes: u64,
    /// The offset of a second result, if there are two.
    pub second: u64,
    /// The ranges that are copied from the input's file.
    pub copied: Vec<CopyRange>,
    /// The size of the whole file.
    pub bytes: u64,
}

/// A range of bytes that is contiguous in both files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRange {
    pub from: u64,
    pub to: u64,
    pub len: u64,
}

impl FileLayout {
    /// The file that `args` ask for, with a result of the shape of `x` and of `dtype`.
    pub fn of(args: &DestinationArgs, x: &Tensor, dtype: DType) -> Result<FileLayout, SinkError> {
        let name = args.name(x);
        if name == METADATA {
            return Err(SinkError::NameReserved { name: name.to_owned() });
        }
        let bytes = (x.elements() * dtype.size()) as u64;
        let entry =
            Entry { dtype: stored_name(dtype).to_owned(), shape: x.shape.clone(), data_offsets: (0, bytes) };
        let layout = if args.keeps_others() {
            let header = &x.file.header;
            let taken = name != x.name && header.get(name).is_some();
            if taken && !args.force() {
                return Err(SinkError::NameTaken { file: x.file.source.path.clone(), name: name.to_owned() });
            }
            FileLayout::copy(header, name, entry)
        } else {
            let tensors = vec![(name.to_owned(), entry)];
            FileLayout::new(Header { tensors, ..Header::default() }, name, &Header::default())
        };
        layout.map_err(|source| SinkError::Header { path: args.path().1.to_owned(), source })
    }

    /// A file of two results alone, of which the second has the wider elements and is placed first.
    pub fn of_two(
        args: &DestinationArgs,
        (name, entry): (&str, Entry),
        (second, wider): (&str, Entry),
    ) -> Result<FileLayout, SinkError> {
        if name == METADATA {
            return Err(SinkError::NameReserved { name: name.to_owned() });
        }
        let tensors = vec![(second.to_owned(), wider), (name.to_owned(), entry)];
        let layout = FileLayout::new(Header { tensors, ..Header::default() }, name, &Header::default());
        let layout = layout.map_err(|source| SinkError::Header { path: args.path().1.to_owned(), source })?;
        Ok(FileLayout { second: layout.header.len() as u64, ..layout })
    }

    /// A copy of a file in which this tensor replaces the one of the same name, or is added.
    fn copy(old: &Header, name: &str, entry: Entry) -> Result<FileLayout, serde_json::Error> {
        let mut new = Header { metadata: old.metadata.clone(), ..Header::default() };
        new.tensors.clone_from(&old.tensors);
        let same_place = match new.tensors.iter_mut().find(|(other, _)| other == name) {
            Some((_, replaced)) => {
                let same = replaced.bytes() == entry.bytes();
                *replaced = entry;
                same
            }
            None => {
                new.tensors.push((name.to_owned(), entry));
                false
            }
        };
        if !same_place {
            // Wider elements first, as the `safetensors` crate writes them: then each starts at a multiple of
            // its size. Those of unknown size come last. Within a size the order stays.
            new.tensors.sort_by_key(|(_, entry)| Reverse(entry.bits().unwrap_or(0)));
        }
        FileLayout::new(new, name, old)
    }

    /// Places the tensors of `new` one after the other. All but the one called `result` are copied from the file of `old`.
    fn new(mut new: Header, result: &str, old: &Header) -> Result<FileLayout, serde_json::Error> {
        let mut end = 0;
        for (_, entry) in &mut new.tensors {
            let first = end;
            end += entry.bytes();
            entry.data_offsets = (first, end);
        }
        let header = new.to_bytes()?;
        let start = header.len() as u64;
        let mut layout = FileLayout {
            header,
            result: 0,
            result_bytes: 0,
            second: 0,
            copied: Vec::new(),
            bytes: start + end,
        };
        let sources: HashMap<&str, &Entry> =
            old.tensors.iter().map(|(name, entry)| (name.as_str(), entry)).collect();
        for (name, entry) in &new.tensors {
            let to = start + entry.data_offsets.0;
            match sources.get(name.as_str()) {
                Some(source) if name != result => {
                    layout.copy_range(CopyRange {
                        from: old.start + source.data_offsets.0,
                        to,
                        len: entry.bytes(),
                    });
                }
                _ if name == result => (layout.result, layout.result_bytes) = (to, entry.bytes()),
                // A second result.
                _ => {}
            }
        }
        Ok(layout)
    }

    fn copy_range(&mut self, range: CopyRange) {
        match self.copied.last_mut() {
            Some(last) if last.from + last.len == range.from && last.to + last.len == range.to => {
                last.len += range.len
            }
            _ => self.copied.push(range),
        }
    }
}

/// A dtype as safetensors files spell it.
fn stored_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F32 => "F32",
    }
}
