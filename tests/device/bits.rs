//! A row's bits depend on that row, the parameters, eps, the types and dim: on nothing else.

use libtest_mimic::Failed;
use norm_host::{Device, Stream, plan::DeviceProfile};
use rayon::prelude::*;

use norm_testing::{
    buffer::Buffer,
    case::{Addition, Case, Residual, Tensors},
    cases::{dtypes_and_kinds, plain},
    device::on_device::{OnDevice, Shifts, keeps_the_promise, normalized_bits, residual_bits, row_bits},
    values::Values,
};

/// Dims of whole vectors, some for each shape of tile.
const WHOLE_VECTORS: [usize; 8] = [8, 64, 256, 512, 4096, 11008, 16384, 32768];

/// Three rows of each combination of types and kind at each of `dims`, with biases and residuals in
/// turn. The magnitudes differ so much that another order of additions would show in the sums.
fn cases(dims: &[usize]) -> Vec<Case> {
    let all = dims.iter().enumerate().flat_map(|(turn, &dim)| {
        dtypes_and_kinds().enumerate().map(move |(index, (dtypes, kind))| {
            // Pairs of neighbours differ in the kind of norm alone.
            let residual = Residual::ALL[(index / 2 + turn) % 3];
            let case = Case { values: Values::Extreme, residual, ..plain(kind, dtypes, 3, dim) };
            let addition = addition(&case, index / 6);
            Case { b: case.w.filter(|_| index % 3 == 0), weight_offset: 0.5, addition, ..case }
        })
    });
    all.collect()
}

/// Sums in place and apart, plain and scaled, of one type and wide, by turns.
fn addition(case: &Case, turn: usize) -> Addition {
    if case.residual == Residual::None {
        return Addition::PLAIN;
    }
    let scale = [1.0, 0.5][turn / 2 % 2];
    let wide = case.residual == Residual::Before && case.x.size() == 2 && case.y.size() == 2;
    Addition {
        apart: turn % 2 == 1,
        branch_scale: scale,
        in_memory: scale != 1.0,
        wide: wide && (turn / 4).is_multiple_of(2),
        ..Addition::PLAIN
    }
}

fn same(case: &Case, what: &str, a: &[Vec<u32>], b: &[Vec<u32>]) -> Result<(), Failed> {
    match (a.len() == b.len()).then(|| a.iter().zip(b).position(|(a, b)| a != b)) {
        Some(None) => Ok(()),
        Some(Some(row)) => Err(format!("{case:?}: {what}: row {row} differs").into()),
        None => Err(format!("{case:?}: {what}: {} rows and {}", a.len(), b.len()).into()),
    }
}

/// One tensor an element off an aligned address is enough for the scalar path.
pub fn vectors_and_scalars(device: Device) -> Result<(), Failed> {
    cases(&WHOLE_VECTORS).par_iter().try_for_each(|case| {
        let vectors = normalized_bits(device, case, Shifts::NONE)?;
        let one = match case.seed as usize / 8 % 3 {
            _ if case.stores_apart() => Shifts { s: 1, ..Shifts::NONE },
            _ if case.residual == Residual::Before => Shifts { r: 1, ..Shifts::NONE },
            0 => Shifts { x: 1, ..Shifts::NONE },
            1 => Shifts { w: 1, ..Shifts::NONE },
            _ => Shifts { y: 1, ..Shifts::NONE },
        };
        for by in [Shifts::ALL, one] {
            same(case, &format!("{by:?}"), &vectors, &normalized_bits(device, case, by)?)?;
        }
        Ok(())
    })
}

/// rust-cuda's kernels against stock rustc's.
pub fn compilers((device, rust_cuda): (Device, Device)) -> Result<(), Failed> {
    let mut cases = cases(&WHOLE_VECTORS);
    cases.extend(self::cases(&[1, 63, 127, 4097, 131_072]));
    cases.par_iter().try_for_each(|case| {
        let stock = normalized_bits(device, case, Shifts::NONE)?;
        same(case, "rust-cuda", &stock, &normalized_bits(rust_cuda, case, Shifts::NONE)?)
    })
}

/// Shared memory decides where a row waits, not how it is cut; clusters do, and there may be none.
pub fn lesser_profile(device: Device) -> Result<(), Failed> {
    let more = DeviceProfile {
        max_cluster: u32::MAX,
        max_shared_bytes: u32::MAX,
        dependent_launch: true,
        ..device.profile()
    };
    assert_eq!(device.with_profile(more).profile(), device.profile(), "more than it has");
    let least = device.with_profile(DeviceProfile::LEAST);
    assert_eq!(least.profile(), DeviceProfile::LEAST);
    let streamed = device.with_profile(DeviceProfile { max_shared_bytes: 0, ..DeviceProfile::LEAST });
    cases(&[8192, 16_384, 32_768, 131_072]).par_iter().try_for_each(|case| {
        let staged = normalized_bits(least, case, Shifts::NONE)?;
        same(case, "streamed", &staged, &normalized_bits(streamed, case, Shifts::NONE)?)?;
        keeps_the_promise(least, case)
    })
}

