//! The cases that tests go through.

use norm_host::{DType, DeviceProfile, NormKind, Rounding, Tile};
use norm_kernels::abi::{Kernel, Variant};

use crate::common::{
    case::{Case, Residual},
    values::Values,
};

/// Types of x, w and y.
pub type DTypes = [DType; 3];

/// All 27 combinations.
pub fn dtypes() -> impl Iterator<Item = DTypes> {
    (0..27).map(|n| [n / 9, n / 3 % 3, n % 3].map(|k| DType::ALL[k]))
}

/// All 27 combinations with both norms.
pub fn dtypes_and_kinds() -> impl Iterator<Item = (DTypes, NormKind)> {
    dtypes().flat_map(|dtypes| NormKind::ALL.map(|kind| (dtypes, kind)))
}

/// `rows` dense rows of plain values with weights.
pub fn plain(kind: NormKind, [x, w, y]: DTypes, rows: usize, dim: usize) -> Case {
    Case {
        kind,
        heads: false,
        residual: Residual::None,
        x,
        y,
        w: Some(w),
        b: None,
        front: vec![rows],
        dim,
        gaps: vec![(0, 0); 3],
        r_gaps: [0; 3],
        param_gap: 0,
        shared: [false; 2],
        values: Values::Plain,
        eps: 1e-5,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        seed: dim as u64,
    }
}

/// Small cases that take this kernel, with idle threads in rows, and idle rows in the last block.
pub fn of_kernel(kernel: Kernel, profile: DeviceProfile) -> impl Iterator<Item = Case> {
    let Kernel { kind, x, w, y, variant } = kernel;
    let width = Tile::new(kind, x, y, 1, profile).width as usize;
    let (rows, dims) = match variant {
        Variant::Warp2 => (131, vec![if kind == NormKind::Rms { 40 } else { 7 } * width]),
        Variant::Warp4 => (11, vec![50 * width]),
        Variant::Block2 | Variant::Add2 => (3, vec![100 * width]),
        Variant::Block4 if kind == NormKind::Rms => (2, vec![600 * width]),
        Variant::Block4 => (profile.short_grid as usize + 2, vec![200 * width]),
        Variant::Short4 | Variant::Add4 => (2, vec![600 * width]),
        // A cluster's last block has a shorter share than the others.
        Variant::Staged => (2, vec![9005 * width]),
        // Few blocks have as much to hold for fewer vectors.
        Variant::Mixed if profile.max_cluster <= 2 => (1, vec![9005 * profile.max_cluster as usize * width]),
        Variant::Mixed => (1, vec![130_001 * width]),
        // Where no shared memory is to be used, shorter ones are streamed.
        Variant::Stream if profile.max_shared_bytes == 0 => (2, vec![9005 * width]),
        Variant::Stream => (1, vec![270_001 * width]),
        // Rows of a warp, of a block, of a cluster.
        Variant::Scalar => (3, [5, 100, 9005].map(|vectors| vectors * width + 1).to_vec()),
    };
    // Kernels that hold rows of RMSNorm know no biases.
    let may_have_biases = kind == NormKind::Layer || variant == Variant::Scalar;
    let b = (may_have_biases && kernel.index().is_multiple_of(2)).then_some(w);
    let residual = if variant.adds() { Residual::Before } else { Residual::None };
    dims.into_iter().map(move |dim| Case { b, residual, ..plain(kind, [x, w, y], rows, dim) })
}

/// What an operation may be given or not, each option in turn.
pub fn options(plain: &Case) -> Vec<Case> {
    let w = plain.w;
    let rows = plain.rows();
    let heads = |gaps: [(usize, usize); 3], param_gap| Case {
        heads: true,
        front: vec![rows, 3],
        gaps: gaps.into(),
        param_gap,
        ..plain.clone()
    };
    let mut all = vec![
        plain.clone(),
        Case { weight_offset: 1.0, ..plain.clone() },
        Case { b: w, ..plain.clone() },
        Case { w: None, b: w, ..plain.clone() },
        Case { front: vec![rows, 2, 2], gaps: vec![(5, 3), (2, 0), (1, 7)], ..plain.clone() },
        Case { residual: Residual::Before, b: w, weight_offset: 1.0, ..plain.clone() },
        Case {
            residual: Residual::Before,
            front: vec![rows, 2, 2],
            gaps: vec![(8, 0), (0, 8), (0, 0)],
            r_gaps: [16, 8, 0],
            ..plain.clone()
        },
        Case { residual: Residual::Before, r_gaps: [3, 1, 0], ..plain.clone() },
        Case { residual: Residual::Behind, ..plain.clone() },
        Case {
            residual: Residual::Behind,
            b: w,
            front: vec![rows, 2],
            gaps: vec![(8, 16), (0, 8), (0, 0)],
            ..plain.clone()
        },
        // Gaps that keep vectors aligned, and gaps that do not.
        Case { b: w, weight_offset: 1.0, ..heads([(16, 0), (8, 24), (0, 0)], 8) },
        heads([(0, 1), (3, 0), (0, 0)], 1),
        Case { w: None, ..heads([(0, 0); 3], 0) },
        // One weight for all heads, with biases for each or for all.
        Case { shared: [true, false], b: w, ..heads([(0, 0); 3], 0) },
        Case { shared: [true; 2], b: w, ..heads([(0, 8), (8, 0), (0, 0)], 0) },
    ];
    // Without weights, there is a kernel for w of x's type.
    if w == Some(plain.x) {
        all.push(Case { w: None, ..plain.clone() });
    }
    all
}

/// The cases, with values of every kind and some `eps`, in turn.
pub fn with_all_values(cases: impl IntoIterator<Item = Case>) -> Vec<Case> {
    let values = Values::ALL.into_iter().cycle();
    let eps = [1e-5, 1e-6, 1e-12].into_iter().cycle();
    cases.into_iter().zip(values.zip(eps)).map(|(case, (values, eps))| Case { values, eps, ..case }).collect()
}
