//! Elements as bytes, and as f64.

use half::{bf16, f16};
use norm_host::DType;
use norm_host::accuracy::{round_to_bf16, round_to_f16};

/// Writes `values`, rounded once to `dtype`, to the front of `bytes`: the same bytes on every machine.
pub fn write(dtype: DType, bytes: &mut [u8], values: impl Iterator<Item = f64>) {
    let places = bytes.chunks_exact_mut(dtype.size());
    for (place, value) in places.zip(values) {
        match dtype {
            DType::F16 => place.copy_from_slice(&round_to_f16(value).to_ne_bytes()),
            DType::BF16 => place.copy_from_slice(&round_to_bf16(value).to_ne_bytes()),
            DType::F32 => place.copy_from_slice(&(value as f32).to_ne_bytes()),
        }
    }
}

/// The elements in `bytes`, as f64.
pub fn read(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        DType::F16 => words(bytes, |word| f16::from_ne_bytes(word).to_f64()),
        DType::BF16 => words(bytes, |word| bf16::from_ne_bytes(word).to_f64()),
        DType::F32 => words(bytes, |word| f64::from(f32::from_ne_bytes(word))),
    }
}

fn words<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|&word| value(word)).collect()
}

/// The smallest normal number.
pub fn smallest_normal(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => f16::MIN_POSITIVE.to_f64(),
        DType::BF16 => bf16::MIN_POSITIVE.to_f64(),
        DType::F32 => f64::from(f32::MIN_POSITIVE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dtype_has_comes_back() {
        for dtype in DType::ALL {
            let values = [0.0, -1.0, 1.5, f64::INFINITY, -smallest_normal(dtype) / 2.0];
            let mut bytes = vec![0; values.len() * dtype.size()];
            write(dtype, &mut bytes, values.into_iter());
            assert_eq!(read(dtype, &bytes), values);
        }
    }
}
