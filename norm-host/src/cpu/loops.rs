//! The two loops over the elements of a chunk: [`map`], which writes, and [`sum`], which adds up.
//!
//! The operands of an operation may overlap: `y` may be `x`, and the sum with a residual may be the residual. A `&[f32]` and
//! a `&mut [f32]` may not, so the loops go over [`Source`] and [`Dest`], which may. Each vector is read before it is written.

use std::marker::PhantomData;

use super::{
    chunk::CHUNK,
    element::{Element, PairOf},
    simd::{Arithmetic, Doubles, Floats, PAIR, Pairs, STREAM_ALIGN, Simd, Total, Vector, WIDTH},
    sum::Center,
};

/// Elements to read. Unlike a slice they may overlap a [`Dest`].
#[derive(Clone, Copy)]
pub(super) struct Source<'a, E = f32> {
    start: *const E,
    len: usize,
    lifetime: PhantomData<&'a [E]>,
}

impl<'a> Source<'a> {
    /// The elements of a slice.
    #[inline(always)]
    pub(super) fn of(slice: &'a [f32]) -> Source<'a> {
        Source { start: slice.as_ptr(), len: slice.len(), lifetime: PhantomData }
    }
}

impl<'a, E: Element> Source<'a, E> {
    /// The `len` elements at `start`.
    ///
    /// # Safety
    ///
    /// During `'a` they are initialized, aligned, and may be read; no other thread writes them, and this thread writes them
    /// through a [`Dest`] alone.
    #[inline(always)]
    pub(super) unsafe fn new(start: *const E, len: usize) -> Source<'a, E> {
        Source { start, len, lifetime: PhantomData }
    }

    /// The vector of elements `at` to `at + WIDTH`.
    ///
    /// # Safety
    ///
    /// There are as many.
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, at: usize) -> S::F32 {
        // SAFETY: the elements are initialized, aligned and in range, and nobody writes them while `load` reads them.
        E::load(simd, unsafe { &*self.start.add(at).cast() })
    }

    /// The vectors of elements `at` to `at + PAIR`.
    ///
    /// # Safety
    ///
    /// There are as many.
    #[inline(always)]
    unsafe fn load_pair<S: Simd>(self, simd: S, at: usize) -> PairOf<S> {
        // SAFETY: the elements are initialized, aligned and in range, and nobody writes them while `load_pair` reads them.
        E::load_pair(simd, unsafe { &*self.start.add(at).cast() })
    }

    /// The same in `f64`.
    ///
    /// # Safety
    ///
    /// There are as many.
    #[inline(always)]
    unsafe fn widen_pair<S: Simd>(self, simd: S, at: usize) -> <S::Pair as Arithmetic>::F64 {
        // SAFETY: the elements are initialized, aligned and in range, and nobody writes them while `widen_pair` reads them.
        E::widen_pair(simd, unsafe { &*self.start.add(at).cast() })
    }

    /// The elements from `at` on, then zeros.
    ///
    /// # Safety
    ///
    /// `at` is at most the number of elements, and fewer than [`WIDTH`] are left.
    #[inline(always)]
    unsafe fn load_rest<S: Simd>(self, simd: S, at: usize) -> S::F32 {
        let mut array = [E::ZERO; WIDTH];
        // SAFETY: the elements are initialized, aligned and in range, and the array has room for them.
        unsafe { array.as_mut_ptr().copy_from_nonoverlapping(self.start.add(at), self.len - at) };
        E::load(simd, &array)
    }
}

/// Elements from which on a row goes past the caches even where it shares cache lines with its neighbours: more than a line has.
pub(super) const MIN_SHARED: usize = if cfg!(miri) { 32 } else { 1024 };

/// Room for elements, which may overlap a [`Source`].
#[derive(Clone, Copy)]
pub(super) struct Dest<'a, E = f32> {
    start: *mut E,
    len: usize,
    /// Whether stores go past the caches; only where `start` is aligned to [`STREAM_ALIGN`].
    stream: bool,
    lifetime: PhantomData<&'a mut [E]>,
}

impl<'a> Dest<'a> {
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
}

