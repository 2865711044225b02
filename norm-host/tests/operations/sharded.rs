//! RMSNorm of rows that are split: on the CPU, and as shipped on the simulator, with sums added up here.

use half::f16;
use norm_host::{
    Arg, Backend, Cpu, DType, Error, MAX_DIM, Norm, NormKind, Place, Rounding, Shape, View, ViewMut,
    rms_norm_apply, rms_norm_partial,
};
use norm_testing::{
    buffer::Buffer,
    case::{Addition, Case, Residual, Tensors, UNTOUCHED, case},
    config,
    values::Values,
};
use proptest::prelude::*;

/// The same expression for whichever vector is inside.
macro_rules! each {
    ($buffer:expr, $vec:ident => $e:expr) => {
        match $buffer {
            Buffer::F16($vec) => $e,
            Buffer::BF16($vec) => $e,
            Buffer::F32($vec) => $e,
        }
    };
}

/// The case with rows of RMSNorm, without a residual, which its sharded form does not have.
fn plain(case: Case) -> Case {
    let front = if case.front.is_empty() { vec![1] } else { case.front.clone() };
    let addition = Addition::PLAIN;
    Case { kind: NormKind::Rms, heads: false, residual: Residual::None, addition, front, ..case }
}

/// Columns `from..to` of a tensor.
struct Columns {
    from: usize,
    shape: Vec<usize>,
}

impl Columns {
    fn of(case: &Case, from: usize, to: usize) -> Columns {
        Columns { from, shape: case.front.iter().copied().chain([to - from]).collect() }
    }

    fn view<'a>(&self, buffer: &'a Buffer, strides: &[usize]) -> View<'a> {
        each!(buffer, v => View::from_slice_strided(&v[self.from..], &self.shape, strides).unwrap())
    }

    fn view_mut<'a>(&self, buffer: &'a mut Buffer, strides: &[usize]) -> ViewMut<'a> {
        each!(buffer, v => {
            ViewMut::from_slice(&mut v[self.from..], &self.shape).unwrap().with_strides(strides).unwrap()
        })
    }
}

/// Runs the case in shards that end at `ends`, the last of which is `dim`; gives the sums of each shard
/// too. `add` is what a communicator would do.
fn run(
    case: &Case,
    ends: &[usize],
    tensors: &mut Tensors,
    on: &impl Backend,
    add: impl Fn(&[f32]) -> f32,
) -> Result<Vec<Vec<f32>>, Error> {
    let starts: Vec<usize> = [0].into_iter().chain(ends.iter().copied()).collect();
    let shards: Vec<Columns> =
        starts.iter().zip(ends).map(|(&from, &to)| Columns::of(case, from, to)).collect();
    let rows = case.rows();
    let mut parts = Vec::new();
    for shard in &shards {
        let mut sums = vec![f32::NAN; rows];
        let x = shard.view(&tensors.x, &case.x_strides());
        rms_norm_partial(x, &mut ViewMut::from_slice(&mut sums, &[rows])?, on)?;
        parts.push(sums);
    }
    let sums: Vec<f32> =
        (0..rows).map(|row| add(&parts.iter().map(|part| part[row]).collect::<Vec<_>>())).collect();
    let Tensors { x, w, b, y, .. } = tensors;
    for shard in &shards {
        let x = shard.view(x, &case.x_strides());
        let length = shard.shape[shard.shape.len() - 1];
        let columns = Columns { from: shard.from, shape: vec![length] };
        let param = |param| columns.view(param, &[1]);
        let norm = case.described().weight(w.as_ref().map(param)).bias(b.as_ref().map(param));
        let mut y = shard.view_mut(y, &case.y_strides());
        norm.rows_apply(x, View::from_slice(&sums, &[rows])?, &mut y, case.dim, on)?;
    }
    Ok(parts)
}

