//! What kernels are counted at.

use norm_host::{
    DType, NormKind, Rounding,
    plan::{DeviceProfile, Plan, SandwichPlan, Tile},
    problem::{Operand, Param, Problem, Residual, SandwichProblem},
};
use norm_kernels::abi::{Access, Axis, Kernel, Storage};

/// Lengths of rows as models have them: 32, 64 and 128 are heads', 2048, 4096 and 8192 hidden states';
/// 16384 is a long one, which is staged in shared memory, 131072 one that clusters share, or no shared
/// memory holds.
const TYPICAL: [u32; 8] = [32, 64, 128, 2048, 4096, 8192, 16384, 131_072];
/// For kernels that take nothing shorter: a block's share fills more than half of the shared memory.
const LONGEST: u32 = 1 << 20;
/// For kernels that go element by element: no vector divides it.
const ODD: u32 = 4095;
/// What a device has of a row that is split.
const SHARD: u32 = 4096;
/// Where tensors may start, as the CUDA driver's allocations do.
pub const ALIGN: usize = 256;

/// A norm of dense rows: RMSNorm with weights, LayerNorm with weights and biases, either with a
/// residual or without.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: NormKind,
    /// Of x, weights and biases, y.
    pub dtypes: [DType; 3],
    pub rows: u64,
    pub dim: u32,
    /// The type of the residual in front of the norm, where there is one.
    pub residual: Option<DType>,
    /// Threads that share a row: lanes of a warp where they are fewer than a warp has, or those of
    /// all a cluster's blocks.
    pub threads_a_row: u32,
    pub blocks_a_row: u32,
}

/// Where tensors start.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub x: u64,
    pub w: u64,
    pub b: u64,
    pub y: u64,
    pub r: u64,
    /// The weights of the second of two norms.
    pub next_w: u64,
}

impl Addresses {
    /// Some that suit vectors, at which nothing is.
    const ALIGNED: Addresses = {
        let at = ALIGN as u64;
        Addresses { x: at, w: at, b: at, y: at, r: at, next_w: at }
    };
}

impl Shape {
    /// Two rows' shares on one of the devices that they are split over.
    pub fn shard(dtypes: [DType; 3], vectors: bool) -> Shape {
        let dim = if vectors { SHARD } else { ODD };
        let [x, _, y] = dtypes;
        let threads_a_row = Tile::new(NormKind::Rms, x, y, dim, DeviceProfile::LEAST).threads;
        Shape { kind: NormKind::Rms, dtypes, rows: 2, dim, residual: None, threads_a_row, blocks_a_row: 1 }
    }

    /// Two RMSNorms with weights and the residual between them, in place.
    pub fn sandwich(&self, at: Addresses) -> SandwichProblem {
        let plain = Problem { residual: None, ..self.problem(at) };
        let r = Operand { address: at.r, dtype: self.residual.unwrap_or(plain.x.dtype) };
        let w = plain.w.map(|w| Param { address: at.next_w, ..w });
        SandwichProblem {
            first: Problem { y: r, residual: Some(Residual::behind(r, r)), ..plain },
            second: Problem { x: r, w, ..plain },
            axes: plain.axes,
        }
    }

    pub fn problem(&self, at: Addresses) -> Problem {
        let Shape { kind, dtypes: [x, w, y], rows, dim, residual, .. } = *self;
        let stride = u64::from(dim);
        let rows_apart =
            Axis { extent: rows, x_stride: stride, y_stride: stride, r_stride: stride, s_stride: stride };
        let residual = residual.map(|dtype| Operand { address: at.r, dtype });
        let parameter = |address| Param { address, dtype: w, stride: 0 };
        Problem {
            kind,
            x: Operand { address: at.x, dtype: x },
            y: Operand { address: at.y, dtype: y },
            w: Some(parameter(at.w)),
            b: (kind == NormKind::Layer).then(|| parameter(at.b)),
            axes: [Axis::ONE, Axis::ONE, rows_apart],
            rows,
            dim,
            eps: 1e-5,
            weight_offset: 0.0,
            round_offset: false,
            rounding: Rounding::Single,
            residual: residual.map(|r| Residual::in_front(r, r)),
            overlap: true,
        }
    }
}

/// The same of a kernel of two norms.
pub fn typical_sandwiches(
    kernel: Kernel,
    device: DeviceProfile,
) -> norm_host::Result<Vec<(Shape, DeviceProfile)>> {
    let mut found = Vec::new();
    for dim in TYPICAL {
        let shape = two_blocks_or_a_cluster(kernel, dim, Some(kernel.x), device);
        let plan = SandwichPlan::new(&shape.sandwich(Addresses::ALIGNED), device)?;
        if plan.is_some_and(|plan| plan.plan.kernel == kernel) {
            found.push((shape, device));
        }
    }
    Ok(found)
}

/// The shapes of [`TYPICAL`] lengths for which operations take this kernel, of as many rows as two
/// blocks or a cluster have, and the profile of a device on which they do.
pub fn typical(kernel: Kernel, device: DeviceProfile) -> norm_host::Result<Vec<(Shape, DeviceProfile)>> {
    // The device itself; with two blocks as a long grid; and one that has neither clusters nor much
    // shared memory, where rows are long earlier.
    let devices = [device, DeviceProfile { short_grid: 1, ..device }, DeviceProfile::LEAST];
    let row = kernel.variant.spec();
    let lengths = match (row.access, row.storage) {
        (Access::Scalar, _) => &[ODD][..],
        (Access::Vector, Storage::Hybrid(_)) => &[LONGEST],
        (Access::Vector, _) => &TYPICAL,
    };
    let mut found = Vec::new();
    for &dim in lengths {
        for residual in [None, Some(kernel.normalized())] {
            for profile in devices {
                let shape = two_blocks_or_a_cluster(kernel, dim, residual, profile);
                let problem = shape.problem(Addresses::ALIGNED);
                if Plan::new(&problem, profile)?.kernel == kernel {
                    found.push((shape, profile));
                    break;
                }
            }
        }
    }
    Ok(found)
}

fn two_blocks_or_a_cluster(
    kernel: Kernel,
    dim: u32,
    residual: Option<DType>,
    profile: DeviceProfile,
) -> Shape {
    let Kernel { kind, x, w, y, variant, .. } = kernel;
    let tile = Tile::new(kind, kernel.normalized(), y, dim, profile).for_variant(variant);
    let rows = if tile.blocks > 1 { 1 } else { 2 * u64::from(tile.rows) };
    let threads_a_row = tile.threads * tile.blocks;
    Shape { kind, dtypes: [x, w, y], rows, dim, residual, threads_a_row, blocks_a_row: tile.blocks }
}
