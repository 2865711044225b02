//! The two loops over the elements of a chunk: [`map`], which writes, and [`sum`], which adds up.
//!
//! The operands of an operation may overlap: `y` may be `x`, and the sum with a residual may be the residual. A `&[f32]` and
//! a `&mut [f32]` may not, so the loops go over [`Source`] and [`Dest`], which may. Each vector is read before it is written.

use std::{array::from_fn, marker::PhantomData};

use super::simd::{Doubles, STREAM_ALIGN, Simd, Vector, WIDTH};

/// `f32` elements to read. Unlike a `&[f32]` they may overlap a [`Dest`].
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    start: *const f32,
    len: usize,
    lifetime: PhantomData<&'a [f32]>,
}

impl<'a> Source<'a> {
    /// The `len` elements at `start`.
    ///
    /// # Safety
    ///
    /// During `'a` they are initialized, aligned, and may be read; no other thread writes them, and this thread writes them
    /// through a [`Dest`] alone.
    #[inline(always)]
    pub(super) unsafe fn new(start: *const f32, len: usize) -> Source<'a> {
        Source { start, len, lifetime: PhantomData }
    }

    /// The elements of a slice.
    #[inline(always)]
    pub(super) fn of(slice: &'a [f32]) -> Source<'a> {
        Source { start: slice.as_ptr(), len: slice.len(), lifetime: PhantomData }
    }

    /// The vector of elements `at` to `at + WIDTH`.
    ///
    /// # Safety
    ///
    /// There are as many.
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, at: usize) -> S::F32 {
        // SAFETY: the elements are initialized, aligned and in range, and nobody writes them while `load` reads them.
        simd.load(unsafe { &*self.start.add(at).cast() })
    }

    /// The elements from `at` on, then zeros.
    ///
    /// # Safety
    ///
    /// `at` is at most the number of elements, and fewer than [`WIDTH`] are left.
    #[inline(always)]
    unsafe fn load_rest<S: Simd>(self, simd: S, at: usize) -> S::F32 {
        let mut array = [0.0; WIDTH];
        // SAFETY: the elements are initialized, aligned and in range, and the array has room for them.
        unsafe { array.as_mut_ptr().copy_from_nonoverlapping(self.start.add(at), self.len - at) };
        simd.load(&array)
    }
}

/// Room for `f32` elements, which may overlap a [`Source`].
#[derive(Clone, Copy)]
pub(super) struct Dest<'a> {
    start: *mut f32,
    len: usize,
    /// Whether stores go past the caches; only where `start` is aligned to [`STREAM_ALIGN`].
    stream: bool,
    lifetime: PhantomData<&'a mut [f32]>,
}

impl<'a> Dest<'a> {
    /// The room for `len` elements at `start`.
    ///
    /// # Safety
    ///
    /// During `'a` the memory may be written and is aligned to an `f32`; no other thread accesses it, and this thread
    /// does through a [`Source`] or a [`Dest`] alone.
    #[inline(always)]
    pub(super) unsafe fn new(start: *mut f32, len: usize) -> Dest<'a> {
        Dest { start, len, stream: false, lifetime: PhantomData }
    }

    /// The room of a slice.
    #[inline(always)]
    pub(super) fn of(slice: &'a mut [f32]) -> Dest<'a> {
        Dest { start: slice.as_mut_ptr(), len: slice.len(), stream: false, lifetime: PhantomData }
    }

    /// The elements of a slice, to be read, and the same to be written.
    #[inline(always)]
    pub(super) fn in_place(slice: &'a mut [f32]) -> (Source<'a>, Dest<'a>) {
        let to = Dest::of(slice);
        (Source { start: to.start, len: to.len, lifetime: PhantomData }, to)
    }

    /// The same room; with `stream`, and where the address allows it, stores go past the caches.
    #[inline(always)]
    pub(super) fn streamed(self, stream: bool) -> Dest<'a> {
        Dest { stream: stream && self.start.addr().is_multiple_of(STREAM_ALIGN), ..self }
    }

    /// Stores `vector` in elements `at` to `at + WIDTH`.
    ///
    /// # Safety
    ///
    /// There is room for as many, and `at` is a multiple of [`WIDTH`].
    #[inline(always)]
    unsafe fn store(self, vector: impl Vector, at: usize) {
        // SAFETY: the memory is in range and may be written. Where `start` is aligned for streaming, every vector is, too.
        unsafe {
            let to = self.start.add(at).cast::<[f32; WIDTH]>();
            match self.stream {
                true => vector.stream(to),
                false => to.write(vector.to_array()),
            }
        }
    }

    /// Stores the first elements of `vector` in the elements from `at` on.
    ///
    /// # Safety
    ///
    /// `at` is at most the number of elements, and fewer than [`WIDTH`] are left.
    #[inline(always)]
    unsafe fn store_rest(self, vector: impl Vector, at: usize) {
        let array = vector.to_array();
        // SAFETY: the memory is in range and may be written, and the array has as many elements.
        unsafe { self.start.add(at).copy_from_nonoverlapping(array.as_ptr(), self.len - at) };
    }
}

