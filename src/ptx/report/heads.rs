//! The counts of a kernel that norms and rotates heads.

use norm_host::{
    Backend, DType, NormKind, Simulator,
    problem::{HeadNorm, Heads, HeadsOperand, Param, QkRopeProblem, Rotation, Table},
};
use norm_kernels::abi::RopeKernel;

use super::kernel_run::KernelRun;
use super::shape::{ALIGN, Shape};
use crate::bytes::AlignedBytes;

/// Heads of 128 elements, as most models have them, of which all are rotated; one less where they are not whole vectors.
const HEAD_DIM: u32 = 128;
const TOKENS: u64 = 2;
const HEADS: u64 = 8;

/// Runs a kernel on the queries of two tokens, with weights that all heads share.
pub fn count(kernel: RopeKernel, simulator: &Simulator) -> norm_host::Result<KernelRun> {
    let RopeKernel { x, w, table, pairing, vectors, before_weight, rounding, rms_only, short } = kernel;
    // RMSNorm has a kernel of its own where heads are whole vectors.
    let kind = if vectors && !rms_only { NormKind::Layer } else { NormKind::Rms };
    let dim = if vectors { HEAD_DIM } else { HEAD_DIM - 2 };
    let (half, stride) = (dim / 2, u64::from(dim));
    let elements = (TOKENS * HEADS * stride) as usize;
    // All zeros: the counts depend on no value, and every position is the first row of the tables.
    let bytes = |dtype: DType, elements: usize| AlignedBytes::zeroed(elements * dtype.size() + ALIGN);
    let mut memory = [
        bytes(x, elements),
        bytes(x, elements),
        bytes(w, dim as usize),
        bytes(table, half as usize),
        bytes(table, half as usize),
        bytes(DType::F32, TOKENS as usize),
    ];
    let [q, out, weights, cos, sin, positions] = memory.each_mut().map(|bytes| {
        let padding = bytes.as_ptr().align_offset(ALIGN);
        (bytes.as_mut_ptr().expose_provenance() + padding) as u64
    });
    let operand = |address| HeadsOperand { address, token_stride: HEADS * stride, head_stride: stride };
    let of_table = |address| Table { address, stride: half.into() };
    let norm = HeadNorm {
        kind,
        eps: 1e-6,
        w: Some(Param { address: weights, dtype: w, stride: 0 }),
        weight_offset: 0.0,
    };
    let problem = QkRopeProblem {
        q: Heads { heads: HEADS, x: operand(q), y: operand(out), norm: Some(norm) },
        k: None,
        v: None,
        dtype: x,
        tokens: TOKENS,
        head_dim: dim,
        rotation: Some(Rotation {
            cos: of_table(cos),
            sin: of_table(sin),
            dtype: table,
            rows: 1,
            half,
            pairing,
            positions,
            position_bytes: 4,
        }),
        norm_behind: false,
        before_weight,
        rounding,
        // Without it the kernel for long grids serves such a short one, too.
        overlap: short || !rms_only,
    };
    let simulator = simulator.on(simulator.profile());
    // SAFETY: `memory` owns what the problem leads to, of its types and extents, and outlives the run. Nothing else uses it.
    unsafe { simulator.run_qk_rope(&problem) }?;
    let threads_a_row = norm_host::plan::QkRopePlan::new(&problem, simulator.profile())?.block[0];
    let shape = Shape {
        kind,
        dtypes: [x, w, x],
        rows: TOKENS * HEADS,
        dim,
        residual: None,
        threads_a_row,
        blocks_a_row: 1,
    };
    let counts = simulator.counts().unwrap_or_default();
    Ok(KernelRun::named(kernel.to_string(), shape, &counts, ["q", "q_weight", "q_out"]))
}
