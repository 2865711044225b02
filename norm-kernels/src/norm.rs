//! RMSNorm and LayerNorm, over any storage of a row and any scope of threads.
//!
//! ```text
//! RMSNorm:    sum_sq = Σ x²                                       one pass, one reduction
//!             y = x * rsqrt(sum_sq / dim + eps) * w
//!
//! LayerNorm:  total = Σ x (as two words), sum_sq = Σ x²           one pass, one reduction
//!             M2 = sum_sq - total² / dim                          the squares about the mean
//!             if too little of sum_sq is left in it:
//!                 M2 = Σ (x - mean)²                              another pass and reduction
//!             y = (x - mean) * rsqrt(M2 / dim + eps) * w + b      the mean in two f32
//! ```
//!
//! Where a cluster shares a row, each block does so with its share, and the blocks exchange and merge what they have
//! (`merge`).

use core::marker::PhantomData;

use crate::abi::{Args, MAX_STAGED_VECTORS};
use crate::access::unpack;
use crate::double_word::{self, DoubleWord};
use crate::each::each;
use crate::element::Input;
use crate::gpu;
use crate::reduce::{FIRST, SECOND, Scope};
use crate::storage::RowStorage;
use crate::sum::Moments;

/// A normalization.
pub trait Norm {
    /// Whether kernels that hold a row in registers add biases. RMSNorm seldom has biases, and leaves them to the other
    /// kernels, which saves registers: 0.975 instead of 0.938 of a copy's bandwidth at 1024 f16 (NVIDIA H200, 2026-11-22).
    const BIASES: bool;

    /// Whether kernels that hold a row in registers add a weight offset, by a second copy of the code that writes the row.
    /// Few models with LayerNorm have an offset, and without that copy the driver compiles a kernel in a fifth less time.
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
        // SAFETY: the caller guarantees that no other thread touches these elements of `y`.
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
        let about = |center, overflows| {
            let (about_center, element) = sum_sq_centered(&storage, center, overflows);
            (T::sum(about_center, SECOND), element)
        };
        let share = center::<T, _>(moments, about, args, last);
        let row = if T::spans_blocks() { merge::<T, _>(moments, share, args) } else { share };
        // SAFETY: the caller guarantees that no other thread touches these elements of `y`.
        unsafe { storage.write::<{ Self::BIASES }, { Self::OFFSETS }>(normalizer(row, args)) };
    }
}

impl Layer {
    /// What normalizes the elements of a block's row, given the row's moments and `about`. Of a center and whether the total
    /// overflows, that gives the sum over the block of the squares of distances from the center, or with the second of those from
    /// an element of their own vector; and one of the elements. Every thread of the block must call, and `about` is called by all
    /// of them, once at most.
    #[inline(always)]
    pub fn of_block<T: Scope, X: Input>(
        moments: Moments<X>,
        about: impl FnOnce(f32, bool) -> (f32, f32),
        args: &Args,
    ) -> impl Fn(f32) -> f32 {
        normalizer(center::<T, X>(moments, about, args, false), args)
    }
}

/// What normalizes an element of a row.
#[inline(always)]
fn normalizer(row: Centered, args: &Args) -> impl Fn(f32) -> f32 {
    // The total may be finite although an element is infinite or NaN, but then the square in `sum_sq` is infinite, or NaN.
    // The difference `sum_sq - sum_sq` is then NaN, and makes the row NaN; otherwise it is 0.
    #[expect(clippy::eq_op, reason = "not always 0, as said")]
    let rstd = gpu::rsqrt(row.sum_sq * args.reciprocal_f32 + args.eps) + (row.sum_sq - row.sum_sq);
    // `(x - high + excess) * rstd` as `(x - high) * rstd + excess * rstd`: an FMA, so that a mean in two parts takes as
    // many instructions as one in a single f32.
    let (high, rest) = (row.mean.high, row.mean.excess * rstd);
    move |x| gpu::fma(x - high, rstd, rest)
}

/// The mean of some elements, and the sum of squares of their distances from it (M2).
struct Centered {
    mean: Mean,
    sum_sq: f32,
}

