//! The element types of memory. Between a load and a store all arithmetic is `f32`.

use half::{bf16, f16};

use super::simd::{Arithmetic, Floats, PAIR, Pairs, Simd, Vector, WIDTH};
use crate::DType;

/// Two vectors of an instruction set.
pub(super) type PairOf<S> = <<S as Simd>::Pair as Arithmetic>::F32;

/// An element type of memory.
pub(super) trait Element: Copy {
    /// The same as a value.
    const DTYPE: DType;
    /// Zero.
    const ZERO: Self;
    /// The same element where it is a term of a sum: [`load`](Element::load) changes none.
    type Term: Element;

    /// A vector of these elements of an input. An infinite `f16` becomes the largest finite one: one infinity from an earlier
    /// layer must not wipe out the row.
    fn load<S: Simd>(simd: S, from: &[Self; WIDTH]) -> S::F32;

    /// Two vectors of these elements, as [`load`](Element::load) gives them.
    fn load_pair<S: Simd>(simd: S, from: &[Self; PAIR]) -> PairOf<S>;

    /// The same in `f64`.
    #[inline(always)]
    fn widen_pair<S: Simd>(simd: S, from: &[Self; PAIR]) -> <S::Pair as Arithmetic>::F64 {
        Self::load_pair(simd, from).widen()
    }

    /// Stores two vectors, rounded to nearest even, with `stream` past the caches.
    ///
    /// # Safety
    ///
    /// As [`Pairs::store`].
    unsafe fn store_pair<S: Simd>(simd: S, pair: PairOf<S>, to: *mut [Self; PAIR], stream: bool);

    /// Stores the elements rounded to nearest even.
    ///
    /// # Safety
    ///
    /// The memory at `to` may be written and is aligned to an element.
    unsafe fn store(vector: impl Vector, to: *mut [Self; WIDTH]);

    /// Stores the same past the caches.
    ///
    /// # Safety
    ///
    /// As [`Vector::stream`].
    unsafe fn stream(vector: impl Vector, to: *mut [Self; WIDTH]);
}

/// The largest finite `f16`.
pub(super) const LARGEST_F16: f32 = 65504.0;

impl Element for f32 {
    const DTYPE: DType = DType::F32;
    const ZERO: f32 = 0.0;
    type Term = f32;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[f32; WIDTH]) -> S::F32 {
        simd.load(from)
    }

    #[inline(always)]
    fn load_pair<S: Simd>(simd: S, from: &[f32; PAIR]) -> PairOf<S> {
        simd.pair().load(from)
    }

    #[inline(always)]
    unsafe fn store_pair<S: Simd>(simd: S, pair: PairOf<S>, to: *mut [f32; PAIR], stream: bool) {
        // SAFETY: the caller promises what the pair demands.
        unsafe { simd.pair().store(pair, to, stream) }
    }

    #[inline(always)]
    unsafe fn store(vector: impl Vector, to: *mut [f32; WIDTH]) {
        // SAFETY: the caller promises that the memory may be written.
        unsafe { to.write(vector.to_array()) }
    }

    #[inline(always)]
    unsafe fn stream(vector: impl Vector, to: *mut [f32; WIDTH]) {
        // SAFETY: the caller promises what the vector demands.
        unsafe { vector.stream(to) }
    }
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;
    const ZERO: f16 = f16::ZERO;
    type Term = Unclamped;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[f16; WIDTH]) -> S::F32 {
        simd.load_f16(from).clamp(LARGEST_F16)
    }

    #[inline(always)]
    fn load_pair<S: Simd>(simd: S, from: &[f16; PAIR]) -> PairOf<S> {
        simd.pair().load_f16(from).clamp(LARGEST_F16)
    }

    #[inline(always)]
    unsafe fn store_pair<S: Simd>(simd: S, pair: PairOf<S>, to: *mut [f16; PAIR], stream: bool) {
        // SAFETY: the caller promises what the pair demands.
        unsafe { simd.pair().store_f16(pair, to, stream) }
    }

    #[inline(always)]
    unsafe fn store(vector: impl Vector, to: *mut [f16; WIDTH]) {
        // SAFETY: the caller promises that the memory may be written, and nothing else refers to it meanwhile.
        vector.store_f16(unsafe { &mut *to });
    }

    #[inline(always)]
    unsafe fn stream(vector: impl Vector, to: *mut [f16; WIDTH]) {
        // SAFETY: the caller promises what the vector demands.
        unsafe { vector.stream_f16(to) }
    }
}

/// An `f16` whose infinities stay what they are.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Unclamped(f16);

impl Element for Unclamped {
    const DTYPE: DType = DType::F16;
    const ZERO: Unclamped = Unclamped(f16::ZERO);
    type Term = Unclamped;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Unclamped; WIDTH]) -> S::F32 {
        simd.load_f16(&from.map(|Unclamped(element)| element))
    }

    #[inline(always)]
    fn load_pair<S: Simd>(simd: S, from: &[Unclamped; PAIR]) -> PairOf<S> {
        simd.pair().load_f16(&from.map(|Unclamped(element)| element))
    }

    #[inline(always)]
    fn widen_pair<S: Simd>(simd: S, from: &[Unclamped; PAIR]) -> <S::Pair as Arithmetic>::F64 {
        simd.pair().widen_f16(&from.map(|Unclamped(element)| element))
    }

    #[inline(always)]
    unsafe fn store_pair<S: Simd>(simd: S, pair: PairOf<S>, to: *mut [Unclamped; PAIR], stream: bool) {
        // SAFETY: the caller promises what the pair demands.
        unsafe { simd.pair().store_f16(pair, to.cast(), stream) }
    }

    #[inline(always)]
    unsafe fn store(vector: impl Vector, to: *mut [Unclamped; WIDTH]) {
        // SAFETY: the caller promises that the memory may be written, and its elements are `f16` by themselves.
        unsafe { f16::store(vector, to.cast()) }
    }

    #[inline(always)]
    unsafe fn stream(vector: impl Vector, to: *mut [Unclamped; WIDTH]) {
        // SAFETY: the caller promises what the vector demands.
        unsafe { f16::stream(vector, to.cast()) }
    }
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;
    const ZERO: bf16 = bf16::ZERO;
    type Term = bf16;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[bf16; WIDTH]) -> S::F32 {
        simd.load_bf16(from)
    }

    #[inline(always)]
    fn load_pair<S: Simd>(simd: S, from: &[bf16; PAIR]) -> PairOf<S> {
        simd.pair().load_bf16(from)
    }

    #[inline(always)]
    unsafe fn store_pair<S: Simd>(simd: S, pair: PairOf<S>, to: *mut [bf16; PAIR], stream: bool) {
        // SAFETY: the caller promises what the pair demands.
        unsafe { simd.pair().store_bf16(pair, to, stream) }
    }

    #[inline(always)]
    unsafe fn store(vector: impl Vector, to: *mut [bf16; WIDTH]) {
        // SAFETY: the caller promises that the memory may be written, and nothing else refers to it meanwhile.
        vector.store_bf16(unsafe { &mut *to });
    }

    #[inline(always)]
    unsafe fn stream(vector: impl Vector, to: *mut [bf16; WIDTH]) {
        // SAFETY: the caller promises what the vector demands.
        unsafe { vector.stream_bf16(to) }
    }
}
