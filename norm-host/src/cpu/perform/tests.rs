//! Whichever version of the code this machine takes, the bits are the same.

use half::{bf16, f16};

use super::{
    super::part::{PART, parts},
    *,
};
use crate::{
    DType,
    problem::{Operand, Param, Residual, ResidualPlace, Scales},
};
use norm_kernels::abi::{Axis, Rounding};

const DIMS: [usize; 10] = [1, 7, 8, 15, 16, 17, 100, PART - 1, PART + 17, 3 * PART + 5];
const ROWS: usize = 3;

/// All of them; under Miri, which is slow, of less than a part and of more.
fn dims() -> impl Iterator<Item = usize> {
    DIMS.into_iter().filter(|&dim| !cfg!(miri) || dim == 17 || dim == PART + 17)
}

/// Rows of any type, as bytes that are aligned to 16, and as far as `offset` from there.
struct Tensor {
    bytes: Vec<u128>,
    dtype: DType,
    offset: usize,
}

impl Tensor {
    /// Elements around 0, but for those in `far`, which are around 5000.
    fn new(dtype: DType, len: usize, seed: usize, offset: usize, far: Range<usize>) -> Tensor {
        let mut tensor = Tensor { bytes: vec![0; (len + 8).div_ceil(4)], dtype, offset };
        // Once: each time exposes the memory anew, of which Miri keeps account.
        let start = tensor.address() as usize;
        for i in 0..len {
            let value = ((i * 7919 + seed) % 10_007) as f32 / 997.0 - 5.0;
            let value = if far.contains(&i) { 5000.0 + value } else { value };
            let at = start + i * dtype.size();
            // SAFETY: within `bytes`, aligned to the element.
            unsafe {
                match dtype {
                    DType::F16 => *std::ptr::with_exposed_provenance_mut(at) = f16::from_f32(value),
                    DType::BF16 => *std::ptr::with_exposed_provenance_mut(at) = bf16::from_f32(value),
                    DType::F32 => *std::ptr::with_exposed_provenance_mut(at) = value,
                }
            }
        }
        tensor
    }

    fn address(&mut self) -> u64 {
        (self.bytes.as_mut_ptr().expose_provenance() + self.offset * self.dtype.size()) as u64
    }
}

/// What is added where, and whether it is scaled.
type Addition = Option<(ResidualPlace, Scales)>;

/// An operation on [`ROWS`] rows.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: NormKind,
    /// Those of x, w and y.
    dtypes: [DType; 3],
    rounding: Rounding,
    dim: usize,
}

/// The bits of `y`, and of a residual, by a version, whole rows at a time, or part by part, past
/// the caches or not.
fn bits(perform: fn(Roundings) -> Perform, case: Case, offset: usize, split: Option<bool>) -> Vec<u128> {
    let scaled = Scales { branch: 0.37, sum: 1.7, sum_at: None };
    let places = [ResidualPlace::InFront, ResidualPlace::Behind];
    let additions = places.into_iter().flat_map(|place| [Scales::NONE, scaled].map(|scales| (place, scales)));
    let of = |addition| bits_of(addition, perform, case, offset, split);
    additions.map(Some).chain([None]).flat_map(of).collect()
}

