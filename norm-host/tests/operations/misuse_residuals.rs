//! Everything that can be asked for wrongly of residuals, their scales and sandwiches is an error that names the
//! argument, what was expected and what was given; and nothing has been written when it is returned.

use norm_host::{Arg, Cpu, DType, Error, Norm, Place, Result, Scale, Shape, View, ViewMut};

fn shape(extents: &[usize]) -> Shape {
    Shape::new(extents).unwrap()
}

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
    /// Dense rows `(2, 3)` of f32.
    const fn rows(at: usize) -> Tensor {
        Tensor { place: Place::Host, at, off: 0, dtype: DType::F32, extents: &[2, 3], strides: &[3, 1] }
    }

    const fn row(at: usize, extents: &'static [usize]) -> Tensor {
        Tensor { extents, strides: &[1], ..Tensor::rows(at) }
    }
}

/// Where everything is.
#[derive(Clone, Copy)]
struct Setup {
    x: Tensor,
    r: Tensor,
    s: Tensor,
    y: Tensor,
    w: Tensor,
    b: Tensor,
    scale: Tensor,
    /// Of a second norm.
    next_w: Tensor,
    next_b: Tensor,
}

/// Each in memory of its own.
const GOOD: Setup = Setup {
    x: Tensor::rows(0),
    r: Tensor::rows(8),
    s: Tensor::rows(16),
    y: Tensor::rows(24),
    w: Tensor::row(32, &[3]),
    b: Tensor::row(36, &[3]),
    scale: Tensor::row(40, &[1]),
    next_w: Tensor::row(44, &[3]),
    next_b: Tensor::row(48, &[3]),
};

/// How an operation is called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Front,
    FrontApart,
    Behind,
    BehindApart,
    Sandwich,
    SandwichApart,
}

const FRONT: [Form; 2] = [Form::Front, Form::FrontApart];
const SANDWICHES: [Form; 2] = [Form::Sandwich, Form::SandwichApart];
const ALL: [Form; 6] =
    [Form::Front, Form::FrontApart, Form::Behind, Form::BehindApart, Form::Sandwich, Form::SandwichApart];

/// Ones, and views of them as an engine makes them from pointers.
struct Buffer(Vec<f32>);

impl Buffer {
    fn address(&mut self, Tensor { at, off, .. }: Tensor) -> u64 {
        self.0.as_mut_ptr().wrapping_add(at).expose_provenance() as u64 + off
    }

