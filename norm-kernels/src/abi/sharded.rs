//! The kernels for rows that are split over devices (tensor parallelism). A device's part of a row is its shard.

use super::{DType, EpilogueRounding, MAX_BLOCK_THREADS};

/// One of the two kernels of an RMSNorm over shards. Between them, the sums that the first one writes, one `f32` a row, are
/// added up over all devices (all-reduce).
///
/// Its parameters are [`Args`](super::Args), with `dim` that of the shard and `reciprocal_f32` one
/// over the elements of the whole row, and the device address of the sums, one `f32` a row in the
/// order of rows. Each row is laid over the threads of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShardKernel {
    /// `sums[row] = Σ x²`. It has no `y`, and no weights.
    Partial {
        /// Element type of `x`.
        x: DType,
        /// Whether rows are whole, aligned vectors, as wide as where `y` has the type of `x`.
        vectors: bool,
    },
    /// `y = x / sqrt(sums[row] / dim + eps) * (w + weight_offset) + b`.
    Apply {
        /// Element type of `x`.
        x: DType,
        /// Element type of the weights and biases; that of `x` where there are neither.
        w: DType,
        /// Element type of `y`.
        y: DType,
        /// Whether rows are whole, aligned vectors.
        vectors: bool,
        /// Where it rounds.
        epilogue: EpilogueRounding,
    },
}

const TYPES: usize = DType::ALL.len();
const PARTIAL: usize = TYPES * 2;

/// A number above every [`ShardKernel::index`].
pub const SHARD_KERNEL_SLOTS: usize = PARTIAL + EpilogueRounding::COUNT * APPLY;

/// Numbers of the second step's kernels that round once.
const APPLY: usize = TYPES.pow(3) * 2;

impl ShardKernel {
    /// The largest block that launches it.
    pub const MAX_THREADS: u32 = MAX_BLOCK_THREADS;

    /// A number below [`SHARD_KERNEL_SLOTS`], different for every kernel.
    pub const fn index(self) -> usize {
        match self {
            ShardKernel::Partial { x, vectors } => (x as usize - 1) * 2 + vectors as usize,
            ShardKernel::Apply { x, w, y, vectors, epilogue } => {
                let [x, w, y] = [x as usize - 1, w as usize - 1, y as usize - 1];
                PARTIAL + epilogue.index() * APPLY + ((x * TYPES + w) * TYPES + y) * 2 + vectors as usize
            }
        }
    }

    /// Every one that rounds once, in the order of [`ShardKernel::index`]; the others are these with other
    /// [`EpilogueRounding`].
    pub fn all() -> impl Iterator<Item = ShardKernel> {
        (0..PARTIAL + APPLY).map(|index| {
            let vectors = index % 2 == 1;
            match index.checked_sub(PARTIAL) {
                None => ShardKernel::Partial { x: DType::ALL[index / 2], vectors },
                Some(apply) => ShardKernel::Apply {
                    x: DType::ALL[apply / 2 / TYPES / TYPES],
                    w: DType::ALL[apply / 2 / TYPES % TYPES],
                    y: DType::ALL[apply / 2 % TYPES],
                    vectors,
                    epilogue: EpilogueRounding::SINGLE,
                },
            }
        })
    }
}

/// The entry point's name in the PTX, such as `rms_partial_f16_vector`, `rms_apply_f16_f32_f16_scalar`:
/// step, x (and w and y), access, and where it rounds if that is not once.
impl core::fmt::Display for ShardKernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let access = |vectors| if vectors { "vector" } else { "scalar" };
        match *self {
            ShardKernel::Partial { x, vectors } => write!(f, "rms_partial_{x}_{}", access(vectors)),
            ShardKernel::Apply { x, w, y, vectors, epilogue } => {
                write!(f, "rms_apply_{x}_{w}_{y}_{}{epilogue}", access(vectors))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_its_own_number() {
        for (index, kernel) in ShardKernel::all().enumerate() {
            assert_eq!(kernel.index(), index, "{kernel:?}");
        }
        assert_eq!(ShardKernel::all().count(), PARTIAL + APPLY);
    }
}
