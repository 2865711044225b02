//! Everything that can be asked for wrongly is an error that names the argument, what was
//! expected and what was given; and nothing has been written when it is returned.

use half::{bf16, f16};
use norm_host::{
    Arg, Cpu, DType, Error, Gate, MAX_DIM, Norm, NormKind, Place, Result, Rounding, Shape, View, ViewMut,
    add_layer_norm, add_layer_norm_, add_rms_norm, add_rms_norm_, head_norm, head_norm_, layer_norm,
    layer_norm_, layer_norm_add, rms_norm, rms_norm_, rms_norm_add,
};

fn shape(extents: &[usize]) -> Shape {
    Shape::new(extents).unwrap()
}

/// A view that no operation may follow: every test that uses one must be refused first.
fn anywhere(place: Place, address: u64, extents: &[usize]) -> View<'static> {
    // SAFETY: the tests check that operations refuse it, or that there are no rows.
    unsafe { View::from_raw_parts(place, address, DType::F32, extents).unwrap() }
}

fn anywhere_mut(place: Place, address: u64, extents: &[usize]) -> ViewMut<'static> {
    // SAFETY: the tests check that operations refuse it, or that there are no rows.
    unsafe { ViewMut::from_raw_parts(place, address, DType::F32, extents).unwrap() }
}

/// RMSNorm of a (2, 3) tensor of ones with one thing wrong: `y` must be left alone.
fn refused(norm: Norm<'_>) -> Error {
    let x = [1.0_f32; 6];
    let mut y = [7.0_f32; 6];
    let error = norm
        .rows(
            View::from_slice(&x, &[2, 3]).unwrap(),
            &mut ViewMut::from_slice(&mut y, &[2, 3]).unwrap(),
            &Cpu,
        )
        .unwrap_err();
    assert_eq!(y, [7.0; 6]);
    error
}

/// RMSNorm of an `x` and into a `y` of which one is wrong.
fn rms(x: View<'_>, mut y: ViewMut<'_>) -> Result<()> {
    Norm::rms(1e-6).rows(x, &mut y, &Cpu)
}

#[test]
fn eps_below_zero_or_not_finite() {
    for eps in [-1e-6, -1.0, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(refused(Norm::rms(eps)), Error::Eps { given: eps.into() });
        assert_eq!(refused(Norm::layer(eps)), Error::Eps { given: eps.into() });
    }
    assert!(matches!(refused(Norm::rms(f32::NAN)), Error::Eps { given } if given.is_nan()));
}

/// The numbers around the least and the largest that `f32` has: half of the least is a tie, which goes to 0.
#[test]
fn eps_out_of_the_range_of_f32() {
    let least = f64::from(f32::from_bits(1));
    for eps in [1e-50, least / 2.0, f64::MIN_POSITIVE, 3.5e38, f64::MAX] {
        assert_eq!(refused(Norm::rms(eps)), Error::Eps { given: eps });
        assert_eq!(refused(Norm::layer(eps)), Error::Eps { given: eps });
    }
    let mut x = [1.0_f32];
    for eps in [0.0, -0.0, least, least * 0.500_001, f64::from(f32::MAX)] {
        let mut x = ViewMut::from_slice(&mut x, &[1]).unwrap();
        assert_eq!(Norm::rms(eps).rows_in_place(&mut x, &Cpu), Ok(()), "{eps:e}");
    }
}

#[test]
fn weight_offset_without_weights() {
    let error = refused(Norm::rms(1e-6).weight_offset(1.0));
    assert_eq!(error, Error::OffsetWithoutWeights { given: 1.0 });
    let b = [1.0_f32; 3];
    let error = refused(Norm::layer(1e-6).weight_offset(-0.5).bias(View::from_slice(&b, &[3]).unwrap()));
    assert_eq!(error, Error::OffsetWithoutWeights { given: -0.5 });
    let mut x = [2.0_f32];
    let mut x = ViewMut::from_slice(&mut x, &[1]).unwrap();
    assert_eq!(Norm::rms(0.0).weight_offset(-0.0).rows_in_place(&mut x, &Cpu), Ok(()));
}

#[test]
fn weight_offset_not_finite() {
    let error = refused(Norm::rms(1e-6).weight_offset(f32::INFINITY));
    assert_eq!(error, Error::WeightOffset { given: f32::INFINITY });
    assert!(matches!(refused(Norm::rms(1e-6).weight_offset(f32::NAN)), Error::WeightOffset { .. }));
}

#[test]
fn an_order_that_rounds_to_the_type_of_weights_that_are_not_there() {
    for norm in [Norm::rms(1e-6), Norm::layer(1e-6)] {
        let error = refused(norm.rounding(Rounding::T5));
        assert_eq!(error, Error::RoundingWithoutWeights { given: Rounding::T5 });
        assert_eq!(error.to_string(), "rounding: expected weights, to whose type t5 rounds, given none");
    }
    let mut x = [2.0_f32];
    for rounding in [Rounding::Single, Rounding::BeforeWeight, Rounding::BeforeBias] {
        let mut x = ViewMut::from_slice(&mut x, &[1]).unwrap();
        assert_eq!(Norm::rms(0.0).rounding(rounding).rows_in_place(&mut x, &Cpu), Ok(()));
    }
}

#[test]
fn an_offset_rounded_that_is_not_there() {
    let w = [1.0_f32; 3];
    let with_weights = Norm::rms(1e-6).weight(View::from_slice(&w, &[3]).unwrap());
    for norm in [Norm::layer(1e-6), with_weights, with_weights.weight_offset(-0.0)] {
        assert_eq!(refused(norm.round_offset(true)), Error::RoundOffsetOfNone);
    }
    // Weights are missed before it is asked what becomes of their sum.
    let error = refused(Norm::rms(1e-6).weight_offset(1.0).round_offset(true));
    assert_eq!(error, Error::OffsetWithoutWeights { given: 1.0 });
    assert_eq!(
        Error::RoundOffsetOfNone.to_string(),
        "round_offset: expected a weight offset other than 0, whose sum with the weights is to be rounded, given 0"
    );
}