    fn view(&mut self, tensor: Tensor) -> View<'static> {
        let Tensor { place, dtype, extents, strides, .. } = tensor;
        // SAFETY: tests stay within the buffer, or on no memory at all where a check must refuse it, until they end.
        let view = unsafe { View::from_raw_parts(place, self.address(tensor), dtype, extents) };
        view.and_then(|view| view.with_strides(strides)).unwrap()
    }

    fn view_mut(&mut self, tensor: Tensor) -> ViewMut<'static> {
        let Tensor { place, dtype, extents, strides, .. } = tensor;
        // SAFETY: tests stay within the buffer, or on no memory at all where a check must refuse it, until they end.
        // Where a view of another tensor overlaps with this one, they check that the operation refuses both or may be
        // called with both.
        let view = unsafe { ViewMut::from_raw_parts(place, self.address(tensor), dtype, extents) };
        view.and_then(|view| view.with_strides(strides)).unwrap()
    }

    fn call(
        &mut self,
        form: Form,
        at: Setup,
        norm: impl Fn(Norm<'static>) -> Norm<'static>,
        next: impl Fn(Norm<'static>) -> Norm<'static>,
    ) -> Result<()> {
        let norm = norm(Norm::rms(1e-6).weight(self.view(at.w)).bias(self.view(at.b)));
        let next = next(Norm::rms(1e-6).weight(self.view(at.next_w)).bias(self.view(at.next_b)));
        let (x, r, mut y) = (self.view(at.x), self.view(at.r), self.view_mut(at.y));
        let (mut r_mut, mut s) = (self.view_mut(at.r), self.view_mut(at.s));
        match form {
            Form::Front => norm.add_then_norm(x, &mut r_mut, &mut y, &Cpu),
            Form::FrontApart => norm.add_then_norm_to(x, r, &mut s, &mut y, &Cpu),
            Form::Behind => norm.norm_then_add(x, &mut y, &Cpu),
            Form::BehindApart => norm.norm_then_add_to(x, r, &mut y, &Cpu),
            Form::Sandwich => norm.sandwich_rows(&next, x, &mut r_mut, &mut y, &Cpu),
            Form::SandwichApart => norm.sandwich_rows_to(&next, x, r, &mut s, &mut y, &Cpu),
        }
    }
}

/// The error of an operation on these tensors, which is refused before it writes anything.
#[track_caller]
fn refused_by(
    form: Form,
    at: Setup,
    norm: impl Fn(Norm<'static>) -> Norm<'static>,
    next: impl Fn(Norm<'static>) -> Norm<'static>,
) -> Error {
    let mut buffer = Buffer(vec![1.0; 64]);
    let error = buffer.call(form, at, norm, next).expect_err("it is refused");
    assert_eq!(buffer.0, [1.0; 64], "{form:?}: {error}");
    error
}

#[track_caller]
fn refused(form: Form, at: Setup) -> Error {
    refused_by(form, at, |norm| norm, |next| next)
}

/// The name of the tensor that the sum goes to, where it is none of the output's.
fn written(form: Form) -> Arg {
    if matches!(form, Form::FrontApart | Form::SandwichApart) { Arg::Sum } else { Arg::R }
}

#[test]
fn what_is_right_is_done() {
    for form in ALL {
        let mut buffer = Buffer(vec![1.0; 64]);
        let scale = buffer.view(GOOD.scale);
        let scaled = |norm: Norm<'static>| norm.branch_scale(0.5).sum_scale(scale);
        buffer.call(form, GOOD, scaled, |next| next).unwrap_or_else(|error| panic!("{form:?}: {error}"));
        assert_ne!(buffer.0, [1.0; 64], "{form:?}");
    }
}

#[test]
fn a_sum_or_a_residual_of_another_type() {
    let (f16, bf16, f32) = (DType::F16, DType::BF16, DType::F32);
    let of = |tensor: Tensor, dtype| Tensor { dtype, ..tensor };
    let error = |arg, expected, given| Error::DType { arg, expected, given };
    let sum = Setup { s: of(GOOD.s, f16), ..GOOD };
    assert_eq!(refused(Form::FrontApart, sum), error(Arg::Sum, f32, f16));
    // Of two norms the first is added into the sum.
    assert_eq!(refused(Form::SandwichApart, sum), error(Arg::R, f16, f32));
    let residual = Setup { r: of(GOOD.r, bf16), ..GOOD };
    for form in [Form::Front, Form::FrontApart, Form::BehindApart, Form::SandwichApart] {
        assert_eq!(refused(form, residual), error(Arg::R, f32, bf16), "{form:?}");
    }
    // A residual in f32 stands beside x and y of 16 bits, and beside no others.
    let narrow = |x, y| Setup { x: of(GOOD.x, x), y: of(GOOD.y, y), ..GOOD };
    for form in FRONT {
        assert_eq!(refused(form, narrow(f16, f32)), error(Arg::R, f16, f32), "{form:?}");
        let both = Setup { r: of(GOOD.r, bf16), s: of(GOOD.s, bf16), ..narrow(f16, f16) };
        assert_eq!(refused(form, both), error(Arg::R, f16, bf16), "{form:?}");
        for (x, y) in [(f16, f16), (f16, bf16), (bf16, f16), (bf16, bf16)] {
            let mut buffer = Buffer(vec![1.0; 64]);
            assert_eq!(buffer.call(form, narrow(x, y), |norm| norm, |next| next), Ok(()), "{x} {y}");
        }
    }
}

#[test]
fn a_sum_or_a_residual_of_another_shape() {
    let other = Tensor { extents: &[3, 2], strides: &[2, 1], ..GOOD.r };
    let flat = Tensor { extents: &[6], strides: &[1], ..GOOD.r };
    let (expected, given) = (shape(&[2, 3]), shape(&[3, 2]));
    for form in [Form::Front, Form::FrontApart, Form::BehindApart, Form::Sandwich, Form::SandwichApart] {
        let error = Error::Shape { arg: Arg::R, expected, given };
        assert_eq!(refused(form, Setup { r: other, ..GOOD }), error, "{form:?}");
        let error = Error::Rank { arg: Arg::R, expected: 2..=2, given: 1 };
        assert_eq!(refused(form, Setup { r: flat, ..GOOD }), error, "{form:?}");
    }
    for form in [Form::FrontApart, Form::SandwichApart] {
        let s = Tensor { at: GOOD.s.at, ..other };
        let error = Error::Shape { arg: Arg::Sum, expected, given };
        assert_eq!(refused(form, Setup { s, ..GOOD }), error, "{form:?}");
    }
    for form in SANDWICHES {
        let y = Tensor { at: GOOD.y.at, ..other };
        let error = Error::Shape { arg: Arg::Y, expected, given };
        assert_eq!(refused(form, Setup { y, ..GOOD }), error, "{form:?}");
    }
}

#[test]
fn a_sum_or_a_residual_that_cannot_be_reached() {
    let (expected, given) = (Place::Host, Place::Cuda(1));
    let elsewhere = |tensor: Tensor| Tensor { place: given, ..tensor };
    let askew = |tensor: Tensor| Tensor { off: 2, ..tensor };
    let is_misaligned = |error: &Error, arg| matches!(error, Error::Misaligned { arg: named, align: 4, address } if *named == arg && address % 4 == 2);
    for form in [Form::Front, Form::FrontApart, Form::BehindApart, Form::Sandwich, Form::SandwichApart] {
        let error = refused(form, Setup { r: elsewhere(GOOD.r), ..GOOD });
        assert_eq!(error, Error::Place { arg: Arg::R, expected, given }, "{form:?}");
        let error = refused(form, Setup { r: askew(GOOD.r), ..GOOD });
        assert!(is_misaligned(&error, Arg::R), "{form:?}: {error}");
        let r = Tensor { strides: &[6, 2], ..GOOD.r };
        let error = refused(form, Setup { r, ..GOOD });
        assert_eq!(error, Error::LastAxisStrided { arg: Arg::R, stride: 2 }, "{form:?}");
    }
    for form in [Form::FrontApart, Form::SandwichApart] {
        let error = refused(form, Setup { s: elsewhere(GOOD.s), ..GOOD });
        assert_eq!(error, Error::Place { arg: Arg::Sum, expected, given }, "{form:?}");
        let error = refused(form, Setup { s: askew(GOOD.s), ..GOOD });
        assert!(is_misaligned(&error, Arg::Sum), "{form:?}: {error}");
        let s = Tensor { strides: &[6, 2], ..GOOD.s };
        let error = refused(form, Setup { s, ..GOOD });
        assert_eq!(error, Error::LastAxisStrided { arg: Arg::Sum, stride: 2 }, "{form:?}");
    }
}

#[test]
fn strides_that_lead_to_one_element_of_a_sum_twice() {
    let (shape, strides) = (shape(&[2, 3]), shape(&[2, 1]));
    for form in [Form::Front, Form::FrontApart, Form::Sandwich, Form::SandwichApart] {
        let tangled = |tensor: Tensor| Tensor { strides: &[2, 1], ..tensor };
        let arg = written(form);
        let at = match arg {
            Arg::Sum => Setup { s: tangled(GOOD.s), ..GOOD },
            _ => Setup { r: tangled(GOOD.r), ..GOOD },
        };
        assert_eq!(refused(form, at), Error::SelfOverlap { arg, shape, strides }, "{form:?}");
    }
    // A residual that is only read may give one row to all.
    for form in [Form::FrontApart, Form::BehindApart, Form::SandwichApart] {
        let at = Setup { r: Tensor { strides: &[0, 1], ..GOOD.r }, ..GOOD };
        assert_eq!(Buffer(vec![1.0; 64]).call(form, at, |norm| norm, |next| next), Ok(()), "{form:?}");
    }
}

/// Each pair of tensors of which one is written, on the same memory or by one element.
#[test]
fn tensors_on_each_others_memory() {
    let overlap = |a, b| Error::Overlap { a, b };
    let moved = |tensor: Tensor, at| Tensor { at, ..tensor };
    for form in FRONT.into_iter().chain(SANDWICHES) {
        let sum = written(form);
        let on = |tensor: Tensor| match sum {
            Arg::Sum => Setup { s: moved(GOOD.s, tensor.at), ..GOOD },
            _ => Setup { r: moved(GOOD.r, tensor.at), ..GOOD },
        };
        assert_eq!(refused(form, on(GOOD.x)), overlap(Arg::X, sum), "{form:?}");
        assert_eq!(refused(form, on(moved(GOOD.x, 2))), overlap(Arg::X, sum), "{form:?}");
        assert_eq!(refused(form, on(GOOD.y)), overlap(sum, Arg::Y), "{form:?}");
        assert_eq!(refused(form, on(moved(GOOD.y, 22))), overlap(sum, Arg::Y), "{form:?}");
        for (tensor, arg) in [(GOOD.w, Arg::W), (GOOD.b, Arg::B)] {
            assert_eq!(refused(form, on(tensor)), overlap(arg, sum), "{form:?}");
        }
        let scale = |norm: Norm<'static>, at| norm.sum_scale(at);
        // Of one element, which is the sum's last.
        let at = moved(GOOD.scale, if sum == Arg::Sum { 21 } else { 13 });
        let mut buffer = Buffer(vec![1.0; 64]);
        let view = buffer.view(at);
        let error = buffer.call(form, GOOD, |norm| scale(norm, view), |next| next);
        assert_eq!(error, Err(overlap(Arg::SumScale, sum)), "{form:?}");
        let view = buffer.view(moved(GOOD.scale, 24));
        let error = buffer.call(form, GOOD, |norm| scale(norm, view), |next| next);
        assert_eq!(error, Err(overlap(Arg::SumScale, Arg::Y)), "{form:?}");
        assert_eq!(buffer.0, [1.0; 64]);
    }
    for form in [Form::FrontApart, Form::SandwichApart] {
        // A residual is only read, and yet no row of it may be gone before it is.
        let at = Setup { r: moved(GOOD.r, 19), ..GOOD };
        assert_eq!(refused(form, at), overlap(Arg::R, Arg::Sum), "{form:?}");
        for at in [24, 26] {
            let at = Setup { r: moved(GOOD.r, at), ..GOOD };
            assert_eq!(refused(form, at), overlap(Arg::R, Arg::Y), "{form:?}");
        }
        // The sum may be the residual itself.
        let at = Setup { r: GOOD.s, ..GOOD };
        assert_eq!(Buffer(vec![1.0; 64]).call(form, at, |norm| norm, |next| next), Ok(()), "{form:?}");
    }
    let at = Setup { r: moved(GOOD.r, 26), ..GOOD };
    assert_eq!(refused(Form::BehindApart, at), overlap(Arg::R, Arg::Y));
    let at = Setup { r: GOOD.y, ..GOOD };
    assert_eq!(Buffer(vec![1.0; 64]).call(Form::BehindApart, at, |norm| norm, |next| next), Ok(()));
    for form in [Form::Behind, Form::BehindApart] {
        let mut buffer = Buffer(vec![1.0; 64]);
        let view = buffer.view(moved(GOOD.scale, 29));
        let error = buffer.call(form, GOOD, |norm| norm.sum_scale(view), |next| next);
        assert_eq!(error, Err(overlap(Arg::SumScale, Arg::Y)), "{form:?}");
    }
}

/// Either norm writes before the other has read all of its own.
#[test]
fn parameters_of_two_norms_on_what_either_writes() {
    let overlap = |a, b| Error::Overlap { a, b };
    let moved = |tensor: Tensor, at| Tensor { at, ..tensor };
    for form in SANDWICHES {
        let sum = written(form);
        let in_sum = if sum == Arg::Sum { 18 } else { 10 };
        for (at, a, b) in [
            (Setup { w: moved(GOOD.w, 27), ..GOOD }, Arg::W, Arg::Y),
            (Setup { b: moved(GOOD.b, 27), ..GOOD }, Arg::B, Arg::Y),
            (Setup { next_w: moved(GOOD.w, 27), ..GOOD }, Arg::W, Arg::Y),
            (Setup { next_b: moved(GOOD.b, 27), ..GOOD }, Arg::B, Arg::Y),
            (Setup { next_w: moved(GOOD.w, in_sum), ..GOOD }, Arg::W, sum),
            (Setup { next_b: moved(GOOD.b, in_sum), ..GOOD }, Arg::B, sum),
            (Setup { y: moved(GOOD.y, 2), ..GOOD }, Arg::X, Arg::Y),
        ] {
            assert_eq!(refused(form, at), overlap(a, b), "{form:?}");
        }
        // The output may be the input, whose row has been read when it is written; both may share their weights.
        for at in [Setup { y: GOOD.x, ..GOOD }, Setup { next_w: GOOD.w, ..GOOD }] {
            assert_eq!(Buffer(vec![1.0; 64]).call(form, at, |norm| norm, |next| next), Ok(()), "{form:?}");
        }
    }
}

#[test]
fn the_second_norm_is_checked_before_the_first_writes() {
    for form in SANDWICHES {
        let by = |next: fn(Norm<'static>) -> Norm<'static>| refused_by(form, GOOD, |norm| norm, next);
        assert_eq!(by(|_| Norm::rms(-1.0)), Error::Eps { given: -1.0 });
        assert_eq!(
            by(|next| next.weight_offset(f32::INFINITY)),
            Error::WeightOffset { given: f32::INFINITY }
        );
        assert_eq!(by(|next| next.round_offset(true)), Error::RoundOffsetOfNone);
        let at = Setup { next_w: Tensor { extents: &[2], ..GOOD.next_w }, ..GOOD };
        let error = Error::Shape { arg: Arg::W, expected: shape(&[3]), given: shape(&[2]) };
        assert_eq!(refused(form, at), error);
        let error = by(|next| next.branch_scale(0.5));
        assert_eq!(error, Error::ScaleOfNext { scale: Arg::BranchScale });
        assert_eq!(
            error.to_string(),
            "next: expected a norm without branch_scale, which the first norm has, given one with it"
        );
        assert_eq!(error.arg(), Some(Arg::Next));
        assert_eq!(by(|next| next.sum_scale(2.0)), Error::ScaleOfNext { scale: Arg::SumScale });
        let mut buffer = Buffer(vec![1.0; 64]);
        let view = buffer.view(GOOD.scale);
        let error = buffer.call(form, GOOD, |norm| norm, |next| next.sum_scale(view));
        assert_eq!(error, Err(Error::ScaleOfNext { scale: Arg::SumScale }));
        assert_eq!(buffer.0, [1.0; 64]);
    }
}

#[test]
fn scales_that_are_not_finite() {
    for form in ALL {
        for given in [f32::INFINITY, f32::NEG_INFINITY] {
            let branch = refused_by(form, GOOD, |norm| norm.branch_scale(given), |next| next);
            assert_eq!(branch, Error::Scale { arg: Arg::BranchScale, given }, "{form:?}");
            let sum = refused_by(form, GOOD, |norm| norm.sum_scale(given), |next| next);
            assert_eq!(sum, Error::Scale { arg: Arg::SumScale, given }, "{form:?}");
            assert_eq!(sum.arg(), Some(Arg::SumScale));
        }
        let nan = refused_by(form, GOOD, |norm| norm.branch_scale(f32::NAN), |next| next);
        assert_eq!(nan.to_string(), "branch_scale: expected a finite number, given NaN");
    }
    // One in memory is not looked at before the operation runs: all that it makes is then not finite either.
    let mut buffer = Buffer(vec![1.0; 64]);
    let view = buffer.view(GOOD.scale);
    buffer.0[GOOD.scale.at] = f32::INFINITY;
    buffer.call(Form::Front, GOOD, |norm| norm.sum_scale(view), |next| next).unwrap();
    assert_eq!(buffer.0[GOOD.r.at..][..6], [f32::INFINITY; 6]);
}

#[test]
fn a_scale_in_memory_that_does_not_fit() {
    let (f16, f32) = (DType::F16, DType::F32);
    let place = Place::Cuda(0);
    for form in ALL {
        let by = |scale: Tensor| {
            let mut buffer = Buffer(vec![1.0; 64]);
            let view = buffer.view(scale);
            let error = buffer.call(form, GOOD, |norm| norm.sum_scale(view), |next| next).unwrap_err();
            assert_eq!(buffer.0, [1.0; 64], "{form:?}");
            error
        };
        let arg = Arg::SumScale;
        let error = Error::Shape { arg, expected: shape(&[1]), given: shape(&[2]) };
        assert_eq!(by(Tensor { extents: &[2], ..GOOD.scale }), error, "{form:?}");
        let error = Error::Rank { arg, expected: 1..=1, given: 2 };
        assert_eq!(by(Tensor { extents: &[1, 1], strides: &[1, 1], ..GOOD.scale }), error, "{form:?}");
        let error = Error::DType { arg, expected: f32, given: f16 };
        assert_eq!(by(Tensor { dtype: f16, ..GOOD.scale }), error, "{form:?}");
        let error = Error::Place { arg, expected: Place::Host, given: place };
        assert_eq!(by(Tensor { place, ..GOOD.scale }), error, "{form:?}");
        let error = by(Tensor { off: 1, ..GOOD.scale });
        assert!(matches!(error, Error::Misaligned { arg: Arg::SumScale, align: 4, .. }), "{form:?}: {error}");
    }
}

/// Whatever else has no residual: rows, heads, in place, split.
#[test]
fn scales_without_a_residual() {
    let (mut y, number) = ([1.0_f32; 6], [2.0_f32]);
    let x = [1.0_f32; 6];
    let x = View::from_slice(&x, &[2, 3]).unwrap();
    let number = View::from_slice(&number, &[1]).unwrap();
    let sums = [3.0_f32; 2];
    let sums = View::from_slice(&sums, &[2]).unwrap();
    for (norm, arg) in [
        (Norm::rms(1e-6).branch_scale(0.5), Arg::BranchScale),
        (Norm::rms(1e-6).sum_scale(0.5), Arg::SumScale),
        (Norm::rms(1e-6).sum_scale(number), Arg::SumScale),
        (Norm::rms(1e-6).branch_scale(0.5).sum_scale(number), Arg::BranchScale),
    ] {
        let mut view = ViewMut::from_slice(&mut y, &[2, 3]).unwrap();
        let results = [
            norm.rows(x, &mut view, &Cpu),
            norm.rows_in_place(&mut view, &Cpu),
            norm.heads(x, &mut view, &Cpu),
            norm.heads_in_place(&mut view, &Cpu),
            norm.rows_apply(x, sums, &mut view, 3, &Cpu),
        ];
        let error = Error::ScaleWithoutResidual { arg };
        assert_eq!(results, [(); 5].map(|()| Err(error.clone())));
        assert_eq!(error.arg(), Some(arg));
        let expected =
            "expected a residual, in whose addition it is a factor, given an operation without one";
        assert_eq!(error.to_string(), format!("{arg}: {expected}"));
    }
    // 1 is none.
    let mut view = ViewMut::from_slice(&mut y, &[2, 3]).unwrap();
    let ones = Norm::rms(1e-6).branch_scale(1.0).sum_scale(Scale::Number(1.0));
    assert_eq!(ones.rows(x, &mut view, &Cpu), Ok(()));
}

#[test]
fn no_rows_are_nothing_to_do_but_are_checked() {
    let none = |tensor: Tensor| Tensor { extents: &[0, 3], ..tensor };
    let at = Setup { x: none(GOOD.x), r: none(GOOD.r), s: none(GOOD.s), y: none(GOOD.y), ..GOOD };
    for form in ALL {
        let mut buffer = Buffer(vec![1.0; 64]);
        assert_eq!(buffer.call(form, at, |norm| norm, |next| next), Ok(()), "{form:?}");
        assert_eq!(buffer.0, [1.0; 64]);
        let error = refused_by(form, at, |norm| norm.branch_scale(f32::NAN), |next| next);
        assert!(matches!(error, Error::Scale { arg: Arg::BranchScale, .. }), "{form:?}: {error}");
    }
}

#[test]
fn overlaps_say_where_one_tensor_may_be_another() {
    let text = |a, b| Error::Overlap { a, b }.to_string();
    assert_eq!(
        text(Arg::R, Arg::Sum),
        "r and sum: expected no common memory, or one tensor for work in place, given tensors that overlap"
    );
    assert_eq!(text(Arg::Sum, Arg::Y), "sum and y: expected no common memory, given tensors that overlap");
}
