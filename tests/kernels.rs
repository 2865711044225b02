//! Every kernel entry of the norms keeps the accuracy promise: the shipped PTX on the simulator.

use std::collections::HashSet;

use norm_host::ptx::{EMBEDDED, Ptx};
use norm_host::{
    DType, NormKind, Rounding, Simulator,
    plan::{DeviceProfile, Plan},
    problem::Roundings,
};
use norm_kernels::abi::{self, EntryPoint, Kernel, Variant};
use rayon::prelude::*;

use norm_testing::{
    buffer::Buffer,
    case::{Addition, Case, Residual, Tensors},
    cases::{Addresses, of_kernel, of_one_norm, of_sandwich, problem},
    sandwich::Sandwich,
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
    of_one_norm().collect::<Vec<_>>().into_par_iter().for_each(|kernel| {
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
    of_one_norm().collect::<Vec<_>>().into_par_iter().for_each(|kernel| {
        let (mut tried, mut seen) = (0, 0);
        for profile in [12, 18].map(|rate| profile(kernel.variant, rate)) {
            for (case, order) in of_kernel(kernel, profile).flat_map(in_each_order) {
                tried += 1;
                if seen == ORDERS_A_KERNEL {
                    break;
                }
                let plain = Case { weight_offset: 0.0, round_offset: false, ..case.clone() };
                // Few kernels know offsets.
                let taken = [case, plain].into_iter().find_map(|case| {
                    let plan = planned(&case, &case.tensors(), profile);
                    (plan.kernel.variant == kernel.variant).then_some((case, plan))
                });
                let Some((case, plan)) = taken else { continue };
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

/// What is added and the sum multiplied, in front of the norm and behind it, by numbers and by one in memory, in place and
/// apart: each kernel that adds a residual, in one order of roundings after the other.
#[test]
fn every_kernel_that_adds_a_residual_scales_it() {
    let all = of_one_norm().filter(|kernel| kernel.variant.may_add());
    let all: Vec<(usize, Kernel)> = all.enumerate().collect();
    all.into_par_iter().for_each(|(index, kernel)| {
        let mut taken = 0;
        for profile in [12, 18].map(|rate| profile(kernel.variant, rate)) {
            let case = of_kernel(kernel, profile).next().expect("it has a case");
            for (turn, &residual) in (index..).zip(sides(kernel)) {
                let addition = Addition {
                    apart: turn.is_multiple_of(2),
                    branch_scale: -0.22,
                    sum_scale: 1.7,
                    in_memory: turn / 2 % 2 == 0,
                    ..case.addition
                };
                let rounding = Rounding::ALL[turn / 3 % Rounding::ALL.len()];
                let case = Case { residual, addition, rounding, ..case.clone() };
                let plan = planned(&case, &case.tensors(), profile);
                let scaled = abi::Addition { scaled: true, ..kernel.addition };
                if plan.kernel == (Kernel { addition: scaled, epilogue: plan.kernel.epilogue, ..kernel }) {
                    taken += 1;
                    adds_and_keeps(&case, profile);
                }
            }
        }
        assert!(taken > 0, "{kernel}: none of its cases takes it scaled");
    });
}

/// Where a kernel adds a residual.
fn sides(kernel: Kernel) -> &'static [Residual] {
    // Behind a norm none is wide.
    let either = !kernel.variant.adds() && !kernel.addition.wide;
    if either { &[Residual::Before, Residual::Behind] } else { &[Residual::Before] }
}

/// The sum has all bits that it must have, and `y` keeps the promise.
fn adds_and_keeps(case: &Case, profile: DeviceProfile) {
    let before = case.tensors();
    let mut after = before.clone();
    let device = Simulator::with_profile(profile);
    case.run(&mut after, &device).unwrap_or_else(|error| panic!("{case:?}: {error}"));
    for row in 0..case.rows() {
        assert_eq!(case.wrong_residual(&before, &after, row), None, "{case:?}: row {row}");
        let judged = case.judge(&before, &after, row);
        assert!(judged.promised && judged.is_kept(), "{case:?}: row {row}: {judged:?}");
    }
}

/// A kernel of each template, for what is changed in its text, which is the same for all types.
fn of_each_template() -> Vec<Kernel> {
    let mut templates = HashSet::new();
    of_one_norm()
        .filter(|&kernel| templates.insert(EntryPoint::Norm(kernel).template().to_string()))
        .collect()
}

/// The kernel in front may still write what an operation reads, and read what it writes: a kernel without its wait for
/// that, or with it behind the first access of memory or the first store, is found out, of each template.
#[test]
fn every_kernel_that_waits_too_late_is_found() {
    of_each_template().into_par_iter().for_each(|kernel| {
        let (case, profile) = taken_by(kernel).next().expect("it has a case");
        let text = EMBEDDED[1].module(kernel).expect("it is there");
        for text in [Some(text.clone())].into_iter().chain(waiting_late(&text)) {
            let text = text.expect("it waits, loads and stores");
            let is_shipped = text.contains(WAIT) && !text.contains(LATE);
            let found = case.run(&mut case.tensors(), &simulator_of(text, profile));
            let is_found = found.as_ref().is_err_and(|error| error.to_string().contains(FOUND));
            assert_eq!(is_found, !is_shipped, "{kernel}: {found:?}");
        }
    });
}

/// The cases that a kernel takes, and on which devices.
fn taken_by(kernel: Kernel) -> impl Iterator<Item = (Case, DeviceProfile)> {
    [12, 18].map(|rate| profile(kernel.variant, rate)).into_iter().flat_map(move |profile| {
        let cases = of_kernel(kernel, profile);
        let taken = cases.filter(move |case| planned(case, &case.tensors(), profile).kernel == kernel);
        taken.map(move |case| (case, profile))
    })
}

/// A simulator of one kernel's text.
fn simulator_of(text: String, profile: DeviceProfile) -> Simulator {
    Simulator::with_ptx(Ptx::from_text(text.leak()).expect("it has a target")).on(profile)
}

/// No output shows where a kernel prefetches: address 0, one that is misaligned, one where nothing is, and the bytes in
/// front of the tensors are found, in a kernel of each template whose first case prefetches, as most of them do.
#[test]
fn every_kernel_that_prefetches_elsewhere_is_found() {
    const PREFETCH: &str = "cp.async.bulk.prefetch.L2.global [";
    let kernels = of_each_template();
    let prefetching = kernels.par_iter().filter(|&&kernel| {
        let (case, profile) = taken_by(kernel).next().expect("it has a case");
        let shipped = Simulator::with_profile(profile);
        case.run(&mut case.tensors(), &shipped).unwrap_or_else(|error| panic!("{kernel}: {error}"));
        if shipped.counts().expect("something ran").all_global().prefetches.requests == 0 {
            return false;
        }
        let text = EMBEDDED[1].module(kernel).expect("it is there");
        let (_, tail) = text.split_once(PREFETCH).expect("it prefetches");
        let address = tail.split_once(']').expect("an address").0;
        let [misaligned, absurd, foreign] =
            ["8", "0x40000000", "-16"].map(|offset| format!("{address}+{offset}"));
        for elsewhere in ["0", &misaligned, &absurd, &foreign] {
            let text = text.replace(&format!("{PREFETCH}{address}]"), &format!("{PREFETCH}{elsewhere}]"));
            let found = case.run(&mut case.tensors(), &simulator_of(text, profile));
            assert!(found.is_err(), "{kernel}: [{elsewhere}]");
        }
        true
    });
    assert!(prefetching.count() * 2 > kernels.len());
}

const WAIT: &str = "griddepcontrol.wait;";
const LATE: &str = "// too late";
const FOUND: &str = "before griddepcontrol.wait";

/// A kernel's text without its wait, and with it behind its first load and its first store.
fn waiting_late(text: &str) -> [Option<String>; 3] {
    let behind = |access: &str| {
        let (head, tail) = text.split_once(WAIT)?;
        let at = tail.find(access)?;
        let end = at + tail[at..].find('\n')?;
        Some(format!("{head}{}\n{WAIT} {LATE}{}", &tail[..end], &tail[end..]))
    };
    [text.contains(WAIT).then(|| text.replacen(WAIT, "", 1)), behind("ld.global"), behind("st.global")]
}

/// Both norms in one launch, in every order, with the bits of two launches.
#[test]
fn every_kernel_of_two_norms_gives_the_bits_of_two_operations() {
    let profile = profile(Variant::Sandwich2, 18);
    let all: Vec<(usize, Kernel)> =
        Kernel::all().filter(|kernel| kernel.variant.is_sandwich()).enumerate().collect();
    all.into_par_iter().for_each(|(index, kernel)| {
        for (turn, rounding) in (index..).zip(Rounding::ALL) {
            let case = of_sandwich(kernel, rounding, turn, profile);
            assert!(launches_once(&case, profile), "{kernel}: {case:?}");
        }
    });
}

/// What no kernel serves is two launches, with those bits.
#[test]
fn other_sandwiches_are_two_launches() {
    let profile = profile(Variant::Sandwich2, 18);
    let named = |name: &str| Kernel::all().find(|kernel| kernel.to_string() == name).unwrap();
    let fused = of_sandwich(named("rms_f16_f16_f16_sandwich4"), Rounding::Single, 1, profile);
    let long = Sandwich { first: fused.first.clone(), second: fused.second.clone() };
    let with = |first: &dyn Fn(Case) -> Case, second: &dyn Fn(Case) -> Case| {
        Sandwich::new(first(long.first.clone()), second(long.second.clone()), [0; 3])
    };
    let same = |case: Case| case;
    let of_dim = |dim: usize| move |case: Case| Case { dim, ..case };
    let width = abi::width(DType::F16, DType::F16) as usize;
    let before_weight = |case: Case| Case { rounding: Rounding::BeforeWeight, ..case };
    for (case, once) in [
        (fused, true),
        (with(&of_dim(65 * width), &of_dim(65 * width)), true),
        (with(&of_dim(2048 * width), &of_dim(2048 * width)), true),
        // A row of several a block, one that no block's registers hold, and one that is not made of vectors.
        (with(&of_dim(64 * width), &of_dim(64 * width)), false),
        (with(&of_dim(2049 * width), &of_dim(2049 * width)), false),
        (with(&of_dim(100 * width + 1), &of_dim(100 * width + 1)), false),
        (with(&|case| Case { kind: NormKind::Layer, ..case }, &same), false),
        (with(&same, &|case| Case { kind: NormKind::Layer, ..case }), false),
        (with(&|case| Case { b: case.w, ..case }, &same), false),
        (with(&same, &|case| Case { b: case.w, ..case }), false),
        (with(&|case| Case { w: Some(DType::F32), ..case }, &same), false),
        (with(&same, &|case| Case { w: Some(DType::BF16), ..case }), false),
        (with(&|case| Case { x: DType::BF16, ..case }, &same), false),
        (with(&same, &|case| Case { y: DType::F32, ..case }), false),
        (with(&same, &|case| Case { y: DType::BF16, ..case }), true),
        (with(&before_weight, &same), false),
        (with(&same, &before_weight), false),
        (with(&before_weight, &before_weight), true),
        // Of the second norm the order rounds nothing else.
        (with(&|case| Case { rounding: Rounding::BeforeBias, ..case }, &same), false),
        (
            with(&|case| Case { rounding: Rounding::BeforeBias, ..case }, &|case| Case {
                rounding: Rounding::BeforeBias,
                ..case
            }),
            true,
        ),
        // Without weights there is nothing but ones on either side.
        (with(&|case| Case { w: None, ..case }, &|case| Case { w: None, ..case }), true),
    ] {
        assert_eq!(launches_once(&case, profile), once, "{case:?}");
    }
}

/// Holds a sandwich to two operations and to both promises; whether it was one launch.
fn launches_once(case: &Sandwich, profile: DeviceProfile) -> bool {
    let before = case.tensors();
    let (mut fused, mut apart) = (before.clone(), before.clone());
    let device = Simulator::with_profile(profile);
    case.run(&mut fused, &device).unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let counts = device.counts().expect("something ran");
    // The second of two launches knows no residual.
    let once = ["r", "sum"].iter().any(|name| counts.global.contains_key(*name));
    case.run_apart(&mut apart, &device).unwrap_or_else(|error| panic!("{case:?}: {error}"));
    assert!(Sandwich::bits(&fused) == Sandwich::bits(&apart), "{case:?}: other bits than two operations");
    for row in 0..case.first.rows() {
        for judged in case.judge(&before, &fused, row) {
            assert!(judged.promised && judged.is_kept(), "{case:?}: row {row}: {judged:?}");
        }
    }
    once
}

/// Plain values, of LayerNorm those that are far from zero, for which it has a pass of its own, and by turns of the cases one of the
/// other kinds; also in place, and one row alone, with plain ones: what changes there is addresses and the grid, not what is computed
/// of a value.
fn holds(case: &Case, profile: DeviceProfile) {
    let shifted = (case.kind == NormKind::Layer).then_some(Values::Shifted);
    let others = Values::ALL.into_iter().filter(|&values| values != Values::Plain && Some(values) != shifted);
    let other = others.cycle().nth(case.seed as usize);
    for values in [Some(Values::Plain), shifted, other].into_iter().flatten() {
        let repeated = values == Values::Plain;
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
        if !repeated {
            continue;
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
        Some(mut r) => {
            norm.add_then_norm_in_place(&mut rows, &mut r.view_mut(&shape, &case.r_strides()), device)
        }
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
