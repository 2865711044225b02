//! Code that is compiled once for each instruction set that is worth it.
//!
//! The compiler may use an instruction only in a function that is marked to be compiled for it, and in what is inlined there.
//! The functions at the end of this file are marked so and do nothing else: the algorithms that they call are generic over
//! [`Simd`] and are always inlined.

#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
use super::simd::Avx2;
#[cfg(norm_avx512)]
use super::simd::Avx512;
use super::simd::{Portable, Simd};

/// A function that is to be compiled for each instruction set. Its fields are its arguments.
pub(super) trait RowFn {
    /// Its result.
    type Output;

    /// Whether it is compiled for AVX-512, too: what most problems take is, and all else would take room for little.
    const WIDE: bool = false;

    /// Carries it out. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The instruction sets, of which all give the same bits.
#[derive(Clone, Copy)]
pub(super) enum Isa {
    #[cfg(norm_avx512)]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Portable(Portable),
}

impl Isa {
    /// The fastest instruction set of this machine.
    #[inline]
    pub(super) fn detect() -> Isa {
        #[cfg(norm_avx512)]
        if let Some(avx512) = Avx512::detect() {
            return Isa::Avx512(avx512);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::detect() {
            return Isa::Avx2(avx2);
        }
        Isa::Portable(Portable)
    }

    /// Carries out `f` with these instructions.
    #[inline]
    pub(super) fn run<F: RowFn>(self, f: F) -> F::Output {
        match self {
            // SAFETY: the witness proves that the machine has the instructions that the function is compiled for.
            #[cfg(norm_avx512)]
            Isa::Avx512(simd) if F::WIDE => unsafe { avx512(simd, f) },
            // SAFETY: the witness proves that the machine has AVX2 too, which the function is compiled for.
            #[cfg(norm_avx512)]
            Isa::Avx512(simd) => unsafe { avx2(simd.avx2(), f) },
            // SAFETY: the witness proves that the machine has AVX2, which the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(simd) => unsafe { avx2(simd, f) },
            Isa::Portable(simd) => portable(simd, f),
        }
    }
}

#[cfg(norm_avx512)]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn avx512<F: RowFn>(simd: Avx512, f: F) -> F::Output {
    f.run(simd)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<F: RowFn>(simd: Avx2, f: F) -> F::Output {
    f.run(simd)
}

#[inline(never)]
fn portable<F: RowFn>(simd: Portable, f: F) -> F::Output {
    f.run(simd)
}
