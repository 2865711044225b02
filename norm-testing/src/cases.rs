//! The cases that tests go through.

use norm_host::{
    DType, NormKind, Rounding,
    plan::{DeviceProfile, Tile},
    problem::{Operand, Param, Problem, ResidualPlace, Scales},
};
use norm_kernels::abi::{Axis, Kernel, Variant};

use crate::{
    case::{Addition, Case, Residual},
    sandwich::Sandwich,
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
        addition: Addition::PLAIN,
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

/// Addresses of a case's tensors.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub x: u64,
    pub y: u64,
    pub r: Option<u64>,
    pub s: Option<u64>,
    pub scale: Option<u64>,
    pub w: Option<u64>,
    pub b: Option<u64>,
}

/// The problem of a case of dense rows whose tensors lie there.
pub fn problem(case: &Case, at: Addresses) -> Problem {
    let stride = case.dim as u64;
    let rows = Axis {
        extent: case.rows() as u64,
        x_stride: stride,
        y_stride: stride,
        r_stride: stride,
        s_stride: stride,
    };
    let param = |address: Option<u64>, dtype: Option<DType>| {
        Some(Param { address: address?, dtype: dtype?, stride: 0 })
    };
    let y = Operand { address: at.y, dtype: case.y };
    let Addition { branch_scale, sum_scale, .. } = case.addition;
    let scales = Scales { branch: branch_scale, sum: sum_scale, sum_at: at.scale };
    let scales = if at.scale.is_some() { Scales { sum: 1.0, ..scales } } else { scales };
    let in_r = at.r.map(|address| Operand { address, dtype: case.r_dtype() });
    let in_s = at.s.map(|address| Operand { address, dtype: case.r_dtype() });
    let residual = match (case.residual, in_r) {
        (Residual::Before, Some(r)) => {
            let sum = in_s.unwrap_or(r);
            Some(norm_host::problem::Residual { place: ResidualPlace::InFront, r, sum, scales })
        }
        (Residual::Behind, r) => {
            let r = r.unwrap_or(y);
            Some(norm_host::problem::Residual { place: ResidualPlace::Behind, r, sum: y, scales })
        }
        (Residual::Before, None) | (Residual::None, _) => None,
    };
    Problem {
        kind: case.kind,
        x: Operand { address: at.x, dtype: case.x },
        y,
        residual,
        w: param(at.w, case.w),
        b: param(at.b, case.b),
        axes: [Axis::ONE, Axis::ONE, rows],
        rows: case.rows() as u64,
        dim: case.dim as u32,
        eps: case.eps,
        weight_offset: case.weight_offset,
        round_offset: case.round_offset,
        rounding: case.rounding,
        overlap: true,
    }
}

/// The kernels whose outputs are recorded: of one norm, and of a residual of x's type. Those of a wide one have the same
/// instructions; their sums are compared with the host's bit for bit, and their norms with the promise.
pub fn recorded() -> impl Iterator<Item = Kernel> {
    of_one_norm().filter(|kernel| !kernel.addition.wide)
}

/// All kernels but those of two norms.
pub fn of_one_norm() -> impl Iterator<Item = Kernel> {
    Kernel::all().filter(|kernel| !kernel.variant.is_sandwich())
}

