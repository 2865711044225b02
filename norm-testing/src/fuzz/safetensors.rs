//! What `norm rms --input FILE:TENSOR` reads: any name, of any file, is a tensor or an error.

use std::io::Write;

use norm::testing::{AlignedBytes, Checkpoint, Tensor, TensorRef};
use norm_host::{Cpu, DType, Norm, Place, View, ViewMut};

/// A tensor's name, a line feed, and the file.
pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(name) = std::str::from_utf8(&data[..end]) else { return };
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&data[end + 1..]).expect("room for it");
    let reference = format!("{}:{name}", file.path().display());
    let Ok(reference) = reference.parse::<TensorRef>() else { return };
    if let Ok(file) = Checkpoint::open(file.path()) {
        // Of an index the files are not there, or are what the fuzzer cannot reach.
        let _ = file.list();
    }
    match Tensor::open(&reference).and_then(|tensor| Ok((tensor.read_all()?, tensor))) {
        Ok((bytes, tensor)) => normalize(&bytes, &tensor),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// As the command does on the CPU.
fn normalize(bytes: &AlignedBytes, tensor: &Tensor) {
    let elements = tensor.shape.iter().product::<usize>();
    assert_eq!(bytes.len(), elements * tensor.dtype.size());
    assert!(bytes.as_ptr().addr().is_multiple_of(tensor.dtype.size()));
    let mut y = AlignedBytes::zeroed(elements * size_of::<f32>());
    let (from, to) = (bytes.as_ptr().expose_provenance(), y.as_mut_ptr().expose_provenance());
    // SAFETY: these are the tensor's own bytes, and `y` has room for as many elements.
    let outcome = unsafe {
        View::from_raw_parts(Place::Host, from as u64, tensor.dtype, &tensor.shape).and_then(|x| {
            let y = ViewMut::from_raw_parts(Place::Host, to as u64, DType::F32, &tensor.shape);
            Norm::rms(1e-6).rows(x, &mut y?, &Cpu)
        })
    };
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}
