//! Host memory that is aligned for any tensor.

use std::collections::TryReserveError;
use std::ops::{Deref, DerefMut};

/// Bytes aligned to 16, the widest access of any kernel.
#[derive(Clone, Debug, Default)]
pub struct AlignedBytes {
    blocks: Vec<u128>,
    len: usize,
}

impl AlignedBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> AlignedBytes {
        AlignedBytes { blocks: vec![0; len.div_ceil(size_of::<u128>())], len }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> AlignedBytes {
        let mut copy = AlignedBytes::zeroed(bytes.len());
        copy.copy_from_slice(bytes);
        copy
    }

    /// Resizes to `len` bytes, without an allocation if the capacity suffices. Existing bytes are kept; new ones are
    /// initialized to unspecified values. It is an error if there is not enough memory.
    pub fn try_resize(&mut self, len: usize) -> Result<(), TryReserveError> {
        let blocks = len.div_ceil(size_of::<u128>());
        self.blocks.try_reserve_exact(blocks.saturating_sub(self.blocks.len()))?;
        self.blocks.resize(blocks, 0);
        self.len = len;
        Ok(())
    }

    /// Resizes to `len` bytes of `value`, without an allocation if the capacity suffices.
    pub fn refill(&mut self, len: usize, value: u8) {
        self.blocks.clear();
        self.blocks.resize(len.div_ceil(size_of::<u128>()), u128::from_ne_bytes([value; 16]));
        self.len = len;
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_any_length_at_an_aligned_address() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let source: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut bytes = AlignedBytes::copy_of(&source);
            assert_eq!(&*bytes, &*source);
            assert_eq!(bytes.as_ptr() as usize % 16, 0);
            bytes.refill(len / 2, 0xa5);
            assert_eq!(&*bytes, vec![0xa5; len / 2]);
            bytes.try_resize(len + 1).unwrap();
            assert_eq!(bytes.len(), len + 1);
            assert_eq!(bytes[..len / 2], vec![0xa5; len / 2]);
            bytes.try_resize(usize::MAX).expect_err("no machine has as much");
            assert_eq!(bytes.len(), len + 1);
        }
    }
}