/// Small cases that take this kernel, with idle threads in rows, and idle rows in the last block.
pub fn of_kernel(kernel: Kernel, profile: DeviceProfile) -> impl Iterator<Item = Case> {
    let Kernel { kind, x, w, y, variant, addition, .. } = kernel;
    let width = Tile::new(kind, kernel.normalized(), y, 1, profile).width as usize;
    let (rows, dims) = match variant {
        Variant::Warp2 => (131, vec![if kind == NormKind::Rms { 40 } else { 7 } * width]),
        Variant::Warp4 => (11, vec![50 * width]),
        Variant::Block2 | Variant::Add2 | Variant::Sandwich2 => (3, vec![100 * width]),
        Variant::Block4 if kind == NormKind::Rms => (2, vec![600 * width]),
        Variant::Block4 => (profile.short_grid as usize + 2, vec![200 * width]),
        Variant::Add4 if addition.wide && kind == NormKind::Layer => (2, vec![100 * width, 600 * width]),
        Variant::Short4 | Variant::Add4 | Variant::Sandwich4 => (2, vec![600 * width]),
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
    let residual = if variant.adds() || addition.wide { Residual::Before } else { Residual::None };
    let addition = Addition { wide: addition.wide, ..Addition::PLAIN };
    dims.into_iter().map(move |dim| Case { b, residual, addition, ..plain(kind, [x, w, y], rows, dim) })
}

/// Two norms that take this kernel in this order, with idle threads in rows, two kinds of weights and two of eps; the sum in
/// place and apart, plain and scaled by turns.
pub fn of_sandwich(kernel: Kernel, rounding: Rounding, turn: usize, profile: DeviceProfile) -> Sandwich {
    let case = of_kernel(kernel, profile).next().expect("it has a case");
    let plain = Case { residual: Residual::None, rounding, ..case };
    let weight_offset = if turn.is_multiple_of(3) { 1.0 } else { 0.0 };
    let round_offset = weight_offset != 0.0 && turn.is_multiple_of(2);
    let scale = [1.0, 0.37][turn / 4 % 2];
    let addition = Addition {
        apart: turn.is_multiple_of(2),
        branch_scale: scale,
        sum_scale: scale,
        in_memory: scale != 1.0 && turn.is_multiple_of(3),
        ..Addition::PLAIN
    };
    let values = [Values::Plain, Values::Extreme, Values::Shifted, Values::Spike][turn % 4];
    let first = Case {
        y: kernel.x,
        residual: Residual::Behind,
        addition,
        values,
        weight_offset,
        round_offset,
        ..plain.clone()
    };
    let second = Case { eps: 1e-3, weight_offset, round_offset, ..plain };
    Sandwich::new(first, second, [0; 3])
}

/// A sum of its own, with these gaps.
const fn apart(s_gaps: [usize; 3]) -> Addition {
    Addition { apart: true, s_gaps, ..Addition::PLAIN }
}

/// What is added and the sum multiplied, the latter by a number in memory.
const SCALED: Addition = Addition { branch_scale: 0.22, sum_scale: 1.3, in_memory: true, ..Addition::PLAIN };

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
        // Sums and residuals in tensors of their own, with gaps that keep vectors aligned, and ones that do not.
        Case { residual: Residual::Before, addition: apart([16, 8, 0]), r_gaps: [8, 0, 0], ..plain.clone() },
        Case { residual: Residual::Before, addition: apart([3, 0, 0]), ..plain.clone() },
        Case {
            residual: Residual::Behind,
            addition: apart([0; 3]),
            b: w,
            r_gaps: [8, 0, 0],
            ..plain.clone()
        },
        Case { residual: Residual::Before, addition: SCALED, ..plain.clone() },
        Case { residual: Residual::Behind, addition: SCALED, ..plain.clone() },
        // Gaps that keep vectors aligned, and gaps that do not.
        Case { b: w, weight_offset: 1.0, ..heads([(16, 0), (8, 24), (0, 0)], 8) },
        heads([(0, 1), (3, 0), (0, 0)], 1),
        Case { w: None, ..heads([(0, 0); 3], 0) },
        // One weight for all heads, with biases for each or for all.
        Case { shared: [true, false], b: w, ..heads([(0, 0); 3], 0) },
        Case { shared: [true; 2], b: w, ..heads([(0, 8), (8, 0), (0, 0)], 0) },
    ];
    // Each order of roundings, with and without what else it depends on.
    for rounding in [Rounding::BeforeWeight, Rounding::BeforeBias, Rounding::T5] {
        let plain = Case { rounding, ..plain.clone() };
        all.extend([
            Case { b: w, weight_offset: 1.0, round_offset: true, ..plain.clone() },
            Case { residual: Residual::Before, ..plain.clone() },
            Case { residual: Residual::Behind, b: w, ..plain.clone() },
            Case { residual: Residual::Before, addition: SCALED, ..plain.clone() },
            Case { residual: Residual::Behind, addition: SCALED, b: w, ..plain.clone() },
            Case { b: w, rounding, ..heads([(0, 0); 3], 0) },
            plain,
        ]);
    }
    // A residual in f32, in each place of the sum.
    if plain.x.size() == 2 && plain.y.size() == 2 {
        for addition in [Addition::PLAIN, apart([8, 0, 0]), SCALED] {
            let addition = Addition { wide: true, ..addition };
            all.push(Case { residual: Residual::Before, addition, ..plain.clone() });
            let rounding = Rounding::BeforeWeight;
            all.push(Case { residual: Residual::Before, addition, rounding, b: w, ..plain.clone() });
        }
    }
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
