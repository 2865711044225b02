//! The two normalizations, over any storage of a row and any scope of threads.

use core::marker::PhantomData;

use crate::abi::{Args, MAX_STAGED_VECTORS};
use crate::access::unpack;
use crate::each::each;
use crate::element::{Input, Words};
use crate::gpu;
use crate::reduce::{FIRST, SECOND, Scope};
use crate::storage::RowStorage;
use crate::sum::{Moments, join, split};

/// A normalization.
pub trait Norm {
    /// Whether biases are common, so that kernels which hold a row in registers add them. RMSNorm
    /// has them so seldom that they are left to the others, for registers: 0.975 instead of 0.938
    /// of a copy's bandwidth at 1024 f16 (NVIDIA H200, 2026-11-22).
    const BIASES: bool;

    /// Whether a weight offset is common, so that kernels which hold a row in registers add it, in
    /// a second copy of what writes the row. Few models with LayerNorm have one, and without that
    /// copy a kernel takes a fifth less time to compile at its first call.
    const OFFSETS: bool;

    /// Normalizes one row, `y = norm(x) * (w + offset) + b`.
    ///
    /// # Safety
    /// As [`RowStorage::write`].
    unsafe fn run<T: Scope, const N: usize>(storage: impl RowStorage<N>, args: &Args);
}

/// `x / sqrt(mean(x²) + eps)` (Zhang and Sennrich 2019, arXiv:1910.07467).
pub struct Rms;

/// `(x - mean(x)) / sqrt(var(x) + eps)`, biased variance (Ba et al. 2016, arXiv:1607.06450).
pub struct Layer;

impl Norm for Rms {
    const BIASES: bool = false;
    const OFFSETS: bool = true;

    #[inline(always)]
    unsafe fn run<T: Scope, const N: usize>(storage: impl RowStorage<N>, args: &Args) {
        let share = T::sum(squares(&storage), FIRST);
        let mut sum = share;
        if T::spans_blocks() {
            T::all_gather([share, 0.0, 0.0, 0.0]);
            sum = 0.0;
            T::each_gathered(|_, [share, ..]| sum += share);
        }
        let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
        // SAFETY: the caller gives these elements of `y` to this thread.
        unsafe { storage.write::<{ Self::BIASES }, { Self::OFFSETS }>(|x| x * rstd) };
    }
}

impl Norm for Layer {
    const BIASES: bool = true;
    const OFFSETS: bool = false;

    #[inline(always)]
    unsafe fn run<T: Scope, const N: usize>(storage: impl RowStorage<N>, args: &Args) {
        let last = T::spans_blocks() && gpu::cluster_rank() == gpu::cluster_blocks() - 1;
        let moments = T::sum(moments(&storage), FIRST);
        let share = center::<T, N>(&storage, moments, args, last);
        let row = if T::spans_blocks() { merge::<T>(moments.total, share, args) } else { share };
        // `widen` makes a finite f64 of an infinite element. `sum_sq - sum_sq` is NaN then, and makes the row NaN.
        let rstd = gpu::rsqrt(row.sum_sq * args.reciprocal_f32 + args.eps) + (row.sum_sq - row.sum_sq);
        // `(x - high + excess) * rstd`, by as many instructions as with one part: a product and a sum are one.
        let (high, rest) = (row.mean.high, row.mean.excess * rstd);
        // SAFETY: the caller gives these elements of `y` to this thread.
        unsafe { storage.write::<{ Self::BIASES }, { Self::OFFSETS }>(|x| gpu::fma(x - high, rstd, rest)) };
    }
}

/// The mean of some elements, and the sum of the squares of their distances from it (M2).
struct Centered {
    mean: Mean,
    sum_sq: f32,
}

