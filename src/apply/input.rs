//! Tensors out of safetensors files, memory-mapped.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use memmap2::Mmap;
use norm_host::DType;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::bytes::AlignedBytes;

/// Names that a message about a missing tensor offers.
const NEAR_NAMES: usize = 5;

/// `FILE:TENSOR` as typed. File names may hold colons, tensor names may not: the last one parts
/// the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    pub file: PathBuf,
    pub tensor: String,
}

impl FromStr for TensorRef {
    type Err = InputError;

    fn from_str(text: &str) -> Result<TensorRef, InputError> {
        match text.rsplit_once(':') {
            Some((file, tensor)) if !file.is_empty() && !tensor.is_empty() => {
                Ok(TensorRef { file: file.into(), tensor: tensor.to_owned() })
            }
            _ => Err(InputError::Syntax { given: text.to_owned() }),
        }
    }
}

/// Why a tensor could not be had.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("expected FILE:TENSOR, such as model.safetensors:model.norm.weight, given '{given}'")]
    Syntax { given: String },
    #[error("cannot open {}: {source}", file.display())]
    Open { file: PathBuf, source: io::Error },
    #[error("cannot map {} into memory: {source}", file.display())]
    Map { file: PathBuf, source: io::Error },
    #[error("{} is not a safetensors file: {source}", file.display())]
    NotSafetensors { file: PathBuf, source: SafeTensorError },
    #[error("{} has no tensor '{tensor}'; {}", file.display(), offer(near, *count))]
    NoTensor { file: PathBuf, tensor: String, near: Vec<String>, count: usize },
    #[error("{}:{tensor} is of dtype {dtype}; expected F16, BF16 or F32", file.display())]
    Dtype { file: PathBuf, tensor: String, dtype: Dtype },
}

/// What to say about the `count` tensors a file has, `near` being the likeliest meant.
fn offer(near: &[String], count: usize) -> String {
    match near {
        [] => "it has none at all".to_owned(),
        _ if near.len() == count => format!("it has: {}", near.join(", ")),
        _ => format!("nearest of its {count}: {}", near.join(", ")),
    }
}

/// A dense tensor in host memory, aligned to its element.
pub struct Tensor {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    bytes: Bytes,
}

/// Where a tensor's bytes are.
enum Bytes {
    /// In the file.
    Mapped { map: Mmap, range: Range<usize> },
    /// Copied, because the file keeps them where no element may start: headers need not have
    /// an even length.
    Copied(AlignedBytes),
}

impl Tensor {
    pub fn load(from: &TensorRef) -> Result<Tensor, InputError> {
        let file = &from.file;
        let map = map(file)?;
        let tensors = SafeTensors::deserialize(&map)
            .map_err(|source| InputError::NotSafetensors { file: file.clone(), source })?;
        let tensor = tensors.tensor(&from.tensor).map_err(|_| InputError::NoTensor {
            file: file.clone(),
            tensor: from.tensor.clone(),
            near: nearest(&from.tensor, tensors.names()),
            count: tensors.len(),
        })?;
        let dtype = match tensor.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            dtype => {
                let (file, tensor) = (file.clone(), from.tensor.clone());
                return Err(InputError::Dtype { file, tensor, dtype });
            }
        };
        let shape = tensor.shape().to_vec();
        let data = tensor.data();
        let bytes = if data.as_ptr().addr().is_multiple_of(dtype.size()) {
            let start = data.as_ptr().addr() - map.as_ptr().addr();
            let range = start..start + data.len();
            Bytes::Mapped { map, range }
        } else {
            Bytes::Copied(AlignedBytes::copy_of(data))
        };
        Ok(Tensor { name: from.tensor.clone(), dtype, shape, bytes })
    }

    /// Its elements, row-major, as they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped { map, range } => &map[range.clone()],
            Bytes::Copied(bytes) => bytes,
        }
    }
}

fn map(path: &Path) -> Result<Mmap, InputError> {
    let file =
        File::open(path).map_err(|source| InputError::Open { file: path.to_owned(), source })?;
    // SAFETY: the map is only read, and by this program's own rename of a result onto its path it
    // loses its name but not its contents. Another program that cuts the file short or writes
    // into it meanwhile can end this process or garble its result, which is the understanding
    // under which every reader of model files maps them.
    unsafe { Mmap::map(&file) }
        .map_err(|source| InputError::Map { file: path.to_owned(), source })
}

/// The few of `names` that look most like `wanted`, likeliest first.
fn nearest(wanted: &str, names: Vec<&str>) -> Vec<String> {
    let mut ranked: Vec<(f64, &str)> =
        names.into_iter().map(|name| (strsim::jaro_winkler(wanted, name), name)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.into_iter().take(NEAR_NAMES).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_parts_file_and_tensor() {
        let parsed: TensorRef = "a:b/c.safetensors:model.norm.weight".parse().unwrap();
        assert_eq!(parsed.file, Path::new("a:b/c.safetensors"));
        assert_eq!(parsed.tensor, "model.norm.weight");
    }

    #[test]
    fn both_parts_must_be_there() {
        for text in ["", "file", "file:", ":tensor", ":"] {
            assert!(matches!(text.parse::<TensorRef>(), Err(InputError::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn the_likeliest_name_comes_first() {
        let names = vec!["lm_head", "layers.0.norm.weight", "layers.0.norm.bias", "embed"];
        assert_eq!(nearest("layer.0.norm.weight", names)[0], "layers.0.norm.weight");
    }
}
