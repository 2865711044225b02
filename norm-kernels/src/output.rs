//! y's elements, whose type is left open: all that depends on it is a pseudo-instruction that the host expands.

use crate::gpu::pseudo;

/// Stores `N` elements, 4 or 8, rounded to nearest even.
///
/// # Safety
/// `address` is that of so many writable elements of y in global memory, aligned to all of them or 16 bytes.
#[inline(always)]
pub unsafe fn store_vector<const N: usize>(address: u64, values: [f32; N]) {
    // SAFETY: the caller keeps the elements in memory, aligned to the vector.
    unsafe {
        match N {
            4 => pseudo::st_y_v4(address, [values[0], values[1], values[2], values[3]]),
            _ => pseudo::st_y_v8(address, core::array::from_fn(|i| values[i])),
        }
    }
}

/// Loads `N` elements, 4 or 8, where `wanted`, else gives zeros.
///
/// # Safety
/// Where `wanted`, `address` is that of so many readable elements of y in global memory, aligned to all of them or
/// 16 bytes.
#[inline(always)]
pub unsafe fn load_vector<const N: usize>(address: u64, wanted: bool) -> [f32; N] {
    let mut values = [0.0; N];
    // SAFETY: the caller keeps the elements in memory, aligned to the vector.
    unsafe {
        match N {
            4 => values.copy_from_slice(&pseudo::ld_y_v4(address, wanted)),
            _ => values.copy_from_slice(&pseudo::ld_y_v8(address, wanted)),
        }
    }
    values
}

pub use pseudo::{bytes_y as bytes, ld_y as load, offset_y as offset, st_y as store};
