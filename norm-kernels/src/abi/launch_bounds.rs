//! The most registers that a thread of a kernel may take, which the PTX states as `.maxnreg` (PTX ISA, "Performance-Tuning
//! Directives").
//!
//! Without a bound, ptxas lets a thread take as many registers as the largest block leaves it, which costs occupancy for
//! smaller blocks, of which more would fit a multiprocessor. Where ptxas aims at two of the largest blocks, it may also
//! move loads that a kernel issues early, such as those of weights, behind the reduction. A bound prevents both.
//!
//! The numbers were found by search with ptxas 13.0, in comparison with the kernels as they were when all types were
//! compiled in: no spills, no more registers than those, and for sm_90 no fewer loads in front of the reduction.
//! docs/TUNING.md, 'Tenth round' and 'Eleventh round', has the search, and the one kernel that takes a register more.
//!
//! Bounds are no part of the compiled text: after a change here `cargo xtask ptx lock` is enough. Tests assemble every
//! kernel and compare its registers with the lock file.

use super::{
    DType::{self, BF16, F16, F32},
    EntryPoint, EpilogueRounding, Kernel,
    NormKind::{self, Layer, Rms},
    QuantKernel, QuantVariant, RopeKernel, ShardKernel,
    Variant::{self, Add2, Add4, Block2, Block4, Mixed, Scalar, Short4, Staged, Stream, Warp2, Warp4},
};

/// The most registers, by the bytes of an element of x, w and y, in the order of [`column`]; 0 if there is no bound.
pub(super) type Columns = [u32; 8];

/// The column for elements of these types.
pub(super) fn column([x, w, y]: [DType; 3]) -> usize {
    let is_wide = |dtype: DType| usize::from(dtype.size() == 4);
    is_wide(x) << 2 | is_wide(w) << 1 | is_wide(y)
}

/// The bounds for the kernels of one target.
struct Bounds {
    norms: &'static [(NormKind, Variant, Columns)],
    /// Exceptions for one 16-bit type of x, for which the number of its column does not do: the type, the bytes of x, w and
    /// y, and the number.
    by_x: &'static [(NormKind, Variant, DType, [usize; 3], u32)],
    /// Exceptions for kernels that round more than once, which would spill with the number for one rounding: the bytes of
    /// x, w and y, and the number.
    rounding_more: &'static [(NormKind, Variant, [usize; 3], u32)],
    /// For a [wide](crate::abi::Addition) residual, whatever the types.
    wide: &'static [(NormKind, Variant, u32)],
    /// For [`ShardKernel::Partial`], with vectors and element by element: x of 16 bits, and f32.
    partial: [[u32; 2]; 2],
    /// For [`ShardKernel::Apply`], with vectors and element by element.
    apply: [Columns; 2],
}

#[rustfmt::skip]
static SM_80: Bounds = Bounds {
    norms: &[
        // Bytes of x, w, y: 222 224 242 244 422 424 442 444
        (Rms,   Block2,      [40,  0,  0,  0,  0,  0,  0,  0]),
        (Rms,   Block4,      [ 0,  0,  0,  0, 40,  0,  0,  0]),
        (Rms,   Add2,        [ 0,  0, 55, 32,  0,  0,  0,  0]),
        (Rms,   Add4,        [72, 56,  0,  0,  0,  0,  0,  0]),
        (Rms,   Staged,      [40, 40, 48, 40,  0, 40, 40, 40]),
        (Rms,   Mixed,       [48, 40, 47, 40, 40, 37,  0, 40]),
        (Rms,   Stream,      [48,  0, 52, 48, 48, 48, 53,  0]),
        (Rms,   Scalar,      [ 0, 34, 48, 35,  0, 37,  0,  0]),
        (Layer, Warp2,       [ 0, 32,  0,  0,  0, 37,  0,  0]),
        (Layer, Warp4,       [ 0,  0, 77, 48,  0,  0,  0,  0]),
        (Layer, Block4,      [61, 40, 80,  0, 39,  0,  0,  0]),
        (Layer, Short4,      [ 0,  0,  0,  0,  0,  0,  0, 80]),
        (Layer, Staged,      [40, 40, 40, 40, 40, 39,  0, 40]),
        (Layer, Mixed,       [61,  0, 59,  0,  0,  0,  0, 53]),
        (Layer, Stream,      [ 0, 47, 60, 48, 56, 56, 56,  0]),
        (Layer, Scalar,      [47, 39, 47, 40, 40,  0,  0,  0]),
        (Layer, Add4,        [96,  0,  0, 55,  0,  0,  0,  0]),
    ],
    by_x: &[],
    rounding_more: &[(Layer, Staged, [4, 4, 2], 48), (Layer, Warp4, [2, 2, 2], 80)],
    wide: &[],
    partial: [[40, 0], [28, 30]],
    apply: [[48, 37, 48, 48, 0, 48, 0, 48], [45, 30, 46, 35, 40, 31, 0, 0]],
};

