//! Whatever can be asked for wrongly of queries, keys and values is an error that names the argument, what was expected and
//! what was given; and nothing has been written when it is returned.

use norm_host::{
    Cpu, DType, Norm, Place, Positions, QkNormRope, Qkv, Result, Rotary, Rounding, View, ViewMut,
};

/// A tensor in a buffer of ones.
#[derive(Clone, Copy)]
struct Tensor {
    place: Place,
    /// In elements of f32.
    at: usize,
    /// Bytes from there.
    off: u64,
    dtype: DType,
    extents: &'static [usize],
    strides: &'static [usize],
}

impl Tensor {
    /// Dense f32 of these extents.
    const fn dense(at: usize, extents: &'static [usize], strides: &'static [usize]) -> Tensor {
        Tensor { place: Place::Host, at, off: 0, dtype: DType::F32, extents, strides }
    }

    const fn of(self, extents: &'static [usize], strides: &'static [usize]) -> Tensor {
        Tensor { extents, strides, ..self }
    }

    const fn typed(self, dtype: DType) -> Tensor {
        Tensor { dtype, ..self }
    }
}

/// Where everything is.
#[derive(Clone, Copy)]
struct Setup {
    q: Tensor,
    k: Option<Tensor>,
    v: Option<Tensor>,
    q_out: Option<Tensor>,
    k_out: Option<Tensor>,
    v_out: Option<Tensor>,
    q_weight: Option<Tensor>,
    k_weight: Option<Tensor>,
    cos: Tensor,
    sin: Tensor,
    positions: &'static [i64],
}

/// Two tokens with three query heads, two key heads and one value head of four elements, in memory of their own.
const GOOD: Setup = Setup {
    q: Tensor::dense(0, &[2, 3, 4], &[12, 4, 1]),
    k: Some(Tensor::dense(24, &[2, 2, 4], &[8, 4, 1])),
    v: Some(Tensor::dense(40, &[2, 1, 4], &[4, 4, 1])),
    q_out: Some(Tensor::dense(48, &[2, 3, 4], &[12, 4, 1])),
    k_out: Some(Tensor::dense(72, &[2, 2, 4], &[8, 4, 1])),
    v_out: Some(Tensor::dense(88, &[2, 1, 4], &[4, 4, 1])),
    q_weight: Some(Tensor::dense(96, &[4], &[1])),
    k_weight: Some(Tensor::dense(100, &[2, 4], &[4, 1])),
    cos: Tensor::dense(112, &[5, 2], &[2, 1]),
    sin: Tensor::dense(128, &[5, 2], &[2, 1]),
    positions: &[4, 0],
};