impl<'a, E: Element> Dest<'a, E> {
    /// The room for `len` elements at `start`.
    ///
    /// # Safety
    ///
    /// During `'a` the memory may be written and is aligned to its elements; no other thread accesses it, and this thread
    /// does through a [`Source`] or a [`Dest`] alone.
    #[inline(always)]
    pub(super) unsafe fn new(start: *mut E, len: usize) -> Dest<'a, E> {
        Dest { start, len, stream: false, lifetime: PhantomData }
    }

    /// The same room; with `stream`, and where it begins with a cache line, stores go past the caches. The last line must be its own,
    /// too, unless it is one of many.
    #[inline(always)]
    pub(super) fn streamed(self, stream: bool) -> Dest<'a, E> {
        let bytes = self.len * size_of::<E>();
        let aligned = self.start.addr().is_multiple_of(STREAM_ALIGN);
        let whole = self.len >= MIN_SHARED || bytes.is_multiple_of(STREAM_ALIGN);
        Dest { stream: stream && aligned && whole, ..self }
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
            let to = self.start.add(at).cast::<[E; WIDTH]>();
            match self.stream {
                true => E::stream(vector, to),
                false => E::store(vector, to),
            }
        }
    }

    /// Stores two vectors in elements `at` to `at + PAIR`.
    ///
    /// # Safety
    ///
    /// There is room for as many, and `at` is a multiple of [`PAIR`].
    #[inline(always)]
    unsafe fn store_pair<S: Simd>(self, simd: S, pair: PairOf<S>, at: usize) {
        // SAFETY: the memory is in range and may be written. Where `start` is aligned for streaming, every pair is, too.
        unsafe { E::store_pair(simd, pair, self.start.add(at).cast(), self.stream) }
    }

    /// Stores the first elements of `vector` in the elements from `at` on.
    ///
    /// # Safety
    ///
    /// `at` is at most the number of elements, and fewer than [`WIDTH`] are left.
    #[inline(always)]
    unsafe fn store_rest(self, vector: impl Vector, at: usize) {
        let mut array = [E::ZERO; WIDTH];
        // SAFETY: the array is this function's own. The memory is in range and may be written, and the array has as many
        // elements.
        unsafe {
            E::store(vector, &raw mut array);
            self.start.add(at).copy_from_nonoverlapping(array.as_ptr(), self.len - at)
        };
    }
}

/// `N` operands of one length.
pub(super) trait Operands<const N: usize>: Copy {
    /// Whether all have so many elements.
    fn are_of_len(self, len: usize) -> bool;

    /// The address of element `at` of the first, which may lie behind its end.
    fn address(self, at: usize) -> *const u8;

    /// The vectors of elements `at` to `at + WIDTH`.
    ///
    /// # Safety
    ///
    /// All have as many.
    unsafe fn load<S: Simd>(self, simd: S, at: usize) -> [S::F32; N];

    /// The pairs of vectors of elements `at` to `at + PAIR`.
    ///
    /// # Safety
    ///
    /// All have as many.
    unsafe fn load_pair<S: Simd>(self, simd: S, at: usize) -> [PairOf<S>; N];

    /// The elements from `at` on, then zeros.
    ///
    /// # Safety
    ///
    /// `at` is at most the number of elements, and fewer than [`WIDTH`] are left.
    unsafe fn load_rest<S: Simd>(self, simd: S, at: usize) -> [S::F32; N];
}

