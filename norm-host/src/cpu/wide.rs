//! Part of a row in `f32`, on its way from memory and back.

use half::{bf16, f16};

use super::{
    convert::{narrow_bf16, narrow_f16, widen_bf16, widen_f16},
    line::Run,
    part::PART,
    round::add_and_round,
    vector::Vector,
};
use crate::DType;

/// Room for up to [`PART`] neighbouring elements.
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

    /// Elements `from` to `from + len` of `run`: where they lie if they are `f32`, and else in memory
    /// of their own, converted unless they are here already. Those of `f16` are kept within ±`limit`,
    /// but for NaN. `len` is at most [`PART`], and `len` and `limit` are the same for the same `run`
    /// and `from`.
    ///
    /// # Safety
    ///
    /// They are there, initialized, and nobody writes them meanwhile. Those where they lie must not
    /// be read once they have been written. The machine has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn read<V: Vector>(
        &mut self,
        run: Run,
        from: usize,
        len: usize,
        limit: f32,
    ) -> *const f32 {
        // SAFETY: as for this function.
        unsafe { self.read_sum::<V>(run, from, len, limit, None) }
    }

    /// [`read`](Wide::read), with a number added to the elements, and the sums rounded to their type; only to
    /// elements of 16 bits. It is the same for the same `run` and `from`.
    ///
    /// # Safety
    ///
    /// As for [`read`](Wide::read).
    #[inline(always)]
    pub(super) unsafe fn read_sum<V: Vector>(
        &mut self,
        run: Run,
        from: usize,
        len: usize,
        limit: f32,
        added: Option<f32>,
    ) -> *const f32 {
        let address = run.at(from);
        if run.dtype == DType::F32 {
            return elements(address);
        }
        let to = &mut self.values[..len];
        if self.source != Some((run, from)) {
            // SAFETY: the caller vouches for `len` elements of this type at this address.
            unsafe {
                match run.dtype {
                    DType::F16 => widen_f16::<V>(slice::<f16>(address, len), to, limit),
                    _ => widen_bf16(slice::<bf16>(address, len), to),
                }
                if let Some(added) = added {
                    add_and_round::<V>(to, added, run.dtype);
                }
            }
            self.source = Some((run, from));
        }
        to.as_ptr()
    }
}

/// Rounds `values`, to nearest even, into elements `from` on of `run`, unless those are `f32` and
/// were written where they lie.
///
/// # Safety
///
/// They are there, and nobody else reads or writes them meanwhile. The machine has the instructions
/// of `V`.
#[inline(always)]
pub(super) unsafe fn narrow<V: Vector>(values: &[f32], run: Run, from: usize) {
    let (address, len) = (run.at(from), values.len());
    // SAFETY: the caller vouches for `len` elements of this type at this address.
    unsafe {
        match run.dtype {
            DType::F32 => {}
            DType::F16 => narrow_f16::<V>(values, slice_mut(address, len)),
            DType::BF16 => narrow_bf16(values, slice_mut(address, len)),
        }
    }
}

/// The elements at an address, whose provenance views expose.
#[inline(always)]
pub(super) fn elements<E>(address: usize) -> *const E {
    std::ptr::with_exposed_provenance(address)
}

/// The same to write.
#[inline(always)]
pub(super) fn elements_mut<E>(address: usize) -> *mut E {
    std::ptr::with_exposed_provenance_mut(address)
}

/// # Safety
///
/// As for [`std::slice::from_raw_parts`], for a lifetime of the caller's choice.
#[inline(always)]
unsafe fn slice<'a, E>(address: usize, len: usize) -> &'a [E] {
    // SAFETY: handed on.
    unsafe { std::slice::from_raw_parts(elements(address), len) }
}

/// # Safety
///
/// As for [`std::slice::from_raw_parts_mut`], for a lifetime of the caller's choice; but what is
/// there may be uninitialized where the caller only writes.
#[inline(always)]
unsafe fn slice_mut<'a, E>(address: usize, len: usize) -> &'a mut [E] {
    // SAFETY: handed on.
    unsafe { std::slice::from_raw_parts_mut(elements_mut(address), len) }
}
