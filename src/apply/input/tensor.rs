//! A tensor in a file, read a piece at a time.

use std::ops::Range;

use norm_host::DType;

use super::checkpoint::{Checkpoint, TensorFile};
use super::{FileId, InputError, TensorRef};
use crate::bytes::AlignedBytes;
use crate::printable;

/// A dense tensor, row-major, in a file.
#[derive(Debug)]
pub struct Tensor {
    pub name: String,
    /// The type of its elements once they are read.
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub file: TensorFile,
    /// The index that led to the file, of a sharded model.
    pub index: Option<FileId>,
    /// Whether the elements are f64 in the file.
    wide: bool,
    /// The offset of the first element in the file.
    start: u64,
}

impl Tensor {
    /// Finds the tensor and its type and shape; reads none of its elements.
    pub fn open(from: &TensorRef) -> Result<Tensor, InputError> {
        let (file, entry, index) = Checkpoint::open(&from.file)?.find(&from.tensor)?;
        let (dtype, wide) = match entry.dtype.as_str() {
            "F16" => (DType::F16, false),
            "BF16" => (DType::BF16, false),
            "F32" => (DType::F32, false),
            "F64" => (DType::F32, true),
            _ => {
                let (file, tensor) = (file.source.path, from.tensor.clone());
                return Err(InputError::Dtype { file, tensor, dtype: entry.dtype });
            }
        };
        let start = file.header.start + entry.data_offsets.0;
        Ok(Tensor { name: from.tensor.clone(), dtype, shape: entry.shape, file, index, wide, start })
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of an element in the file.
    pub fn stored_size(&self) -> usize {
        if self.wide { size_of::<f64>() } else { self.dtype.size() }
    }

    /// The note for the user if elements are rounded as they are read.
    pub fn rounding(&self) -> Option<String> {
        let (file, name) = (printable::path(&self.file.source.path), printable::name(&self.name));
        self.wide.then(|| format!("{file}:{name} is F64: its elements are rounded to f32"))
    }

    /// Resizes `memory` to that many bytes, for elements of this tensor or of the result.
    pub fn hold(&self, memory: &mut AlignedBytes, bytes: usize) -> Result<(), InputError> {
        memory.try_resize(bytes).map_err(|_| {
            let (file, tensor) = (self.file.source.path.clone(), self.name.clone());
            InputError::Memory { file, tensor, bytes }
        })
    }

    /// Reads the elements of `range` into `elements`, aligned, and nothing else.
    pub fn read(&self, range: Range<usize>, elements: &mut AlignedBytes) -> Result<(), InputError> {
        let start = self.start + range.start as u64 * self.stored_size() as u64;
        self.hold(elements, range.len() * self.dtype.size())?;
        if !self.wide {
            return self.file.source.read_exact_at(elements, start);
        }
        let mut stored = AlignedBytes::default();
        self.hold(&mut stored, range.len() * self.stored_size())?;
        self.file.source.read_exact_at(&mut stored, start)?;
        let places = elements.as_chunks_mut().0.iter_mut();
        for ((index, place), word) in range.zip(places).zip(stored.as_chunks().0) {
            let wide = f64::from_le_bytes(*word);
            // One rounding, to nearest even.
            let value = wide as f32;
            if value.is_infinite() && wide.is_finite() {
                let (file, tensor) = (self.file.source.path.clone(), self.name.clone());
                return Err(InputError::OutOfRange { file, tensor, index: index as u64, value: wide });
            }
            *place = value.to_le_bytes();
        }
        Ok(())
    }

    /// All elements.
    pub fn read_all(&self) -> Result<AlignedBytes, InputError> {
        let mut elements = AlignedBytes::default();
        self.read(0..self.elements(), &mut elements)?;
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_file_that_becomes_shorter_is_an_error_and_what_is_left_of_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let header = br#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let length = (header.len() as u64).to_le_bytes();
        let elements = [1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat();
        std::fs::write(&path, [&length[..], header, &elements].concat()).unwrap();
        let tensor = Tensor::open(&TensorRef { file: path.clone(), tensor: "x".to_owned() }).unwrap();
        assert_eq!(*tensor.read_all().unwrap(), elements);

        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 4).unwrap();
        let mut part = AlignedBytes::default();
        tensor.read(0..1, &mut part).unwrap();
        assert_eq!(*part, elements[..4]);
        assert!(matches!(tensor.read_all(), Err(InputError::Truncated { .. })));
    }
}