/// A function from the elements of `N` operands at one place to the element of the result there.
///
/// A trait instead of a closure because its method can be marked to be inlined: see [`dispatch`](super::dispatch).
pub(super) trait Elementwise<const N: usize>: Copy {
    /// Whether memory is idle while the caches feed the loop, so that the loop fetches what follows the first operand.
    const PREFETCH: bool = false;

    /// The elements of the result.
    fn apply<S: Simd>(self, simd: S, operands: [S::F32; N]) -> S::F32;
}

/// Elements of a cache line.
const CACHE_LINE: usize = 16;

/// How many elements ahead of the output the next input is fetched, at least. The next row lies one row ahead; rows that are
/// shorter than this lie close enough together for the hardware to fetch them, but for the first lines of a page.
const MIN_PREFETCH_DISTANCE: usize = 1024;

/// Writes what `f` makes of the operands to `to`, and gives what was written as an operand for the next loop. All are
/// equally long.
#[inline(always)]
pub(super) fn map<'a, S: Simd, F: Elementwise<N>, const N: usize>(
    simd: S,
    f: F,
    operands: [Source<'_>; N],
    to: Dest<'a>,
) -> Source<'a> {
    let len = to.len;
    assert!(operands.iter().all(|operand| operand.len == len), "operands of one length");
    let distance = len.max(MIN_PREFETCH_DISTANCE);
    let mut vectors = [simd.splat(0.0); N];
    let mut at = 0;
    while at + WIDTH <= len {
        if F::PREFETCH && at % CACHE_LINE == 0 {
            simd.prefetch(operands[0].start.wrapping_add(at + distance));
        }
        for (vector, operand) in vectors.iter_mut().zip(operands) {
            // SAFETY: `at + WIDTH` is at most the length of all.
            *vector = unsafe { operand.load(simd, at) };
        }
        // SAFETY: `at + WIDTH` is at most the length of all, and `at` counts by `WIDTH`.
        unsafe { to.store(f.apply(simd, vectors), at) };
        at += WIDTH;
    }
    if at < len {
        for (vector, operand) in vectors.iter_mut().zip(operands) {
            // SAFETY: `at` is less than the length of all, and fewer than `WIDTH` elements are left.
            *vector = unsafe { operand.load_rest(simd, at) };
        }
        // SAFETY: `at` is less than the length of all, and fewer than `WIDTH` elements are left.
        unsafe { to.store_rest(f.apply(simd, vectors), at) };
    }
    Source { start: to.start, len, lifetime: PhantomData }
}

/// What an element adds to `N` sums.
pub(super) trait Terms<const N: usize>: Copy {
    /// `sums`, and what `x` adds to each.
    fn add<S: Simd>(self, simd: S, sums: [S::F64; N], x: S::F32) -> [S::F64; N];
}

/// Vectors of sums that run side by side, which hides the latency of an addition. Four were no faster where memory sets
/// the pace.
const ACCUMULATORS: usize = 2;

/// The sums of the terms of all elements, in `f64`.
///
/// Of at most 8192 elements a lane adds 512, a row of 2²⁰ elements has 128 such chunks, and each addition is within 2⁻⁵³:
/// each result is within 2⁻⁴³ of the sum of magnitudes. The order depends on the number of elements alone.
#[inline(always)]
pub(super) fn sum<S: Simd, const N: usize>(simd: S, terms: impl Terms<N>, x: Source<'_>) -> [f64; N] {
    let len = x.len;
    let zeros = [simd.zero(); N];
    let mut sums = [zeros; ACCUMULATORS];
    let mut at = 0;
    while at + ACCUMULATORS * WIDTH <= len {
        for (index, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `index` is less than `ACCUMULATORS`, so that the vector ends within `len`.
            *sums = terms.add(simd, *sums, unsafe { x.load(simd, at + index * WIDTH) });
        }
        at += ACCUMULATORS * WIDTH;
    }
    if at + WIDTH <= len {
        // SAFETY: the vector ends within `len`.
        sums[0] = terms.add(simd, sums[0], unsafe { x.load(simd, at) });
        at += WIDTH;
    }
    let [even, odd] = sums;
    let mut totals: [f64; N] = from_fn(|n| even[n].add(odd[n]).total());
    if at < len {
        // SAFETY: `at` is less than `len`, and fewer than `WIDTH` elements are left.
        let rest = terms.add(simd, zeros, unsafe { x.load_rest(simd, at) });
        for (total, rest) in totals.iter_mut().zip(rest) {
            for term in &rest.to_array()[..len - at] {
                *total += term;
            }
        }
    }
    totals
}
