//! The expansions of kernels whose output is quantized.

use std::fmt::Write;

use norm_kernels::abi::{DType, QuantFormat, QuantRecipe};

use super::operation::{Expansion, clamp, named, pack, ptx, round, unpack};

/// A sum is clamped only where it is rounded, too.
pub(super) fn sum(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, a, b] = named(operands);
    if expansion.dtype == DType::F32 {
        ptx!(expansion, "mov.b32 {lo}, {a};");
        ptx!(expansion, "mov.b32 {hi}, {b};");
        return;
    }
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_s, %norm_t;");
    pack(Expansion { text: expansion.text, ..expansion }, &["%norm_s", a, b]);
    clamp(Expansion { text: expansion.text, ..expansion }, &["%norm_t", "%norm_s"]);
    unpack(Expansion { text: expansion.text, ..expansion }, &[lo, hi, "%norm_t"]);
    ptx!(expansion, "}}");
}

/// Whether NaNs stay what they are.
fn keeps_nan(expansion: &Expansion<'_>) -> bool {
    expansion.quantized.is_some_and(|(_, recipe)| recipe.keeps_nan())
}

/// A pair of values is a word where they are rounded to 16 bits. Nothing reads its second word, and ptxas removes what writes it.
pub(super) fn value(expansion: Expansion<'_>, operands: &[&str]) {
    let [p, q, a, b] = named(operands);
    if expansion.dtype == DType::F32 {
        ptx!(expansion, "mov.b32 {p}, {a};");
        ptx!(expansion, "mov.b32 {q}, {b};");
        return;
    }
    pack(Expansion { text: expansion.text, ..expansion }, &[p, a, b]);
    ptx!(expansion, "mov.b32 {q}, 0;");
}

pub(super) fn number(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, p, q] = named(operands);
    if expansion.dtype == DType::F32 {
        ptx!(expansion, "mov.b32 {lo}, {p};");
        ptx!(expansion, "mov.b32 {hi}, {q};");
        return;
    }
    unpack(expansion, &[lo, hi, p]);
}

/// The product of two numbers of one type of 16 bits is exact in f32, and rounded once from there: what an instruction for two of
/// them gives, in place of seven.
pub(super) fn weigh(expansion: Expansion<'_>, operands: &[&str]) {
    let [p, q, a, b, weights] = named(operands);
    let [normalized, values] = expansion.rounded;
    ptx!(expansion, "{{");
    if normalized == expansion.dtype && values == expansion.dtype {
        ptx!(expansion, ".reg .b32 %norm_v;");
        pack(Expansion { text: expansion.text, ..expansion }, &["%norm_v", a, b]);
        if expansion.dtype == DType::F16 {
            ptx!(expansion, "mul.rn.f16x2 {p}, %norm_v, {weights};");
        } else if expansion.capability >= (9, 0) {
            ptx!(expansion, "mul.rn.bf16x2 {p}, %norm_v, {weights};");
        } else {
            // -0, which changes no product.
            ptx!(expansion, "mov.b32 {q}, 0x80008000;");
            ptx!(expansion, "fma.rn.bf16x2 {p}, %norm_v, {weights}, {q};");
        }
        ptx!(expansion, "mov.b32 {q}, 0;");
        ptx!(expansion, "}}");
        return;
    }
    ptx!(expansion, ".reg .b32 %norm_a, %norm_b, %norm_c, %norm_d;");
    round(Expansion { text: expansion.text, dtype: normalized, ..expansion }, &["%norm_a", "%norm_b", a, b]);
    unpack(Expansion { text: expansion.text, ..expansion }, &["%norm_c", "%norm_d", weights]);
    ptx!(expansion, "mul.rn.f32 %norm_a, %norm_a, %norm_c;");
    ptx!(expansion, "mul.rn.f32 %norm_b, %norm_b, %norm_d;");
    value(Expansion { text: expansion.text, dtype: values, ..expansion }, &[p, q, "%norm_a", "%norm_b"]);
    ptx!(expansion, "}}");
}