#[test]
fn biases_of_another_type_than_the_weights() {
    let (w, b) = ([f16::ONE; 3], [bf16::ONE; 3]);
    let norm = Norm::layer(1e-6).weight(View::from_slice(&w, &[3]).unwrap());
    let error = refused(norm.bias(View::from_slice(&b, &[3]).unwrap()));
    assert_eq!(error, Error::DType { arg: Arg::B, expected: DType::F16, given: DType::BF16 });
}

#[test]
fn ranks_that_no_view_has() {
    let x = [0.0_f32; 1];
    for extents in [&[][..], &[1; 5]] {
        let error = View::from_slice(&x, extents).unwrap_err();
        assert_eq!(error, Error::Rank { arg: Arg::View, expected: 1..=4, given: extents.len() });
    }
}

#[test]
fn ranks_that_do_not_fit() {
    let w = [1.0_f32; 6];
    let w = View::from_slice(&w, &[2, 3]).unwrap();
    assert_eq!(refused(Norm::rms(1e-6).weight(w)), Error::Rank { arg: Arg::W, expected: 1..=1, given: 2 });
    assert_eq!(refused(Norm::rms(1e-6).bias(w)), Error::Rank { arg: Arg::B, expected: 1..=1, given: 2 });

    let mut buffer = [1.0_f32; 6];
    let error = rms(w, ViewMut::from_slice(&mut buffer, &[6]).unwrap()).unwrap_err();
    assert_eq!(error, Error::Rank { arg: Arg::Y, expected: 2..=2, given: 1 });

    let mut row = ViewMut::from_slice(&mut buffer, &[6]).unwrap();
    let error = Norm::rms(1e-6).heads_in_place(&mut row, &Cpu).unwrap_err();
    assert_eq!(error, Error::Rank { arg: Arg::X, expected: 2..=4, given: 1 });

    let mut heads = ViewMut::from_slice(&mut buffer, &[2, 3]).unwrap();
    let w = [1.0_f32; 6];
    let w = View::from_slice(&w, &[1, 2, 3]).unwrap();
    let error = Norm::rms(1e-6).weight(w).heads_in_place(&mut heads, &Cpu).unwrap_err();
    assert_eq!(error, Error::Rank { arg: Arg::W, expected: 1..=2, given: 3 });
}

#[test]
fn shapes_that_do_not_fit() {
    let four = [1.0_f32; 4];
    let w = View::from_slice(&four, &[4]).unwrap();
    let expected = shape(&[3]);
    let error = refused(Norm::rms(1e-6).weight(w));
    assert_eq!(error, Error::Shape { arg: Arg::W, expected, given: shape(&[4]) });
    let error = refused(Norm::rms(1e-6).bias(w));
    assert_eq!(error, Error::Shape { arg: Arg::B, expected, given: shape(&[4]) });

    let mut y = [7.0_f32; 6];
    let error =
        rms(View::from_slice(&[1.0_f32; 6], &[2, 3]).unwrap(), ViewMut::from_slice(&mut y, &[3, 2]).unwrap());
    let (expected, given) = (shape(&[2, 3]), shape(&[3, 2]));
    assert_eq!(error, Err(Error::Shape { arg: Arg::Y, expected, given }));

    let mut heads = ViewMut::from_slice(&mut y, &[2, 3]).unwrap();
    for given in [&[2, 2][..], &[3, 1], &[1, 3], &[2], &[4]] {
        let param = View::from_slice(&four, given).unwrap();
        let given = shape(given);
        let error = Norm::rms(1e-6).weight(param).heads_in_place(&mut heads, &Cpu);
        assert_eq!(error, Err(Error::HeadShape { arg: Arg::W, expected, given }));
        let error = Norm::layer(1e-6).bias(param).heads_in_place(&mut heads, &Cpu);
        assert_eq!(error, Err(Error::HeadShape { arg: Arg::B, expected, given }));
    }
}

