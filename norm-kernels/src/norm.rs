//! The two normalizations, over any part of a row and any team of threads.

use crate::abi::{Args, Tile};
use crate::access::unpack;
use crate::each::each;
use crate::element::{Element, Words};
use crate::gpu;
use crate::part::Part;
use crate::reduce::{FIRST, SECOND, Team};
use crate::sum::{join, split};

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
        let share = T::sum(squares::<_, N, true>(&part, |x| x), SECOND);
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

    /// Two passes, the mean first. A block of a cluster does so for its share of the row; the
    /// squares about the row's mean are then those about the shares' means and those of these
    /// means' distances from it (Chan, Golub and LeVeque 1983, "Algorithms for Computing the
    /// Sample Variance"), so one exchange does for both.
    #[inline(always)]
    unsafe fn run<T: Team, Y: Element, const N: usize>(part: impl Part<N>, args: &Args) {
        let last = T::is_spread() && gpu::cluster_rank() == gpu::cluster_blocks() - 1;
        let share = T::sum(total(&part), FIRST);
        let mut mean = (share * reciprocal(args, last)) as f32;
        let mut squares = T::sum(squares::<_, N, false>(&part, |x| x - mean), SECOND);
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
    gpu::select(last, last_share, share)
}

/// The sum of a thread's elements, in the first pass over them.
///
/// In f64, because terms can cancel: no f32 sum would keep the accuracy promise.
#[inline(always)]
pub fn total<P: Part<N>, const N: usize>(part: &P) -> f64 {
    let mut sum = 0.0;
    part.each_first(|x, _| {
        // As a tree: a chain would wait for each addition.
        let x = |i| P::X::wide(&x, i);
        let mut vector = (x(0) + x(1)) + (x(2) + x(3));
        if N == 8 {
            vector += (x(4) + x(5)) + (x(6) + x(7));
        }
        sum += vector;
    });
    sum * P::X::WIDE_UNIT
}

/// Vectors whose squares are summed in f32, before the sum goes into one in f64: a thread's sum is
/// off by few ULPs however long the row is.
pub const GROUP: u32 = Tile::MAX_STAGED;

/// The sum of `f(x)²` over a thread's elements, in the `FIRST` pass over them or a later one.
#[inline(always)]
pub fn squares<P: Part<N>, const N: usize, const FIRST: bool>(part: &P, f: impl Fn(f32) -> f32) -> f32 {
    let (mut groups, mut group, mut vectors) = (0.0, 0.0, 0);
    let add = |x: Words, valid: u32| {
        let x = unpack::<P::X, N>(x);
        let mut vector = 0.0;
        each::<N>(|i| {
            let value = if P::WHOLE || (i as u32) < valid { f(x[i]) } else { 0.0 };
            vector = gpu::fma(value, value, vector);
        });
        group += if P::WHOLE && valid == 0 { 0.0 } else { vector };
        vectors += 1;
        if P::LONG && vectors == GROUP {
            groups += group as f64;
            (group, vectors) = (0.0, 0);
        }
    };
    if FIRST {
        part.each_first(add);
    } else {
        part.each(add);
    }
    if P::LONG { (groups + group as f64) as f32 } else { group }
}