fn bits_of(
    addition: Addition,
    perform: fn(Roundings) -> Perform,
    case: Case,
    offset: usize,
    split: Option<bool>,
) -> Vec<u128> {
    let Case { kind, dtypes: [x, w, y], rounding, dim } = case;
    let in_front = addition.is_some_and(|(place, _)| place == ResidualPlace::InFront);
    let mut r = Tensor::new(if in_front { x } else { y }, ROWS * dim, 4, offset, 0..0);
    // The squares about one row's mean take a pass of their own.
    let mut x = Tensor::new(x, ROWS * dim, 1, offset, dim..2 * dim);
    let (mut w, mut b) = (Tensor::new(w, dim, 2, offset, 0..0), Tensor::new(w, dim, 3, offset, 0..0));
    let mut y = Tensor::new(y, ROWS * dim, 0, offset, 0..0);
    let of_y = Operand { address: y.address(), dtype: y.dtype };
    let of_r = Operand { address: r.address(), dtype: r.dtype };
    let residual = addition.map(|(place, scales)| {
        // In front of the norm the sum takes the place of the residual, behind it the residual stays.
        let sum = if place == ResidualPlace::InFront { of_r } else { of_y };
        Residual { place, r: of_r, sum, scales }
    });
    let param = |p: &mut Tensor| Param { address: p.address(), dtype: p.dtype, stride: 0 };
    let problem = Problem {
        kind,
        x: Operand { address: x.address(), dtype: x.dtype },
        y: of_y,
        residual,
        w: Some(param(&mut w)),
        b: Some(param(&mut b)),
        axes: [
            Axis::ONE,
            Axis::ONE,
            Axis {
                extent: ROWS as u64,
                x_stride: dim as u64,
                y_stride: dim as u64,
                r_stride: dim as u64,
                s_stride: dim as u64,
            },
        ],
        rows: ROWS as u64,
        dim: dim as u32,
        eps: 1e-6,
        weight_offset: 1.0,
        round_offset: rounding != Rounding::Single,
        rounding,
        overlap: true,
    };
    let (perform, space) = (perform(problem.roundings()), &mut Workspace::new());
    let Some(stream) = split else {
        // SAFETY: all tensors are this function's own and as large as the problem says.
        unsafe { perform(&Step::Rows(&problem, 0..ROWS as u64), space) };
        return [y.bytes, r.bytes].concat();
    };
    for mut line in Lines::of(&problem, 0..ROWS as u64) {
        line.stream = stream;
        in_passes(&line, |pass| {
            let part = |index| {
                // SAFETY: as above.
                unsafe { perform(&Step::Part(&line, pass, index), space) }
            };
            add_up((0..parts(dim)).map(part))
        });
    }
    [y.bytes, r.bytes].concat()
}

/// The version that every machine has.
fn plain(roundings: Roundings) -> Perform {
    plainest(roundings != Roundings::NONE)
}

fn for_each_case(check: impl Fn(Case)) {
    for kind in NormKind::ALL {
        for rounding in Rounding::ALL {
            for x in DType::ALL {
                // Miri sees each conversion to and from memory once.
                for y in DType::ALL.into_iter().filter(|&y| !cfg!(miri) || y == x) {
                    for dim in dims() {
                        let case = Case { kind, dtypes: [x, x, y], rounding, dim };
                        if !cfg!(miri) {
                            check(Case { dtypes: [x, DType::F32, y], ..case });
                        }
                        check(case);
                    }
                }
            }
        }
    }
}

#[test]
fn the_fastest_version_gives_the_bits_of_the_plain_one() {
    for_each_case(|case| {
        assert!(bits(fastest, case, 0, None) == bits(plain, case, 0, None), "{case:?}");
    });
}

#[test]
fn rows_in_parts_have_the_bits_of_whole_rows() {
    for_each_case(|case| {
        let of = |split| bits(fastest, case, 0, split);
        assert!(of(Some(false)) == of(None), "{case:?}");
    });
}

/// Where they are aligned they are streamed, and else stored.
#[test]
fn outputs_past_the_caches_have_the_bits_of_others() {
    for rounding in [Rounding::Single, Rounding::BeforeWeight] {
        for x in [DType::F32, DType::F16] {
            for offset in 0..5 {
                for dim in dims() {
                    let dtypes = [x, DType::F32, DType::F32];
                    let case = Case { kind: NormKind::Layer, dtypes, rounding, dim };
                    let streamed = bits(fastest, case, offset, Some(true));
                    assert!(streamed == bits(plain, case, offset, Some(false)), "{case:?} from {offset}");
                }
            }
        }
    }
}
