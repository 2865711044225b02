//! The operations on the host's own memory.
//!
//! # The algorithm
//!
//! ```text
//! normalize(row):
//!     if there is a residual in front of the norm:
//!         x = round(branch + r)                          pass AddResidual
//!     if RMSNorm:
//!         center = 0
//!         sum_sq = Σ x²                                  pass SumSq
//!     if LayerNorm:
//!         sum, sum_sq = Σ x, Σ x²                        pass SumMoments
//!         center = sum / dim
//!         sum_sq = sum_sq - sum² / dim
//!         if too few of its bits are left:
//!             sum_sq = Σ (x - center)²                   pass SumSq
//!     rstd = 1 / sqrt(sum_sq / dim + eps)
//!     y = round((x - center) · rstd · (w + offset) + b)  pass Write
//!         (or, with a residual behind the norm, round(that + r))
//! ```
//!
//! A pass goes over the row chunk by chunk, 8192 elements at a time. Where `x`, `y` and a
//! residual in front of the norm have one type, elements are read and written where they lie, and those of 16 bits converted in
//! registers. Elsewhere a chunk of a 16-bit
//! type is converted to `f32` in a [workspace] and stays there for the next pass.
//!
//! Three things deviate from the plain loop:
//!
//! - **Who carries a pass out** ([`team`], [`passes`]): the calling thread and those of rayon's pool take tasks of rows one after the
//!   other, each its own share first; rows of one chunk are normalized in one function, with all passes inlined. Longer
//!   rows take a function call for each chunk. Where there are fewer long rows than threads, threads share the chunks of a row.
//! - **Instruction sets** ([`simd`], [`dispatch`]): the loops are generic over a vector of eight elements and are compiled for
//!   each instruction set; sums take two vectors at a time, and with AVX-512, which has both in a register, outputs do, too. A vector's methods round element by element, and a sum is taken in an order that depends on `dim`
//!   alone, so that neither instruction sets nor threads change a bit.
//! - **Roundings on the way** ([`round`]): some libraries round intermediate results to 16 bits. The code for that is
//!   compiled separately (`ROUNDS`), so that it costs nothing where nothing is rounded.
//!
//! # The files
//!
//! | file | what it has |
//! |---|---|
//! | `algorithm` | the passes of a norm, in their order |
//! | `passes`, `tasks`, `team` | who carries them out: one thread or several |
//! | `chunk` | a pass over one chunk |
//! | `loops` | the two loops over elements: one that writes, one that adds up |
//! | `affine`, `residual`, `round`, `sum` | what the loops do with each vector |
//! | `simd`, `dispatch` | the vectors of each instruction set; functions compiled for each |
//! | `row` | where a row's elements are, and what to do with them |
//! | `form` | what is known of a problem when the code for its rows is compiled |
//! | `element` | the element types of memory |
//! | `widen`, `convert`, `workspace` | 16 bits to `f32` and back |
//! | `gated` | norms with a gate, and its activations |
//! | `sharded` | rows that are split over devices |
//! | `all_reduce` | rows added up over ranks, element by element |
//! | `qk_rope` | norm and rotation of heads, which has loops of its own |
//! | `quantized` | norms whose output is quantized, a row at a time |
//!
//! # What is unsafe
//!
//! Three values are witnesses: each is made by unsafe code that has checked, or whose caller promises, what the safe methods of
//! the value rely on. A [`simd::Simd`] proves that the machine has the instructions, a [`row::Row`] that the memory of a row is
//! there, and a [`chunk::Chunk`] that one thread alone works on a part of it.

mod affine;
mod algorithm;
mod all_reduce;
mod chunk;
mod convert;
mod dispatch;
mod element;
mod form;
mod gated;
mod loops;
mod passes;
mod qk_rope;
mod quantized;
mod residual;
mod round;
mod row;
mod sharded;
mod simd;
mod sum;
mod tasks;
mod team;
mod widen;
mod workspace;

use self::dispatch::Isa;
use crate::{
    backend::{Backend, sealed::Sealed},
    error::Result,
    problem::{GatedProblem, Problem, QkRopeProblem, QuantizedProblem, Residual, Scales, ShardProblem},
    tensor::Place,
};

/// The CPU backend: computes on the host's cores, for views of [`Place::Host`]. An operation has finished when it returns.
///
/// Arithmetic on elements is `f32`, as on a GPU; sums are kept in `f64`. Rows are shared by the calling thread and rayon's current thread pool; where
/// there are fewer long rows than threads, threads share the chunks of each row. `dim` alone decides how a row is cut into
/// chunks and in which order their sums are added up: a row's bits depend on the row, the parameters and `dim`, never on how many
/// rows or threads there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu;

impl Sealed for Cpu {}

impl Backend for Cpu {
    fn place(&self) -> Place {
        Place::Host
    }

    unsafe fn run(&self, problem: &Problem) -> Result<()> {
        match problem.residual {
            Some(Residual { scales: Scales { sum_at: Some(address), .. }, .. }) => {
                // SAFETY: the caller promises that the scale may be read.
                let problem = unsafe { with_scale(problem, address) };
                // SAFETY: the caller promises the memory of the problem.
                unsafe { tasks::run(&problem) }
            }
            // Most problems have no such scale, and a copy of one takes longer than what follows does for a short row.
            // SAFETY: the caller promises the memory of the problem.
            _ => unsafe { tasks::run(problem) },
        }
        Ok(())
    }

    unsafe fn run_gated(&self, problem: &GatedProblem) -> Result<()> {
        // SAFETY: the caller promises the memory of the norm and of the gate.
        unsafe { gated::run(problem, Isa::detect()) };
        Ok(())
    }

    unsafe fn run_quantized(&self, problem: &QuantizedProblem) -> Result<()> {
        // SAFETY: the caller promises the memory of the problem.
        unsafe { quantized::run(problem, Isa::detect()) };
        Ok(())
    }

    unsafe fn run_shard(&self, problem: &ShardProblem) -> Result<()> {
        // SAFETY: the caller promises the memory of the problem and of the sums.
        unsafe { sharded::run(problem, Isa::detect()) };
        Ok(())
    }

    unsafe fn run_qk_rope(&self, problem: &QkRopeProblem) -> Result<()> {
        // SAFETY: the caller promises the memory of the problem.
        unsafe { qk_rope::run(problem, Isa::detect()) };
        Ok(())
    }
}

/// The problem with the number that its scale in memory is.
///
/// # Safety
///
/// There is an `f32` at the address, which may be read.
unsafe fn with_scale(problem: &Problem, address: u64) -> Problem {
    // SAFETY: the caller promises that the `f32` is there, and the checks found its address aligned.
    let sum = unsafe { *std::ptr::with_exposed_provenance::<f32>(address as usize) };
    let residual = problem.residual.map(|residual| {
        let scales = Scales { sum, sum_at: None, ..residual.scales };
        Residual { scales, ..residual }
    });
    Problem { residual, ..*problem }
}
