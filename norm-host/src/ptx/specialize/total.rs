//! Totals of elements, as exact as LayerNorm's mean needs them, and what follows from them.
//!
//! Where a multiprocessor has many lanes of `f64`, a total is an `f64`. Others have two, one for 64 of `f32`, so that an addition of
//! a warp takes sixteen clocks. There no kernel adds in `f64`:
//!
//! # f16
//!
//! Every f16 is a multiple of 2⁻²⁴ below 2¹⁶, so that a total of up to 2²³ of them is an integer of 64 bits in that unit:
//! exact, whatever the order. To find the integer takes no conversion. Four elements are added to 1.5 · 2¹⁹, which rounds each to
//! a multiple of 2⁻⁴, as `f32` has no less there. Their sum stays below 2¹⁸, so that the bits of the `f32` count those
//! multiples. What an addition takes off is the difference of two differences, both exact, at most 2⁻⁵ of a multiple of 2⁻²⁴; up
//! to eight of these are added to 0.75, which rounds nothing that is a multiple of 2⁻²⁴, and again the bits count.
//!
//! # bf16, f32
//!
//! The exponents of these span more than an integer. A total is an `f32` and beside it the sum of what the roundings took off
//! (norm-kernels/src/double_word.rs).

use std::fmt::Write;

use norm_kernels::abi::DType::{BF16, F16, F32};

use super::operation::{Expansion, named, ptx};

/// The bits of 1.5 · 2¹⁹, whose unit in the last place is 2⁻⁴.
const COARSE: u32 = 0x4940_0000;

/// The bits of 0.75, whose unit in the last place is 2⁻²⁴.
const FINE: u32 = 0x3f40_0000;

/// The bits of 2⁻²⁴, the unit of totals of f16.
const UNIT: u32 = 0x3380_0000;

/// What a total is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// An f64; of 16-bit elements in a unit of their type's own.
    Double,
    /// An integer that counts 2⁻²⁴.
    Integer,
    /// Two f32.
    DoubleWord,
}

impl Form {
    fn of(expansion: &Expansion<'_>) -> Form {
        match expansion.dtype {
            _ if !expansion.few_doubles => Form::Double,
            F16 => Form::Integer,
            BF16 | F32 => Form::DoubleWord,
        }
    }
}

/// The number of exponent bits that an f64 has more than an element of 16 bits.
fn missing_exponent_bits(expansion: &Expansion<'_>) -> u32 {
    if expansion.dtype == F16 { 11 - 5 } else { 11 - 8 }
}

/// `total.x`: elements as f32, and the words that hold them.
pub(super) fn total(expansion: Expansion<'_>, operands: &[&str]) {
    let [low, high, s0, s1, rest @ ..] = operands else { return };
    let (elements, words) = rest.split_at(rest.len() / 3 * 2);
    match Form::of(&expansion) {
        Form::Double => total_of_words(expansion, [low, high], [s0, s1], words),
        Form::Integer => total_of_f16(expansion, [low, high], [s0, s1], elements),
        Form::DoubleWord => total_of_pairs(expansion, [low, high], [s0, s1], elements),
    }
}

/// `total_f32.s`.
pub(super) fn total_f32(expansion: Expansion<'_>, operands: &[&str]) {
    let [low, high, s0, s1, elements @ ..] = operands else { return };
    match Form::of(&expansion) {
        Form::Double => total_of_f32(expansion, [low, high], [s0, s1], elements),
        _ => total_of_pairs(expansion, [low, high], [s0, s1], elements),
    }
}

/// An element of 16 bits becomes an f64 by moving its sign, exponent and mantissa to where f64 has them: as the exponents' biases
/// differ, that scales every number, subnormal or not, by one power of two. It takes five integer instructions a word, where two
/// conversions would occupy a unit that has an eighth of the throughput: LayerNorm at 8192 f16 reaches 0.95 instead of 0.80 of a
/// copy's bandwidth (NVIDIA H200, 2026-11-23).
fn total_of_words(expansion: Expansion<'_>, to: [&str; 2], total: [&str; 2], words: &[&str]) {
    let shift = missing_exponent_bits(&expansion);
    // The mask of the sign, and of the element's exponent and mantissa behind the missing exponent bits.
    let fields = 0x8000_0000_u32 | 0x7fff_0000 >> shift;
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_v, %norm_z;");
    ptx!(expansion, ".reg .b64 %norm_d, %norm_e, %norm_p, %norm_q, %norm_t;");
    ptx!(expansion, "mov.b32 %norm_z, 0;");
    for (index, word) in words.iter().enumerate() {
        ptx!(expansion, "shl.b32 %norm_v, {word}, 16;");
        ptx!(expansion, "shr.s32 %norm_v, %norm_v, {shift};");
        ptx!(expansion, "and.b32 %norm_v, %norm_v, {fields:#x};");
        ptx!(expansion, "mov.b64 %norm_d, {{%norm_z, %norm_v}};");
        ptx!(expansion, "shr.s32 %norm_v, {word}, {shift};");
        ptx!(expansion, "and.b32 %norm_v, %norm_v, {fields:#x};");
        ptx!(expansion, "mov.b64 %norm_e, {{%norm_z, %norm_v}};");
        expansion.text.push_str(pair_of(index));
    }
    finish_double(expansion, to, total, words.len());
}

