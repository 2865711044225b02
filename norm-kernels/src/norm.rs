//! The two normalizations, over any part of a row and any team of threads.

use core::marker::PhantomData;

use crate::abi::{Args, Tile};
use crate::access::unpack;
use crate::each::each;
use crate::element::{Element, Words};
use crate::gpu;
use crate::part::Part;
use crate::reduce::{FIRST, SECOND, Team};
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
    /// As [`Part::write`].
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, args: &Args);
}

/// `x / sqrt(mean(x²) + eps)` (Zhang and Sennrich 2019, arXiv:1910.07467).
pub struct Rms;

/// `(x - mean(x)) / sqrt(var(x) + eps)`, biased variance (Ba et al. 2016, arXiv:1607.06450).
pub struct Layer;

impl Norm for Rms {
    const BIASES: bool = false;
    const OFFSETS: bool = true;

    #[inline(always)]
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, args: &Args) {
        let share = T::sum(squares(&part), FIRST);
        let mut sum = share;
        if T::is_spread() {
            T::exchange([share, 0.0, 0.0, 0.0]);
            sum = 0.0;
            T::each_received(|_, [share, ..]| sum += share);
        }
        let rstd = gpu::rsqrt(sum * args.reciprocal_f32 + args.eps);
        // SAFETY: handed on.
        unsafe { part.write::<Y, { Self::BIASES }, { Self::OFFSETS }>(|x| x * rstd) };
    }
}

impl Norm for Layer {
    const BIASES: bool = true;
    const OFFSETS: bool = false;

    /// One pass for the mean and the squares, which about the mean are those about zero less what the mean
    /// accounts for. Where that is most of them, little would be left of their precision: a second pass
    /// sums the squares about the mean. A block of a cluster does so for its share of the row; the
    /// squares about the row's mean are then those about the shares' means and those of these
    /// means' distances from it (Chan, Golub and LeVeque 1983, "Algorithms for Computing the
    /// Sample Variance"), so one exchange does for both.
    #[inline(always)]
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, args: &Args) {
        let last = T::is_spread() && gpu::cluster_rank() == gpu::cluster_blocks() - 1;
        let Moments { total: share, squares: about_zero } = T::sum(moments(&part), FIRST);
        let share_mean = share * reciprocal(args, last);
        let mut mean = share_mean as f32;
        let mut squares = (about_zero as f64 - share * share_mean) as f32;
        // Not where they are infinite or NaN, either.
        let enough = squares >= LEFT * about_zero && squares < f32::INFINITY;
        if T::any(!enough) {
            let about_mean = T::sum(squares_about(&part, mean), SECOND);
            squares = if enough { squares } else { about_mean };
        }
        if T::is_spread() {
            let [low, high] = split(share);
            T::exchange([low, high, squares, 0.0]);
            let mut sum = 0.0;
            squares = 0.0;
            T::each_received(|_, [low, high, share, _]| {
                sum += join([low, high]);
                squares += share;
            });
            let row_mean = sum * args.reciprocal;
            T::each_received(|last, [low, high, ..]| {
                let distance = (join([low, high]) * reciprocal(args, last) - row_mean) as f32;
                let elements =
                    if last { args.dim - args.share * (gpu::cluster_blocks() - 1) } else { args.share };
                squares = gpu::fma(elements as f32 * distance, distance, squares);
            });
            mean = row_mean as f32;
        }
        // An infinite element, which `total` takes for a finite one, leaves NaN everywhere.
        let rstd = gpu::rsqrt(squares * args.reciprocal_f32 + args.eps) + (squares - squares);
        // SAFETY: handed on.
        unsafe { part.write::<Y, { Self::BIASES }, { Self::OFFSETS }>(|x| (x - mean) * rstd) };
    }
}

/// One over the elements in a block's share of the row.
#[inline(always)]
fn reciprocal(args: &Args, last: bool) -> f64 {
    let [share, last_share] = args.share_reciprocals;
    // By bits: libNVVM makes one load of a condition's two, at an address that the condition chooses,
    // and parameters that are indexed are copied into local memory first.
    let mask = (last as u64).wrapping_neg();
    f64::from_bits(last_share.to_bits() & mask | share.to_bits() & !mask)
}

/// What part of the squares about zero those about the mean must be, to be the difference: there, its
/// error is five times that of the sum of squares at most.
const LEFT: f32 = 0.2;

/// The sums of a thread's elements and of their squares, in the first pass over them.
///
/// Elements in f64, because terms can cancel: no f32 sum would keep the accuracy promise.
#[inline(always)]
fn moments<P: Part<N>, const N: usize>(part: &P) -> Moments {
    let (mut total, mut squares) = (0.0, Squares::<P, N>::ZERO);
    part.each_first(|x, _| {
        total += wide_sum::<P::X, N>(&x);
        squares.add(unpack::<P::X, N>(x));
    });
    Moments { total: total * P::X::WIDE_UNIT, squares: squares.sum() }
}

/// The sum of a vector's elements, in [`Element::WIDE_UNIT`]s.
#[inline(always)]
fn wide_sum<X: Element, const N: usize>(words: &Words) -> f64 {
    // As a tree: a chain would wait for each addition.
    let x = |i| X::wide(words, i);
    let mut sum = (x(0) + x(1)) + (x(2) + x(3));
    if N == 8 {
        sum += (x(4) + x(5)) + (x(6) + x(7));
    }
    sum
}

/// The sum of the squares of a thread's elements, in the first pass over them.
#[inline(always)]
pub fn squares<P: Part<N>, const N: usize>(part: &P) -> f32 {
    let mut squares = Squares::<P, N>::ZERO;
    part.each_first(|x, _| squares.add(unpack::<P::X, N>(x)));
    squares.sum()
}

/// The sum of the squares of a thread's elements' distances from `mean`, in a later pass.
#[inline(always)]
fn squares_about<P: Part<N>, const N: usize>(part: &P, mean: f32) -> f32 {
    let mut squares = Squares::<P, N>::ZERO;
    part.each(|x, valid| {
        let x = unpack::<P::X, N>(x);
        let mut distances = [0.0; N];
        each::<N>(|i| distances[i] = if (i as u32) < valid { x[i] - mean } else { 0.0 });
        squares.add(distances);
    });
    squares.sum()
}

/// A sum of squares, of few ULPs' error however long the row is: so many vectors are summed in f32 before
/// the sum goes into one in f64.
pub const GROUP: u32 = Tile::MAX_STAGED;

/// A thread's sum of squares, vector by vector.
struct Squares<P, const N: usize> {
    groups: f64,
    group: f32,
    vectors: u32,
    part: PhantomData<P>,
}

impl<P: Part<N>, const N: usize> Squares<P, N> {
    const ZERO: Self = Squares { groups: 0.0, group: 0.0, vectors: 0, part: PhantomData };

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
