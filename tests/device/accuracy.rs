//! Results are as near the f64 reference as promised.

use libtest_mimic::Failed;
use norm_host::{
    Cpu, Device, NormKind,
    ptx::{EMBEDDED, Ptx},
};
use rayon::prelude::*;

use norm_testing::{
    case::Case,
    cases::{dtypes_and_kinds, options, plain, with_all_values},
    device::on_device::{Shifts, judge, keeps_the_promise, normalize},
};

/// Around every boundary: of vectors, warps, blocks and of what registers hold.
pub const DIMS: [usize; 15] =
    [1, 2, 3, 63, 64, 65, 127, 4095, 4096, 4097, 11008, 32768, 65536, 262_144, 1_048_576];

/// Every combination of types with both norms, each with every option; with one option, in turn,
/// where rows are long.
pub fn every_dtype_and_option(device: Device, dim: usize) -> Result<(), Failed> {
    let rows = if dim <= 65536 { 3 } else { 1 };
    let all = dtypes_and_kinds().enumerate().flat_map(|(index, (dtypes, kind))| {
        let mut options = options(&plain(kind, dtypes, rows, dim));
        if dim > 5000 {
            options = vec![options.swap_remove(index % options.len())];
        }
        options
    });
    let cases = with_all_values(all);
    cases.par_iter().try_for_each(|case| keeps_the_promise(device, case))
}

/// Every kind of value, however hard, at a dim of each shape of tile.
pub fn hard_values(device: Device) -> Result<(), Failed> {
    let dims = [1, 7, 32, 257, 512, 8192, 12000, 40000];
    let cases: Vec<Case> = dtypes_and_kinds()
        .enumerate()
        .flat_map(|(index, (dtypes, kind))| {
            let case = plain(kind, dtypes, 2, dims[index % dims.len()]);
            let ten = std::iter::repeat_n(Case { b: case.w.filter(|_| index % 2 == 0), ..case }, 10);
            with_all_values(ten)
        })
        .collect();
    cases.par_iter().try_for_each(|case| keeps_the_promise(device, case))
}

/// The same with kernels that are made for devices with few lanes of f64, whatever this one has.
pub fn hard_values_without_f64(device: Device) -> Result<(), Failed> {
    let set = EMBEDDED.map(Ptx::for_few_doubles).to_vec().leak();
    hard_values(Device::with_ptx(device.ordinal(), set)?)
}

/// More rows than a grid's y and z axes have blocks, along either of the axes in front, all judged.
pub fn many_rows(device: Device, kind: NormKind) -> Result<(), Failed> {
    use norm_host::DType::{BF16, F16, F32};
    for (front, dtypes) in [(vec![70_000, 2], [F16; 3]), (vec![70_000], [BF16, F32, BF16])] {
        let case = Case { heads: true, front, ..plain(kind, dtypes, 1, 64) };
        let case = Case { b: case.w, ..case };
        let tensors = normalize(device, &case, Shifts::NONE)?;
        let before = case.tensors();
        (0..case.rows()).into_par_iter().try_for_each(|row| {
            let judged = case.judge(&before, &tensors, row);
            // Judged against a promise: there is one for plain values.
            if judged.promised && judged.is_kept() { Ok(()) } else { Err(format!("row {row}: {judged:?}")) }
        })?;
    }
    Ok(())
}

/// An engine may go from one backend to the other: both keep the promise for the same input,
/// though not with the same bits.
pub fn same_promise_on_both_backends(device: Device) -> Result<(), Failed> {
    let cases = [1, 65, 1024, 4096, 33_000].into_iter().flat_map(|dim| {
        dtypes_and_kinds().step_by(5).flat_map(move |(dtypes, kind)| options(&plain(kind, dtypes, 2, dim)))
    });
    with_all_values(cases).par_iter().try_for_each(|case| {
        let mut on_host = case.tensors();
        case.run(&mut on_host, &Cpu)?;
        judge(case, &on_host)?;
        keeps_the_promise(device, case)
    })
}