#[test]
fn tensors_on_another_device() {
    let cuda = Place::Cuda(1);
    let elsewhere = |arg| Err(Error::Place { arg, expected: Place::Host, given: cuda });
    let mut y = [7.0_f32; 6];
    let mut y = ViewMut::from_slice(&mut y, &[2, 3]).unwrap();
    assert_eq!(rms(anywhere(cuda, 4096, &[2, 3]), y.reborrow()), elsewhere(Arg::X));
    let x = [1.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    assert_eq!(rms(x, anywhere_mut(cuda, 4096, &[2, 3])), elsewhere(Arg::Y));
    let param = anywhere(cuda, 4096, &[3]);
    assert_eq!(refused(Norm::rms(1e-6).weight(param)), elsewhere(Arg::W).unwrap_err());
    assert_eq!(refused(Norm::rms(1e-6).bias(param)), elsewhere(Arg::B).unwrap_err());
}

#[test]
fn null_pointers() {
    let null = |arg| Error::NullPointer { arg };
    let host = Place::Host;
    let x = [1.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    assert_eq!(rms(x, anywhere_mut(host, 0, &[2, 3])), Err(null(Arg::Y)));
    assert_eq!(refused(Norm::rms(1e-6).weight(anywhere(host, 0, &[3]))), null(Arg::W));
    assert_eq!(refused(Norm::rms(1e-6).bias(anywhere(host, 0, &[3]))), null(Arg::B));
    let mut in_place = anywhere_mut(host, 0, &[2, 3]);
    assert_eq!(Norm::rms(1e-6).rows_in_place(&mut in_place, &Cpu), Err(null(Arg::X)));
}

#[test]
fn pointers_between_elements() {
    let misaligned = |arg| Error::Misaligned { arg, align: 4, address: 4098 };
    let host = Place::Host;
    let mut y = [7.0_f32; 6];
    let y = ViewMut::from_slice(&mut y, &[2, 3]).unwrap();
    assert_eq!(rms(anywhere(host, 4098, &[2, 3]), y), Err(misaligned(Arg::X)));
    let x = [1.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    assert_eq!(rms(x, anywhere_mut(host, 4098, &[2, 3])), Err(misaligned(Arg::Y)));
    assert_eq!(refused(Norm::rms(1e-6).weight(anywhere(host, 4098, &[3]))), misaligned(Arg::W));
    assert_eq!(refused(Norm::rms(1e-6).bias(anywhere(host, 4098, &[3]))), misaligned(Arg::B));
}

#[test]
fn rows_of_no_elements() {
    let mut y: [f32; 0] = [];
    for extents in [&[0][..], &[5, 0], &[0, 0]] {
        let x = View::from_slice(&[0.0_f32; 0], extents).unwrap();
        let error = rms(x, ViewMut::from_slice(&mut y, extents).unwrap());
        assert_eq!(error, Err(Error::EmptyRow { arg: Arg::X }));
    }
}

#[test]
fn rows_longer_than_can_be_counted() {
    let (dim, max) = (MAX_DIM as usize + 1, MAX_DIM as usize);
    let error = rms(anywhere(Place::Host, 4096, &[1, dim]), anywhere_mut(Place::Host, 4096, &[1, dim]));
    assert_eq!(error, Err(Error::RowTooLong { arg: Arg::X, dim, max }));
    // The longest there are: of no rows, nothing is read.
    let empty = |dim| rms(anywhere(Place::Host, 4096, &[0, dim]), anywhere_mut(Place::Host, 4096, &[0, dim]));
    assert_eq!(empty(max), Ok(()));
    assert_eq!(empty(dim), Err(Error::RowTooLong { arg: Arg::X, dim, max }));
}

#[test]
fn a_last_axis_that_is_not_dense() {
    let x = [1.0_f32; 12];
    let mut y = [7.0_f32; 12];
    let dense = View::from_slice(&x, &[2, 3]).unwrap();
    let strided = dense.with_strides(&[6, 2]).unwrap();
    let error = |arg| Err(Error::LastAxisStrided { arg, stride: 2 });
    assert_eq!(rms(strided, ViewMut::from_slice(&mut y, &[2, 3]).unwrap()), error(Arg::X));
    let y = ViewMut::from_slice(&mut y, &[2, 3]).unwrap().with_strides(&[6, 2]).unwrap();
    assert_eq!(rms(dense, y), error(Arg::Y));
    let param = View::from_slice(&x, &[3]).unwrap().with_strides(&[2]).unwrap();
    assert_eq!(Err(refused(Norm::rms(1e-6).weight(param))), error(Arg::W));
    assert_eq!(Err(refused(Norm::rms(1e-6).bias(param))), error(Arg::B));
    let zero = View::from_slice(&x, &[3]).unwrap().with_strides(&[0]).unwrap();
    assert!(matches!(refused(Norm::rms(1e-6).weight(zero)), Error::LastAxisStrided { stride: 0, .. }));
}

#[test]
fn the_stride_of_a_single_element_does_not_matter() {
    let x = [2.0_f32; 4];
    let mut y = [7.0_f32; 4];
    let x = View::from_slice(&x, &[2, 1]).unwrap().with_strides(&[2, 9]).unwrap();
    let mut y_view = ViewMut::from_slice(&mut y, &[2, 1]).unwrap().with_strides(&[2, 5]).unwrap();
    Norm::rms(0.0).rows(x, &mut y_view, &Cpu).unwrap();
    assert_eq!(y, [1.0, 7.0, 1.0, 7.0]);
}

#[test]
fn strides_by_which_rows_of_y_overlap() {
    let x = [1.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    for stride in [0, 1, 2] {
        let mut y = [7.0_f32; 6];
        let strided = ViewMut::from_slice(&mut y, &[2, 3]).unwrap().with_strides(&[stride, 1]).unwrap();
        let (shape, strides) = (shape(&[2, 3]), shape(&[stride, 1]));
        assert_eq!(rms(x, strided), Err(Error::SelfOverlap { arg: Arg::Y, shape, strides }));
        let mut in_place = ViewMut::from_slice(&mut y, &[2, 3]).unwrap().with_strides(&[stride, 1]).unwrap();
        let error = Norm::rms(1e-6).rows_in_place(&mut in_place, &Cpu);
        assert_eq!(error, Err(Error::SelfOverlap { arg: Arg::X, shape, strides }));
        assert_eq!(y, [7.0; 6]);
    }
}

#[test]
fn rows_of_x_may_be_the_same() {
    let x = [3.0_f32, 4.0];
    let mut y = [7.0_f32; 6];
    let x = View::from_slice_strided(&x, &[3, 2], &[0, 1]).unwrap();
    Norm::rms(0.0).rows(x, &mut ViewMut::from_slice(&mut y, &[3, 2]).unwrap(), &Cpu).unwrap();
    assert_eq!(y[..2], y[2..4]);
    assert_eq!(y[..2], y[4..]);
}

/// Views of one buffer, as an engine makes them from pointers.
struct Shared(Vec<f32>);

impl Shared {
    /// By the vector's own pointer: one from a slice of it would end with the vector's next use, of which
    /// views know nothing.
    fn address(&mut self, offset: usize) -> u64 {
        assert!(offset < self.0.len());
        self.0.as_mut_ptr().wrapping_add(offset).expose_provenance() as u64
    }

    fn view(&mut self, dtype: DType, offset: usize, extents: &[usize], strides: &[usize]) -> View<'static> {
        let address = self.address(offset);
        // SAFETY: tests stay within the buffer and keep it until they end.
        let view = unsafe { View::from_raw_parts(Place::Host, address, dtype, extents) };
        view.and_then(|view| view.with_strides(strides)).unwrap()
    }

    fn view_mut(
        &mut self,
        dtype: DType,
        offset: usize,
        extents: &[usize],
        strides: &[usize],
    ) -> ViewMut<'static> {
        let address = self.address(offset);
        // SAFETY: tests stay within the buffer and keep it until they end. Where a view of another tensor overlaps with
        // this one, they check that the operation refuses both or may be called with both.
        let view = unsafe { ViewMut::from_raw_parts(Place::Host, address, dtype, extents) };
        view.and_then(|view| view.with_strides(strides)).unwrap()
    }
}

#[test]
fn x_and_y_that_overlap_and_differ() {
    let mut buffer = Shared(vec![1.0; 32]);
    let f32 = DType::F32;
    let x = buffer.view(f32, 0, &[2, 3], &[8, 1]);
    let overlap = Err(Error::Overlap { a: Arg::X, b: Arg::Y });
    // Shifted by one element, by one row, with other strides, inside out.
    for (offset, strides) in [(1, [8, 1]), (8, [8, 1]), (0, [9, 1]), (2, [3, 1])] {
        assert_eq!(rms(x, buffer.view_mut(f32, offset, &[2, 3], &strides)), overlap);
    }
    assert_eq!(buffer.0, [1.0; 32]);
}

#[test]
fn y_in_place_of_x_with_another_type() {
    let mut buffer = Shared(vec![1.0; 8]);
    let x = buffer.view(DType::F16, 0, &[2, 3], &[3, 1]);
    let y = buffer.view_mut(DType::BF16, 0, &[2, 3], &[3, 1]);
    let error = Error::DType { arg: Arg::Y, expected: DType::F16, given: DType::BF16 };
    assert_eq!(rms(x, y), Err(error));
}

#[test]
fn y_that_is_x() {
    let mut buffer = Shared(vec![2.0; 6]);
    let x = buffer.view(DType::F32, 0, &[2, 3], &[3, 1]);
    let y = buffer.view_mut(DType::F32, 0, &[2, 3], &[3, 1]);
    Norm::rms(0.0).rows(x, &mut { y }, &Cpu).unwrap();
    assert_eq!(buffer.0, [1.0; 6]);
}

#[test]
fn x_and_y_side_by_side_in_one_buffer() {
    let mut buffer = Shared(vec![2.0; 24]);
    let x = buffer.view(DType::F32, 0, &[3, 4], &[8, 1]);
    let y = buffer.view_mut(DType::F32, 4, &[3, 4], &[8, 1]);
    Norm::rms(0.0).rows(x, &mut { y }, &Cpu).unwrap();
    for row in buffer.0.chunks(8) {
        assert_eq!(row, [2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]);
    }
}

#[test]
fn weights_or_biases_that_are_written() {
    let mut buffer = Shared(vec![1.0; 16]);
    let f32 = DType::F32;
    let x = [1.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    let param = buffer.view(f32, 5, &[3], &[1]);
    for (norm, a) in [(Norm::rms(1e-6).weight(param), Arg::W), (Norm::rms(1e-6).bias(param), Arg::B)] {
        let mut y = buffer.view_mut(f32, 0, &[2, 3], &[3, 1]);
        assert_eq!(norm.rows(x, &mut y, &Cpu), Err(Error::Overlap { a, b: Arg::Y }));
        assert_eq!(norm.rows_in_place(&mut y, &Cpu), Err(Error::Overlap { a, b: Arg::X }));
        // In the gap between two rows they are in nobody's way.
        let mut y = buffer.view_mut(f32, 2, &[2, 3], &[6, 1]);
        norm.rows(x, &mut y, &Cpu).unwrap();
    }
}

/// `r += x; y = rms_norm(r)` of a (2, 3) tensor of ones with a residual that is wrong: `y` must be
/// left alone.
fn refused_residual(mut r: ViewMut<'_>) -> Error {
    let x = [1.0_f32; 6];
    let mut y = [7.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    let mut to = ViewMut::from_slice(&mut y, &[2, 3]).unwrap();
    let error = Norm::rms(1e-6).add_then_norm(x, &mut r, &mut to, &Cpu).unwrap_err();
    // In place too.
    let mut in_place = [7.0_f32; 6];
    let mut x = ViewMut::from_slice(&mut in_place, &[2, 3]).unwrap();
    let error_in_place = Norm::rms(1e-6).add_then_norm_in_place(&mut x, &mut r, &Cpu).unwrap_err();
    assert_eq!(error, error_in_place);
    assert_eq!((y, in_place), ([7.0; 6], [7.0; 6]));
    error
}

#[test]
fn a_residual_of_another_type() {
    let mut r = [f16::ONE; 6];
    let error = refused_residual(ViewMut::from_slice(&mut r, &[2, 3]).unwrap());
    assert_eq!(error, Error::DType { arg: Arg::R, expected: DType::F32, given: DType::F16 });
    assert_eq!(error.to_string(), "r: expected dtype f32, given f16");
    assert_eq!(r, [f16::ONE; 6]);
}

#[test]
fn a_residual_of_another_shape() {
    let mut r = [1.0_f32; 6];
    let error = refused_residual(ViewMut::from_slice(&mut r, &[3, 2]).unwrap());
    assert_eq!(error, Error::Shape { arg: Arg::R, expected: shape(&[2, 3]), given: shape(&[3, 2]) });
    let error = refused_residual(ViewMut::from_slice(&mut r, &[6]).unwrap());
    assert_eq!(error, Error::Rank { arg: Arg::R, expected: 2..=2, given: 1 });
    assert_eq!(r, [1.0; 6]);
}

#[test]
fn a_residual_that_cannot_be_reached() {
    let (host, cuda) = (Place::Host, Place::Cuda(1));
    let error = refused_residual(anywhere_mut(cuda, 4096, &[2, 3]));
    assert_eq!(error, Error::Place { arg: Arg::R, expected: host, given: cuda });
    assert_eq!(refused_residual(anywhere_mut(host, 0, &[2, 3])), Error::NullPointer { arg: Arg::R });
    let error = refused_residual(anywhere_mut(host, 4098, &[2, 3]));
    assert_eq!(error, Error::Misaligned { arg: Arg::R, align: 4, address: 4098 });
}

#[test]
fn strides_of_a_residual_that_do_not_fit() {
    let mut r = [1.0_f32; 12];
    let strided = ViewMut::from_slice(&mut r, &[2, 3]).unwrap().with_strides(&[6, 2]).unwrap();
    assert_eq!(refused_residual(strided), Error::LastAxisStrided { arg: Arg::R, stride: 2 });
    let strided = ViewMut::from_slice(&mut r, &[2, 3]).unwrap().with_strides(&[2, 1]).unwrap();
    let (shape, strides) = (shape(&[2, 3]), shape(&[2, 1]));
    assert_eq!(refused_residual(strided), Error::SelfOverlap { arg: Arg::R, shape, strides });
    assert_eq!(r, [1.0; 12]);
}

#[test]
fn a_residual_on_the_memory_of_another_tensor() {
    let mut buffer = Shared(vec![1.0; 40]);
    let f32 = DType::F32;
    let overlap = |a, b| Err(Error::Overlap { a, b });
    let (dense, rms) = ([3, 1], Norm::rms(1e-6));
    // x at 0, y at 10, w or b at 20; r on one of them, wholly or by one element.
    let x = buffer.view(f32, 0, &[2, 3], &dense);
    let param = buffer.view(f32, 20, &[3], &[1]);
    let mut y = buffer.view_mut(f32, 10, &[2, 3], &dense);
    for (at, a, b) in [
        (0, Arg::X, Arg::R),
        (5, Arg::X, Arg::R),
        (10, Arg::R, Arg::Y),
        (15, Arg::R, Arg::Y),
        (20, Arg::W, Arg::R),
        (22, Arg::W, Arg::R),
    ] {
        let mut r = buffer.view_mut(f32, at, &[2, 3], &dense);
        assert_eq!(rms.weight(param).add_then_norm(x, &mut r, &mut y, &Cpu), overlap(a, b), "at {at}");
        let a = if a == Arg::W { Arg::B } else { a };
        assert_eq!(rms.bias(param).add_then_norm(x, &mut r, &mut y, &Cpu), overlap(a, b), "at {at}");
    }
    let mut in_place = buffer.view_mut(f32, 0, &[2, 3], &dense);
    let mut r = buffer.view_mut(f32, 2, &[2, 3], &dense);
    assert_eq!(rms.add_then_norm_in_place(&mut in_place, &mut r, &Cpu), overlap(Arg::X, Arg::R));
    // Parameters on the output are still refused, in front of nothing that is written.
    let mut r = buffer.view_mut(f32, 30, &[2, 3], &dense);
    let on_y = buffer.view(f32, 12, &[3], &[1]);
    assert_eq!(rms.weight(on_y).add_then_norm(x, &mut r, &mut y, &Cpu), overlap(Arg::W, Arg::Y));
    // Weights may overlap biases, and a residual may lie in a gap.
    assert_eq!(buffer.0, [1.0; 40]);
    rms.weight(param).bias(param).add_then_norm(x, &mut r, &mut y, &Cpu).unwrap();
    assert_eq!(buffer.0[30..36], [2.0; 6]);
}

#[test]
fn an_output_of_the_sum_that_overlaps_x_and_differs() {
    let mut buffer = Shared(vec![1.0; 32]);
    let mut r = [1.0_f32; 6];
    let mut r = ViewMut::from_slice(&mut r, &[2, 3]).unwrap();
    let x = buffer.view(DType::F32, 0, &[2, 3], &[3, 1]);
    let mut y = buffer.view_mut(DType::F32, 1, &[2, 3], &[3, 1]);
    let overlap = Err(Error::Overlap { a: Arg::X, b: Arg::Y });
    assert_eq!(Norm::rms(1e-6).add_then_norm(x, &mut r, &mut y, &Cpu), overlap);
    assert_eq!(Norm::rms(1e-6).norm_then_add(x, &mut y, &Cpu), overlap);
    assert_eq!(buffer.0, [1.0; 32]);
    // The same tensor is work in place.
    let mut y = buffer.view_mut(DType::F32, 0, &[2, 3], &[3, 1]);
    Norm::rms(0.0).add_then_norm(x, &mut r, &mut y, &Cpu).unwrap();
    assert_eq!(buffer.0[..6], [1.0; 6]);
    Norm::rms(0.0).norm_then_add(x, &mut y, &Cpu).unwrap();
    assert_eq!(buffer.0[..6], [2.0; 6]);
}

#[test]
fn no_rows_with_a_residual_are_nothing_to_do_but_are_checked() {
    let mut nothing: [f32; 0] = [];
    let x = anywhere(Place::Host, 0, &[0, 5]);
    let mut y = ViewMut::from_slice(&mut nothing, &[0, 5]).unwrap();
    let norm = Norm::layer(1e-6);
    assert_eq!(norm.add_then_norm(x, &mut anywhere_mut(Place::Host, 0, &[0, 5]), &mut y, &Cpu), Ok(()));
    assert_eq!(norm.norm_then_add(x, &mut y, &Cpu), Ok(()));
    let mut elsewhere = anywhere_mut(Place::Cuda(0), 4096, &[0, 5]);
    let refused = norm.add_then_norm(x, &mut elsewhere, &mut y, &Cpu);
    assert!(matches!(refused, Err(Error::Place { arg: Arg::R, .. })), "{refused:?}");
}

#[test]
fn views_beyond_the_end_of_a_slice() {
    let mut x = [1.0_f32; 6];
    let error = Error::OutOfBounds { arg: Arg::View, needed: 8, available: 6 };
    assert_eq!(View::from_slice(&x, &[2, 4]).unwrap_err(), error);
    assert_eq!(View::from_slice_strided(&x, &[2, 3], &[5, 1]).unwrap_err(), error);
    assert_eq!(View::from_slice(&x, &[2, 3]).unwrap().with_strides(&[5, 1]).unwrap_err(), error);
    assert_eq!(ViewMut::from_slice(&mut x, &[2, 4]).unwrap_err(), error);
    let view = ViewMut::from_slice(&mut x, &[2, 3]).unwrap();
    assert_eq!(view.with_strides(&[5, 1]).unwrap_err(), error);
}

/// A view that was not built is an error of `view`, until it is said what it was for.
#[test]
fn views_that_are_not_built_can_be_named() {
    let mut x = [1.0_f32; 6];
    let max = usize::MAX;
    for (error, text) in [
        (View::from_slice(&x, &[]).unwrap_err(), "expected rank 1 to 4, given rank 0"),
        (View::from_slice(&x, &[1; 5]).unwrap_err(), "expected rank 1 to 4, given rank 5"),
        (View::from_slice(&x, &[7]).unwrap_err(), "expected memory for 7 elements, given 6"),
        (
            View::from_slice(&x, &[max, 2, 1]).unwrap_err(),
            &format!("expected fewer than 2^64 bytes and rows, given shape ({max}, 2, 1)"),
        ),
        (
            View::from_slice_strided(&x, &[2, 3], &[1]).unwrap_err(),
            "expected 2 strides, one an axis, given 1",
        ),
        (ViewMut::from_slice(&mut x, &[2, 4]).unwrap_err(), "expected memory for 8 elements, given 6"),
    ] {
        assert_eq!((error.arg(), error.to_string()), (Some(Arg::View), format!("view: {text}")));
        for arg in [Arg::X, Arg::W, Arg::B, Arg::Y, Arg::R] {
            let named = error.clone().for_arg(arg);
            assert_eq!((named.arg(), named.to_string()), (Some(arg), format!("{arg}: {text}")));
            // An argument that is named already stays.
            assert_eq!(named.clone().for_arg(Arg::Sums), named);
        }
    }
}

#[test]
fn not_one_stride_an_axis() {
    let x = [1.0_f32; 6];
    for strides in [&[][..], &[1], &[3, 1, 1], &[1; 6]] {
        let error = View::from_slice(&x, &[2, 3]).unwrap().with_strides(strides).unwrap_err();
        assert_eq!(error, Error::StrideCount { arg: Arg::View, expected: 2, given: strides.len() });
    }
}

#[test]
fn sizes_near_the_end_of_64_bits() {
    let max = usize::MAX;
    let x = [1.0_f32; 2];
    for extents in [&[max, max][..], &[max, 2, 1], &[1 << 32, 1 << 32], &[0, max, max]] {
        let error = View::from_slice(&x, extents).unwrap_err();
        assert_eq!(error, Error::TooManyElements { arg: Arg::View, shape: shape(extents) });
    }
    for strides in [&[max, 1][..], &[max / 2, max / 2 + 1]] {
        let error = anywhere(Place::Host, 4096, &[3, 2]).with_strides(strides).unwrap_err();
        assert_eq!(error, Error::TooManyElements { arg: Arg::View, shape: shape(&[3, 2]) });
    }
    // Elements can be counted, bytes cannot; or they end past the last address.
    let huge = [1 << 40, 1 << 22];
    let error = rms(anywhere(Place::Host, 4096, &huge), anywhere_mut(Place::Host, 4096, &huge));
    assert_eq!(error, Err(Error::TooManyElements { arg: Arg::X, shape: shape(&huge) }));
    let address = u64::MAX - 11;
    let error = rms(anywhere(Place::Host, address, &[1, 3]), anywhere_mut(Place::Host, 4096, &[1, 3]));
    assert_eq!(error, Err(Error::AddressRange { arg: Arg::X, address, bytes: 12 }));
    // Rows that share all their elements can be too many to count.
    let rows = 1 << 40;
    let many = [rows, rows, 1, 1];
    let one = [2.0_f32];
    let x = View::from_slice_strided(&one, &[1; 4], &[0, 0, 0, 1]).unwrap();
    assert_eq!(x.shape(), [1; 4]);
    let error = View::from_slice_strided(&one, &many, &[0, 0, 0, 1]).unwrap_err();
    assert_eq!(error, Error::TooManyElements { arg: Arg::View, shape: shape(&many) });
}

#[test]
fn no_rows_is_nothing_to_do() {
    let mut nothing: [f32; 0] = [];
    for extents in [&[0, 5][..], &[0, 3, 5], &[2, 0, 5], &[2, 3, 0, 5]] {
        let x = anywhere(Place::Host, 0, extents);
        let y = ViewMut::from_slice(&mut nothing, extents).unwrap();
        assert_eq!(rms(x, y), Ok(()));
    }
}

#[test]
fn no_rows_is_still_checked() {
    let x = anywhere(Place::Host, 4096, &[0, 5]);
    let y = || anywhere_mut(Place::Host, 4096, &[0, 5]);
    assert_eq!(Norm::rms(-1.0).rows(x, &mut y(), &Cpu), Err(Error::Eps { given: -1.0 }));
    assert_eq!(
        rms(x, anywhere_mut(Place::Host, 4098, &[0, 5])).unwrap_err(),
        Error::Misaligned { arg: Arg::Y, align: 4, address: 4098 }
    );
    let elsewhere = anywhere(Place::Cuda(0), 4096, &[0, 5]);
    assert!(matches!(rms(elsewhere, y()), Err(Error::Place { arg: Arg::X, .. })));
    let w = [1.0_f32; 4];
    let norm = Norm::rms(1e-6).weight(View::from_slice(&w, &[4]).unwrap());
    assert!(matches!(norm.rows(x, &mut y(), &Cpu), Err(Error::Shape { arg: Arg::W, .. })));
}

/// Each of the operations checks, whichever name it has.
#[test]
fn every_operation_checks() {
    let x = [1.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    let mut y = [7.0_f32; 6];
    let mut y = ViewMut::from_slice(&mut y, &[2, 3]).unwrap();
    let mut r = [7.0_f32; 6];
    let mut r = ViewMut::from_slice(&mut r, &[2, 3]).unwrap();
    let eps = -1.0;
    let rms = NormKind::Rms;
    let results = [
        rms_norm(x, None, &mut y, eps, &Cpu),
        rms_norm_(&mut y, None, eps, &Cpu),
        layer_norm(x, None, None, &mut y, eps, &Cpu),
        layer_norm_(&mut y, None, None, eps, &Cpu),
        head_norm(x, None, None, &mut y, eps, rms, &Cpu),
        head_norm_(&mut y, None, None, eps, rms, &Cpu),
        add_rms_norm(x, &mut r, None, &mut y, eps, &Cpu),
        add_rms_norm_(&mut y, &mut r, None, eps, &Cpu),
        rms_norm_add(x, None, &mut y, eps, &Cpu),
        add_layer_norm(x, &mut r, None, None, &mut y, eps, &Cpu),
        add_layer_norm_(&mut y, &mut r, None, None, eps, &Cpu),
        layer_norm_add(x, None, None, &mut y, eps, &Cpu),
    ];
    assert_eq!(results, [(); 12].map(|()| Err(Error::Eps { given: eps })));
}

#[test]
fn messages_name_the_argument_what_was_expected_and_what_was_given() {
    let w = [1.0_f32; 4];
    let error = refused(Norm::rms(1e-6).weight(View::from_slice(&w, &[4]).unwrap()));
    assert_eq!(error.to_string(), "w: expected shape (3,), given (4,)");
    let error = refused(Norm::rms(1e-6).bias(View::from_slice(&w, &[2, 2]).unwrap()));
    assert_eq!(error.to_string(), "b: expected rank 1, given rank 2");
    let mut heads = [7.0_f32; 6];
    let mut heads = ViewMut::from_slice(&mut heads, &[2, 3]).unwrap();
    let error = Norm::rms(1e-6).bias(View::from_slice(&w, &[4]).unwrap()).heads_in_place(&mut heads, &Cpu);
    assert_eq!(error.unwrap_err().to_string(), "b: expected shape (2, 3), or (3,) for all heads, given (4,)");
    for (eps, given) in [(-1.0, "-1.0"), (1e-50, "1e-50"), (f64::from(-1e-6_f32), "-1e-6")] {
        let expected = "expected 0 or a positive finite number in the range of f32";
        assert_eq!(refused(Norm::rms(eps)).to_string(), format!("eps: {expected}, given {given}"));
    }
    let error = refused(Norm::rms(1e-6).weight_offset(1.0));
    assert_eq!(
        error.to_string(),
        "weight_offset: expected weights to add it to, or 0, given 1 without weights"
    );
    let error = refused(Norm::rms(1e-6).weight(anywhere(Place::Cuda(0), 4096, &[3])));
    assert_eq!(error.to_string(), "w: expected on the host, given on cuda:0");
    let error = refused(Norm::rms(1e-6).weight(anywhere(Place::Host, 4098, &[3])));
    assert_eq!(error.to_string(), "w: expected an address that is a multiple of 4, given 0x1002");
    for (error, arg) in [
        (refused(Norm::rms(-1.0)), Arg::Eps),
        (refused(Norm::rms(1e-6).weight_offset(f32::NAN)), Arg::WeightOffset),
        (refused(Norm::rms(1e-6).weight_offset(1.0)), Arg::WeightOffset),
        (refused(Norm::rms(1e-6).rounding(Rounding::T5)), Arg::Rounding),
        (Error::RoundOffsetOfNone, Arg::RoundOffset),
        (Error::UnknownModel { given: "gemma5".to_owned() }, Arg::Model),
        (Error::SplitLayerNorm, Arg::Kind),
        (Error::OwnParameters { arg: Arg::B }, Arg::B),
        (refused(Norm::rms(1e-6).weight(View::from_slice(&w, &[4]).unwrap())), Arg::W),
        (Error::SplitRow { here: 2, given: 1 }, Arg::Dim),
        (Error::EmptyGroup, Arg::Tp),
        (Error::Overlap { a: Arg::B, b: Arg::Y }, Arg::B),
    ] {
        assert_eq!(error.arg(), Some(arg));
        assert!(error.to_string().starts_with(&arg.to_string()), "{error}");
    }
    assert_eq!(Error::OutOfMemory { call: "cuStreamCreate" }.arg(), None);
    let overlap = |a, b| Error::Overlap { a, b }.to_string();
    assert_eq!(
        overlap(Arg::X, Arg::Y),
        "x and y: expected no common memory, or one tensor for work in place, given tensors that overlap"
    );
    assert_eq!(overlap(Arg::X, Arg::R), "x and r: expected no common memory, given tensors that overlap");
}

/// A gated norm of ones with one thing wrong: `y` must be left alone.
fn refused_gate(norm: Norm<'_>, gate: Gate<'_>) -> Error {
    let x = [1.0_f32; 6];
    let mut y = [7.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    let errors = [
        norm.gated_rows(x, gate, &mut ViewMut::from_slice(&mut y, &[2, 3]).unwrap(), &Cpu).unwrap_err(),
        norm.gated_rows_in_place(&mut ViewMut::from_slice(&mut y, &[2, 3]).unwrap(), gate, &Cpu).unwrap_err(),
    ];
    assert_eq!(y, [7.0; 6]);
    assert_eq!(errors[0], errors[1]);
    errors[0].clone()
}

#[test]
fn gates_that_do_not_fit() {
    let (ones, halves) = ([1.0_f32; 12], [f16::ONE; 12]);
    let gate = |extents: &[usize]| Gate::silu(View::from_slice(&ones, extents).unwrap());
    let good = gate(&[2, 3]);
    let rms = Norm::rms(1e-6);
    let w = View::from_slice(&halves, &[3]).unwrap();
    let b = View::from_slice(&ones, &[3]).unwrap();
    let strided = View::from_slice(&ones, &[2, 3]).unwrap().with_strides(&[1, 2]).unwrap();
    let elsewhere = Gate::sigmoid(anywhere(Place::Cuda(0), 4096, &[2, 3]));
    let null = Gate::sigmoid(anywhere(Place::Host, 0, &[2, 3]));
    let odd = Gate::sigmoid(anywhere(Place::Host, 4098, &[2, 3]));
    for (norm, gate, expected) in [
        (Norm::layer(1e-6), good, Error::GatedLayerNorm),
        (rms.bias(b), good, Error::GatedBias),
        (rms.branch_scale(0.5), good, Error::ScaleWithoutResidual { arg: Arg::BranchScale }),
        (Norm::rms(-1.0), good, Error::Eps { given: -1.0 }),
        (rms, gate(&[6]), Error::Rank { arg: Arg::G, expected: 2..=2, given: 1 }),
        (rms, gate(&[3, 2]), Error::Shape { arg: Arg::G, expected: shape(&[2, 3]), given: shape(&[3, 2]) }),
        (rms, Gate::silu(strided), Error::LastAxisStrided { arg: Arg::G, stride: 2 }),
        (rms, elsewhere, Error::Place { arg: Arg::G, expected: Place::Host, given: Place::Cuda(0) }),
        (rms, null, Error::NullPointer { arg: Arg::G }),
        (rms, odd, Error::Misaligned { arg: Arg::G, align: 4, address: 4098 }),
        (rms.weight(w), good, Error::DType { arg: Arg::W, expected: DType::F32, given: DType::F16 }),
    ] {
        assert_eq!(refused_gate(norm, gate), expected);
    }
}

/// Which types a gate may have, and the weights and `y` beside it.
#[test]
fn types_that_no_gated_norm_has() {
    use DType::{BF16, F16, F32};
    let ones = [1.0_f32; 4];
    // As many bytes for any type; an error comes before anything is read.
    let address = ones.as_ptr().expose_provenance() as u64;
    // SAFETY: there are four bytes for each of two elements, which hold numbers of every type.
    let view = |dtype| unsafe { View::from_raw_parts(Place::Host, address, dtype, &[2]).unwrap() };
    for x in DType::ALL {
        for g in DType::ALL {
            for w in DType::ALL {
                for y in DType::ALL {
                    let mut out = [0.0_f32; 4];
                    let to = out.as_mut_ptr().expose_provenance() as u64;
                    // SAFETY: there are eight bytes or more for two elements of any type, and nothing else uses them.
                    let mut to = unsafe { ViewMut::from_raw_parts(Place::Host, to, y, &[2]).unwrap() };
                    let norm = Norm::rms(1e-6).weight(view(w));
                    let given = norm.gated_rows(view(x), Gate::silu(view(g)), &mut to, &Cpu);
                    let refuse = |arg, expected, given| Err(Error::DType { arg, expected, given });
                    let expected = match (x, g, w) {
                        _ if y != x => refuse(Arg::Y, x, y),
                        (F32, _, _) if w != g => refuse(Arg::W, g, w),
                        (F16 | BF16, _, _) if g != x => refuse(Arg::G, x, g),
                        (F16 | BF16, _, F16 | BF16) if w != x => refuse(Arg::W, x, w),
                        _ => Ok(()),
                    };
                    assert_eq!(given, expected, "{x} {g} {w} {y}");
                }
            }
        }
    }
}

#[test]
fn a_gate_on_the_memory_of_the_output() {
    let mut memory = [1.0_f32; 12];
    let address = memory.as_mut_ptr().expose_provenance() as u64;
    for offset in [0, 4, 20] {
        let gate = Gate::silu(anywhere(Place::Host, address + offset, &[2, 3]));
        let x = [1.0_f32; 6];
        let x = View::from_slice(&x, &[2, 3]).unwrap();
        let error =
            Norm::rms(1e-6).gated_rows(x, gate, &mut anywhere_mut(Place::Host, address, &[2, 3]), &Cpu);
        assert_eq!(error, Err(Error::Overlap { a: Arg::G, b: Arg::Y }));
        let error =
            Norm::rms(1e-6).gated_rows_in_place(&mut anywhere_mut(Place::Host, address, &[2, 3]), gate, &Cpu);
        assert_eq!(error, Err(Error::Overlap { a: Arg::G, b: Arg::X }));
    }
    assert_eq!(memory, [1.0; 12]);
}
