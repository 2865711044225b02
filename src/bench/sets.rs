//! The cases that a run measures: the standing sets, or the requested ones.

use super::case::BenchCase;
use super::error::BenchError;
use super::op::{Extents, Op, Types, TypesChoice};
use norm_host::{DType, Rounding};

/// From one row to a million columns: the shapes of decoding (up to 256 rows) and of prompts, and 256 MiB of
/// f16 or more at every dim.
const ROWS: [[usize; 2]; 21] = [
    [1, 4096],
    [1, 8192],
    [8, 4096],
    [64, 4096],
    [256, 4096],
    [1024, 4096],
    [4096, 4096],
    [524_288, 256],
    [262_144, 512],
    [32_768, 1024],
    [131_072, 1024],
    [32_768, 2048],
    [65_536, 2048],
    [32_768, 4096],
    [32_768, 8192],
    [16_384, 16_384],
    [8192, 32_768],
    [8192, 65_536],
    [4096, 131_072],
    [2048, 262_144],
    [512, 1_048_576],
];

/// Shapes over heads: decoding, a prompt, then 256 MiB of f16 at 8 to 64 heads.
const HEADS: [[usize; 3]; 12] = [
    [1, 32, 128],
    [64, 32, 128],
    [4096, 32, 128],
    [32_768, 32, 128],
    [32_768, 40, 64],
    [16_384, 32, 256],
    [262_144, 8, 64],
    [131_072, 8, 128],
    [65_536, 8, 256],
    [32_768, 64, 64],
    [16_384, 64, 128],
    [8192, 64, 256],
];

/// Queries and keys: a token, a prompt of 32768 tokens and one of 2048 with the 32 + 8 heads of 128 that most models have,
/// decoding, and others' heads: those of Qwen3 30B-A3B and of Gemma 3, and heads of 64.
const QK: [[usize; 3]; 8] = [
    [1, 40, 128],
    [32_768, 40, 128],
    [2048, 40, 128],
    [64, 40, 128],
    [256, 40, 128],
    [32_768, 36, 128],
    [32_768, 12, 256],
    [32_768, 40, 64],
];

/// Operations in place use the same kernels; these shapes show that.
const IN_PLACE: [[usize; 2]; 4] = [[1, 4096], [4096, 4096], [32_768, 4096], [8192, 65_536]];

/// With a residual: the shapes of decoding and of prompts in a Transformer.
const RESIDUAL: [[usize; 2]; 8] = [
    [1, 4096],
    [8, 4096],
    [64, 8192],
    [256, 4096],
    [4096, 4096],
    [32_768, 1024],
    [32_768, 4096],
    [32_768, 8192],
];

/// The residual's other forms and gates: widths of models that have them, from a row to a prompt.
const FORMS: [[usize; 2]; 16] = [
    [1, 2048],
    [1, 4096],
    [1, 5376],
    [1, 8192],
    [64, 2048],
    [64, 4096],
    [64, 5376],
    [64, 8192],
    [1024, 2048],
    [1024, 4096],
    [1024, 5376],
    [1024, 8192],
    [8192, 2048],
    [8192, 4096],
    [8192, 5376],
    [8192, 8192],
];

/// A selection that takes a few seconds.
const QUICK_ROWS: [[usize; 2]; 5] = [[1, 4096], [4096, 4096], [32_768, 1024], [32_768, 4096], [8192, 32_768]];
const QUICK_FORMS: [[usize; 2]; 4] = [[1, 4096], [1024, 4096], [8192, 4096], [8192, 5376]];
const QUICK_HEADS: [[usize; 3]; 2] = [[64, 32, 128], [32_768, 32, 128]];

/// 64 MiB of f32, for a CPU: from rows so short that each instruction counts to rows larger than
/// the second-level cache.
const CPU_ROWS: [[usize; 2]; 6] =
    [[262_144, 64], [131_072, 128], [16_384, 1024], [4096, 4096], [256, 65_536], [16, 1_048_576]];
const CPU_HEADS: [[usize; 3]; 2] = [[8192, 32, 64], [4096, 32, 128]];
const CPU_QK: [[usize; 3]; 1] = [[4096, 32, 128]];