pub fn in_place(device: Device) -> Result<(), Failed> {
    let mut cases = cases(&[1, 3, 63, 64, 127, 512, 4096, 4097, 11008, 32768]);
    // What is added to differs in place: there it is `x`.
    cases.retain(|case| case.x == case.y && case.residual != Residual::Behind && !case.addition.apart);
    cases.par_iter().try_for_each(|case| {
        let apart = normalized_bits(device, case, Shifts::NONE)?;
        let stream = Stream::new(&device)?;
        let mut tensors = OnDevice::upload(device, case, &case.tensors(), Shifts::NONE)?;
        tensors.enqueue_in_place(&stream)?;
        stream.synchronize()?;
        let mut in_place = row_bits(case, &tensors.x.download()?, &case.x_strides());
        let r = tensors.r.as_ref().map(|r| r.download()).transpose()?;
        in_place.extend(residual_bits(case, r.as_ref()));
        same(case, "in place", &apart, &in_place)
    })
}

/// 600 rows, the first 3 of them, and some alone: 600 are more than any block takes at once, and at
/// a row a block more than a short grid has.
pub fn batches(device: Device) -> Result<(), Failed> {
    let cases = [1, 5, 64, 127, 512, 4096, 8192, 11008].into_iter().enumerate().flat_map(|(index, dim)| {
        let values = [Values::Extreme, Values::Shifted, Values::Plain, Values::Offset][index % 4];
        // Every combination at one dim or another.
        let some = dtypes_and_kinds().skip(index % 4).step_by(4).zip(Residual::ALL.into_iter().cycle());
        some.map(move |((dtypes, kind), residual)| Case { values, residual, ..plain(kind, dtypes, 600, dim) })
    });
    cases.collect::<Vec<_>>().par_iter().try_for_each(|case| {
        let tensors = case.tensors();
        let all = bits_of_rows(device, case, &tensors, 0, 600)?;
        for (first, count) in [(0, 1), (0, 3), (100, 1), (127, 3), (599, 1)] {
            let some = bits_of_rows(device, case, &tensors, first, count)?;
            same(case, &format!("{count} rows from row {first}"), &all[first..first + count], &some)?;
        }
        Ok(())
    })
}

/// Normalizes `count` rows of a dense case by themselves.
fn bits_of_rows(
    device: Device,
    case: &Case,
    tensors: &Tensors,
    first: usize,
    count: usize,
) -> Result<Vec<Vec<u32>>, Failed> {
    let part = Case { front: vec![count], ..case.clone() };
    let take = |buffer: &Buffer| {
        let elements = (first * case.dim..(first + count) * case.dim).map(|index| buffer.get(index));
        Buffer::new(buffer.dtype(), &elements.collect::<Vec<_>>())
    };
    let [r, s] = [&tensors.r, &tensors.s].map(|buffer| buffer.as_ref().map(take));
    let part_of = Tensors { x: take(&tensors.x), r, s, b: None, y: take(&tensors.y), ..tensors.clone() };
    let stream = Stream::new(&device)?;
    let mut on_device = OnDevice::upload(device, &part, &part_of, Shifts::NONE)?;
    on_device.enqueue(&stream)?;
    stream.synchronize()?;
    Ok(row_bits(&part, &on_device.y.download()?, &part.y_strides()))
}

/// Gaps between rows and heads, aligned or not, against none.
pub fn strides(device: Device) -> Result<(), Failed> {
    cases(&[1, 63, 64, 127, 512, 4096, 4097, 16384]).par_iter().try_for_each(|case| {
        for heads in [false, true] {
            let added = (case.residual, case.addition);
            let (residual, addition) = if heads { (Residual::None, Addition::PLAIN) } else { added };
            let dense = Case { heads, residual, addition, front: vec![2, 2, 2], ..case.clone() };
            let expected = normalized_bits(device, &dense, Shifts::NONE)?;
            for (gaps, r_gaps) in
                [([(16, 8), (0, 32), (8, 8)], [8, 0, 16]), ([(1, 2), (0, 5), (3, 0)], [1, 3, 0])]
            {
                let addition = Addition { s_gaps: r_gaps, ..dense.addition };
                let strided = Case { gaps: gaps.into(), r_gaps, addition, ..dense.clone() };
                let given = normalized_bits(device, &strided, Shifts::NONE)?;
                same(&strided, "strided and dense", &expected, &given)?;
            }
        }
        Ok(())
    })
}