#[rustfmt::skip]
static SM_90: Bounds = Bounds {
    norms: &[
        // Bytes of x, w, y: 222 224 242 244 422 424 442 444
        (Rms,   Warp2,       [39, 31,  0, 32, 28, 28, 32, 31]),
        (Rms,   Block2,      [ 0, 29,  0,  0,  0,  0,  0,  0]),
        (Rms,   Block4,      [68, 42,  0,  0,  0, 47, 54,  0]),
        (Rms,   Add2,        [48,  0,  0, 32,  0, 36,  0, 32]),
        (Rms,   Add4,        [72, 56, 94, 64, 64, 60,  0,  0]),
        (Rms,   Staged,      [40, 40, 48, 40, 40, 40, 40, 40]),
        (Rms,   Mixed,       [53, 43,  0, 43, 43,  0, 41, 42]),
        (Rms,   Stream,      [48, 38,  0, 48, 48, 47, 55, 56]),
        (Rms,   Scalar,      [48, 37, 47,  0, 37, 34, 35, 32]),
        (Layer, Warp2,       [54, 32, 64, 40, 32, 32, 40, 40]),
        (Layer, Warp4,       [75,  0, 78, 48, 48, 41,  0, 48]),
        (Layer, Block4,      [60, 45, 73, 48, 40, 48,  0, 56]),
        (Layer, Short4,      [ 0,  0,  0,  0, 64, 64,  0, 80]),
        (Layer, Add4,        [ 0,  0, 96,  0,  0,  0,  0, 74]),
        (Layer, Staged,      [40, 40, 40, 40, 40, 40, 40, 40]),
        (Layer, Mixed,       [57, 55, 59, 56, 60, 60,  0, 62]),
        (Layer, Stream,      [63, 47, 62, 47, 62, 62, 62, 63]),
        (Layer, Scalar,      [47, 43, 48, 43, 43, 43,  0,  0]),
    ],
    by_x: &[
        (Rms, Warp2, BF16, [2, 2, 2], 44),
        (Layer, Warp4, F16, [2, 2, 2], 64),
        (Layer, Add4, BF16, [2, 2, 4], 74),
    ],
    rounding_more: &[(Layer, Block4, [2, 2, 2], 72), (Layer, Block4, [2, 4, 4], 48), (Layer, Add4, [2, 4, 2], 96)],
    wide: &[(Layer, Staged, 48)],
    partial: [[40, 38], [30, 0]],
    apply: [[0, 38, 53, 45, 47, 46, 55, 0], [48, 32, 46, 34, 32, 32, 32, 32]],
};

impl EntryPoint {
    /// The most registers that a thread may take, stated as `.maxnreg` in a text for devices of this compute capability
    /// (major, minor) and newer; `None` if only the largest block bounds them.
    pub fn max_registers(self, capability: (u32, u32)) -> Option<u32> {
        let bounds = if capability < (9, 0) { &SM_80 } else { &SM_90 };
        let most = match self {
            EntryPoint::Norm(kernel) => bounds.of_norm(kernel),
            EntryPoint::Quant(kernel) => of_quant(kernel, capability),
            EntryPoint::Shard(ShardKernel::Partial { x, vectors }) => {
                bounds.partial[usize::from(!vectors)][usize::from(x == F32)]
            }
            EntryPoint::Shard(ShardKernel::Apply { x, w, y, vectors, .. }) => {
                bounds.apply[usize::from(!vectors)][column([x, w, y])]
            }
            // The largest block leaves a thread as many registers as it needs.
            EntryPoint::Gated(_) | EntryPoint::Group(_) => 0,
            // With 80 0.973 of a copy's bandwidth at 32768 tokens with 32 + 8 heads of 128 bf16, and with 96, of which 89 are
            // taken, 0.869 with weights and tables of f32, where 80, 84 and 88 gave 0.821, 0.774 and 0.862 (NVIDIA H200,
            // 2026-11-30).
            EntryPoint::Rope(RopeKernel { x, w, table, vectors: true, rms_only, .. }) if x.size() == 2 => {
                match (rms_only, w, table) {
                    (true, BF16 | DType::F16, BF16 | DType::F16) => 80,
                    // Where one of the two is f32 ptxas takes 80 itself, but spills two words where it must.
                    (true, _, _) | (false, _, _) => 96,
                }
            }
            EntryPoint::Rope(_) => 0,
        };
        (most > 0).then_some(most)
    }
}

