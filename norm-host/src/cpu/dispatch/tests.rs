//! Whichever version of the code this machine takes, the bits are the same.

use half::{bf16, f16};

use std::{marker::PhantomData, ops::Range};

use super::{
    super::{
        algorithm::normalize,
        chunk::CHUNK,
        element::Element,
        form::{Any, Uniform, uniform},
        passes::Chunks,
        row::RowRange,
        tasks::Job,
    },
    *,
};
use crate::{
    DType,
    problem::{Operand, Param, Problem, Residual, ResidualPlace, Roundings, Scales},
};
use norm_kernels::abi::{Axis, NormKind, Rounding};

const DIMS: [usize; 10] = [1, 7, 8, 15, 16, 17, 100, CHUNK - 1, CHUNK + 17, 3 * CHUNK + 5];
const ROWS: usize = 3;

/// All of them; under Miri, which is slow, of less than a chunk and of more.
fn dims() -> impl Iterator<Item = usize> {
    DIMS.into_iter().filter(|&dim| !cfg!(miri) || dim == 17 || dim == CHUNK + 17)
}

/// A cache line.
#[derive(Clone, Copy, PartialEq)]
#[repr(align(64))]
struct Line([u8; 64]);

/// Rows of any type, as bytes that are aligned to a cache line, and as far as `offset` from there.
struct Tensor {
    bytes: Vec<Line>,
    dtype: DType,
    offset: usize,
}

impl Tensor {
    /// Elements around 0, but for those in `far`, which are around 5000; of `f16` the fourth behind those is infinite.
    fn new(dtype: DType, len: usize, seed: usize, offset: usize, far: Range<usize>) -> Tensor {
        let mut tensor = Tensor { bytes: vec![Line([0; 64]); (len + 8).div_ceil(16)], dtype, offset };
        // Once: each time exposes the memory anew, of which Miri keeps account.
        let start = tensor.address() as usize;
        for i in 0..len {
            let value = ((i * 7919 + seed) % 10_007) as f32 / 997.0 - 5.0;
            let value = if far.contains(&i) { 5000.0 + value } else { value };
            let infinite = !far.is_empty() && dtype == DType::F16 && i == far.end + 3;
            let value = if infinite { f32::INFINITY } else { value };
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

/// How rows are taken.
#[derive(Clone, Copy)]
enum How {
    /// As [`Cpu`](crate::Cpu) takes them: those of one chunk at once.
    Rows,
    /// Chunk by chunk, which threads share, past the caches or not.
    Chunks { stream: bool },
    /// Chunk by chunk and past the caches, where all types are one; else not at all.
    Uniform,
}

/// Normalizes rows chunk by chunk and past the caches.
fn stream_chunks<E: Element>(isa: Isa, rows: &mut RowRange<'_>) {
    for mut row in rows.iter::<Uniform<E, true>>() {
        row.stream = true;
        let form = PhantomData::<Uniform<E, true>>;
        if !normalize(&mut Chunks { isa, row: &mut row, parallel: false, form }) {
            let job = Job { isa, rounds: false, uniform: Some(E::DTYPE), share_chunks: false };
            job.normalize_unfit(&mut row);
        }
    }
}

/// The bits of `y`, and of a residual.
fn bits(isa: Isa, case: Case, offset: usize, how: How) -> Vec<Line> {
    let scaled = Scales { branch: 0.37, sum: 1.7, sum_at: None };
    let places = [ResidualPlace::InFront, ResidualPlace::Behind];
    let additions = places.into_iter().flat_map(|place| [Scales::NONE, scaled].map(|scales| (place, scales)));
    let of = |addition| bits_of(addition, isa, case, offset, how);
    additions.map(Some).chain([None]).flat_map(of).collect()
}

fn bits_of(addition: Addition, isa: Isa, case: Case, offset: usize, how: How) -> Vec<Line> {
    let Case { kind, dtypes: [x, w, y], rounding, dim } = case;
    let in_front = addition.is_some_and(|(place, _)| place == ResidualPlace::InFront);
    let mut r = Tensor::new(if in_front { x } else { y }, ROWS * dim, 4, offset, 0..0);
    // The squares about one row's mean take a pass of their own; infinities are limited.
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
    let roundings = problem.roundings();
    let rounds = roundings != Roundings::NONE;
    // SAFETY: all tensors are this function's own and as large as the problem says.
    let mut rows = unsafe { RowRange::new(&problem, &roundings, 0..ROWS as u64) };
    match how {
        How::Rows => {
            let uniform = uniform(&problem, roundings);
            Job { isa, rounds, uniform, share_chunks: false }.normalize(&mut rows);
        }
        How::Uniform => match uniform(&problem, roundings) {
            Some(DType::F32) => stream_chunks::<f32>(isa, &mut rows),
            Some(DType::F16) => stream_chunks::<f16>(isa, &mut rows),
            Some(DType::BF16) => stream_chunks::<bf16>(isa, &mut rows),
            None => {}
        },
        How::Chunks { stream } => {
            for mut row in rows.iter::<Any<true>>() {
                row.stream = stream;
                // Miri takes long for threads.
                let (row, parallel) = (&mut row, !cfg!(miri));
                assert!(match rounds {
                    false => normalize(&mut Chunks { isa, row, parallel, form: PhantomData::<Any<false>> }),
                    true => normalize(&mut Chunks { isa, row, parallel, form: PhantomData::<Any<true>> }),
                });
            }
        }
    }
    [y.bytes, r.bytes].concat()
}

/// What every machine has.
const PLAIN: Isa = Isa::Portable(Portable);

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

/// Those that this machine has beside the plain one.
fn versions() -> Vec<Isa> {
    let mut versions = vec![Isa::detect()];
    #[cfg(norm_avx512)]
    if let Isa::Avx512(avx512) = versions[0] {
        versions.push(Isa::Avx2(avx512.avx2()));
    }
    versions
}

#[test]
fn every_version_gives_the_bits_of_the_plain_one() {
    for_each_case(|case| {
        let plain = bits(PLAIN, case, 0, How::Rows);
        assert!(versions().into_iter().all(|isa| bits(isa, case, 0, How::Rows) == plain), "{case:?}");
    });
}

#[test]
fn outputs_of_one_type_past_the_caches_have_the_bits_of_others() {
    for kind in NormKind::ALL {
        for dtype in DType::ALL {
            for dim in dims() {
                for offset in [0, 1, 16 / dtype.size()] {
                    let case = Case { kind, dtypes: [dtype; 3], rounding: Rounding::Single, dim };
                    let of = |isa, how| bits_of(None, isa, case, offset, how);
                    let stored = of(PLAIN, How::Rows);
                    assert!(
                        versions().into_iter().all(|isa| of(isa, How::Uniform) == stored),
                        "{case:?} from {offset}"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_in_chunks_have_the_bits_of_whole_rows() {
    for_each_case(|case| {
        let of = |how| bits(Isa::detect(), case, 0, how);
        assert!(of(How::Chunks { stream: false }) == of(How::Rows), "{case:?}");
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
                    let streamed = bits(Isa::detect(), case, offset, How::Chunks { stream: true });
                    let stored = bits(PLAIN, case, offset, How::Chunks { stream: false });
                    assert!(streamed == stored, "{case:?} from {offset}");
                }
            }
        }
    }
}