pub(super) fn larger(expansion: Expansion<'_>, operands: &[&str]) {
    let [r, s, a, b, p, q] = named(operands);
    let nan = if keeps_nan(&expansion) { ".NaN" } else { "" };
    let (dtype, pairs) = match expansion.dtype {
        DType::F32 => ("f32", &[(r, a, p), (s, b, q)][..]),
        DType::F16 => ("f16x2", &[(r, a, p)][..]),
        DType::BF16 => ("bf16x2", &[(r, a, p)][..]),
    };
    for (larger, one, other) in pairs {
        if expansion.dtype != DType::F32 && expansion.capability >= (9, 0) {
            // The larger magnitude, with the exclusive or of the signs: `largest` takes them off.
            ptx!(expansion, "max{nan}.xorsign.abs.{dtype} {larger}, {one}, {other};");
            continue;
        }
        ptx!(expansion, "{{");
        ptx!(expansion, ".reg .b32 %norm_a, %norm_b;");
        ptx!(expansion, "abs.{dtype} %norm_a, {one};");
        ptx!(expansion, "abs.{dtype} %norm_b, {other};");
        ptx!(expansion, "max{nan}.{dtype} {larger}, %norm_a, %norm_b;");
        ptx!(expansion, "}}");
    }
    if pairs.len() == 1 {
        ptx!(expansion, "mov.b32 {s}, 0;");
    }
}

pub(super) fn largest(expansion: Expansion<'_>, operands: &[&str]) {
    let [largest, a, b] = named(operands);
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_a, %norm_b;");
    number(Expansion { text: expansion.text, ..expansion }, &["%norm_a", "%norm_b", a, b]);
    ptx!(expansion, "abs.f32 %norm_a, %norm_a;");
    ptx!(expansion, "abs.f32 %norm_b, %norm_b;");
    if keeps_nan(&expansion) {
        ptx!(expansion, "max.NaN.f32 {largest}, %norm_a, %norm_b;");
    } else {
        ptx!(expansion, "max.f32 {largest}, %norm_a, %norm_b;");
        // Of two NaNs it is a NaN.
        ptx!(expansion, "max.f32 {largest}, {largest}, 0f00000000;");
    }
    ptx!(expansion, "}}");
}

/// Whether values are divided by their scale.
fn divides(expansion: &Expansion<'_>) -> bool {
    expansion.quantized.is_some_and(|(format, recipe)| recipe.divides(format))
}

pub(super) fn reciprocal(expansion: Expansion<'_>, operands: &[&str]) {
    let [reciprocal, scale, magnitude, max] = named(operands);
    match expansion.quantized {
        // Off by an ULP, which is a part of the slack that is promised. No scale is subnormal, nor is its reciprocal.
        Some((_, QuantRecipe::Exact)) => ptx!(expansion, "rcp.approx.ftz.f32 {reciprocal}, {scale};"),
        Some((_, QuantRecipe::FlashInferBlock)) => {
            ptx!(expansion, "div.rn.f32 {reciprocal}, {max}, {magnitude};")
        }
        _ => ptx!(expansion, "rcp.rn.f32 {reciprocal}, {scale};"),
    }
}

/// A division, rounded once, by the reciprocal of the divisor, rounded once: a quotient is corrected twice by what it leaves of
/// the dividend. The first correction leaves it off by less than an ULP, the second rounds it correctly (Markstein 1990,
/// "Computation of Elementary Functions on the IBM RISC System/6000 Processor"). That takes half of the instructions of
/// `div.rn.f32`, and no call. What is left of an infinite dividend, divisor or product is NaN, and a zero loses its sign: there the
/// product is the quotient.
pub(super) fn quotient(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, p, q, scale, reciprocal] = named(operands);
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_a, %norm_b;");
    number(Expansion { text: expansion.text, ..expansion }, &["%norm_a", "%norm_b", p, q]);
    for (quotient, value) in [(lo, "%norm_a"), (hi, "%norm_b")] {
        if !divides(&expansion) {
            ptx!(expansion, "mul.rn.f32 {quotient}, {value}, {reciprocal};");
            continue;
        }
        ptx!(expansion, "{{");
        ptx!(expansion, ".reg .pred %norm_p;");
        ptx!(expansion, ".reg .b32 %norm_q, %norm_r, %norm_s;");
        ptx!(expansion, "neg.f32 %norm_s, {scale};");
        ptx!(expansion, "mul.rn.f32 %norm_q, {value}, {reciprocal};");
        ptx!(expansion, "fma.rn.f32 %norm_r, %norm_s, %norm_q, {value};");
        ptx!(expansion, "fma.rn.f32 {quotient}, %norm_r, {reciprocal}, %norm_q;");
        ptx!(expansion, "fma.rn.f32 %norm_r, %norm_s, {quotient}, {value};");
        ptx!(expansion, "fma.rn.f32 {quotient}, %norm_r, {reciprocal}, {quotient};");
        // False of NaN, too.
        ptx!(expansion, "setp.ne.f32 %norm_p, {quotient}, 0f00000000;");
        ptx!(expansion, "selp.b32 {quotient}, {quotient}, %norm_q, %norm_p;");
        ptx!(expansion, "}}");
    }
    ptx!(expansion, "}}");
}

