//! The functions of the residual by their usual names: each has the bits of its parts, one after the other.

use half::{bf16, f16};
use norm_host::{
    Cpu, Element, Norm, View, ViewMut, add_layer_norm_to, add_rms_norm_to, layer_norm, layer_norm_add,
    layer_norm_add_to, rms_norm, rms_norm_add, rms_norm_add_to, sandwich_rms_norm, sandwich_rms_norm_to,
};

const SHAPE: [usize; 2] = [3, 24];
const EPS: f32 = 1e-5;

/// Numbers without a pattern that a mistake could share.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

struct Values {
    x: Vec<f32>,
    r: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
}

impl Values {
    fn new() -> Values {
        let [rows, dim] = SHAPE;
        Values { x: values(rows * dim, 1), r: values(rows * dim, 2), w: values(dim, 3), b: values(dim, 4) }
    }

    fn x(&self) -> View<'_> {
        View::from_slice(&self.x, &SHAPE).unwrap()
    }

    fn r(&self) -> View<'_> {
        View::from_slice(&self.r, &SHAPE).unwrap()
    }

    fn w(&self) -> View<'_> {
        View::from_slice(&self.w, &SHAPE[1..]).unwrap()
    }

    fn b(&self) -> View<'_> {
        View::from_slice(&self.b, &SHAPE[1..]).unwrap()
    }

    /// What one addition gives.
    fn sum(&self) -> Vec<f32> {
        self.x.iter().zip(&self.r).map(|(x, r)| x + r).collect()
    }

    /// Room for a result, which no operation gives.
    fn room(&self) -> Vec<f32> {
        vec![f32::NAN; self.x.len()]
    }
}

fn over(elements: &mut [f32]) -> ViewMut<'_> {
    ViewMut::from_slice(elements, &SHAPE).unwrap()
}

fn view(elements: &[f32]) -> View<'_> {
    View::from_slice(elements, &SHAPE).unwrap()
}

#[test]
fn out_of_place_forms_leave_the_residual_and_give_sum_and_norm() {
    let values = Values::new();
    let (mut sum, mut y, mut expected) = (values.room(), values.room(), values.room());
    add_rms_norm_to(values.x(), values.r(), values.w(), &mut over(&mut sum), &mut over(&mut y), EPS, &Cpu)
        .unwrap();
    assert_eq!(sum, values.sum());
    rms_norm(view(&sum), values.w(), &mut over(&mut expected), EPS, &Cpu).unwrap();
    assert_eq!(y, expected);

    let (mut sum, mut y) = (values.room(), values.room());
    let (w, b) = (values.w(), values.b());
    add_layer_norm_to(values.x(), values.r(), w, b, &mut over(&mut sum), &mut over(&mut y), EPS, &Cpu)
        .unwrap();
    assert_eq!(sum, values.sum());
    layer_norm(view(&sum), w, b, &mut over(&mut expected), EPS, &Cpu).unwrap();
    assert_eq!(y, expected);
}

#[test]
fn a_norm_added_to_a_residual_has_the_bits_of_one_added_in_place() {
    let values = Values::new();
    let (w, b) = (values.w(), values.b());
    let (mut y, mut expected) = (values.room(), values.r.clone());
    rms_norm_add_to(values.x(), values.r(), w, &mut over(&mut y), EPS, &Cpu).unwrap();
    rms_norm_add(values.x(), w, &mut over(&mut expected), EPS, &Cpu).unwrap();
    assert_eq!(y, expected);

    let (mut y, mut expected) = (values.room(), values.r.clone());
    layer_norm_add_to(values.x(), values.r(), w, b, &mut over(&mut y), EPS, &Cpu).unwrap();
    layer_norm_add(values.x(), w, b, &mut over(&mut expected), EPS, &Cpu).unwrap();
    assert_eq!(y, expected);
}

#[test]
fn a_sandwich_is_a_norm_added_and_the_norm_of_the_sum() {
    let values = Values::new();
    let (w, next) = (values.w(), values.b());
    let (mut expected_sum, mut expected) = (values.r.clone(), values.room());
    rms_norm_add(values.x(), w, &mut over(&mut expected_sum), EPS, &Cpu).unwrap();
    Norm::rms(EPS).weight(next).rows(view(&expected_sum), &mut over(&mut expected), &Cpu).unwrap();

    let (mut r, mut y) = (values.r.clone(), values.room());
    sandwich_rms_norm(values.x(), &mut over(&mut r), w, next, &mut over(&mut y), EPS, &Cpu).unwrap();
    assert_eq!((&r, &y), (&expected_sum, &expected));

    let (mut sum, mut y) = (values.room(), values.room());
    let (sum_view, y_view) = (&mut over(&mut sum), &mut over(&mut y));
    sandwich_rms_norm_to(values.x(), values.r(), w, next, sum_view, y_view, EPS, &Cpu).unwrap();
    assert_eq!((&sum, &y), (&expected_sum, &expected));
}

/// An infinite f16 counts as 65504 where it is normalized. Where it is added, it is infinite: that is what the model's residual
/// holds then.
#[test]
fn an_infinity_is_added_as_it_is_and_its_sum_is_normalized_as_the_largest_number() {
    fn sums<E: Element>(of: impl Fn(f32) -> E, to: impl Fn(E) -> f32) -> (Vec<f32>, Vec<f32>) {
        let number = |value: f32| of(value);
        let x = [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY, 1.0].map(number);
        let r = [1.0, 2.0, -60000.0, 2.0].map(number);
        let w = [1.0; 4].map(number);
        let (mut sum, mut y) = ([0.0; 4].map(number), [0.0; 4].map(number));
        let shape = [1, 4];
        add_rms_norm_to(
            View::from_slice(&x, &shape).unwrap(),
            View::from_slice(&r, &shape).unwrap(),
            View::from_slice(&w, &[4]).unwrap(),
            &mut ViewMut::from_slice(&mut sum, &shape).unwrap(),
            &mut ViewMut::from_slice(&mut y, &shape).unwrap(),
            EPS,
            &Cpu,
        )
        .unwrap();
        (sum.map(&to).to_vec(), y.map(&to).to_vec())
    }
    let expected = [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY, 3.0];
    let (sum, y) = sums(f16::from_f32, f16::to_f32);
    assert_eq!(sum, expected);
    // Three of four elements are ±65504, which makes their root of the mean of squares 65504 · √(3/4).
    let near = |y: f32, expected: f32| (y - expected).abs() < 1e-3;
    assert!(near(y[0], 1.1547) && near(y[1], -1.1547) && near(y[2], 1.1547) && near(y[3], 0.0), "{y:?}");
    assert_eq!(sums(bf16::from_f32, bf16::to_f32).0, expected);
    assert_eq!(sums(|value| value, |value| value).0, expected);
}