/// The mean and M2 of a block's share of the row, from its moments.
///
/// M2 is the sum of squares minus `total² / elements`. If the difference is a small part of the sum, cancellation would
/// leave few correct digits of it, and a second pass, `about`, sums the squares about the mean instead.
#[inline(always)]
fn center<T: Scope, X: Input>(
    Moments { total, squares: sum_sq, .. }: Moments<X>,
    about: impl FnOnce(f32, bool) -> (f32, f32),
    args: &Args,
    last: bool,
) -> Centered {
    let (elements, reciprocal) = (elements(args, last), share_reciprocal::<T>(args, last));
    let [high, excess, mut centered] = X::moments(total, sum_sq, elements, reciprocal);
    let mut mean = Mean { high, excess };
    // An infinite or NaN sum is not well conditioned, either.
    let well_conditioned = centered >= MIN_RESIDUAL_FRACTION * sum_sq && centered < f32::INFINITY;
    if T::any(!well_conditioned) {
        // Elements may add up to more than `f32` holds. If their squares about the mean do not, all elements are the same:
        // neighbours of that size differ by more than the square root of the largest `f32`.
        let overflows = X::overflows(mean.high);
        let (about_high, element) = about(mean.high, overflows);
        if overflows {
            mean = Mean { high: element, excess: 0.0 };
        }
        // A row of one value throughout has variance 0; the rounding error of its mean must not appear as one. Its sum of
        // squares about the mean is 0. That of a row of tiny elements underflows to 0 too, but such a row comes here only if
        // another row of the block or warp needs this pass (`VOTES`). The two are told apart by the excess of the mean: in a
        // constant row it is at most the error of the mean, less than `MIN_EXCESS_FRACTION` of the mean, else more. Both sides
        // are scaled up by `SCALE`, so that neither square underflows to 0. For a large mean both squares may be infinite, and
        // compare as equal.
        let (excess, least) = (mean.excess * SCALE, mean.high * (SCALE * MIN_EXCESS_FRACTION));
        let is_constant = about_high == 0.0 && (!T::VOTES || excess * excess <= least * least);
        mean.excess = if is_constant { 0.0 } else { mean.excess };
        // `Σ (x - high)² = Σ (x - mean)² + elements * (mean - high)²`.
        let about_mean = about_high - elements * (mean.excess * mean.excess);
        centered = if well_conditioned { centered } else { about_mean };
    }
    Centered { mean, sum_sq: centered }
}

/// The mean and M2 of a row that a cluster shares, from the total and the M2 of this block's share.
///
/// The row's M2 is the sum of the shares' M2 and of `elements * (share's mean - row's mean)²` for each share (Chan, Golub
/// and LeVeque 1983, "Algorithms for Computing the Sample Variance"). One exchange serves both sums.
#[inline(always)]
fn merge<T: Scope, X: Input>(Moments { total, .. }: Moments<X>, share: Centered, args: &Args) -> Centered {
    let [first, second] = total.map(f32::from_bits);
    T::all_gather([first, second, share.sum_sq, 0.0]);
    let total = |first: f32, second: f32| [first.to_bits(), second.to_bits()];
    let (mut sum, mut sum_sq) = ([0; 2], 0.0);
    T::each_gathered(|_, [first, second, share, _]| {
        sum = X::plus(sum, total(first, second));
        sum_sq += share;
    });
    let [high, excess] = X::mean(sum, args.dim as f32, (args.reciprocal_f32, args.reciprocal));
    if X::overflows(high) {
        // As in `center`: a row whose elements are the same, or one without a result.
        return Centered { mean: share.mean, sum_sq };
    }
    T::each_gathered(|last, [first, second, ..]| {
        let (count, (r32, r64)) = (elements(args, last), reciprocal(args, last));
        let share = (total(first, second), count, r32, r64);
        let distance = X::distance(share, (sum, args.reciprocal, [high, excess]));
        sum_sq = gpu::fma(count * distance, distance, sum_sq);
    });
    let mean = Mean { high, excess };
    Centered { mean, sum_sq }
}

/// The mean of a row as two `f32`, which together have twice the precision of one.
///
/// If elements differ little compared with their mean, the rounding error of the mean in one `f32` is as large as their
/// differences: the mean of `[1e7, 1e7 + 1, 1e7 + 2, 1e7 + 3]` is 1e7 + 1.5, and the nearest `f32` is 1e7 + 2. `x - high`
/// is exact for elements near the mean (Sterbenz 1974), and off by at most half an ULP of the difference for the others;
/// `excess` is then added to this small number.
#[derive(Clone, Copy)]
struct Mean {
    /// The mean, rounded to `f32`.
    high: f32,
    /// `high` minus the mean: what the rounding added.
    excess: f32,
}

/// The number of elements in a block's share of the row; `last` says whether it is the last block of the cluster.
#[inline(always)]
fn elements(args: &Args, last: bool) -> f32 {
    (if last { args.dim - args.share * (gpu::cluster_blocks() - 1) } else { args.share }) as f32
}