/// Three of the CPU's shapes: rows as most models have them, for every operation, and for RMSNorm the shortest and the
/// longest rows.
const QUICK_CPU_ROWS: [[usize; 2]; 3] = [[262_144, 64], [4096, 4096], [16, 1_048_576]];
const QUICK_CPU_HEADS: [[usize; 3]; 1] = [[4096, 32, 128]];

/// A standing set, which a run without shapes measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Full,
    Quick,
    Cpu,
    QuickCpu,
}

impl Standing {
    fn extents(self, op: Op) -> Vec<Extents> {
        let rows: &[[usize; 2]] = match (self, op) {
            (Standing::Full, Op::RmsInPlace) => &IN_PLACE,
            (Standing::Full, Op::AddRms | Op::AddLayer) => &RESIDUAL,
            (Standing::Full, op)
                if op.has_residual() || op.gating().is_some() || op.quantizes().is_some() =>
            {
                &FORMS
            }
            (Standing::Full, _) => &ROWS,
            (Standing::Quick, Op::RmsInPlace) => &QUICK_ROWS[..2],
            (Standing::Quick, Op::AddRms | Op::AddLayer) => &QUICK_ROWS[..4],
            (Standing::Quick, op)
                if op.has_residual() || op.gating().is_some() || op.quantizes().is_some() =>
            {
                &QUICK_FORMS
            }
            (Standing::Quick, _) => &QUICK_ROWS,
            (Standing::Cpu, _) => &CPU_ROWS,
            (Standing::QuickCpu, Op::Rms) => &QUICK_CPU_ROWS,
            (Standing::QuickCpu, _) => &QUICK_CPU_ROWS[1..2],
        };
        let heads: &[[usize; 3]] = match self {
            Standing::Full => &HEADS,
            Standing::Quick => &QUICK_HEADS,
            Standing::Cpu => &CPU_HEADS,
            Standing::QuickCpu => &QUICK_CPU_HEADS,
        };
        let qk: &[[usize; 3]] = match self {
            Standing::Full => &QK,
            Standing::Quick => &QK[..3],
            Standing::Cpu | Standing::QuickCpu => &CPU_QK,
        };
        match op {
            Op::QkRope => qk.iter().map(|extents| Extents::new(extents)).collect(),
            Op::Head | Op::GatedHead => heads.iter().map(|extents| Extents::new(extents)).collect(),
            _ => rows.iter().map(|extents| Extents::new(extents)).collect(),
        }
    }

    fn types(self, op: Op) -> Types {
        let usual = Types::of(match self {
            Standing::Full | Standing::Quick => DType::F16,
            Standing::Cpu | Standing::QuickCpu => DType::F32,
        });
        if op.takes(usual) { usual } else { Types::of(DType::F16) }
    }
}

/// The cases of a run: each of `ops` (all, where none is named) with each of `types` on each of
/// `extents` that has its rank, or on those of the standing set.
///
/// # Errors
/// If a named operation has no case.
pub fn cases(
    ops: &[Op],
    types: &[TypesChoice],
    extents: &[Extents],
    standing: Standing,
    rounding: Rounding,
) -> Result<Vec<BenchCase>, BenchError> {
    let given: Vec<Types> = types.iter().flat_map(|choice| chosen(*choice)).collect();
    let mut cases = Vec::new();
    for op in if ops.is_empty() { &Op::ALL } else { ops } {
        let before = cases.len();
        let types = if given.is_empty() { vec![standing.types(*op)] } else { given.clone() };
        for types in types.into_iter().filter(|&types| op.takes(types)) {
            let all = if extents.is_empty() { standing.extents(*op) } else { extents.to_vec() };
            let fitting = all.into_iter().filter(|extents| op.fits(extents));
            cases.extend(fitting.map(|extents| BenchCase { op: *op, types, extents, rounding }));
        }
        if cases.len() == before && !ops.is_empty() {
            return Err(left_out(*op, extents));
        }
    }
    let mut seen = std::collections::HashSet::new();
    cases.retain(|case| seen.insert(case.clone()));
    Ok(cases)
}

fn chosen(choice: TypesChoice) -> Vec<Types> {
    match choice {
        TypesChoice::One(types) => vec![types],
        TypesChoice::All => Types::all().collect(),
    }
}