/// [`Operands`] for tuples of sources.
macro_rules! operands {
    ($n:literal $first:ident $($name:ident $element:ident)*) => {
        impl<$($element: Element),*> Operands<$n> for ($(Source<'_, $element>,)*) {
            #[inline(always)]
            fn are_of_len(self, len: usize) -> bool {
                let ($($name,)*) = self;
                $($name.len == len)&&*
            }

            #[inline(always)]
            fn address(self, at: usize) -> *const u8 {
                let ($first, ..) = self;
                $first.start.wrapping_add(at).cast()
            }

            #[inline(always)]
            unsafe fn load<S: Simd>(self, simd: S, at: usize) -> [S::F32; $n] {
                let ($($name,)*) = self;
                // SAFETY: the caller promises that all operands have so many elements.
                unsafe { [$($name.load(simd, at)),*] }
            }

            #[inline(always)]
            unsafe fn load_pair<S: Simd>(self, simd: S, at: usize) -> [PairOf<S>; $n] {
                let ($($name,)*) = self;
                // SAFETY: the caller promises that all operands have so many elements.
                unsafe { [$($name.load_pair(simd, at)),*] }
            }

            #[inline(always)]
            unsafe fn load_rest<S: Simd>(self, simd: S, at: usize) -> [S::F32; $n] {
                let ($($name,)*) = self;
                // SAFETY: the caller promises that fewer than a vector's elements are left.
                unsafe { [$($name.load_rest(simd, at)),*] }
            }
        }
    };
}

operands!(1 a a A);
operands!(2 a a A b B);
operands!(3 a a A b B c C);

/// A function from the elements of `N` operands at one place to the element of the result there.
///
/// A trait instead of a closure because its method can be marked to be inlined: see [`dispatch`](super::dispatch).
pub(super) trait Elementwise<const N: usize>: Copy {
    /// Whether the loop fetches what follows the first operand, where outputs go past the caches: they leave room there.
    const PREFETCH: bool = false;

    /// The elements of the result.
    fn apply<A: Arithmetic>(self, simd: A, operands: [A::F32; N]) -> A::F32;
}

/// Elements of a cache line.
const CACHE_LINE: usize = 16;

/// How many elements ahead of the output the next input is fetched, at least. The next row lies one row ahead; rows that are
/// shorter than this lie close enough together for the hardware to fetch them, but for the first lines of a page.
const MIN_PREFETCH_DISTANCE: usize = 1024;

/// Writes what `f` makes of the operands to `to`, and gives what was written as an operand for the next loop. All are
/// equally long.
#[inline(always)]
pub(super) fn map<'a, S: Simd, F: Elementwise<N>, E: Element, const N: usize>(
    simd: S,
    f: F,
    operands: impl Operands<N>,
    to: Dest<'a, E>,
) -> Source<'a, E> {
    let len = to.len;
    assert!(operands.are_of_len(len), "operands of one length");
    let distance = len.max(MIN_PREFETCH_DISTANCE);
    // Behind so long a part of a row there is another, which the second-level cache holds since the sums were taken.
    let fetches = F::PREFETCH && to.stream && len < CHUNK;
    let mut at = 0;
    while S::WIDE && at + PAIR <= len {
        if fetches {
            simd.prefetch(operands.address(at + distance).cast());
        }
        // SAFETY: `at + PAIR` is at most the length of all.
        let pairs = unsafe { operands.load_pair(simd, at) };
        // SAFETY: `at + PAIR` is at most the length of all, and `at` counts by `PAIR`.
        unsafe { to.store_pair(simd, f.apply(simd.pair(), pairs), at) };
        at += PAIR;
    }
    while at + WIDTH <= len {
        if fetches && at % CACHE_LINE == 0 {
            simd.prefetch(operands.address(at + distance).cast());
        }
        // SAFETY: `at + WIDTH` is at most the length of all.
        let vectors = unsafe { operands.load(simd, at) };
        // SAFETY: `at + WIDTH` is at most the length of all, and `at` counts by `WIDTH`.
        unsafe { to.store(f.apply(simd, vectors), at) };
        at += WIDTH;
    }
    if at < len {
        // SAFETY: `at` is less than the length of all, and fewer than `WIDTH` elements are left.
        let vectors = unsafe { operands.load_rest(simd, at) };
        // SAFETY: `at` is less than the length of all, and fewer than `WIDTH` elements are left.
        unsafe { to.store_rest(f.apply(simd, vectors), at) };
    }
    Source { start: to.start, len, lifetime: PhantomData }
}

/// What an element adds to `N` sums.
pub(super) trait Terms<const N: usize>: Copy {
    /// Elements are measured from it.
    type Center: Center;

    /// The center.
    fn center(self) -> Self::Center;

    /// `sums`, and what `x`, which was of type `E` in memory and is measured from the center, adds to each.
    fn add<D: Doubles, E: Element>(self, sums: [D; N], x: D) -> [D; N];
}

/// The sums of the terms of all elements, in `f64`.
///
/// Of at most 8192 elements a lane adds 512, a row of 2²⁰ elements has 128 such chunks, and each addition is within 2⁻⁵³:
/// each result is within 2⁻⁴³ of the sum of magnitudes. The order depends on the number of elements alone.
#[inline(always)]
pub(super) fn sum<S: Simd, T: Terms<N>, E: Element, const N: usize>(
    simd: S,
    terms: T,
    x: Source<'_, E>,
) -> [f64; N] {
    let len = x.len;
    let (pair, zeros) = (simd.pair(), [simd.zero(); N]);
    let center = terms.center();
    // Two vectors of sums run side by side, which hides the latency of an addition.
    let mut sums = [pair.zero(); N];
    let mut at = 0;
    while at + PAIR <= len {
        let x = match T::Center::IS_ORIGIN {
            // SAFETY: the pair ends within `len`.
            true => unsafe { x.widen_pair(simd, at) },
            // SAFETY: the pair ends within `len`.
            false => center.center(pair, unsafe { x.load_pair(simd, at) }).widen(),
        };
        sums = terms.add::<_, E>(sums, x);
        at += PAIR;
    }
    let (mut even, mut odd) = (zeros, zeros);
    // No closure: what one calls may stay a function call.
    for n in 0..N {
        [even[n], odd[n]] = pair.split(sums[n]);
    }
    if at + WIDTH <= len {
        // SAFETY: the vector ends within `len`.
        let x = unsafe { x.load(simd, at) };
        even = terms.add::<_, E>(even, center.center(simd, x).widen());
        at += WIDTH;
    }
    let mut totals = [0.0; N];
    for n in 0..N {
        totals[n] = even[n].add(odd[n]).total();
    }
    if at < len {
        // SAFETY: `at` is less than `len`, and fewer than `WIDTH` elements are left.
        let x = unsafe { x.load_rest(simd, at) };
        let rest = terms.add::<_, E>(zeros, center.center(simd, x).widen());
        for (total, rest) in totals.iter_mut().zip(rest) {
            for term in &rest.to_array()[..len - at] {
                *total += term;
            }
        }
    }
    totals
}
