//! Every kernel entry of the norms keeps the accuracy promise: the shipped PTX on the simulator.

#[path = "device/cases.rs"]
#[allow(dead_code)]
mod cases;
#[path = "../norm-host/tests/common/mod.rs"]
mod common;

use norm_host::{DeviceProfile, Plan, Rounding, Roundings, Simulator};
use norm_kernels::abi::{Kernel, Variant};
use rayon::prelude::*;

use cases::{Addresses, of_kernel, problem};
use common::{
    buffer::Buffer,
    case::{Case, Tensors},
    values::Values,
};

/// A device's profile, beside memory that is fast or not.
fn profile(variant: Variant, memory_bytes_per_clock: u32) -> DeviceProfile {
    let profile = DeviceProfile { memory_bytes_per_clock, ..DeviceProfile::of_capability((9, 0)) };
    match variant {
        // Rows that fit no shared memory are long, and so are those that a cluster has no room for.
        Variant::Stream => DeviceProfile { max_shared_bytes: 0, ..profile },
        Variant::Mixed => DeviceProfile { max_cluster: 2, ..profile },
        _ => profile,
    }
}

#[test]
fn every_kernel_keeps_the_promise() {
    let all: Vec<Kernel> = Kernel::all().collect();
    all.into_par_iter().for_each(|kernel| {
        let mut taken = Vec::new();
        for profile in [12, 18].map(|rate| profile(kernel.variant, rate)) {
            for case in of_kernel(kernel, profile) {
                let plan = planned(&case, &case.tensors(), profile);
                let launch = (case.dim, plan.block, plan.cluster, plan.shared_bytes);
                // What memory of another speed gives to another kernel is that one's to be tried with.
                if plan.kernel == kernel && !taken.contains(&launch) {
                    taken.push(launch);
                    holds(&case, profile);
                }
            }
        }
        assert!(!taken.is_empty(), "{kernel}: none of its cases takes it");
    });
}

/// A template's code is one for all orders of roundings, but each has a way of its own to the output: every kernel in each
/// order that makes a difference for its types, by turns with and without an offset that is rounded.
#[test]
fn every_kernel_rounds_where_its_order_says() {
    let all: Vec<Kernel> = Kernel::all().collect();
    all.into_par_iter().for_each(|kernel| {
        let (mut tried, mut seen) = (0, 0);
        for profile in [12, 18].map(|rate| profile(kernel.variant, rate)) {
            for (case, order) in of_kernel(kernel, profile).flat_map(in_each_order) {
                tried += 1;
                let plain = Case { weight_offset: 0.0, round_offset: false, ..case.clone() };
                // Few kernels know offsets.
                let taken = [case, plain].into_iter().find_map(|case| {
                    let plan = planned(&case, &case.tensors(), profile);
                    (plan.kernel.variant == kernel.variant).then_some((case, plan))
                });
                let Some((case, plan)) = taken.filter(|_| seen < ORDERS_A_KERNEL) else { continue };
                assert_eq!(plan.kernel.epilogue.order, order, "{case:?}");
                seen += 1;
                let (before, mut after) = (case.tensors(), case.tensors());
                let device = Simulator::with_profile(profile);
                case.run(&mut after, &device).unwrap_or_else(|error| panic!("{case:?}: {error}"));
                for row in 0..case.rows() {
                    let judged = case.judge(&before, &after, row);
                    assert!(judged.promised && judged.is_kept(), "{case:?}: row {row}: {judged:?}");
                }
            }
        }
        assert_eq!(seen == 0, tried == 0, "{kernel}: none of its cases takes it");
    });
}

/// As many as there are orders that round elsewhere.
const ORDERS_A_KERNEL: usize = 3;

