//! A chunk of a row in `f32`, on its way from memory and back.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use half::{bf16, f16};

use super::{
    chunk::CHUNK,
    convert::{narrow_bf16, narrow_f16, widen_bf16, widen_f16},
    element::LARGEST_F16,
    loops::{Dest, Source},
    round::add_and_round,
    row::Span,
    simd::Simd,
};
use crate::DType;

/// What becomes of 16-bit elements on their way to `f32`.
#[derive(Clone, Copy)]
pub(super) struct Widening {
    /// Elements of `f16` are limited to ± this; NaN stays NaN.
    limit: f32,
    /// This is added, and the sum is rounded to the elements' type.
    offset: Option<f32>,
}

impl Widening {
    /// Elements stay what they are.
    pub(super) const EXACT: Widening = Widening { limit: f32::INFINITY, offset: None };

    /// An infinite `f16` becomes the largest finite one: one infinity from an earlier layer must not wipe out the row.
    pub(super) const INPUT: Widening = Widening { limit: LARGEST_F16, offset: None };

    /// This is added, if there is something.
    #[inline(always)]
    pub(super) fn with_offset(offset: Option<f32>) -> Widening {
        Widening { offset, ..Widening::EXACT }
    }
}

/// Room for a chunk of a 16-bit type, converted to `f32`.
pub(super) struct Widened {
    values: Vec<f32>,
    /// Which elements `values` holds: of which span, and from which element on.
    source: Option<(Span, usize)>,
}

impl Widened {
    pub(super) fn new() -> Widened {
        Widened { values: vec![0.0; CHUNK], source: None }
    }

    /// Lets the next [`read`](Widened::read) go to memory, which may have changed.
    pub(super) fn invalidate(&mut self) {
        self.source = None;
    }

    /// Elements `from` to `from + len` of `span`, at most [`CHUNK`]: where they lie if they are `f32`, else converted, unless
    /// that has been done already.
    ///
    /// Until [`invalidate`](Widened::invalidate), `len` and `widening` are the same for the same `span` and `from`.
    ///
    /// # Safety
    ///
    /// During `'s` the elements are initialized and may be read; no other thread writes them, and this thread writes them
    /// through a [`Dest`] alone.
    #[inline(always)]
    pub(super) unsafe fn read<'s, S: Simd>(
        &'s mut self,
        simd: S,
        span: Span,
        from: usize,
        len: usize,
        widening: Widening,
    ) -> Source<'s> {
        let address = span.at(from);
        if span.dtype == DType::F32 {
            // SAFETY: the caller promises for these elements what `Source::new` demands.
            return unsafe { Source::new(elements(address), len) };
        }
        let values = &mut self.values[..len];
        if self.source != Some((span, from)) {
            // SAFETY: the caller promises that the elements may be read, and nothing is written while they are converted.
            unsafe {
                match span.dtype {
                    DType::F16 => {
                        widen_f16(simd, from_raw_parts(elements::<f16>(address), len), values, widening.limit)
                    }
                    _ => widen_bf16(from_raw_parts(elements::<bf16>(address), len), values),
                }
            }
            if let Some(offset) = widening.offset {
                let (values, to) = Dest::in_place(values);
                add_and_round(simd, values, offset, span.dtype, to);
            }
            self.source = Some((span, from));
        }
        Source::of(&self.values[..len])
    }
}

/// Rounds `values`, to nearest even, into elements `from` on of `span`, unless those are `f32` and were written to their
/// place.
///
/// # Safety
///
/// The elements may be written, and nobody else accesses them meanwhile.
#[inline(always)]
pub(super) unsafe fn narrow<S: Simd>(simd: S, values: &[f32], span: Span, from: usize) {
    let (address, len) = (span.at(from), values.len());
    // SAFETY: the caller promises that the elements may be written, and that nobody else accesses them.
    unsafe {
        match span.dtype {
            DType::F32 => {}
            DType::F16 => narrow_f16(simd, values, from_raw_parts_mut(elements_mut(address), len)),
            DType::BF16 => narrow_bf16(values, from_raw_parts_mut(elements_mut(address), len)),
        }
    }
}

/// A pointer to the elements at an address, whose provenance views expose.
#[inline(always)]
pub(super) fn elements<E>(address: usize) -> *const E {
    std::ptr::with_exposed_provenance(address)
}

/// The same to write.
#[inline(always)]
pub(super) fn elements_mut<E>(address: usize) -> *mut E {
    std::ptr::with_exposed_provenance_mut(address)
}