type Options = fn(QkNormRope<'static>) -> QkNormRope<'static>;

fn call(buffer: &mut [f32], at: Setup, options: Options, in_place: bool) -> Result<()> {
    let base = buffer.as_mut_ptr();
    let address = |tensor: Tensor| base.wrapping_add(tensor.at).expose_provenance() as u64 + tensor.off;
    // SAFETY: tests stay within the buffer, or on no memory at all where a check must refuse it, until they end.
    let view = |tensor: Tensor| unsafe {
        let Tensor { place, dtype, extents, strides, .. } = tensor;
        View::from_raw_parts_strided(place, address(tensor), dtype, extents, strides).unwrap()
    };
    // SAFETY: tests stay within the buffer, or on no memory at all where a check must refuse it, until they end; where another
    // tensor overlaps with this one, the operation is to refuse both.
    let view_mut = |tensor: Tensor| unsafe {
        let Tensor { place, dtype, extents, strides, .. } = tensor;
        ViewMut::from_raw_parts_strided(place, address(tensor), dtype, extents, strides).unwrap()
    };
    let norm = |weight: Option<Tensor>| Norm::rms(1e-6).weight(weight.map(view));
    let rotary = Rotary::new(view(at.cos), view(at.sin), Positions::from_slice(at.positions));
    let operation = QkNormRope::new().q_norm(norm(at.q_weight)).k_norm(norm(at.k_weight));
    // What the description borrows outlives it.
    let operation = options(operation.rotary(rotary));
    if in_place {
        let heads = Qkv::new(view_mut(at.q)).k(at.k.map(view_mut)).v(at.v.map(view_mut));
        return operation.in_place(heads, &Cpu);
    }
    let read = Qkv::new(view(at.q)).k(at.k.map(view)).v(at.v.map(view));
    let q_out = at.q_out.expect("queries are written");
    let written = Qkv::new(view_mut(q_out)).k(at.k_out.map(view_mut)).v(at.v_out.map(view_mut));
    operation.to(read, written, &Cpu)
}

/// The message of an operation that is refused before it writes anything; `at` in place or not.
#[track_caller]
fn refused(at: Setup, options: Options, in_place: bool) -> String {
    let mut buffer = vec![1.0; 160];
    let error = call(&mut buffer, at, options, in_place).expect_err("it is refused");
    assert!(buffer.iter().all(|&value| value == 1.0), "{error}");
    assert!(error.arg().is_some_and(|arg| error.to_string().starts_with(&arg.to_string())), "{error}");
    error.to_string()
}

#[test]
fn what_fits_is_taken() {
    for in_place in [false, true] {
        assert_eq!(call(&mut [1.0; 160], GOOD, |it| it, in_place), Ok(()));
    }
    let alone = Setup { k: None, v: None, k_out: None, v_out: None, ..GOOD };
    assert_eq!(call(&mut [1.0; 160], alone, |it| it.k_norm(None), false), Ok(()));
    let none =
        Setup { q: GOOD.q.of(&[0, 3, 4], &[12, 4, 1]), positions: &[], ..Setup { k: None, v: None, ..GOOD } };
    assert_eq!(call(&mut [1.0; 160], none, |it| it.k_norm(None), true), Ok(()));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let q = |q: Tensor| Setup { q, ..GOOD };
    let k = |k: Tensor| Setup { k: Some(k), ..GOOD };
    let with_k = GOOD.k.unwrap();
    for (at, message) in [
        (q(GOOD.q.of(&[2, 12], &[12, 1])), "q: expected rank 3, given rank 2"),
        (q(GOOD.q.of(&[2, 3, 0], &[12, 4, 1])), "q: expected rows of at least 1 element, given dim 0"),
        (
            q(GOOD.q.of(&[2, 3, 513], &[1539, 513, 1])),
            "q: expected rows of at most 512 elements, given dim 513",
        ),
        (q(GOOD.q.of(&[2, 3, 4], &[12, 1, 3])), "q: expected a dense last axis (stride 1), given stride 3"),
        (
            q(GOOD.q.of(&[2, 3, 4], &[0, 4, 1])),
            "q: expected strides that keep elements apart, given (0, 4, 1) for shape (2, 3, 4)",
        ),
        (q(Tensor { place: Place::Cuda(1), ..GOOD.q }), "q: expected on the host, given on cuda:1"),
        (k(with_k.of(&[1, 2, 4], &[8, 4, 1])), "k: expected shape (2, 2, 4), given (1, 2, 4)"),
        (k(with_k.of(&[2, 4, 2], &[8, 2, 1])), "k: expected shape (2, 4, 4), given (2, 4, 2)"),
        (k(with_k.typed(DType::F16)), "k: expected dtype f32, given f16"),
        (k(Tensor { at: 20, ..with_k }), "k and q: expected no common memory, given tensors that overlap"),
        (
            Setup { v: Some(Tensor { at: 36, ..GOOD.v.unwrap() }), ..GOOD },
            "v and k: expected no common memory, given tensors that overlap",
        ),
        (
            Setup { q_weight: Some(Tensor::dense(96, &[3], &[1])), ..GOOD },
            "q_weight: expected shape (3, 4), or (4,) for all heads, given (3,)",
        ),
        (
            Setup { k_weight: Some(Tensor::dense(100, &[3, 4], &[4, 1])), ..GOOD },
            "k_weight: expected shape (2, 4), or (4,) for all heads, given (3, 4)",
        ),
        (
            Setup { k_weight: Some(Tensor::dense(10, &[2, 4], &[4, 1])), ..GOOD },
            "k_weight and q: expected no common memory, given tensors that overlap",
        ),
        (
            Setup { q_weight: Some(GOOD.q_weight.unwrap().typed(DType::BF16)), ..GOOD },
            "q_weight: expected dtype f32, given bf16",
        ),
        (Setup { cos: Tensor::dense(112, &[10], &[1]), ..GOOD }, "cos: expected rank 2, given rank 1"),
        (
            Setup { cos: Tensor::dense(112, &[5, 0], &[2, 1]), ..GOOD },
            "cos: expected rows of at least 1 element, given dim 0",
        ),
        (
            Setup { cos: Tensor::dense(112, &[5, 3], &[3, 1]), ..GOOD },
            "cos: expected at most 2 pairs, half of head_dim 4, given 3",
        ),
        (
            Setup { sin: Tensor::dense(128, &[4, 2], &[2, 1]), ..GOOD },
            "sin: expected shape (5, 2), given (4, 2)",
        ),
        (Setup { sin: GOOD.sin.typed(DType::F16), ..GOOD }, "sin: expected dtype f32, given f16"),
        (Setup { cos: GOOD.cos.typed(DType::F16), ..GOOD }, "cos: expected dtype f32, given f16"),
        (
            Setup { sin: Tensor::dense(128, &[5, 2], &[1, 2]), ..GOOD },
            "sin: expected a dense last axis (stride 1), given stride 2",
        ),
        (
            Setup { sin: Tensor { at: 40, ..GOOD.sin }, ..GOOD },
            "sin and v: expected no common memory, given tensors that overlap",
        ),
        (Setup { positions: &[1, 2, 3], ..GOOD }, "positions: expected a list of 2, given 3"),
        (
            Setup { positions: &[1, 5], ..GOOD },
            "positions: expected rows of the tables, 0 to 4, given 5 for token 1",
        ),
        (
            Setup { positions: &[-1, 0], ..GOOD },
            "positions: expected rows of the tables, 0 to 4, given -1 for token 0",
        ),
    ] {
        assert_eq!(refused(at, |it| it, true), message);
    }
}

/// Kernels and the host's loops read 32 bits of a position, so that of a longer table the first rows alone can be meant.
#[test]
fn positions_of_more_than_32_bits_are_refused() {
    let (mut q, one) = ([1.0_f32, 2.0], [1.0_f32]);
    let table = View::from_slice_strided(&one, &[1 << 34, 1], &[0, 1]).unwrap();
    let mut rotate = |position: i64| {
        let q = ViewMut::from_slice(&mut q, &[1, 1, 2]).unwrap();
        let positions = [position];
        let rotary = Rotary::new(table, table, Positions::from_slice(&positions));
        QkNormRope::new().rotary(rotary).in_place(Qkv::new(q), &Cpu).map_err(|error| error.to_string())
    };
    assert_eq!(rotate(7), Ok(()));
    let expected = "positions: expected rows of the tables, 0 to 4294967294, given 4294967296 for token 0";
    assert_eq!(rotate(1 << 32), Err(expected.to_owned()));
}

#[test]
fn outputs_that_do_not_fit_are_refused() {
    let q_out = GOOD.q_out.unwrap();
    for (at, message) in [
        (
            Setup { q_out: Some(q_out.of(&[2, 4, 3], &[12, 3, 1])), ..GOOD },
            "q_out: expected shape (2, 3, 4), given (2, 4, 3)",
        ),
        (Setup { q_out: Some(q_out.typed(DType::F16)), ..GOOD }, "q_out: expected dtype f32, given f16"),
        (
            Setup { q_out: Some(Tensor { at: 1, ..q_out }), ..GOOD },
            "q and q_out: expected no common memory, or one tensor for work in place, given tensors that overlap",
        ),
        (
            Setup { k_out: Some(Tensor { at: 60, ..GOOD.k_out.unwrap() }), ..GOOD },
            "q_out and k_out: expected no common memory, given tensors that overlap",
        ),
        (
            Setup { v_out: Some(Tensor { at: 0, ..GOOD.v_out.unwrap() }), ..GOOD },
            "q and v_out: expected no common memory, given tensors that overlap",
        ),
        (Setup { k_out: None, ..GOOD }, "k_out: expected one, as there is k, given none"),
        (Setup { v: None, ..GOOD }, "v: expected one, as there is v_out, given none"),
    ] {
        assert_eq!(refused(at, |it| it, false), message);
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    fn norm() -> Norm<'static> {
        Norm::rms(1e-6)
    }
    let cases: [(Options, &str); 8] = [
        (
            |it| it.q_norm(norm().bias(View::from_slice(&[1.0_f32; 4], &[4]).unwrap())),
            "q_norm: expected a norm without b, given one with it",
        ),
        (
            |it| it.v_norm(norm().branch_scale(2.0)),
            "v_norm: expected a norm without branch_scale, given one with it",
        ),
        (
            |it| it.v_norm(norm().sum_scale(2.0)),
            "v_norm: expected a norm without sum_scale, given one with it",
        ),
        (
            |it| it.v_norm(norm().rounding(Rounding::BeforeWeight)),
            "v_norm: expected the order of roundings single, as the norms in front of it have, given before-weight",
        ),
        (
            |it| it.q_norm(norm().rounding(Rounding::BeforeBias)),
            "q_norm: expected the order of roundings single, as the norms in front of it have, given before-bias",
        ),
        (
            |it| it.q_norm(Norm::rms(-1.0)),
            "eps: expected 0 or a positive finite number in the range of f32, given -1.0",
        ),
        (
            |it| it.q_norm(norm().weight_offset(1.0)),
            "weight_offset: expected weights to add it to, or 0, given 1 without weights",
        ),
        (
            |it| {
                let weight = View::from_slice(&[1.0_f32; 4], &[4]).unwrap();
                it.q_norm(norm().weight(weight).weight_offset(1.0).round_offset(true))
            },
            "q_norm: expected a norm without round_offset, given one with it",
        ),
    ];
    for (options, message) in cases {
        assert_eq!(refused(GOOD, options, true), message);
    }
    let alone = Setup { v: None, ..GOOD };
    assert_eq!(
        refused(alone, |it| it.v_norm(norm()), true),
        "v_norm: expected none, as there are no v, given one"
    );
}

#[test]
fn packed_tensors_have_room_for_their_heads() {
    let packed = |shape: &[usize], strides: &[usize], heads: [usize; 3]| {
        let values = vec![1.0_f32; 64];
        let view = View::from_slice_strided(&values, shape, strides).unwrap();
        Qkv::<View<'_>>::packed(view, heads, 4)
            .map(|heads| heads.v.is_some())
            .map_err(|error| error.to_string())
    };
    assert_eq!(packed(&[2, 24], &[30, 1], [3, 2, 1]), Ok(true));
    assert_eq!(packed(&[2, 24], &[30, 1], [3, 2, 0]), Ok(false));
    let error = |text: &str| Err(text.to_owned());
    assert_eq!(
        packed(&[2, 24], &[30, 1], [3, 3, 1]),
        error("view: expected memory for 28 elements, given 24")
    );
    assert_eq!(packed(&[48], &[1], [3, 2, 1]), error("view: expected rank 2, given rank 1"));
    assert_eq!(
        packed(&[2, 24], &[1, 2], [3, 2, 1]),
        error("view: expected a dense last axis (stride 1), given stride 2")
    );
    assert!(packed(&[2, 24], &[30, 1], [usize::MAX, 2, 1]).is_err());
    assert_eq!(packed(&[0, usize::MAX], &[1, 1], [1 << 61, 1 << 60, 1]), Ok(true));
}

/// What a device would have to read to know.
#[cfg(feature = "sim")]
#[test]
fn positions_past_the_tables_make_nan_where_nobody_looked() {
    use norm_host::{Backend, Pairing, RopeRounding, Simulator, problem::*};
    let mut q = [1.0_f32; 12];
    let (cos, sin, positions) = ([0.5_f32; 2], [0.5_f32; 2], [1_u32]);
    let at = |address: usize| address as u64;
    let q_at = at(q.as_mut_ptr().expose_provenance());
    let operand = HeadsOperand { address: q_at, token_stride: 12, head_stride: 12 };
    let table = |values: &[f32; 2]| Table { address: at(values.as_ptr().expose_provenance()), stride: 2 };
    let problem = QkRopeProblem {
        q: Heads { heads: 1, x: operand, y: operand, norm: None },
        k: None,
        v: None,
        dtype: DType::F32,
        tokens: 1,
        head_dim: 12,
        rotation: Some(Rotation {
            cos: table(&cos),
            sin: table(&sin),
            dtype: DType::F32,
            rows: 1,
            half: 2,
            pairing: Pairing::Halves,
            positions: at(positions.as_ptr().expose_provenance()),
            position_bytes: 4,
        }),
        norm_behind: false,
        before_weight: false,
        rounding: RopeRounding::Single,
        overlap: true,
    };
    // SAFETY: the tensors are those of above, and the kernel reads no row for a position that has none.
    unsafe { Simulator::new().run_qk_rope(&problem) }.unwrap();
    assert!(q[..4].iter().all(|value| value.is_nan()), "{q:?}");
    assert_eq!(q[4..], [1.0; 8]);
}