fn total_of_f32(expansion: Expansion<'_>, to: [&str; 2], total: [&str; 2], elements: &[&str]) {
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b64 %norm_d, %norm_e, %norm_p, %norm_q, %norm_t;");
    for (index, pair) in elements.chunks(2).enumerate() {
        ptx!(expansion, "cvt.f64.f32 %norm_d, {};", pair[0]);
        ptx!(expansion, "cvt.f64.f32 %norm_e, {};", pair[1]);
        expansion.text.push_str(pair_of(index));
    }
    finish_double(expansion, to, total, elements.len() / 2);
}

/// Adds the two elements of a pair, and the pairs as a tree, because in a chain each addition would wait for the one before it.
fn pair_of(index: usize) -> &'static str {
    match index {
        0 => "\tadd.rn.f64 %norm_p, %norm_d, %norm_e;\n",
        1 => "\tadd.rn.f64 %norm_q, %norm_d, %norm_e;\n\tadd.rn.f64 %norm_p, %norm_p, %norm_q;\n",
        2 => "\tadd.rn.f64 %norm_q, %norm_d, %norm_e;\n",
        _ => "\tadd.rn.f64 %norm_d, %norm_d, %norm_e;\n\tadd.rn.f64 %norm_q, %norm_q, %norm_d;\n",
    }
}

/// Adds what [`pair_of`] has added of two or four pairs to the total.
fn finish_double(expansion: Expansion<'_>, [low, high]: [&str; 2], [s0, s1]: [&str; 2], pairs: usize) {
    if pairs == 4 {
        ptx!(expansion, "add.rn.f64 %norm_p, %norm_p, %norm_q;");
    }
    ptx!(expansion, "mov.b64 %norm_t, {{{s0}, {s1}}};");
    ptx!(expansion, "add.rn.f64 %norm_t, %norm_t, %norm_p;");
    ptx!(expansion, "mov.b64 {{{low}, {high}}}, %norm_t;");
    ptx!(expansion, "}}");
}

fn total_of_f16(expansion: Expansion<'_>, [low, high]: [&str; 2], [s0, s1]: [&str; 2], elements: &[&str]) {
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_a, %norm_b, %norm_r, %norm_f, %norm_i, %norm_j;");
    ptx!(expansion, ".reg .b64 %norm_t, %norm_u;");
    let (coarse, fine) = (format!("0f{COARSE:08X}"), format!("0f{FINE:08X}"));
    for (group, elements) in elements.chunks(4).enumerate() {
        let [mut from, mut to] = ["%norm_a", "%norm_b"];
        for (index, x) in elements.iter().enumerate() {
            let before = if index == 0 { &coarse } else { from };
            let lost = if group == 0 && index == 0 { &fine } else { "%norm_f" };
            ptx!(expansion, "add.rn.f32 {to}, {before}, {x};");
            ptx!(expansion, "sub.rn.f32 %norm_r, {to}, {before};");
            ptx!(expansion, "sub.rn.f32 %norm_r, {x}, %norm_r;");
            ptx!(expansion, "add.rn.f32 %norm_f, {lost}, %norm_r;");
            (from, to) = (to, from);
        }
        match group {
            0 => ptx!(expansion, "mov.b32 %norm_i, {from};"),
            _ => ptx!(expansion, "add.s32 %norm_i, %norm_i, {from};"),
        }
    }
    let groups = elements.len() as u32 / 4;
    // Both counts begin at the bits of their constants. In units of 2⁻²⁴ those of 2⁻⁴ are 2²⁰.
    ptx!(expansion, "sub.s32 %norm_i, %norm_i, {:#x};", COARSE.wrapping_mul(groups));
    ptx!(expansion, "sub.s32 %norm_j, %norm_f, {FINE:#x};");
    ptx!(expansion, "mov.b64 %norm_t, {{{s0}, {s1}}};");
    ptx!(expansion, "mad.wide.s32 %norm_t, %norm_i, 0x100000, %norm_t;");
    ptx!(expansion, "cvt.s64.s32 %norm_u, %norm_j;");
    ptx!(expansion, "add.s64 %norm_t, %norm_t, %norm_u;");
    ptx!(expansion, "mov.b64 {{{low}, {high}}}, %norm_t;");
    ptx!(expansion, "}}");
}

