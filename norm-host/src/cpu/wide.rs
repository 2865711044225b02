//! Part of a row in `f32`, on its way from memory and back.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::line::Run;
use crate::DType;

/// Elements worked on at a time: what most rows have, so that they are converted once, and
/// little enough for three such parts to stay in the second-level cache.
pub(super) const PART: usize = 8192;

/// Up to [`PART`] neighbouring elements.
pub(super) struct Wide {
    values: Vec<f32>,
    /// Which elements `values` are, from which on.
    source: Option<(Run, usize)>,
}

impl Wide {
    /// Room for a part.
    pub(super) fn new() -> Wide {
        Wide { values: vec![0.0; PART], source: None }
    }

    /// Lets the next [`read`](Wide::read) go to memory, which may have changed.
    pub(super) fn forget(&mut self) {
        self.source = None;
    }

    /// Elements `from` to `from + len` of `run` through `as_seen`, unless they are here already.
    ///
    /// `len` is at most [`PART`], and the same for the same `run` and `from`.
    ///
    /// # Safety
    ///
    /// They are there, initialized, and nobody writes them meanwhile.
    #[inline(always)]
    pub(super) unsafe fn read(
        &mut self,
        run: Run,
        from: usize,
        len: usize,
        as_seen: impl Fn(&mut [f32]),
    ) -> &mut [f32] {
        let to = &mut self.values[..len];
        if self.source == Some((run, from)) {
            return to;
        }
        let address = run.at(from);
        // SAFETY: the caller vouches for `len` elements of this type at this address, whose
        // provenance views expose.
        unsafe {
            match run.dtype {
                DType::F32 => to.copy_from_slice(elements(address, len)),
                DType::F16 => elements::<f16>(address, len).convert_to_f32_slice(to),
                DType::BF16 => {
                    for (to, from) in to.iter_mut().zip(elements::<bf16>(address, len)) {
                        *to = f32::from_bits(u32::from(from.to_bits()) << 16);
                    }
                }
            }
        }
        as_seen(to);
        self.source = Some((run, from));
        to
    }

    /// Rounds the first `len` elements, to nearest even, into elements `from` on of `run`.
    ///
    /// # Safety
    ///
    /// They are there, and nobody else reads or writes them meanwhile.
    #[inline(always)]
    pub(super) unsafe fn write(&self, run: Run, from: usize, len: usize) {
        let values = &self.values[..len];
        let address = run.at(from);
        // SAFETY: as in `read`, and nobody else holds a reference to them.
        unsafe {
            match run.dtype {
                DType::F32 => elements_mut(address, len).copy_from_slice(values),
                DType::F16 => elements_mut::<f16>(address, len).convert_from_f32_slice(values),
                DType::BF16 => {
                    for (to, value) in elements_mut(address, len).iter_mut().zip(values) {
                        *to = bf16::from_f32(*value);
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// As for [`std::slice::from_raw_parts`], for a lifetime of the caller's choice.
#[inline(always)]
unsafe fn elements<'a, E>(address: usize, len: usize) -> &'a [E] {
    // SAFETY: handed on.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(address), len) }
}

/// # Safety
///
/// As for [`std::slice::from_raw_parts_mut`], for a lifetime of the caller's choice; but what is
/// there may be uninitialized where the caller only writes.
#[inline(always)]
unsafe fn elements_mut<'a, E>(address: usize, len: usize) -> &'a mut [E] {
    // SAFETY: handed on.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(address), len) }
}