/// Mean and squares about it of a block's share of the row, from its moments.
///
/// The squares about the mean are those about zero less what the mean accounts for. Where that is most of them, little
/// would be left of their precision, and a second pass sums the squares about the mean.
#[inline(always)]
fn center<T: Scope, const N: usize>(
    storage: &impl RowStorage<N>,
    Moments { total, squares: sum_sq }: Moments,
    args: &Args,
    last: bool,
) -> Centered {
    let share_mean = total * reciprocal(args, last);
    let mut mean = Mean::new(share_mean);
    let mut centered = (sum_sq as f64 - total * share_mean) as f32;
    // Not where they are infinite or NaN, either.
    let well_conditioned = centered >= MIN_RESIDUAL_FRACTION * sum_sq && centered < f32::INFINITY;
    if T::any(!well_conditioned) {
        let about_high = T::sum(sum_sq_centered(storage, mean.high), SECOND);
        // In a row of one value throughout, an ULP of the f64 mean would be all that is left. There the sum of squares is 0, but
        // also of tiny elements, which are here where another row has asked for this pass: these are told by what rounding
        // added to their mean, which is more. Scaled up, neither square vanishes; a large mean's is infinite, as is that of
        // its excess.
        let (excess, least) = (mean.excess * SCALE, mean.high * (SCALE * LEAST_EXCESS));
        let is_constant = about_high == 0.0 && (!T::VOTES || excess * excess <= least * least);
        mean.excess = if is_constant { 0.0 } else { mean.excess };
        // They are those about the mean and, for each element, the square of what is between the two.
        let about_mean = about_high - elements(args, last) * (mean.excess * mean.excess);
        centered = if well_conditioned { centered } else { about_mean };
    }
    Centered { mean, sum_sq: centered }
}

/// Mean and squares about it of a row that a cluster shares, from the total of this block's share and what is centered
/// of it: the squares about the row's mean are those about the shares' means and those of these means' distances from
/// it (Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance"). One exchange does for both.
#[inline(always)]
fn merge<T: Scope>(total: f64, share: Centered, args: &Args) -> Centered {
    let [low, high] = split(total);
    T::all_gather([low, high, share.sum_sq, 0.0]);
    let (mut sum, mut sum_sq) = (0.0, 0.0);
    T::each_gathered(|_, [low, high, share, _]| {
        sum += join([low, high]);
        sum_sq += share;
    });
    let row_mean = sum * args.reciprocal;
    T::each_gathered(|last, [low, high, ..]| {
        let distance = (join([low, high]) * reciprocal(args, last) - row_mean) as f32;
        sum_sq = gpu::fma(elements(args, last) * distance, distance, sum_sq);
    });
    Centered { mean: Mean::of_sum(sum, row_mean, args), sum_sq }
}

/// The mean of a row as two `f32`, which together have twice the precision of one.
///
/// Where the elements differ by little beside their mean, what the rounding to one `f32` adds to the mean is as
/// large as their differences: of `[1e7, 1e7 + 1, 1e7 + 2, 1e7 + 3]` the mean is 1e7 + 1.5, and the nearest
/// `f32` is 1e7 + 2. `x - high` is exact for elements that are near the mean (Sterbenz 1974), and loses an ULP of
/// the difference for the others; `excess` is then added to a small number.
#[derive(Clone, Copy)]
struct Mean {
    /// The mean, rounded.
    high: f32,
    /// What the rounding added to it.
    excess: f32,
}

impl Mean {
    #[inline(always)]
    fn new(mean: f64) -> Mean {
        let high = mean as f32;
        Mean { high, excess: (high as f64 - mean) as f32 }
    }

    /// That of a row whose elements add up to `sum`, from the difference of sums, which is exact: `mean` is a product
    /// with the rounded `1 / dim`, and may be off by an ULP of `f64`, as much as one value throughout differs from
    /// its mean.
    #[inline(always)]
    fn of_sum(sum: f64, mean: f64, args: &Args) -> Mean {
        let (high, dim) = (mean as f32, args.dim as f32 as f64);
        Mean { high, excess: ((high as f64 * dim - sum) * args.reciprocal) as f32 }
    }
}

/// The elements in a block's share of the row.
#[inline(always)]
fn elements(args: &Args, last: bool) -> f32 {
    (if last { args.dim - args.share * (gpu::cluster_blocks() - 1) } else { args.share }) as f32
}

