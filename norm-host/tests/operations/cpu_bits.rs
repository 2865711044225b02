//! What an output's bits may depend on: its row, the parameters, the dtypes and dim. Nothing else.

use norm_host::{Cpu, DType, Gate, GateOrder, Norm, NormKind, Place, Rounding, View, ViewMut};
use norm_testing::config;
use norm_testing::{
    buffer::Buffer,
    case::{Addition, Case, Residual, Tensors, case},
    quantized::{self, FORMS, QuantizedCase},
};
use proptest::prelude::*;

/// The case's `x` alone, in place of `x` and `y`, beside what becomes of its residual.
fn run_in_place(case: &Case) -> Tensors {
    let mut tensors = case.tensors();
    let norm = case.norm(&tensors.w, &tensors.b, &tensors.scale);
    let (shape, r_strides) = (case.shape(), case.r_strides());
    let mut x = tensors.x.view_mut(&shape, &case.x_strides());
    // SAFETY: the memory of `x`, which each element is read from before it is written.
    let same = unsafe { View::from_raw_parts(Place::Host, x.address(), case.x, &shape) };
    let same = same.and_then(|same| same.with_strides(&case.x_strides())).unwrap();
    match (case.residual, &mut tensors.r, &mut tensors.s) {
        (Residual::Before, Some(r), Some(s)) => {
            let s = &mut s.view_mut(&shape, &case.s_strides());
            norm.add_then_norm_to(same, r.view(&shape, &r_strides), s, &mut x, &Cpu)
        }
        (Residual::Before, Some(r), None) => {
            norm.add_then_norm_in_place(&mut x, &mut r.view_mut(&shape, &r_strides), &Cpu)
        }
        (Residual::Behind, Some(r), _) => {
            norm.norm_then_add_to(same, r.view(&shape, &r_strides), &mut x, &Cpu)
        }
        (Residual::Behind, None, _) => norm.norm_then_add(same, &mut x, &Cpu),
        _ if case.heads => norm.heads_in_place(&mut x, &Cpu),
        _ => norm.rows_in_place(&mut x, &Cpu),
    }
    .unwrap();
    tensors
}

/// The bits of each row of a tensor with these strides, gaps left out.
fn row_bits(case: &Case, buffer: &Buffer, strides: &[usize]) -> Vec<Vec<u32>> {
    let bits = buffer.bits();
    (0..case.rows()).map(|row| bits[case.start(row, strides)..][..case.dim].to_vec()).collect()
}

/// The bits of each row of `y`, and of the residual and the sum where there are some.
fn bits_of(case: &Case, tensors: &Tensors) -> [Vec<Vec<u32>>; 3] {
    let r = tensors.r.as_ref().map(|r| row_bits(case, r, &case.r_strides()));
    let s = tensors.s.as_ref().map(|s| row_bits(case, s, &case.s_strides()));
    [row_bits(case, &tensors.y, &case.y_strides()), r.unwrap_or_default(), s.unwrap_or_default()]
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn in_place_equals_out_of_place(case in case(3000)) {
        // The same type and strides on both sides: what in place means.
        let gaps = case.gaps.iter().map(|&(x, _)| (x, x)).collect();
        let wide = case.addition.wide && case.x.size() == 2;
        let case = Case { y: case.x, gaps, addition: Addition { wide, ..case.addition }, ..case };
        let mut apart = case.tensors();
        if case.residual == Residual::Behind && !case.addition.apart {
            apart.y = apart.x.clone();
        }
        case.run(&mut apart, &Cpu).unwrap();
        let mut in_place = run_in_place(&case);
        in_place.y = in_place.x.clone();
        prop_assert_eq!(bits_of(&case, &apart), bits_of(&case, &in_place));
    }

    #[test]
    fn rows_alone_equal_rows_together(case in case(3000)) {
        let mut together = case.tensors();
        case.run(&mut together, &Cpu).unwrap();
        let [y, r, s] = bits_of(&case, &together);
        for (row, y) in y.iter().enumerate() {
            let [y_alone, r_alone, s_alone] = alone(&case, row);
            prop_assert_eq!(y, &y_alone[0]);
            prop_assert_eq!(r.get(row), r_alone.first());
            prop_assert_eq!(s.get(row), s_alone.first());
        }
    }

    /// The residual is rounded, and what is rounded is normalized.
    #[test]
    fn fused_equals_an_addition_and_a_norm(case in case(3000)) {
        // By itself the norm of a sum in f32 is one of f32, to which no order rounds.
        let rounding = if case.addition.wide { Rounding::Single } else { case.rounding };
        let case = Case { residual: Residual::Before, heads: false, rounding, ..case };
        let mut fused = case.tensors();
        case.run(&mut fused, &Cpu).unwrap();
        // The sum in the place of `x`, with its gaps.
        let sum_gaps = if case.stores_apart() { case.addition.s_gaps } else { case.r_gaps };
        let gaps = case.gaps.iter().zip(sum_gaps).map(|(&(_, y), sum)| (sum, y)).collect();
        let plain = Case { residual: Residual::None, addition: Addition::PLAIN, ..case.clone() };
        let norm = Case { x: case.r_dtype(), gaps, ..plain };
        let sum = fused.s.clone().or(fused.r.clone()).unwrap();
        let mut apart = Tensors { x: sum, r: None, s: None, scale: None, ..case.tensors() };
        norm.run(&mut apart, &Cpu).unwrap();
        prop_assert_eq!(&bits_of(&case, &fused)[0], &bits_of(&norm, &apart)[0]);
    }
}