/// Each row keeps the promise for the unsplit one, and nothing else of `y` is written.
fn keeps_the_promise(case: &Case, ends: &[usize], on: &impl Backend) -> Result<(), TestCaseError> {
    let before = case.tensors();
    // In order, and in the reverse, as the ranks of a ring do.
    let orders: [fn(&[f32]) -> f32; 2] = [|parts| parts.iter().sum(), |parts| parts.iter().rev().sum()];
    for add in orders {
        let mut after = before.clone();
        run(case, ends, &mut after, on, add).unwrap();
        for row in 0..case.rows() {
            let judged = case.judge(&before, &after, row);
            prop_assert!(judged.is_kept(), "{case:?} in {ends:?}: row {row}: {judged:?}");
        }
        let mut outside = vec![true; after.y.bits().len()];
        for row in 0..case.rows() {
            outside[case.start(row, &case.y_strides())..][..case.dim].fill(false);
        }
        for index in (0..outside.len()).filter(|&index| outside[index]) {
            prop_assert_eq!(after.y.get(index), UNTOUCHED);
        }
    }
    Ok(())
}

/// A case, and where its shards end.
fn split(max_dim: usize) -> impl Strategy<Value = (Case, Vec<usize>)> {
    (case(max_dim), 1_usize..9, any::<bool>(), any::<u64>()).prop_map(|(case, shards, even, seed)| {
        let case = plain(case);
        let mut ends: Vec<usize> = match even {
            true => (1..=shards).map(|shard| shard * case.dim / shards).collect(),
            false => {
                let end = |shard: u64| (seed.rotate_left(shard as u32 * 7) % case.dim as u64) as usize;
                (1..shards as u64).map(end).chain([case.dim]).collect()
            }
        };
        ends.sort_unstable();
        ends.dedup();
        ends.retain(|&end| end > 0);
        (case, ends)
    })
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn any_split_keeps_the_promise_on_the_cpu((case, ends) in split(20_000)) {
        keeps_the_promise(&case, &ends, &Cpu)?;
    }
}

/// Long rows of hard values in many shards: what additions of sums in `f32` may add up to.
#[test]
fn sixteen_shards_of_long_rows_keep_the_promise() {
    for values in [Values::Constant, Values::Spike, Values::Plain, Values::Extreme] {
        for x in DType::ALL {
            let case = long(x, values, 1 << 19);
            let ends: Vec<usize> = (1..=16).map(|shard| shard << 15).collect();
            keeps_the_promise(&case, &ends, &Cpu).unwrap();
        }
    }
}