/// One over the elements in a block's share of the row.
#[inline(always)]
fn reciprocal(args: &Args, last: bool) -> f64 {
    let (share, last_share) = (args.share_reciprocal, args.last_share_reciprocal);
    // By bits: libNVVM makes one load of a condition's two, at an address that the condition chooses,
    // and parameters that are indexed are copied into local memory first.
    let mask = (last as u64).wrapping_neg();
    f64::from_bits(last_share.to_bits() & mask | share.to_bits() & !mask)
}

/// The least part of the mean that rounding can have added to it: less is the error of the mean in f64, which is off by two
/// ULPs at most. The mean of 2²⁴ elements of 24 bits, [`MAX_DIM`](crate::abi::MAX_DIM) of f32, is a multiple of 2⁻⁴⁸ of
/// their largest power of two.
const LEAST_EXCESS: f32 = 1.0 / (1_u64 << 49) as f32;

/// 2¹⁰⁰.
const SCALE: f32 = f32::from_bits((127 + 100) << 23);

/// The least `sum_sq_centered / sum_sq` at which the difference of sums is used: cancellation multiplies its relative
/// error by 1 / 0.2 = 5 at most. Below, [`center`] makes a second pass.
const MIN_RESIDUAL_FRACTION: f32 = 0.2;

/// The sums of a thread's elements and of their squares, in the first pass over them.
///
/// Elements in f64, because terms can cancel: no f32 sum would keep the accuracy promise.
#[inline(always)]
fn moments<P: RowStorage<N>, const N: usize>(storage: &P) -> Moments {
    let (mut total, mut squares) = (0.0, Squares::<P, N>::ZERO);
    storage.each_first(|x, _| {
        total += wide_sum::<P::X, N>(&x);
        squares.add(unpack::<P::X, N>(x));
    });
    Moments { total: total * P::X::wide_unit(), squares: squares.sum() }
}

/// The sum of a vector's elements, in [`Input::wide_unit`]s.
#[inline(always)]
fn wide_sum<X: Input, const N: usize>(words: &Words) -> f64 {
    // As a tree: a chain would wait for each addition.
    let sum = |pair| {
        let [low, high] = X::widen(words, pair);
        low + high
    };
    let mut total = sum(0) + sum(1);
    if N == 8 {
        total += sum(2) + sum(3);
    }
    total
}

/// The sum of the squares of a thread's elements, in the first pass over them.
#[inline(always)]
pub fn squares<P: RowStorage<N>, const N: usize>(storage: &P) -> f32 {
    let mut squares = Squares::<P, N>::ZERO;
    storage.each_first(|x, _| squares.add(unpack::<P::X, N>(x)));
    squares.sum()
}

/// The sum of the squares of a thread's elements' distances from `center`, in a later pass.
#[inline(always)]
fn sum_sq_centered<P: RowStorage<N>, const N: usize>(storage: &P, center: f32) -> f32 {
    let mut squares = Squares::<P, N>::ZERO;
    storage.each(|x, valid| {
        let x = unpack::<P::X, N>(x);
        let mut distances = [0.0; N];
        each::<N>(|i| distances[i] = if (i as u32) < valid { x[i] - center } else { 0.0 });
        squares.add(distances);
    });
    squares.sum()
}

/// The vectors whose squares a thread adds up in f32 before the sum goes into one in f64, so that the sum of a row of any
/// length is off by few ULPs.
pub const GROUP: u32 = MAX_STAGED_VECTORS;

/// A thread's sum of squares, vector by vector.
struct Squares<P, const N: usize> {
    groups: f64,
    group: f32,
    vectors: u32,
    storage: PhantomData<P>,
}

impl<P: RowStorage<N>, const N: usize> Squares<P, N> {
    const ZERO: Self = Squares { groups: 0.0, group: 0.0, vectors: 0, storage: PhantomData };

    #[inline(always)]
    fn add(&mut self, values: [f32; N]) {
        let mut vector = 0.0;
        each::<N>(|i| vector = gpu::fma(values[i], values[i], vector));
        self.group += vector;
        self.vectors += 1;
        if P::LONG && self.vectors == GROUP {
            self.groups += self.group as f64;
            (self.group, self.vectors) = (0.0, 0);
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        if P::LONG { (self.groups + self.group as f64) as f32 } else { self.group }
    }
}