/// The elements as a tree, then the total.
fn total_of_pairs(mut expansion: Expansion<'_>, to: [&str; 2], total: [&str; 2], elements: &[&str]) {
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_v, %norm_r;");
    let names: Vec<[String; 2]> =
        (0..elements.len()).map(|at| [format!("%norm_s{at}"), format!("%norm_l{at}")]).collect();
    for [sum, lost] in &names {
        ptx!(expansion, ".reg .b32 {sum}, {lost};");
    }
    let mut names = names.iter().map(|[sum, lost]| [sum.as_str(), lost.as_str()]);
    let mut sums: Vec<[&str; 2]> = Vec::with_capacity(elements.len());
    for (pair, sum) in elements.chunks(2).zip(&mut names) {
        two_sum(&mut expansion, sum, [pair[0], pair[1]]);
        sums.push(sum);
    }
    while let [a, b, ..] = sums[..]
        && let Some(sum) = names.next()
    {
        add(&mut expansion, sum, [a, b]);
        sums.drain(..2);
        sums.push(sum);
    }
    add(&mut expansion, to, [total, sums[0]]);
    ptx!(expansion, "}}");
}

/// The rounded sum of two f32, and what the rounding took off.
fn two_sum(expansion: &mut Expansion<'_>, [sum, lost]: [&str; 2], [a, b]: [&str; 2]) {
    ptx!(expansion, "add.rn.f32 {sum}, {a}, {b};");
    ptx!(expansion, "sub.rn.f32 %norm_v, {sum}, {a};");
    ptx!(expansion, "sub.rn.f32 %norm_r, {sum}, %norm_v;");
    ptx!(expansion, "sub.rn.f32 %norm_r, {a}, %norm_r;");
    ptx!(expansion, "sub.rn.f32 %norm_v, {b}, %norm_v;");
    ptx!(expansion, "add.rn.f32 {lost}, %norm_r, %norm_v;");
}

/// The sum of two numbers in two f32.
fn add(expansion: &mut Expansion<'_>, [sum, lost]: [&str; 2], [[a, a_low], [b, b_low]]: [[&str; 2]; 2]) {
    two_sum(expansion, [sum, lost], [a, b]);
    ptx!(expansion, "add.rn.f32 %norm_v, {a_low}, {b_low};");
    ptx!(expansion, "add.rn.f32 {lost}, %norm_v, {lost};");
}

pub(super) fn plus(mut expansion: Expansion<'_>, operands: &[&str]) {
    let [low, high, a0, a1, b0, b1] = named(operands);
    ptx!(expansion, "{{");
    let form = Form::of(&expansion);
    if form == Form::DoubleWord {
        ptx!(expansion, ".reg .b32 %norm_v, %norm_r;");
        add(&mut expansion, [low, high], [[a0, a1], [b0, b1]]);
    } else {
        ptx!(expansion, ".reg .b64 %norm_t, %norm_u;");
        ptx!(expansion, "mov.b64 %norm_t, {{{a0}, {a1}}};");
        ptx!(expansion, "mov.b64 %norm_u, {{{b0}, {b1}}};");
        let add = if form == Form::Double { "add.rn.f64" } else { "add.s64" };
        ptx!(expansion, "{add} %norm_t, %norm_t, %norm_u;");
        ptx!(expansion, "mov.b64 {{{low}, {high}}}, %norm_t;");
    }
    ptx!(expansion, "}}");
}

/// Writes a total in f64 to `%norm_<to>`, in units of one. The register is declared.
fn in_units_of_one(expansion: &mut Expansion<'_>, to: &str, [s0, s1]: [&str; 2]) {
    ptx!(expansion, "mov.b64 %norm_{to}, {{{s0}, {s1}}};");
    if expansion.dtype != F32 {
        // The difference of the exponent biases of f64 and of the element's type.
        let power = 1023 - ((1 << (10 - missing_exponent_bits(expansion))) - 1);
        ptx!(expansion, "mul.rn.f64 %norm_{to}, %norm_{to}, 0d{:016X};", ((1023 + power) as u64) << 52);
    }
}