/// Whether codes of int8 are found by an addition: of quotients none of which is NaN, which the scale of a recipe that keeps NaNs
/// tells.
fn counts(expansion: &Expansion<'_>) -> bool {
    matches!(expansion.quantized, Some((QuantFormat::Int8, recipe)) if recipe.keeps_nan())
}

pub(super) fn has_range(expansion: Expansion<'_>, operands: &[&str]) {
    let [flag] = named(operands);
    let has_range = divides(&expansion) || counts(&expansion);
    ptx!(expansion, "mov.b32 {flag}, {};", u32::from(has_range));
}

/// The same division of numbers that have 11 significant bits at most: one correction rounds it correctly, which trying all of their
/// significands with all of the divisor's has shown. What is left of the dividend has the other sign, and is multiplied by the
/// reciprocal with the other sign, so that zeros keep theirs.
pub(super) fn quotient_in_range(expansion: Expansion<'_>, operands: &[&str]) {
    if !divides(&expansion) {
        return quotient(expansion, operands);
    }
    let [lo, hi, p, q, scale, reciprocal] = named(operands);
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_a, %norm_b, %norm_n, %norm_q, %norm_r, %norm_v;");
    number(Expansion { text: expansion.text, ..expansion }, &["%norm_a", "%norm_b", p, q]);
    ptx!(expansion, "neg.f32 %norm_n, {reciprocal};");
    for (quotient, value) in [(lo, "%norm_a"), (hi, "%norm_b")] {
        ptx!(expansion, "neg.f32 %norm_v, {value};");
        ptx!(expansion, "mul.rn.f32 %norm_q, {value}, {reciprocal};");
        ptx!(expansion, "fma.rn.f32 %norm_r, {scale}, %norm_q, %norm_v;");
        ptx!(expansion, "fma.rn.f32 {quotient}, %norm_r, %norm_n, %norm_q;");
    }
    ptx!(expansion, "}}");
}

/// The sum with 1.5 · 2^23 has the rounded number in its lowest byte: a conversion has an eighth of an addition's throughput.
pub(super) fn codes_in_range(expansion: Expansion<'_>, operands: &[&str]) {
    if !counts(&expansion) {
        return codes(expansion, operands);
    }
    let [word, values @ ..]: [&str; 5] = named(operands);
    let sums = ["%norm_a", "%norm_b", "%norm_c", "%norm_d"];
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 {};", sums.join(", "));
    for (sum, value) in sums.into_iter().zip(values) {
        ptx!(expansion, "add.rn.f32 {sum}, {value}, 0f4B400000;");
    }
    join_bytes(expansion, word);
}

pub(super) fn codes(expansion: Expansion<'_>, operands: &[&str]) {
    let [word, values @ ..]: [&str; 5] = named(operands);
    match expansion.quantized {
        Some((QuantFormat::Int8, _)) => int8(expansion, word, values),
        Some((QuantFormat::E4m3, _)) if expansion.capability >= (8, 9) => e4m3(expansion, word, values),
        Some((QuantFormat::E4m3, _)) => e4m3_of_integers(expansion, word, values),
        None => {} // Not reached: `Statement::dtype` refuses a kernel without codes.
    }
}