fn long(x: DType, values: Values, dim: usize) -> Case {
    Case {
        kind: NormKind::Rms,
        heads: false,
        residual: Residual::None,
        addition: Addition::PLAIN,
        x,
        y: DType::F32,
        w: None,
        b: None,
        front: vec![2],
        dim,
        gaps: vec![(0, 0); 3],
        r_gaps: [0; 3],
        param_gap: 0,
        shared: [false; 2],
        values,
        eps: 1e-6,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        seed: 5,
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use norm_host::{Simulator, plan::DeviceProfile};

    use super::*;

    proptest! {
        #![proptest_config(config(120))]

        #[test]
        fn any_split_keeps_the_promise_as_shipped((case, ends) in split(6000)) {
            keeps_the_promise(&case, &ends, &Simulator::new())?;
        }

        #[test]
        fn a_shards_sum_has_the_same_bits_in_any_batch((case, _) in split(3000)) {
            let simulator = Simulator::new();
            let ends = [case.dim];
            let mut tensors = case.tensors();
            let all = run(&case, &ends, &mut tensors, &simulator, |parts| parts[0]).unwrap();
            for (row, among) in all[0].iter().enumerate() {
                let from = case.start(row, &case.x_strides());
                let x = Columns { from, shape: vec![1, case.dim] }.view(&tensors.x, &[case.dim, 1]);
                let mut sum = [0.0_f32];
                rms_norm_partial(x, &mut ViewMut::from_slice(&mut sum, &[1]).unwrap(), &simulator).unwrap();
                prop_assert_eq!(sum[0].to_bits(), among.to_bits(), "row {}", row);
            }
        }
    }

    /// Every kernel of both steps, where vectors fit and where not.
    #[test]
    fn every_kernel_keeps_the_promise() {
        let simulators = [Simulator::new(), Simulator::with_profile(DeviceProfile::LEAST)];
        for x in DType::ALL {
            for w in DType::ALL {
                for y in DType::ALL {
                    for dim in [96, 95, 4096, 4099] {
                        let case = Case { y, w: Some(w), front: vec![5], ..long(x, Values::Plain, dim) };
                        for on in &simulators {
                            keeps_the_promise(&case, &[dim / 2, dim], on).unwrap();
                        }
                    }
                }
            }
        }
    }

    /// A row that no block holds, in two shards of more vectors than a kernel's sum in `f32` takes.
    #[test]
    fn long_shards_keep_the_promise() {
        for x in DType::ALL {
            let case = Case { front: vec![1], ..long(x, Values::Constant, 400_000) };
            keeps_the_promise(&case, &[200_000, 400_000], &Simulator::new()).unwrap();
        }
    }
}

#[test]
fn y_may_be_x() {
    let mut x = [3.0_f32, 4.0, 0.0, 0.0];
    let sums = [25.0_f32];
    // SAFETY: the array outlives the views, which are of one tensor, and nothing else uses it.
    let (view, mut y) = unsafe {
        let address = x.as_mut_ptr().expose_provenance() as u64;
        let view = View::from_raw_parts(Place::Host, address, DType::F32, &[1, 4]).unwrap();
        (view, ViewMut::from_raw_parts(Place::Host, address, DType::F32, &[1, 4]).unwrap())
    };
    rms_norm_apply(view, None, View::from_slice(&sums, &[1]).unwrap(), &mut y, 0.0, 100, &Cpu).unwrap();
    assert_eq!(x, [6.0, 8.0, 0.0, 0.0]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = [1.0_f32; 12];
    let mut sums = [0.0_f32; 4];
    let mut y = [0.0_f32; 12];
    let x = View::from_slice(&x, &[3, 4]).unwrap();
    let shape = |extents: &[usize]| Shape::new(extents).unwrap();

    let mut four = ViewMut::from_slice(&mut sums, &[4]).unwrap();
    let (expected, given) = (shape(&[3]), shape(&[4]));
    assert_eq!(rms_norm_partial(x, &mut four, &Cpu), Err(Error::Shape { arg: Arg::Sums, expected, given }));
    let mut halves = [f16::ZERO; 3];
    let mut halves = ViewMut::from_slice(&mut halves, &[3]).unwrap();
    let (expected, given) = (DType::F32, DType::F16);
    assert_eq!(rms_norm_partial(x, &mut halves, &Cpu), Err(Error::DType { arg: Arg::Sums, expected, given }));
    let mut apart = [0.0_f32; 5];
    let mut apart = ViewMut::from_slice(&mut apart, &[3]).unwrap().with_strides(&[2]).unwrap();
    let gaps = Err(Error::LastAxisStrided { arg: Arg::Sums, stride: 2 });
    assert_eq!(rms_norm_partial(x, &mut apart, &Cpu), gaps);
    // SAFETY: the operation refuses the overlap, and accesses nothing.
    let mut inside =
        unsafe { ViewMut::from_raw_parts(Place::Host, x.address() + 8, DType::F32, &[3]) }.unwrap();
    assert_eq!(rms_norm_partial(x, &mut inside, &Cpu), Err(Error::Overlap { a: Arg::X, b: Arg::Sums }));

    let sums = [1.0_f32; 3];
    let sums = View::from_slice(&sums, &[3]).unwrap();
    let mut apply = |sums, eps, dim| {
        rms_norm_apply(x, None, sums, &mut ViewMut::from_slice(&mut y, &[3, 4]).unwrap(), eps, dim, &Cpu)
    };
    assert_eq!(apply(sums, 1e-6, 3), Err(Error::SplitRow { here: 4, given: 3 }));
    let (dim, max) = (MAX_DIM as usize + 1, MAX_DIM as usize);
    assert_eq!(apply(sums, 1e-6, dim), Err(Error::RowTooLong { arg: Arg::Dim, dim, max }));
    assert_eq!(apply(sums, -1.0, 8), Err(Error::Eps { given: -1.0 }));
    // SAFETY: the operation refuses the place, and accesses nothing.
    let elsewhere = unsafe { View::from_raw_parts(Place::Cuda(0), 256, DType::F32, &[3]) }.unwrap();
    let (expected, given) = (Place::Host, Place::Cuda(0));
    assert_eq!(apply(elsewhere, 1e-6, 8), Err(Error::Place { arg: Arg::Sums, expected, given }));
    let mut apply_of = |norm: Norm<'_>| {
        norm.rows_apply(x, sums, &mut ViewMut::from_slice(&mut y, &[3, 4]).unwrap(), 8, &Cpu)
    };
    assert_eq!(apply_of(Norm::layer(1e-6)), Err(Error::SplitLayerNorm));
    let missing = Error::RoundingWithoutWeights { given: Rounding::T5 };
    assert_eq!(apply_of(Norm::rms(1e-6).rounding(Rounding::T5)), Err(missing));
    assert_eq!(apply_of(Norm::rms(1e-6).round_offset(true)), Err(Error::RoundOffsetOfNone));
    let mut apply = |sums, eps, dim| {
        rms_norm_apply(x, None, sums, &mut ViewMut::from_slice(&mut y, &[3, 4]).unwrap(), eps, dim, &Cpu)
    };
    assert_eq!(apply(sums, 1e-6, 8), Ok(()));
    assert_eq!(apply(sums, 1e-6, 4), Ok(()));
    assert_eq!(apply(sums, 1e-6, MAX_DIM as usize), Ok(()), "the longest row there is");
}

/// A row of `y` is written while others may still read their sums.
#[test]
fn sums_share_no_memory_with_what_is_written() {
    let x = [1.0_f32; 12];
    let mut memory = [0.0_f32; 15];
    let x = View::from_slice(&x, &[3, 4]).unwrap();
    let address = memory.as_mut_ptr().expose_provenance() as u64;
    // The first three are sums, or the last, or three in the middle of it.
    for (sums_at, y_at) in [(0, 3), (12, 0), (0, 0), (0, 2), (4, 0), (11, 0)] {
        // SAFETY: within the memory, which outlives both; nothing reads it while the operation writes.
        let (sums, mut y) = unsafe {
            let at = |element: u64| address + 4 * element;
            let sums = View::from_raw_parts(Place::Host, at(sums_at), DType::F32, &[3]).unwrap();
            (sums, ViewMut::from_raw_parts(Place::Host, at(y_at), DType::F32, &[3, 4]).unwrap())
        };
        let apart = sums_at + 3 <= y_at || y_at + 12 <= sums_at;
        let expected = if apart { Ok(()) } else { Err(Error::Overlap { a: Arg::Sums, b: Arg::Y }) };
        assert_eq!(rms_norm_apply(x, None, sums, &mut y, 1e-6, 8, &Cpu), expected, "{sums_at}, {y_at}");
    }
}

#[test]
fn no_rows_are_nothing_to_do() {
    let mut sums: [f32; 0] = [];
    let x: [f32; 0] = [];
    let x = View::from_slice(&x, &[0, 4]).unwrap();
    rms_norm_partial(x, &mut ViewMut::from_slice(&mut sums, &[0]).unwrap(), &Cpu).unwrap();
}