/// Row `row` of the case, computed as the only row there is.
fn alone(case: &Case, row: usize) -> [Vec<Vec<u32>>; 3] {
    let tensors = case.tensors();
    let take =
        |buffer: &Buffer, strides: &[usize]| Buffer::new(buffer.dtype(), &case.row(buffer, row, strides));
    let param = |p: &Option<Buffer>, shared| {
        let start = case.param_start(row, shared);
        p.as_ref().map(|p| Buffer::new(p.dtype(), &case.elements(p, start)))
    };
    let mut tensors = Tensors {
        x: take(&tensors.x, &case.x_strides()),
        r: tensors.r.as_ref().map(|r| take(r, &case.r_strides())),
        s: tensors.s.as_ref().map(|s| take(s, &case.s_strides())),
        scale: tensors.scale.clone(),
        w: param(&tensors.w, case.shared[0]),
        b: param(&tensors.b, case.shared[1]),
        y: take(&tensors.y, &case.y_strides()),
    };
    let one = Case { heads: false, front: vec![], ..case.clone() };
    one.run(&mut tensors, &Cpu).unwrap();
    bits_of(&one, &tensors)
}

/// Enough rows that they are spread over threads, and fewer long rows than threads, of which each is
/// spread itself; from threads of pools of different sizes, and from one of none, which works together with those of the global
/// pool.
#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for (rows, dim) in [(701, 777), (2, 100_003)] {
        for kind in NormKind::ALL {
            let one = with_threads(Some(1), kind, rows, dim);
            for threads in [Some(2), Some(7), None] {
                assert_eq!(one, with_threads(threads, kind, rows, dim), "{threads:?}");
            }
        }
    }
}

/// The bits of the output of each form, and of the residual, in a pool of so many threads or in none.
fn with_threads(threads: Option<usize>, kind: NormKind, rows: usize, dim: usize) -> Vec<u32> {
    let values = |seed: usize| -> Vec<f32> {
        (0..rows * dim).map(|i| ((i * 7919 + seed) % 10007) as f32 / 1000.0 - 5.0).collect()
    };
    let (x, mut r) = (values(0), values(17));
    let zeros = || vec![0.0_f32; rows * dim];
    let mut outputs = [zeros(), zeros(), values(29), zeros(), zeros(), zeros(), zeros()];
    let mut run = || {
        let shape = [rows, dim];
        let x = View::from_slice(&x, &shape).unwrap();
        let mut r = ViewMut::from_slice(&mut r, &shape).unwrap();
        let [a, b, c, d, e, f, g] = outputs.each_mut().map(|y| ViewMut::from_slice(y, &shape).unwrap());
        let norm = Norm::new(kind, 1e-6);
        norm.rows(x, &mut { a }, &Cpu).unwrap();
        norm.add_then_norm(x, &mut r, &mut { b }, &Cpu).unwrap();
        norm.norm_then_add(x, &mut { c }, &Cpu).unwrap();
        norm.sandwich_rows_to(&norm, x, r.as_view(), &mut { d }, &mut { e }, &Cpu).unwrap();
        if kind == NormKind::Rms {
            let gate = Gate::silu(r.as_view());
            norm.gated_rows(x, gate, &mut { f }, &Cpu).unwrap();
            norm.gated_rows(x, gate.order(GateOrder::GateFirst), &mut { g }, &Cpu).unwrap();
        }
    };
    match threads {
        Some(threads) => rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run),
        None => run(),
    }
    outputs.iter().chain([&r]).flatten().map(|y| y.to_bits()).collect()
}

/// Of quantized rows: codes, scales, sums and copies are those of the row alone, whatever the number of threads.
#[test]
fn quantized_bits_depend_neither_on_other_rows_nor_on_threads() {
    for form in FORMS {
        for (rows, dim) in [(301, 384), (2, 40_064)] {
            let case =
                QuantizedCase { adds: true, normed: true, ..quantized::plain(form, DType::BF16, rows, dim) };
            let before = case.tensors();
            let [one, other] = [1, 7].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut after = before.clone();
                pool.install(|| case.run(&mut after, &Cpu)).unwrap();
                after
            });
            assert_eq!((&one.codes, &one.scales), (&other.codes, &other.scales), "{form:?}");
            assert_eq!((&one.r, &one.normed), (&other.r, &other.normed), "{form:?}");
            let last = rows - 1;
            let of_row = |buffer: &Buffer| {
                let elements: Vec<f64> = (last * dim..rows * dim).map(|at| buffer.get(at)).collect();
                Buffer::new(buffer.dtype(), &elements)
            };
            let alone = QuantizedCase { front: vec![1], ..case.clone() };
            let mut row = alone.tensors();
            row.x = of_row(&before.x);
            row.r = before.r.as_ref().map(of_row);
            (row.w, row.b) = (before.w.clone(), before.b.clone());
            alone.run(&mut row, &Cpu).unwrap();
            assert_eq!(row.codes, case.codes(&one, last), "{form:?}");
            assert_eq!(row.scales, case.scales(&one, last), "{form:?}");
            assert_eq!(row.normed, one.normed.as_ref().map(of_row), "{form:?}");
            assert_eq!(row.r, one.r.as_ref().map(of_row), "{form:?}");
        }
    }
}