/// The case in each order that rounds elsewhere with its types.
fn in_each_order(case: Case) -> impl Iterator<Item = (Case, Rounding)> {
    let [x, w, y] = [case.x, case.w.unwrap_or(case.x), case.y];
    let orders = Rounding::ALL.into_iter().filter(move |&order| {
        Roundings::of(order, false, x, Some(w), y).that_matter(case.b.is_some(), false) != Roundings::NONE
    });
    orders.map(move |rounding| {
        let weight_offset = if case.seed.is_multiple_of(2) { 1.0 } else { 0.0 };
        let rounded = Case { rounding, weight_offset, round_offset: weight_offset != 0.0, ..case.clone() };
        (Case { values: Values::Plain, ..rounded }, rounding)
    })
}

/// Values plain and hard; in place; one row alone.
fn holds(case: &Case, profile: DeviceProfile) {
    let hard = Values::ALL[case.seed as usize % Values::ALL.len()];
    for values in [Values::Plain, Values::Shifted, Values::Extreme, hard] {
        let case = Case { values, ..case.clone() };
        let before = case.tensors();
        let mut after = before.clone();
        let device = Simulator::with_profile(profile);
        case.run(&mut after, &device).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        for row in 0..case.rows() {
            assert_eq!(case.wrong_residual(&before, &after, row), None, "{case:?}: row {row}");
            let judged = case.judge(&before, &after, row);
            assert!(judged.promised && judged.is_kept(), "{case:?}: row {row}: {judged:?}");
        }
        if case.x == case.y {
            assert_eq!(in_place(&case, &before, &device), after.y.bits(), "{case:?}: in place");
        }
        let alone = Case { front: vec![1], ..case.clone() };
        let mut first = Tensors {
            x: head(&before.x, case.dim),
            r: before.r.as_ref().map(|r| head(r, case.dim)),
            s: before.s.as_ref().map(|s| head(s, case.dim)),
            y: head(&before.y, case.dim),
            ..before.clone()
        };
        alone.run(&mut first, &device).unwrap_or_else(|error| panic!("{alone:?}: {error}"));
        assert_eq!(first.y.bits(), after.y.bits()[..case.dim], "{case:?}: one row alone");
    }
}

/// The first elements.
fn head(buffer: &Buffer, elements: usize) -> Buffer {
    Buffer::new(buffer.dtype(), &(0..elements).map(|index| buffer.get(index)).collect::<Vec<f64>>())
}

/// The bits that the operation writes over its input.
fn in_place(case: &Case, before: &Tensors, device: &Simulator) -> Vec<u32> {
    let Tensors { mut x, r, w, b, scale, .. } = before.clone();
    let (norm, shape, strides) = (case.norm(&w, &b, &scale), case.shape(), case.x_strides());
    let mut rows = x.view_mut(&shape, &strides);
    match r {
        Some(mut r) => norm.add_rows_in_place(&mut rows, &mut r.view_mut(&shape, &case.r_strides()), device),
        None => norm.rows_in_place(&mut rows, device),
    }
    .unwrap_or_else(|error| panic!("{case:?}: in place: {error}"));
    x.bits()
}

/// The plan of a case of dense rows.
fn planned(case: &Case, tensors: &Tensors, profile: DeviceProfile) -> Plan {
    let address = |buffer: &Buffer, shape: &[usize]| {
        let strides: Vec<usize> = if shape.len() == 1 { vec![1] } else { case.x_strides() };
        buffer.view(shape, &strides).address()
    };
    let rows = |buffer: &Buffer| address(buffer, &case.shape());
    let param = |buffer: &Option<Buffer>| buffer.as_ref().map(|buffer| address(buffer, &[case.dim]));
    let at = Addresses {
        x: rows(&tensors.x),
        y: rows(&tensors.y),
        r: tensors.r.as_ref().map(rows),
        s: tensors.s.as_ref().map(rows),
        scale: tensors.scale.as_ref().map(|scale| address(scale, &[1])),
        w: param(&tensors.w),
        b: param(&tensors.b),
    };
    Plan::new(&problem(case, at), profile).unwrap()
}