/// Why a named operation has no case.
fn left_out(op: Op, extents: &[Extents]) -> BenchError {
    if !extents.is_empty() && !extents.iter().any(|extents| op.fits(extents)) {
        return BenchError::Shape { op: op.word(), expected: op.form() };
    }
    BenchError::Types { op: op.word(), expected: op.takes_what() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T: std::str::FromStr<Err = String>>(words: &[&str]) -> Vec<T> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn the_standing_set_reaches_from_one_row_to_a_million_columns() {
        let cases = cases(&[], &[], &[], Standing::Full, Rounding::Single).unwrap();
        assert_eq!(cases.len(), 21 + 4 + 21 + 12 + 2 * 8 + 12 * 16 + 2 * 16 + 12 + 8);
        let dims = |op| cases.iter().filter(move |case| case.op == op).map(|case| case.extents.dim());
        assert_eq!((dims(Op::Rms).min(), dims(Op::Rms).max()), (Some(256), Some(1 << 20)));
        // Above what decoding sees, and but for four shapes of prompts, 256 MiB and more.
        let large = cases
            .iter()
            .filter(|case| case.extents.elements() > 4096 * 4096 && !FORMS.contains(&rows_and_dim(case)));
        for case in large.filter(|case| {
            !matches!(case.extents.as_slice(), [32_768, 1024 | 2048] | [32_768, 40, 64] | [32_768, 12, 256])
        }) {
            assert!(case.x_bytes() >= 256 << 20, "{case:?}");
        }
    }

    fn rows_and_dim(case: &BenchCase) -> [usize; 2] {
        [case.extents.rows(), case.extents.dim()]
    }

    #[test]
    fn the_set_for_a_cpu_moves_what_the_copy_beside_it_moves() {
        let full = cases(&[], &[], &[], Standing::Cpu, Rounding::Single).unwrap();
        for case in &full {
            let is_quantized = case.op.quantizes().is_some();
            let bytes = if case.op == Op::AddRmsF32 || is_quantized { 32 << 20 } else { 64 << 20 };
            assert_eq!(case.x_bytes(), bytes, "{case:?}");
            assert!(is_quantized || case.y_bytes() == bytes, "{case:?}");
        }
        // A quick look is at some of them: every operation, and few enough for a few seconds.
        let quick = cases(&[], &[], &[], Standing::QuickCpu, Rounding::Single).unwrap();
        assert_eq!(quick.len(), Op::ALL.len() + 2, "{quick:?}");
        assert!(quick.iter().all(|case| full.contains(case)));
        assert!(Op::ALL.iter().all(|op| quick.iter().any(|case| case.op == *op)));
    }

    #[test]
    fn shapes_go_to_the_ops_that_take_them() {
        let given = parsed(&["8x4096", "4x32x128"]);
        let cases = cases(&[], &[], &given, Standing::Full, Rounding::Single).unwrap();
        let ops: Vec<Op> = cases.iter().map(|case| case.op).collect();
        assert_eq!(ops, Op::ALL);
    }

    #[test]
    fn an_op_without_a_case_is_an_error_that_says_why() {
        let rows = parsed(&["8x4096"]);
        let none = cases(&[Op::Head], &[], &rows, Standing::Full, Rounding::Single);
        assert!(matches!(none, Err(BenchError::Shape { op: "head", expected: "ROWSxHEADSxHEAD_DIM" })));
        let mixed = parsed(&["f16:f16:f32"]);
        let none = cases(&[Op::RmsInPlace], &mixed, &[], Standing::Full, Rounding::Single);
        assert!(matches!(none, Err(BenchError::Types { op: "rms_", .. })));
        let wide = parsed(&["f32", "f16:f16:f32"]);
        let none = cases(&[Op::AddRmsF32], &wide, &[], Standing::Full, Rounding::Single);
        assert!(matches!(none, Err(BenchError::Types { op: "add_rms_f32", .. })));
    }

    #[test]
    fn all_types_are_all_and_none_twice() {
        let shapes = parsed(&["8x4096"]);
        let types = [TypesChoice::All, TypesChoice::One(Types::of(DType::F16))];
        assert_eq!(cases(&[Op::Rms], &types, &shapes, Standing::Full, Rounding::Single).unwrap().len(), 27);
        assert_eq!(
            cases(&[Op::RmsInPlace], &types, &shapes, Standing::Full, Rounding::Single).unwrap().len(),
            9
        );
    }
}
