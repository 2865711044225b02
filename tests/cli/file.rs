//! Safetensors files, written and read without the command's own code.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A tensor to write: its name, dtype, shape and bytes.
pub type Entry<'a> = (&'a str, Dtype, &'a [usize], &'a [u8]);

/// Writes a file with the `safetensors` crate.
pub fn write(path: &Path, tensors: &[Entry<'_>]) {
    let views = tensors
        .iter()
        .map(|&(name, dtype, shape, bytes)| (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Writes a file of any header, and the bytes behind it.
pub fn write_raw(path: &Path, header: &str, data: &[u8]) {
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], header.as_bytes(), data].concat()).unwrap();
}

/// The header of a file, and the bytes behind it.
pub fn read_raw(path: &Path) -> (serde_json::Value, Vec<u8>) {
    let file = fs::read(path).unwrap();
    let (length, rest) = file.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).unwrap(), data.to_vec())
}

/// Writes a file of one f32 tensor whose header has an odd length, so that no element is aligned.
pub fn write_unaligned(path: &Path, name: &str, values: &[f32]) {
    let end = size_of_val(values);
    let mut header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{end}]}}}}"#, values.len());
    if header.len().is_multiple_of(2) {
        header.push(' ');
    }
    write_raw(path, &header, &bytes(values));
}

/// The elements of f32 values in memory order.
pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The only tensor of a file: its name, dtype, shape and bytes.
pub fn read(path: &Path) -> (String, Dtype, Vec<usize>, Vec<u8>) {
    let file = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let [name] = tensors.names()[..] else { panic!("{:?}", tensors.names()) };
    let tensor = tensors.tensor(name).unwrap();
    (name.to_owned(), tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
}

/// The only tensor of a file, which is f32.
pub fn read_f32(path: &Path) -> Vec<f32> {
    let (_, dtype, _, bytes) = read(path);
    assert_eq!(dtype, Dtype::F32);
    bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
