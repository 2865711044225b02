//! What the PTX states of a kernel's launches and registers (PTX ISA, "Performance-Tuning Directives").
//!
//! Found with ptxas 13.0 for sm_80, sm_89, sm_90 and sm_100; the tests that assemble every kernel check them in every
//! run. At most one row of a table fits a kernel.

use super::{
    DType::{self, BF16, F16, F32},
    Kernel,
    NormKind::{self, Layer, Rms},
    Variant::{self, Add2, Add4, Block4, Mixed, Scalar, Short4, Staged, Stream, Warp2, Warp4},
};

const ALL: &[DType] = &DType::ALL;
const HALF: &[DType] = &[F16, BF16];

/// A bound of the kernels whose types of x, w and y are among those that stand there.
struct Bound {
    variant: Variant,
    kind: NormKind,
    types: [&'static [DType]; 3],
    most: u32,
}

const fn bound(variant: Variant, kind: NormKind, types: [&'static [DType]; 3], most: u32) -> Bound {
    Bound { variant, kind, types, most }
}

/// The most registers a thread may take, where that is to be fewer than the largest block leaves it: `.maxnreg`.
///
/// Three blocks of 512 threads that keep rows in shared memory, in place of two, take 1.00 in place of 0.98 of a copy's
/// bandwidth at 16384 f16 (docs/TUNING.md). All else is what ptxas can do with, and does not by itself: it takes more
/// where the number of blocks that fit a multiprocessor stays, by its count for the largest block.
const MAX_REGISTERS: &[Bound] = &[
    // Two vectors of weights in f32 beside x in 16 bits fill twice the registers.
    bound(Staged, Rms, [HALF, &[F32], HALF], 48),
    bound(Staged, Rms, [HALF, &[F32], &[F32]], 40),
    bound(Staged, Rms, [HALF, HALF, ALL], 40),
    bound(Staged, Rms, [&[F32], ALL, ALL], 40),
    bound(Staged, Layer, [ALL, ALL, ALL], 40),
    bound(Add2, Rms, [HALF, &[F32], &[F32]], 32),
    bound(Warp2, Layer, [HALF, HALF, &[F32]], 32),
    bound(Block4, Rms, [&[F32], HALF, HALF], 40),
    bound(Warp4, Layer, [HALF, &[F32], &[F32]], 48),
    bound(Stream, Layer, [HALF, ALL, &[F32]], 48),
    bound(Scalar, Layer, [ALL, ALL, ALL], 48),
    bound(Add4, Rms, [HALF, HALF, &[F32]], 56),
    bound(Mixed, Layer, [HALF, ALL, &[F32]], 56),
    bound(Block4, Layer, [&[F32], ALL, &[F32]], 56),
    bound(Add4, Rms, [HALF, HALF, HALF], 72),
    bound(Block4, Layer, [&[BF16], HALF, HALF], 66),
    bound(Short4, Layer, [&[F32], &[F32], &[F32]], 80),
    bound(Block4, Layer, [HALF, &[F32], HALF], 88),
    bound(Add4, Layer, [&[F16], &[F32], HALF], 96),
];

/// So many blocks are to fit a multiprocessor, and no more, where ptxas would else aim at more and spill registers for
/// it: `.minnctapersm`.
const MIN_BLOCKS: &[Bound] = &[
    bound(Warp4, Layer, [&[BF16], ALL, ALL], 3),
    bound(Block4, Layer, [&[F16], HALF, &[F32]], 2),
    bound(Add4, Layer, [&[BF16], HALF, &[F32]], 1),
    bound(Mixed, Rms, [ALL, ALL, ALL], 1),
    bound(Mixed, Layer, [ALL, ALL, ALL], 1),
    bound(Stream, Rms, [ALL, ALL, ALL], 1),
    bound(Stream, Layer, [&[F16, F32], ALL, ALL], 1),
    // With weights in f32 and a y of 16 bits ptxas spills with the directive, and does not without.
    bound(Stream, Layer, [&[BF16], HALF, ALL], 1),
    bound(Stream, Layer, [&[BF16], &[F32], &[F32]], 1),
    bound(Scalar, Rms, [ALL, ALL, ALL], 1),
    bound(Scalar, Layer, [ALL, ALL, ALL], 1),
];

impl Bound {
    fn fits(&self, kernel: Kernel) -> bool {
        let types = [kernel.x, kernel.w, kernel.y];
        self.variant == kernel.variant
            && self.kind == kernel.kind
            && self.types.iter().zip(types).all(|(allowed, given)| allowed.contains(&given))
    }
}

fn find(bounds: &[Bound], kernel: Kernel) -> Option<u32> {
    bounds.iter().find(|bound| bound.fits(kernel)).map(|bound| bound.most)
}

impl Kernel {
    /// The most registers a thread may take (`.maxnreg`); `None` where the largest block alone bounds them.
    pub fn max_registers(self) -> Option<u32> {
        find(MAX_REGISTERS, self)
    }

    /// The blocks that are to fit a multiprocessor (`.minnctapersm`); `None` where ptxas decides.
    pub fn min_blocks(self) -> Option<u32> {
        find(MIN_BLOCKS, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_fit_one_kernel_and_each_fits_some() {
        for bounds in [MAX_REGISTERS, MIN_BLOCKS] {
            for kernel in Kernel::all() {
                assert!(bounds.iter().filter(|bound| bound.fits(kernel)).count() <= 1, "{kernel}");
            }
            assert!(bounds.iter().all(|bound| Kernel::all().any(|kernel| bound.fits(kernel))));
        }
    }
}