/// By `cvt.rn.satfinite.e4m3x2.f32`, which takes the upper byte first, and makes 0x7f of a NaN.
fn e4m3(expansion: Expansion<'_>, word: &str, values: [&str; 4]) {
    let saturates_nan = !keeps_nan(&expansion);
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b16 %norm_l, %norm_h;");
    let mut values = values;
    if saturates_nan {
        ptx!(expansion, ".reg .b32 %norm_a, %norm_b, %norm_c, %norm_d;");
        let clamped = ["%norm_a", "%norm_b", "%norm_c", "%norm_d"];
        for (clamped, value) in clamped.into_iter().zip(values) {
            // Of a NaN and a number it is the number, 448.
            ptx!(expansion, "min.f32 {clamped}, {value}, 0f43E00000;");
        }
        values = clamped;
    }
    let [a, b, c, d] = values;
    ptx!(expansion, "cvt.rn.satfinite.e4m3x2.f32 %norm_l, {b}, {a};");
    ptx!(expansion, "cvt.rn.satfinite.e4m3x2.f32 %norm_h, {d}, {c};");
    ptx!(expansion, "mov.b32 {word}, {{%norm_l, %norm_h}};");
    ptx!(expansion, "}}");
}

/// The same by integers, for devices without the instruction.
///
/// Of numbers from 2^-6 on, the code is the upper bits of the f32, rounded to nearest even by an addition, with another
/// exponent bias. Below, codes count in 2^-9, the last bit of f32 around 2^14: the addition of 2^14 rounds to it.
fn e4m3_of_integers(expansion: Expansion<'_>, word: &str, values: [&str; 4]) {
    let keeps_nan = keeps_nan(&expansion);
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .pred %norm_p;");
    ptx!(expansion, ".reg .b32 %norm_a, %norm_n, %norm_t, %norm_w;");
    for (place, value) in values.into_iter().enumerate() {
        ptx!(expansion, "abs.f32 %norm_a, {value};");
        // A NaN becomes 448.
        ptx!(expansion, "min.f32 %norm_a, %norm_a, 0f43E00000;");
        ptx!(expansion, "shr.u32 %norm_n, %norm_a, 20;");
        ptx!(expansion, "and.b32 %norm_n, %norm_n, 1;");
        ptx!(expansion, "add.s32 %norm_n, %norm_n, %norm_a;");
        ptx!(expansion, "add.s32 %norm_n, %norm_n, 0x7ffff;");
        ptx!(expansion, "shr.u32 %norm_n, %norm_n, 20;");
        ptx!(expansion, "sub.s32 %norm_n, %norm_n, {};", (127 - 7) << 3);
        ptx!(expansion, "add.rn.f32 %norm_t, %norm_a, 0f46800000;");
        ptx!(expansion, "sub.s32 %norm_t, %norm_t, 0x46800000;");
        ptx!(expansion, "setp.lt.f32 %norm_p, %norm_a, 0f3C800000;");
        ptx!(expansion, "selp.b32 %norm_n, %norm_t, %norm_n, %norm_p;");
        // The sign of a NaN is lost.
        ptx!(expansion, "shr.u32 %norm_t, {value}, 24;");
        ptx!(expansion, "and.b32 %norm_t, %norm_t, 0x80;");
        ptx!(expansion, "or.b32 %norm_n, %norm_n, %norm_t;");
        let nan = if keeps_nan { 0x7f } else { 0x7e };
        ptx!(expansion, "setp.nan.f32 %norm_p, {value}, {value};");
        ptx!(expansion, "selp.b32 %norm_n, {nan:#x}, %norm_n, %norm_p;");
        if place == 0 {
            ptx!(expansion, "mov.b32 %norm_w, %norm_n;");
        } else {
            ptx!(expansion, "bfi.b32 %norm_w, %norm_n, %norm_w, {}, 8;", 8 * place);
        }
    }
    ptx!(expansion, "mov.b32 {word}, %norm_w;");
    ptx!(expansion, "}}");
}

fn int8(expansion: Expansion<'_>, word: &str, values: [&str; 4]) {
    let codes = ["%norm_a", "%norm_b", "%norm_c", "%norm_d"];
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 {};", codes.join(", "));
    for (code, value) in codes.into_iter().zip(values) {
        ptx!(expansion, "cvt.rni.sat.s8.f32 {code}, {value};");
    }
    join_bytes(expansion, word);
}

/// Ends the block in which `%norm_a` to `%norm_d` are declared by a word of their lowest bytes: two by two, then all four.
fn join_bytes(expansion: Expansion<'_>, word: &str) {
    ptx!(expansion, "prmt.b32 %norm_a, %norm_a, %norm_b, 0x0040;");
    ptx!(expansion, "prmt.b32 %norm_c, %norm_c, %norm_d, 0x0040;");
    ptx!(expansion, "prmt.b32 {word}, %norm_a, %norm_c, 0x5410;");
    ptx!(expansion, "}}");
}
