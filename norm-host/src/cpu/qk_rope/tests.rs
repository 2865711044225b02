use super::*;
use crate::{Element, Norm, Place, Positions, QkNormRope, Qkv, Rotary, View, ViewMut, check};

/// Numbers of either sign and of many sizes, the same in every run.
fn draw<E: Element>(count: usize, of: fn(f32) -> E) -> Vec<E> {
    let number = |at: usize| {
        let bits = (at as u32 + 1).wrapping_mul(0x9e37_79b9);
        (bits >> 8) as f32 / (1 << 21) as f32 - 4.0
    };
    (0..count).map(|at| of(number(at))).collect()
}

/// What is given beside heads of a type.
struct Case {
    dim: usize,
    pairs: usize,
    /// Whether each head has weights of its own.
    own: bool,
    offset: f32,
}

fn view<'a, E: Element>(numbers: &'a [E], shape: &[usize]) -> View<'a> {
    View::from_slice(numbers, shape).unwrap()
}

/// The form for most models has the bits of the one for all.
fn agree<E: Element + PartialEq + std::fmt::Debug, P: Element>(
    of: fn(f32) -> E,
    of_parameter: fn(f32) -> P,
    case: &Case,
) {
    let &Case { dim, pairs, own, offset } = case;
    let (tokens, heads, rows) = (3, [3, 2, 1], 5);
    let all = heads.iter().sum::<usize>();
    let x = draw(tokens * all * dim, of);
    let (q_w, k_w) = (draw(heads[0] * dim, of_parameter), draw(dim, of_parameter));
    let tables = draw(2 * rows * pairs, of_parameter);
    let (cos, sin) = tables.split_at(rows * pairs);
    let q_shape = [heads[0], dim];
    let q_shape = if own { q_shape.as_slice() } else { &q_shape[1..] };
    let norm = |w| Norm::rms(1e-5).weight(w).weight_offset(offset);
    let mut description = QkNormRope::new()
        .q_norm(norm(view(&q_w[..q_shape.iter().product()], q_shape)))
        .k_norm(norm(view(&k_w, &[dim])));
    if pairs > 0 {
        let table = |numbers| view(numbers, &[rows, pairs]);
        description =
            description.rotary(Rotary::new(table(cos), table(sin), Positions::from_slice(&[4_u32, 0, 2])));
    }
    let run = |is_general: bool| {
        let mut y = x.clone();
        let packed = ViewMut::from_slice(&mut y, &[tokens, all * dim]).unwrap();
        let Qkv { q, k, v } = Qkv::<ViewMut<'_>>::packed(packed, heads, dim).unwrap();
        let written = [Some(&q), k.as_ref(), v.as_ref()].map(|x| x.map(|x| (&x.raw, None)));
        let problem = check::qk_rope(&description, written, Place::Host).unwrap();
        assert!(is_plain(&problem));
        for isa in [Isa::detect(), Isa::Portable(super::super::simd::Portable)] {
            // The second goes over what the first has written: both have the same to work on.
            // SAFETY: the views borrow the memory, and the checks have found that it holds the problem.
            unsafe {
                match is_general {
                    true => isa.run(Tokens::new(&problem, 0..problem.tokens)),
                    false => isa.run(PlainTokens::new(&problem, 0..problem.tokens)),
                }
            }
        }
        y
    };
    let (given, expected) = (run(false), run(true));
    assert_ne!(given, x);
    assert_eq!(given, expected, "{} {} {dim} {pairs} {own} {offset}", E::DTYPE, P::DTYPE);
}

#[test]
fn what_most_models_ask_for_has_the_bits_of_the_general_form() {
    for (dim, pairs) in [(8, 0), (32, 16), (64, 8), (128, 64), (512, 256)] {
        for own in [false, true] {
            for offset in [0.0, 1.0] {
                let case = &Case { dim, pairs, own, offset };
                agree(half::f16::from_f32, half::f16::from_f32, case);
                agree(half::f16::from_f32, |x| x, case);
                agree(half::bf16::from_f32, half::bf16::from_f32, case);
                agree(half::bf16::from_f32, |x| x, case);
                agree(|x| x, |x: f32| x, case);
            }
        }
    }
}

#[test]
fn all_else_takes_the_general_form() {
    let mut heads = [1.0_f32; 32];
    let tables = [1.0_f32; 8];
    let table = view(&tables, &[1, 8]);
    let rotary = Rotary::new(table, table, Positions::from_slice(&[0_u32]));
    let norm = Norm::rms(1e-5);
    let mut is_plain = |description: QkNormRope<'_>, dim: usize| {
        let q = ViewMut::from_slice(&mut heads[..dim], &[1, 1, dim]).unwrap();
        let problem = check::qk_rope(&description, [Some((&q.raw, None)), None, None], Place::Host).unwrap();
        super::is_plain(&problem)
    };
    let description = QkNormRope::new().q_norm(norm).rotary(rotary);
    assert!(is_plain(description, 32) && is_plain(QkNormRope::new().rotary(rotary), 24));
    assert!(!is_plain(description, 20));
    assert!(!is_plain(description.q_norm(Norm::layer(1e-5)), 32));
    assert!(!is_plain(description.norm_behind(true), 32));
    assert!(!is_plain(description.rotary(rotary.pairing(Pairing::Neighbours)), 32));
    let narrow = view(&tables[..6], &[1, 6]);
    let narrow = Rotary::new(narrow, narrow, Positions::from_slice(&[0_u32]));
    assert!(!is_plain(description.rotary(narrow), 32));
}

/// As transformers has it by promotion: what is rounded before the weight and not again until the end.
#[test]
fn weights_of_f32_keep_their_product_to_the_end_of_the_rotation() {
    let rounded = |value: f32| half::bf16::from_f32(value).to_f32();
    let x = draw(16, half::bf16::from_f32);
    let (w, tables) = (draw(16, |x: f32| x), draw(16, half::bf16::from_f32));
    let (cos, sin) = (view(&tables[..8], &[1, 8]), view(&tables[8..], &[1, 8]));
    let rotary = Rotary::new(cos, sin, Positions::from_slice(&[0_u32]));
    let norm = Norm::rms(1e-5).weight(view(&w, &[16])).rounding(crate::Rounding::BeforeWeight);
    let mut y = x.clone();
    let heads = Qkv::new(ViewMut::from_slice(&mut y, &[1, 1, 16]).unwrap());
    QkNormRope::new().q_norm(norm).rotary(rotary).in_place(heads, &crate::Cpu).unwrap();
    let sum_sq: f64 = x.iter().map(|x| f64::from(x.to_f32()).powi(2)).sum();
    let rstd = rstd(sum_sq / 16.0, 1e-5);
    let product = |at: usize| rounded(x[at].to_f32() * rstd) * w[at];
    let mut differs = false;
    for pair in 0..8 {
        let [a, b] = [product(pair), product(8 + pair)];
        let [cos, sin] = [tables[pair].to_f32(), tables[8 + pair].to_f32()];
        assert_eq!(y[pair].to_f32(), rounded(a * cos - b * sin));
        assert_eq!(y[8 + pair].to_f32(), rounded(b * cos + a * sin));
        differs |= y[pair].to_f32() != rounded(rounded(a) * cos - rounded(b) * sin);
    }
    assert!(differs);
}