/// Writes a total that is no f64 to `%norm_s` and what is left of it to `%norm_c`, and declares what it and [`rest_of`] need.
fn split(expansion: &mut Expansion<'_>, [s0, s1]: [&str; 2]) {
    ptx!(expansion, ".reg .b32 %norm_s, %norm_c, %norm_p, %norm_q, %norm_n, %norm_v, %norm_r;");
    if Form::of(expansion) == Form::DoubleWord {
        two_sum(expansion, ["%norm_s", "%norm_c"], [s0, s1]);
        return;
    }
    ptx!(expansion, ".reg .b64 %norm_t, %norm_u;");
    ptx!(expansion, "mov.b64 %norm_t, {{{s0}, {s1}}};");
    ptx!(expansion, "cvt.rn.f32.s64 %norm_s, %norm_t;");
    ptx!(expansion, "cvt.rni.s64.f32 %norm_u, %norm_s;");
    ptx!(expansion, "sub.s64 %norm_u, %norm_t, %norm_u;");
    ptx!(expansion, "cvt.rn.f32.s64 %norm_c, %norm_u;");
    ptx!(expansion, "mul.rn.f32 %norm_s, %norm_s, 0f{UNIT:08X};");
    ptx!(expansion, "mul.rn.f32 %norm_c, %norm_c, 0f{UNIT:08X};");
}

/// Writes the total less `mean * elements` to `%norm_q`. The product is exact, and if the mean is nearly that of the total, so is
/// the first difference.
fn rest_of(expansion: &mut Expansion<'_>, mean: &str, elements: &str) {
    ptx!(expansion, "mul.rn.f32 %norm_p, {mean}, {elements};");
    ptx!(expansion, "neg.f32 %norm_n, %norm_p;");
    ptx!(expansion, "fma.rn.f32 %norm_n, {mean}, {elements}, %norm_n;");
    ptx!(expansion, "sub.rn.f32 %norm_q, %norm_s, %norm_p;");
    ptx!(expansion, "sub.rn.f32 %norm_q, %norm_q, %norm_n;");
    ptx!(expansion, "add.rn.f32 %norm_q, %norm_q, %norm_c;");
}

/// Writes the mean of a total that is split, and its excess: a first mean is corrected by what it leaves of the total, and what the
/// corrected one leaves is the excess. Of elements that are all the same nothing is left.
fn mean_of_split(expansion: &mut Expansion<'_>, mean: &str, excess: &str, elements: &str, reciprocal: &str) {
    ptx!(expansion, "mul.rn.f32 %norm_v, %norm_s, {reciprocal};");
    rest_of(expansion, "%norm_v", elements);
    ptx!(expansion, "fma.rn.f32 {mean}, %norm_q, {reciprocal}, %norm_v;");
    rest_of(expansion, mean, elements);
    ptx!(expansion, "mul.rn.f32 {excess}, %norm_q, {reciprocal};");
    ptx!(expansion, "neg.f32 {excess}, {excess};");
}

pub(super) fn moments(mut expansion: Expansion<'_>, operands: &[&str]) {
    let [mean, excess, centered, s0, s1, squares, elements, r32, r64] = named(operands);
    ptx!(expansion, "{{");
    if Form::of(&expansion) == Form::Double {
        ptx!(expansion, ".reg .b64 %norm_t, %norm_m, %norm_d;");
        in_units_of_one(&mut expansion, "t", [s0, s1]);
        ptx!(expansion, "mul.rn.f64 %norm_m, %norm_t, {r64};");
        ptx!(expansion, "cvt.rn.f32.f64 {mean}, %norm_m;");
        ptx!(expansion, "cvt.f64.f32 %norm_d, {mean};");
        ptx!(expansion, "sub.rn.f64 %norm_d, %norm_d, %norm_m;");
        ptx!(expansion, "cvt.rn.f32.f64 {excess}, %norm_d;");
        ptx!(expansion, "cvt.f64.f32 %norm_d, {squares};");
        ptx!(expansion, "mul.rn.f64 %norm_m, %norm_t, %norm_m;");
        ptx!(expansion, "sub.rn.f64 %norm_d, %norm_d, %norm_m;");
        ptx!(expansion, "cvt.rn.f32.f64 {centered}, %norm_d;");
    } else {
        split(&mut expansion, [s0, s1]);
        mean_of_split(&mut expansion, mean, excess, elements, r32);
        // The squares less `total * mean`, of which the first product is exact, as it may be four fifths of them.
        ptx!(expansion, "mul.rn.f32 %norm_p, %norm_s, {mean};");
        ptx!(expansion, "neg.f32 %norm_n, %norm_p;");
        ptx!(expansion, "fma.rn.f32 %norm_n, %norm_s, {mean}, %norm_n;");
        ptx!(expansion, "mul.rn.f32 %norm_q, %norm_c, {mean};");
        ptx!(expansion, "mul.rn.f32 %norm_r, %norm_s, {excess};");
        ptx!(expansion, "sub.rn.f32 %norm_q, %norm_q, %norm_r;");
        ptx!(expansion, "add.rn.f32 %norm_q, %norm_n, %norm_q;");
        ptx!(expansion, "sub.rn.f32 {centered}, {squares}, %norm_p;");
        ptx!(expansion, "sub.rn.f32 {centered}, {centered}, %norm_q;");
    }
    ptx!(expansion, "}}");
}

