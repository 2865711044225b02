//! The shapes at which kernels are run for the report.

use norm_host::{
    DType, Gating, NormKind, Rounding,
    plan::{DeviceProfile, GatedPlan, Plan, QuantizedPlan, SandwichPlan, Tile},
    problem::{
        GatedProblem, Operand, Param, Problem, QuantLimits, QuantScales, QuantizedProblem, Residual,
        SandwichProblem, UniformRows,
    },
};
use norm_kernels::abi::{Access, Axis, GatedKernel, GatedVariant, Kernel, QuantKernel, Storage};

/// Dims as models have them: 32, 64 and 128 of heads, 2048, 4096 and 8192 of hidden states. Rows of 16384 elements are
/// staged in shared memory. Rows of 131072 are shared by a cluster or, without clusters, too long for shared memory.
const TYPICAL: [u32; 8] = [32, 64, 128, 2048, 4096, 8192, 16384, 131_072];
/// The dim for kernels that take no shorter rows: a block's part of a row fills more than half of its shared memory.
const LONGEST: u32 = 1 << 20;
/// The dim for scalar kernels: rows are not whole vectors.
pub const ODD: u32 = 4095;
/// A dim of quantized rows whose tile has an odd number of warps, which two threads of it cannot share.
const ODD_WARPS: u32 = 5120;
/// The elements of a shard.
const SHARD: u32 = 4096;
/// Tensors start at multiples of this many bytes, like allocations of the CUDA driver.
pub const ALIGN: usize = 256;

/// A norm of dense rows: RMSNorm with weights or LayerNorm with weights and biases, either with or without a residual.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: NormKind,
    /// The dtypes of `x`, of weights and biases, and of `y`.
    pub dtypes: [DType; 3],
    pub rows: u64,
    pub dim: u32,
    /// The dtype of the residual, if there is one.
    pub residual: Option<DType>,
    /// Threads that share a row: some or all lanes of a warp, the threads of a block, or those of all blocks of a cluster.
    pub threads_a_row: u32,
    /// Blocks that share a row: more than one in a cluster.
    pub blocks_a_row: u32,
}

/// The addresses of tensors.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub x: u64,
    pub w: u64,
    pub b: u64,
    pub y: u64,
    pub r: u64,
    /// The weights of a sandwich's second norm.
    pub next_w: u64,
}

impl Addresses {
    /// Aligned addresses for planning alone: there is no memory at them.
    const ALIGNED: Addresses = {
        let at = ALIGN as u64;
        Addresses { x: at, w: at, b: at, y: at, r: at, next_w: at }
    };
}

impl Shape {
    /// One device's shard of two rows that are split over devices.
    pub fn shard(dtypes: [DType; 3], vectors: bool) -> Shape {
        let dim = if vectors { SHARD } else { ODD };
        let [x, _, y] = dtypes;
        let threads_a_row = Tile::new(NormKind::Rms, x, y, dim, DeviceProfile::LEAST).threads;
        Shape { kind: NormKind::Rms, dtypes, rows: 2, dim, residual: None, threads_a_row, blocks_a_row: 1 }
    }

    /// A sandwich of two RMSNorms with weights, whose sum overwrites the residual.
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

    /// An RMSNorm with weights whose gate has the place and the dtype of the residual.
    pub fn gated(&self, at: Addresses, gating: Gating) -> GatedProblem {
        let norm = Problem { residual: None, ..self.problem(at) };
        let gate = Operand { address: at.r, dtype: self.residual.unwrap_or(norm.x.dtype) };
        GatedProblem { norm, gate, gating }
    }

    /// A norm whose output is quantized, with a scale for each row at `scales`.
    pub fn quantized(&self, kernel: QuantKernel, at: Addresses, scales: u64) -> QuantizedProblem {
        let QuantKernel { format, recipe, .. } = kernel;
        let limits =
            QuantLimits { bound: f32::INFINITY, bound_at: None, floor: 0.0, max: format.max(), least: 0.0 };
        let rows = UniformRows { address: scales, stride: 1 };
        QuantizedProblem {
            norm: self.problem(at),
            format,
            recipe,
            scales: QuantScales::Token { rows, limits },
            normed: None,
        }
    }

