//! Norms on one to four devices: what each device has, and rows that are split over all.

use libtest_mimic::Failed;
use norm_host::{DType, Device, NcclGroup, NormKind, Shard, TpContext, View, ViewMut};
use proptest::{collection::btree_set, prelude::*};

use crate::{alone, device};
use norm_testing::{
    case::{Addition, Case, Residual, Tensors, case, dtype},
    cases::plain,
    config,
    device::{
        memory::Memory,
        on_device::{OnDevice, Views, judge, row_bits},
        shards::{self, Part, normalize_split, on_the_host},
        tensor_parallel::{call, enqueue, group, on_one, on_the_first, y_bits},
    },
    mock::interface::DEVICES,
};

const MOST_DIM: usize = 3000;

fn first(devices: usize) -> Vec<Device> {
    (0..devices as u32).map(device).collect()
}

/// What a group computes: no residual, weights always, biases with LayerNorm and heads.
fn replicated() -> impl Strategy<Value = Case> {
    (case(MOST_DIM), dtype()).prop_map(|(case, dtype)| {
        let w = case.w.unwrap_or(dtype);
        let b = case.b.filter(|_| case.heads || case.kind == NormKind::Layer).map(|_| w);
        Case { residual: Residual::None, addition: Addition::PLAIN, w: Some(w), b, ..case }
    })
}

/// Rows of at least as many elements as there are devices, and where each device's share ends.
fn split() -> impl Strategy<Value = (Case, Vec<usize>)> {
    let case = (case(MOST_DIM), 1..=DEVICES).prop_map(|(case, devices)| {
        let (dim, gaps) = (case.dim.max(devices), vec![(0, 0); 3]);
        let (kind, heads, residual) = (NormKind::Rms, false, Residual::None);
        (Case { kind, heads, residual, addition: Addition::PLAIN, b: None, dim, gaps, ..case }, devices)
    });
    case.prop_flat_map(|(case, devices)| {
        let ends = btree_set(1..case.dim.max(2), devices - 1);
        let whole = case.dim;
        (Just(case), ends.prop_map(move |ends| ends.into_iter().chain([whole]).collect()))
    })
}

/// The function for a group over the inputs, whose types and strides are those of the outputs.
fn enqueue_in_place(tensors: &mut [OnDevice], tp: &TpContext) -> Result<(), Failed> {
    let case = tensors[0].case.clone();
    let mut views = Vec::new();
    for tensors in tensors {
        let Views { x, w, b, .. } = tensors.views();
        // SAFETY: the memory of `x`, which has room for `y` of the same types and strides. The operation may write what
        // it reads.
        let y = unsafe { ViewMut::from_raw_parts(x.place(), x.address(), case.y, &case.shape()) };
        views.push(Views { x, w, b, y: y?.with_strides(&case.x_strides())?, r: None, s: None, scale: None });
    }
    Ok(call(&case, views, tp)?)
}

/// A device's part, with what `y` holds as the input.
fn in_place(part: &mut Part) -> Shard<'_> {
    let shard = part.shard();
    let y = &shard.y;
    // SAFETY: the memory of `y`, which the operation may read, too, as it works in place.
    let x = unsafe { View::from_raw_parts(y.place(), y.address(), y.dtype(), y.shape()) };
    Shard { x: x.expect("it has the shape of `y`"), ..shard }
}

/// Every device keeps the promise, touches nothing between rows, and has the bits that the first makes of the
/// same tensors by itself; in place too.
fn every_device_is_as_one(case: &Case, devices: usize) -> Result<(), Failed> {
    let devices = first(devices);
    let (mut tensors, tp) = group(&devices, case)?;
    enqueue(&mut tensors, &tp)?;
    tp.synchronize()?;
    for (index, on_device) in tensors.iter().enumerate() {
        let case = on_one(case, index);
        judge(&case, &Tensors { y: on_device.y.download()?, ..case.tensors() })?;
    }
    assert_eq!(y_bits(&tensors)?, on_the_first(&devices, case)?, "{case:?}");

    let same = Case { y: case.x, gaps: case.gaps.iter().map(|&(x, _)| (x, x)).collect(), ..case.clone() };
    let (mut apart, tp) = group(&devices, &same)?;
    let (mut in_place, _) = group(&devices, &same)?;
    enqueue(&mut apart, &tp)?;
    enqueue_in_place(&mut in_place, &tp)?;
    tp.synchronize()?;
    let rows = |memory: &Memory| -> Result<Vec<Vec<u32>>, Failed> {
        Ok(row_bits(&same, &memory.download()?, &same.y_strides()))
    };
    for (apart, in_place) in apart.iter().zip(&in_place) {
        assert_eq!(rows(&in_place.x)?, rows(&apart.y)?, "{same:?}: in place");
    }
    Ok(())
}

/// The rows keep the promise with NCCL's sums, and have the same bits with sums of the host's; in place too.
fn shards_are_as_whole_rows(case: &Case, ends: &[usize]) -> Result<(), Failed> {
    let tp = shards::group(&first(ends.len()))?;
    let nccl = NcclGroup::new(&tp)?;
    let before = case.tensors();
    let y = normalize_split(&tp, case, &before, ends, Part::shard, &nccl)?;
    judge(case, &Tensors { y: y.clone(), ..case.tensors() })?;
    let by_host = normalize_split(&tp, case, &before, ends, Part::shard, &on_the_host)?;
    assert_eq!(by_host.bits(), y.bits(), "{case:?}, {ends:?}");

    let same = Case { y: case.x, ..case.clone() };
    let before = same.tensors();
    let apart = normalize_split(&tp, &same, &before, ends, Part::shard, &nccl)?;
    let onto = Tensors { y: before.x.clone(), ..before };
    let onto_x = normalize_split(&tp, &same, &onto, ends, in_place, &nccl)?;
    assert_eq!(onto_x.bits(), apart.bits(), "{same:?}, {ends:?}: in place");
    Ok(())
}

/// A failure as proptest takes it.
pub fn told<T>(result: Result<T, Failed>) -> Result<T, TestCaseError> {
    result.map_err(|failed| TestCaseError::fail(failed.message().unwrap_or_default().to_owned()))
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn every_device_of_a_group_is_as_one_alone(case in replicated(), devices in 1..=DEVICES) {
        let _alone = alone();
        told(every_device_is_as_one(&case, devices))?;
    }

    #[test]
    fn rows_that_are_split_keep_the_promise((case, ends) in split()) {
        let _alone = alone();
        told(shards_are_as_whole_rows(&case, &ends))?;
    }
}

/// Rows that ask for more shared memory and larger clusters than every device has, and rows of several passes.
#[test]
fn long_rows_on_two_devices_are_as_on_one() -> Result<(), Failed> {
    let _alone = alone();
    for kind in NormKind::ALL {
        for (dtype, dim) in [(DType::F16, 65_536), (DType::F32, 140_000), (DType::F16, 70_001)] {
            every_device_is_as_one(&plain(kind, [dtype; 3], 1, dim), 2)?;
        }
    }
    let case = plain(NormKind::Rms, [DType::F16; 3], 2, 140_000);
    shards_are_as_whole_rows(&case, &[1, 60_001, 120_000, 140_000])
}