pub(super) fn mean(mut expansion: Expansion<'_>, operands: &[&str]) {
    let [mean, excess, s0, s1, elements, r32, r64] = named(operands);
    ptx!(expansion, "{{");
    if Form::of(&expansion) == Form::Double {
        ptx!(expansion, ".reg .b64 %norm_t, %norm_m, %norm_d;");
        in_units_of_one(&mut expansion, "t", [s0, s1]);
        ptx!(expansion, "mul.rn.f64 %norm_m, %norm_t, {r64};");
        ptx!(expansion, "cvt.rn.f32.f64 {mean}, %norm_m;");
        // By the total, whose difference is exact: the f64 mean may be off by an ULP of f64, since `1 / elements` is rounded,
        // which would give elements that are all the same an excess.
        ptx!(expansion, "cvt.f64.f32 %norm_m, {mean};");
        ptx!(expansion, "cvt.f64.f32 %norm_d, {elements};");
        ptx!(expansion, "mul.rn.f64 %norm_m, %norm_m, %norm_d;");
        ptx!(expansion, "sub.rn.f64 %norm_m, %norm_m, %norm_t;");
        ptx!(expansion, "mul.rn.f64 %norm_m, %norm_m, {r64};");
        ptx!(expansion, "cvt.rn.f32.f64 {excess}, %norm_m;");
    } else {
        split(&mut expansion, [s0, s1]);
        mean_of_split(&mut expansion, mean, excess, elements, r32);
    }
    ptx!(expansion, "}}");
}

pub(super) fn distance(mut expansion: Expansion<'_>, operands: &[&str]) {
    let [distance, s0, s1, elements, share32, share64, u0, u1, row64, mean, excess] = named(operands);
    ptx!(expansion, "{{");
    if Form::of(&expansion) == Form::Double {
        ptx!(expansion, ".reg .b64 %norm_t, %norm_u;");
        in_units_of_one(&mut expansion, "t", [s0, s1]);
        in_units_of_one(&mut expansion, "u", [u0, u1]);
        ptx!(expansion, "mul.rn.f64 %norm_t, %norm_t, {share64};");
        ptx!(expansion, "mul.rn.f64 %norm_u, %norm_u, {row64};");
        ptx!(expansion, "sub.rn.f64 %norm_t, %norm_t, %norm_u;");
        ptx!(expansion, "cvt.rn.f32.f64 {distance}, %norm_t;");
    } else {
        split(&mut expansion, [s0, s1]);
        rest_of(&mut expansion, mean, elements);
        ptx!(expansion, "mul.rn.f32 %norm_q, %norm_q, {share32};");
        ptx!(expansion, "add.rn.f32 {distance}, %norm_q, {excess};");
    }
    ptx!(expansion, "}}");
}

pub(super) fn overflows(expansion: Expansion<'_>, operands: &[&str]) {
    let [flag, mean] = named(operands);
    if Form::of(&expansion) != Form::DoubleWord {
        ptx!(expansion, "mov.b32 {flag}, 0;");
        return;
    }
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_v;");
    ptx!(expansion, ".reg .pred %norm_p;");
    ptx!(expansion, "abs.f32 %norm_v, {mean};");
    // Not for NaN either.
    ptx!(expansion, "setp.lt.f32 %norm_p, %norm_v, 0f7F800000;");
    ptx!(expansion, "selp.b32 {flag}, 0, 1, %norm_p;");
    ptx!(expansion, "}}");
}