    /// The norm on tensors at these addresses. With a residual, the sum overwrites it.
    pub fn problem(&self, at: Addresses) -> Problem {
        let Shape { kind, dtypes: [x, w, y], rows, dim, residual, .. } = *self;
        let stride = u64::from(dim);
        let rows_axis =
            Axis { extent: rows, x_stride: stride, y_stride: stride, r_stride: stride, s_stride: stride };
        let residual = residual.map(|dtype| Operand { address: at.r, dtype });
        let parameter = |address| Param { address, dtype: w, stride: 0 };
        Problem {
            kind,
            x: Operand { address: at.x, dtype: x },
            y: Operand { address: at.y, dtype: y },
            w: Some(parameter(at.w)),
            b: (kind == NormKind::Layer).then(|| parameter(at.b)),
            axes: [Axis::ONE, Axis::ONE, rows_axis],
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

/// The sandwiches of [`TYPICAL`] dims for which planning selects this kernel, with as many rows as two blocks take, and
/// the device profile.
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

/// The shapes of [`TYPICAL`] dims for which planning selects this gated kernel, with as many rows as two blocks take.
pub fn typical_gated(kernel: GatedKernel, device: DeviceProfile) -> norm_host::Result<Vec<Shape>> {
    let GatedKernel { x, w, variant, gating, .. } = kernel;
    let dims = if variant == GatedVariant::Scalar { &[ODD][..] } else { &TYPICAL };
    let mut found = Vec::new();
    for &dim in dims {
        let residual = Some(kernel.gate());
        let of = |rows, [threads_a_row, blocks_a_row]: [u32; 2]| Shape {
            kind: NormKind::Rms,
            dtypes: [x, w, x],
            rows,
            dim,
            residual,
            threads_a_row,
            blocks_a_row,
        };
        let plan = |shape: &Shape| GatedPlan::new(&shape.gated(Addresses::ALIGNED, gating), device);
        let GatedPlan { block: [threads, rows, _], cluster, .. } = plan(&of(1, [1, 1]))?;
        let rows = if cluster > 1 { 1 } else { 2 * u64::from(rows) };
        let shape = of(rows, [threads * cluster, cluster]);
        if plan(&shape)?.kernel == kernel {
            found.push(shape);
        }
    }
    Ok(found)
}

/// The shapes of [`TYPICAL`] dims, or the odd ones, of two rows for which planning selects this kernel, and a device profile
/// with which it does.
pub fn typical_quantized(
    kernel: QuantKernel,
    device: DeviceProfile,
) -> norm_host::Result<Vec<(Shape, DeviceProfile)>> {
    // The device itself, and the device with two blocks as a long grid.
    let profiles = [device, DeviceProfile { short_grid: 1, ..device }];
    let QuantKernel { kind, x, w, .. } = kernel;
    let mut found = Vec::new();
    for dim in TYPICAL.into_iter().chain([ODD_WARPS, ODD]) {
        for residual in [None, Some(x)] {
            let dtypes = [x, w, x];
            let shape = Shape { kind, dtypes, rows: 2, dim, residual, threads_a_row: 0, blocks_a_row: 1 };
            let at = Addresses::ALIGNED;
            for profile in profiles {
                let plan = QuantizedPlan::new(&shape.quantized(kernel, at, at.y), profile)?;
                if plan.kernel == kernel {
                    found.push((Shape { threads_a_row: plan.block[0], ..shape }, profile));
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// The shapes of [`TYPICAL`] dims for which planning selects this kernel, with as many rows as two blocks or one cluster
/// take, and a device profile with which it is selected. Some variants have another dim than those.
pub fn typical(kernel: Kernel, device: DeviceProfile) -> norm_host::Result<Vec<(Shape, DeviceProfile)>> {
    // The device itself; the device with two blocks as a long grid; and one that has neither clusters nor much shared
    // memory, on which shorter rows already exceed it.
    let profiles = [device, DeviceProfile { short_grid: 1, ..device }, DeviceProfile::LEAST];
    let row = kernel.variant.spec();
    let dims = match (row.access, row.storage) {
        (Access::Scalar, _) => &[ODD][..],
        (Access::Vector, Storage::Hybrid(_)) => &[LONGEST],
        (Access::Vector, _) => &TYPICAL,
    };
    let mut found = Vec::new();
    for &dim in dims {
        for residual in [None, Some(kernel.normalized())] {
            for profile in profiles {
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

/// A shape with as many rows as two blocks take or, if a cluster shares a row, with one row.
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