/// For long grids as many blocks as there are registers for: seven of 128 threads, and two of 256. Where codes of E4M3 are made by
/// integers, that is too few for some.
///
/// In short grids the fewer blocks of the next kernels fit beside those that run, the better: without a bound ptxas takes 39
/// registers, so that six fit, and 128 rows of 4096 with a given scale, one a token and one for 128 elements take 2.04, 2.51 and 2.87 µs. With
/// this one it takes 51, four fit, and they take 1.82, 2.16 and 2.32 (NVIDIA H200, 2026-11-30).
fn of_quant(kernel: QuantKernel, capability: (u32, u32)) -> u32 {
    match kernel.variant {
        _ if capability < (9, 0) => 0,
        QuantVariant::Registers2 => 64,
        // With 72 ptxas spills up to two words of the others for sm_100.
        QuantVariant::Long4 if kernel.w == F32 || kernel.x == F16 => 80,
        QuantVariant::Long4 => 72,
        // With fewer, LayerNorm's spill: its totals are given to the host's instructions as f32 and as words.
        QuantVariant::Long8 if kernel.kind == NormKind::Layer => {
            if kernel.w == F32 {
                224
            } else {
                160
            }
        }
        QuantVariant::Long8 => 128,
        _ => 0,
    }
}

impl Bounds {
    fn of_norm(&self, Kernel { kind, variant, x, w, y, addition, epilogue }: Kernel) -> u32 {
        if addition.wide {
            let row = self.wide.iter().find(|row| (row.0, row.1) == (kind, variant));
            return row.map_or(0, |row| row.2);
        }
        let types = [x, w, y];
        let sizes = types.map(DType::size);
        let rounds_more = epilogue != EpilogueRounding::SINGLE;
        let more = self.rounding_more.iter().find(|row| (row.0, row.1, row.2) == (kind, variant, sizes));
        let by_x = self.by_x.iter().find(|row| (row.0, row.1, row.2, row.3) == (kind, variant, x, sizes));
        let by_size = self.norms.iter().find(|row| (row.0, row.1) == (kind, variant));
        let more = more.filter(|_| rounds_more).map(|row| row.3);
        more.or(by_x.map(|row| row.4)).or(by_size.map(|row| row.2[column(types)])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Addition;

    #[test]
    fn every_row_is_of_a_kernel_and_none_stands_twice() {
        for registers in [&SM_80, &SM_90] {
            for (index, &(kind, variant, _)) in registers.norms.iter().enumerate() {
                assert!(variant.serves(kind), "{kind:?} {variant:?}");
                assert!(registers.norms[..index].iter().all(|row| (row.0, row.1) != (kind, variant)));
            }
            for &(kind, variant, x, sizes, most) in registers.by_x {
                let fits = |kernel: &Kernel| {
                    let types = [kernel.x, kernel.w, kernel.y];
                    (kernel.kind, kernel.variant, kernel.x) == (kind, variant, x)
                        && types.map(DType::size) == sizes
                };
                assert_ne!(Kernel::all().filter(fits).count(), 0, "{kind:?} {variant:?} {x}");
                assert!(Kernel::all().filter(fits).all(|kernel| registers.of_norm(kernel) == most));
            }
        }
    }

    #[test]
    fn bounds_are_those_of_the_target() {
        let kernel = |variant, kind, [x, w, y]: [DType; 3]| {
            EntryPoint::Norm(Kernel {
                kind,
                x,
                w,
                y,
                variant,
                addition: Addition::PLAIN,
                epilogue: EpilogueRounding::SINGLE,
            })
        };
        let half = [F16; 3];
        for (entry, sm_80, sm_90) in [
            (kernel(Warp2, Rms, half), None, Some(39)),
            (kernel(Add4, Rms, half), Some(72), Some(72)),
            (kernel(Short4, Layer, half), None, None),
            (kernel(Warp2, Rms, [BF16; 3]), None, Some(44)),
            (EntryPoint::Shard(ShardKernel::Partial { x: BF16, vectors: false }), Some(28), Some(30)),
        ] {
            assert_eq!(entry.max_registers((8, 0)), sm_80, "{entry}");
            assert_eq!(entry.max_registers((9, 0)), sm_90, "{entry}");
        }
    }
}
