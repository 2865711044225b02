//! The promise tells the orders of roundings apart.

use super::*;

/// So many that those are among them in which later roundings do not hide an earlier one.
const DIM: usize = 1024;

/// Numbers between -1 and 1 without a pattern (Numerical Recipes' generator).
fn random(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / 2_f64.powi(52) - 1.0
    }
}

/// A row of inputs, weights near 0.3, biases, and what the output holds.
struct Row {
    x: Vec<f64>,
    w: Vec<f64>,
    b: Vec<f64>,
    onto: Vec<f64>,
}

impl Row {
    fn new([x, w, y]: [DType; 3]) -> Row {
        let mut random = random(7);
        let mut row = |dtype, scale: f64, center: f64| -> Vec<f64> {
            (0..DIM).map(|_| round(dtype, center + scale * random())).collect()
        };
        Row { x: row(x, 4.0, 0.0), w: row(w, 0.2, 0.3), b: row(w, 1.0, 0.0), onto: row(y, 2.0, 0.0) }
    }
}

/// An operation, but for its order.
#[derive(Clone, Copy, Debug)]
struct Form {
    kind: NormKind,
    types: [DType; 3],
    biases: bool,
    accumulate: bool,
    /// Whether that addition multiplies.
    scaled: bool,
}

impl Form {
    fn parameters<'a>(&self, row: &'a Row, (rounding, round_offset): (Rounding, bool)) -> Parameters<'a> {
        let [x, w, y] = self.types;
        let roundings = Roundings::of(rounding, round_offset, x, Some(w), y);
        Parameters {
            kind: self.kind,
            eps: 1e-6,
            weight: Some(&row.w),
            weight_offset: 1.0,
            roundings: match self.scaled {
                true => roundings.with_scales(rounding, y, y),
                false => roundings,
            },
            bias: self.biases.then_some(&row.b),
            onto: self.accumulate.then_some(&row.onto),
            factors: if self.scaled { Factors { branch: 0.37, sum: 1.7 } } else { Factors::NONE },
        }
    }
}

fn forms() -> impl Iterator<Item = Form> {
    const ALL: [DType; 3] = DType::ALL;
    let types = (0..27).map(|n| [n, n / 3, n / 9].map(|k| ALL[k % 3]));
    types.flat_map(|types| {
        let form = move |n: usize| Form {
            kind: NormKind::ALL[n % 2],
            types,
            biases: n / 2 % 2 == 1,
            accumulate: n / 4 >= 1,
            scaled: n / 4 == 2,
        };
        (0..12).map(form)
    })
}

fn orders() -> impl Iterator<Item = (Rounding, bool)> {
    Rounding::ALL.into_iter().flat_map(|rounding| [false, true].map(|offset| (rounding, offset)))
}

#[test]
fn each_order_keeps_its_own_promise_and_breaks_that_of_every_other() {
    for form in forms() {
        let y = form.types[2];
        let row = Row::new(form.types);
        for computed in orders() {
            let done = form.parameters(&row, computed);
            let given: Vec<f64> =
                reference::norm(&row.x, &done).into_iter().map(|value| round(y, value)).collect();
            for promised in orders() {
                let asked = form.parameters(&row, promised);
                let matter = |p: &Parameters<'_>| p.roundings.that_matter(form.biases, form.accumulate);
                let judged = judge_row(&row.x, &asked, y, &given);
                let same = matter(&asked) == matter(&done);
                assert!(judged.promised);
                assert_eq!(judged.is_kept(), same, "{form:?}: {computed:?} for {promised:?}: {judged:?}");
            }
        }
    }
}

/// An element whose normalized value is all but halfway between two numbers, rounded to the other one.
#[test]
fn either_neighbour_of_a_near_tie_is_kept_and_no_other() {
    let step = ulp(DType::BF16, 1.0);
    // The mean of squares is 1: the first normalized value is itself.
    let first = (1.0 + step / 2.0) * (1.0 + 0.5e-6);
    let (x, w) = ([first, (2.0 - first * first).sqrt()], [3.0, 1.0]);
    let roundings = Roundings { normalized: Some(DType::BF16), ..Roundings::NONE };
    let plain = parameters(NormKind::Rms, None);
    let parameters = Parameters { eps: 0.0, weight: Some(&w), roundings, ..plain };
    let second = round(DType::BF16, x[1]);
    let kept = |y: f64| judge_row(&x, &parameters, DType::F32, &[y, second]).is_kept();
    assert!(kept(3.0) && kept(3.0 * (1.0 + step)));
    assert!(!kept(3.0 * first) && !kept(3.0 * (1.0 - step)) && !kept(3.0 * (1.0 + 2.0 * step)));
    // What follows is held to a few roundings to f32.
    assert!(kept(3.0 * (1.0 + 2e-7)) && !kept(3.0 * (1.0 + 3e-7)));
}

/// A product that overflows before the bias is added.
#[test]
fn an_infinite_product_stays_infinite() {
    let (x, w, b) = ([1.0, -1.0], [70_000.0, 65_519.99], [-30_000.0, 30_000.0]);
    let roundings = Roundings { product: Some(DType::F16), ..Roundings::NONE };
    let plain = parameters(NormKind::Rms, Some(&b));
    let parameters = Parameters { eps: 0.0, weight: Some(&w), roundings, ..plain };
    let kept = |y: [f64; 2]| judge_row(&x, &parameters, DType::F16, &y).is_kept();
    let second = round(DType::F16, -65_504.0 + 30_000.0);
    assert!(!kept([round(DType::F16, 40_000.0), second]), "in one step");
    assert!(kept([f64::INFINITY, second]));
    // The other is within 1e-6 of the middle between the largest number and infinity.
    assert!(kept([f64::INFINITY, f64::NEG_INFINITY]));
}