/// One over the number of elements in a block's share of the row, in `f32` and in `f64`.
#[inline(always)]
fn share_reciprocal<T: Scope>(args: &Args, last: bool) -> (f32, f64) {
    let (r32, r64) = reciprocal(args, last);
    (if T::SPANS_BLOCKS { r32 } else { args.reciprocal_f32 }, r64)
}

/// The same where blocks of a cluster may share a row.
#[inline(always)]
fn reciprocal(args: &Args, last: bool) -> (f32, f64) {
    let (share, last_share) = (args.share_reciprocal, args.last_share_reciprocal);
    // A selection by a mask, not by `if`: libNVVM would make of `if` one load at an address that depends on the condition,
    // and a kernel parameter that is indexed is copied into local memory first.
    let mask = (last as u64).wrapping_neg();
    let r64 = f64::from_bits(last_share.to_bits() & mask | share.to_bits() & !mask);
    (r64 as f32, r64)
}

/// The least excess of a mean, as a fraction of it, that is taken for real. The mean of at most 2²⁴
/// ([`MAX_DIM`](crate::abi::MAX_DIM)) elements of 24 bits is a multiple of 2⁻⁴⁸ of their largest power of two, so an excess
/// that is not 0 is no smaller.
const MIN_EXCESS_FRACTION: f32 = 1.0 / (1_u64 << 49) as f32;

/// 2¹⁰⁰, by which [`center`] scales numbers up before it squares them.
const SCALE: f32 = f32::from_bits((127 + 100) << 23);

/// The least `M2 / sum_sq` at which M2 is taken from the difference of sums: cancellation then multiplies the relative
/// error by at most 1 / 0.2 = 5. Below, [`center`] makes a second pass.
const MIN_RESIDUAL_FRACTION: f32 = 0.2;

/// The total of a thread's elements and the sum of their squares, in the first pass over them.
#[inline(always)]
fn moments<P: RowStorage<N>, const N: usize>(storage: &P) -> Moments<P::X> {
    let (mut total, mut squares) = ([0; 2], Squares::<P, N>::ZERO);
    storage.each_first(|words, _| {
        let x = unpack::<P::X, N>(words);
        total = P::X::add_to_total::<N>(total, x, &words);
        squares.add(x);
    });
    Moments::new(total, squares.sum())
}

/// The sum of squares of a thread's elements, in the first pass over them.
#[inline(always)]
pub fn squares<P: RowStorage<N>, const N: usize>(storage: &P) -> f32 {
    let mut squares = Squares::<P, N>::ZERO;
    storage.each_first(|x, _| squares.add(unpack::<P::X, N>(x)));
    squares.sum()
}

/// The sum of squares of the distances of a thread's elements from `center`, in a later pass, and one of the elements; with
/// `about_own` of their distances from one of their own vector.
#[inline(always)]
fn sum_sq_centered<P: RowStorage<N>, const N: usize>(
    storage: &P,
    center: f32,
    about_own: bool,
) -> (f32, f32) {
    let (mut squares, mut element) = (Squares::<P, N>::ZERO, 0.0);
    storage.each(|x, valid| {
        let x = unpack::<P::X, N>(x);
        element = if valid > 0 { x[0] } else { element };
        let center = if about_own { x[0] } else { center };
        let mut distances = [0.0; N];
        each::<N>(|i| distances[i] = if (i as u32) < valid { x[i] - center } else { 0.0 });
        squares.add(distances);
    });
    (squares.sum(), element)
}

/// The number of vectors whose squares a thread adds up in one f32. Longer rows add the sums of such groups in two, so that the
/// error stays at a few ULPs for any length.
pub const GROUP: u32 = MAX_STAGED_VECTORS;

/// A thread's sum of squares, vector by vector.
struct Squares<P, const N: usize> {
    groups: DoubleWord,
    group: f32,
    vectors: u32,
    storage: PhantomData<P>,
}

impl<P: RowStorage<N>, const N: usize> Squares<P, N> {
    const ZERO: Self = Squares { groups: [0.0; 2], group: 0.0, vectors: 0, storage: PhantomData };

    #[inline(always)]
    fn add(&mut self, values: [f32; N]) {
        let mut vector = 0.0;
        each::<N>(|i| vector = gpu::fma(values[i], values[i], vector));
        self.group += vector;
        self.vectors += 1;
        if P::LONG && self.vectors == GROUP {
            self.groups = double_word::plus(self.groups, [self.group, 0.0]);
            (self.group, self.vectors) = (0.0, 0);
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        if !P::LONG {
            return self.group;
        }
        let [sum, rest] = double_word::plus(self.groups, [self.group, 0.0]);
        // Squares beyond f32 are infinite, and what their sum lost is no number.
        if sum < f32::INFINITY { sum + rest } else { sum }
    }
}
