//! The pseudo-instructions and their expansions: the table of the [parent module](super) as code.

use std::fmt::Write;

use norm_kernels::abi::{
    Activation,
    DType::{self, BF16, F16, F32},
    Gating, QuantFormat, QuantRecipe,
};

use super::quantize::{
    codes, codes_in_range, has_range, larger, largest, number, quotient, quotient_in_range, reciprocal, sum,
    value, weigh,
};
use super::total::{distance, mean, moments, overflows, plus, total, total_f32};

/// A pseudo-instruction.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// The roles that it accepts.
    pub(super) roles: &'static [&'static str],
    /// A vector's length, `v4`.
    pub(super) vector: Option<&'static str>,
    /// Its operands by name, outputs first.
    pub(super) signature: &'static str,
    /// The number of operands that it writes.
    pub(super) outputs: usize,
    /// Writes its expansion, given the operand for each name of `signature`.
    pub(super) expand: fn(Expansion<'_>, &[&str]),
}

const fn operation(
    name: &'static str,
    roles: &'static [&'static str],
    vector: Option<&'static str>,
    signature: &'static str,
    outputs: usize,
    expand: fn(Expansion<'_>, &[&str]),
) -> Operation {
    Operation { name, roles, vector, signature, outputs, expand }
}

/// All operations; those with the same name are adjacent.
pub(super) const OPERATIONS: &[Operation] = &[
    operation("unpack", &["x", "w", "y"], None, "{lo, hi}, word", 2, unpack),
    operation("pack", &["x", "w", "y"], None, "word, {lo, hi}", 1, pack),
    operation("clamp", &["x"], None, "clamped, word", 1, clamp),
    operation("total", &["x"], Some("v4"), "{lo, hi}, {s0, s1}, {a, b, c, d}, {p, q}", 2, total),
    operation(
        "total",
        &["x"],
        Some("v8"),
        "{lo, hi}, {s0, s1}, {a, b, c, d, e, f, g, h}, {p, q, r, s}",
        2,
        total,
    ),
    operation("total_f32", &["s"], Some("v4"), "{lo, hi}, {s0, s1}, {a, b, c, d}", 2, total_f32),
    operation("total_f32", &["s"], Some("v8"), "{lo, hi}, {s0, s1}, {a, b, c, d, e, f, g, h}", 2, total_f32),
    operation("plus", &["x", "s"], None, "{lo, hi}, {a0, a1}, {b0, b1}", 2, plus),
    operation(
        "moments",
        &["x", "s"],
        None,
        "{mean, excess, centered}, {s0, s1}, squares, elements, r32, r64",
        3,
        moments,
    ),
    operation("mean", &["x", "s"], None, "{mean, excess}, {s0, s1}, elements, r32, r64", 2, mean),
    operation(
        "distance",
        &["x", "s"],
        None,
        "distance, {s0, s1}, elements, share32, share64, {u0, u1}, row64, mean, excess",
        1,
        distance,
    ),
    operation("overflows", &["x", "s"], None, "flag, mean", 1, overflows),
    operation("ones", &["w"], None, "word", 1, ones),
    operation("st_clamped", &["x"], Some("v2"), "[slot], {a, b}", 0, st_clamped),
    operation("st_clamped", &["x"], Some("v4"), "[slot], {a, b, c, d}", 0, st_clamped),
    operation("round", &["n", "w", "m", "p"], None, "{lo, hi}, {a, b}", 2, round),
    operation("add", &["x", "y", "n"], None, "{lo, hi}, {a0, a1}, {r0, r1}, branch, sum", 2, add),
    operation("ld_scale", &["x"], None, "scale, [address], number", 1, ld_scale),
    operation("affine", &["y"], None, "{lo, hi}, {n0, n1}, {w0, w1}, {b0, b1}", 2, affine),
    operation("activate", &["x"], None, "{lo, hi}, {g0, g1}", 2, activate),
    operation("gate", &["x", "y"], None, "{lo, hi}, {v0, v1}, {a0, a1}", 2, gate),
    operation("gates_first", &["x"], None, "flag", 1, gates_first),
    operation("turn", &["p"], None, "{lo, hi}, {a, b}, cos, sin", 2, turn),
    operation("general", &["p"], None, "flag", 1, general),
    operation("short", &["p"], None, "flag", 1, short),
    operation("ld", &["w", "t"], Some("v1"), "{a}, [base], index, wanted", 1, ld),
    operation("ld", &["w", "t"], Some("v2"), "{a, b}, [base], index, wanted", 2, ld),
    operation("ld", &["w", "t"], Some("v4"), "{a, b, c, d}, [base], index, wanted", 4, ld),
    operation("ld", &["w", "t"], Some("v8"), "{a, b, c, d, e, f, g, h}, [base], index, wanted", 8, ld),
    operation("sum", &["x"], None, "{lo, hi}, {a, b}", 2, sum),
    operation("value", &["v"], None, "{p, q}, {a, b}", 2, value),
    operation("number", &["v"], None, "{lo, hi}, {p, q}", 2, number),
    operation("weigh", &["w"], None, "{p, q}, {a, b}, word", 2, weigh),
    operation("larger", &["q"], None, "{r, s}, {a, b}, {p, q}", 2, larger),
    operation("largest", &["q"], None, "largest, {a, b}", 1, largest),
    operation("reciprocal", &["q"], None, "reciprocal, scale, magnitude, max", 1, reciprocal),
    operation("quotient", &["q"], None, "{lo, hi}, {p, q}, scale, reciprocal", 2, quotient),
    operation("codes", &["q"], None, "word, {a, b, c, d}", 1, codes),
    operation("has_range", &["q"], None, "flag", 1, has_range),
    operation("quotient_in_range", &["q"], None, "{lo, hi}, {p, q}, scale, reciprocal", 2, quotient_in_range),
    operation("codes_in_range", &["q"], None, "word, {a, b, c, d}", 1, codes_in_range),
];

/// The output of an expansion, and what the expansion depends on.
pub(super) struct Expansion<'a> {
    pub(super) text: &'a mut String,
    /// The role.
    pub(super) role: &'a str,
    /// The type of the operation's role; for `round`, `affine` and `add` the type to which the order of roundings rounds
    /// there, f32 where it does not round. The type of values that are quantized for what makes and takes them.
    pub(super) dtype: DType,
    /// In a kernel whose output is quantized the types of normalized numbers and of values, f32 where these are not rounded.
    pub(super) rounded: [DType; 2],
    /// What the gate does, in a kernel that has one.
    pub(super) gating: Gating,
    /// In a kernel with factors, the types to which an addition rounds the scaled branch and the sum before its factor.
    pub(super) scaled: Option<[DType; 2]>,
    /// The format and formula of the codes, if the kernel's output is quantized.
    pub(super) quantized: Option<(QuantFormat, QuantRecipe)>,
    /// Of a kernel that rotates heads, whether it is for RMSNorm in front of the rotation alone.
    pub(super) rms_only: bool,
    /// Of such a kernel, whether it is for short grids.
    pub(super) short: bool,
    /// The lowest compute capability that the text is for.
    pub(super) capability: (u32, u32),
    /// Whether it is for devices with few lanes of f64.
    pub(super) few_doubles: bool,
}

/// Writes a line.
macro_rules! ptx {
    ($expansion:ident, $($line:tt)*) => {{
        $expansion.text.push('\t');
        // Writing to a string cannot fail.
        let _ = writeln!($expansion.text, $($line)*);
    }};
}
pub(super) use ptx;

/// The operands by position. There are as many as the signature has names.
pub(super) fn named<'a, const N: usize>(operands: &[&'a str]) -> [&'a str; N] {
    std::array::from_fn(|at| operands.get(at).copied().unwrap_or_default())
}

pub(super) fn unpack(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, word] = named(operands);
    match expansion.dtype {
        F16 => {
            ptx!(expansion, "{{");
            ptx!(expansion, ".reg .b16 %norm_l, %norm_h;");
            ptx!(expansion, "mov.b32 {{%norm_l, %norm_h}}, {word};");
            ptx!(expansion, "cvt.f32.f16 {lo}, %norm_l;");
            ptx!(expansion, "cvt.f32.f16 {hi}, %norm_h;");
            ptx!(expansion, "}}");
        }
        // A bf16 is the upper half of the f32 that it equals.
        BF16 => {
            ptx!(expansion, "shl.b32 {lo}, {word}, 16;");
            ptx!(expansion, "and.b32 {hi}, {word}, 0xffff0000;");
        }
        F32 => {} // Not reached: `Statement::dtype` refuses a role of f32.
    }
}

pub(super) fn pack(expansion: Expansion<'_>, operands: &[&str]) {
    let [word, lo, hi] = named(operands);
    // The instruction takes the upper half first.
    ptx!(expansion, "cvt.rn.{}x2.f32 {word}, {hi}, {lo};", expansion.dtype);
}

/// Whether infinities of that type are clamped to its largest finite number before they are normalized.
const fn is_clamped(dtype: DType) -> bool {
    match dtype {
        F16 => true,
        BF16 | F32 => false,
    }
}

pub(super) fn clamp(expansion: Expansion<'_>, operands: &[&str]) {
    let [clamped, word] = named(operands);
    let is_as_it_is = expansion.quantized.is_some_and(|(_, recipe)| !recipe.clamps());
    if !is_clamped(expansion.dtype) || is_as_it_is {
        ptx!(expansion, "mov.b32 {clamped}, {word};");
        return;
    }
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_w;");
    ptx!(expansion, "mov.b32 %norm_w, 0x7bff7bff;");
    if expansion.capability >= (9, 0) {
        // The smaller magnitude, with the exclusive or of the signs, which is the sign of the word.
        ptx!(expansion, "min.NaN.xorsign.abs.f16x2 {clamped}, {word}, %norm_w;");
    } else {
        ptx!(expansion, "min.NaN.f16x2 {clamped}, {word}, %norm_w;");
        ptx!(expansion, "mov.b32 %norm_w, 0xfbfffbff;");
        ptx!(expansion, "max.NaN.f16x2 {clamped}, {clamped}, %norm_w;");
    }
    ptx!(expansion, "}}");
}

fn ones(expansion: Expansion<'_>, operands: &[&str]) {
    let [word] = named(operands);
    let one = match expansion.dtype {
        F16 => 0x3c00,
        // The upper half of the f32 that is one.
        BF16 | F32 => 0x3f80,
    };
    ptx!(expansion, "mov.b32 {word}, {:#x};", one << 16 | one);
}

fn st_clamped(expansion: Expansion<'_>, operands: &[&str]) {
    if is_clamped(expansion.dtype)
        && let [slot, words @ ..] = operands
    {
        ptx!(expansion, "st.shared.v{}.b32 [{slot}], {{{}}};", words.len(), words.join(", "));
    }
}

/// Writes two values unchanged, or rounded to a type of 16 bits and back.
pub(super) fn round(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, a, b] = named(operands);
    if expansion.dtype == F32 {
        ptx!(expansion, "mov.b32 {lo}, {a};");
        ptx!(expansion, "mov.b32 {hi}, {b};");
        return;
    }
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_v;");
    pack(Expansion { text: expansion.text, ..expansion }, &["%norm_v", a, b]);
    unpack(Expansion { text: expansion.text, ..expansion }, &[lo, hi, "%norm_v"]);
    ptx!(expansion, "}}");
}

fn affine(mut expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, n0, n1, w0, w1, b0, b1] = named(operands);
    if expansion.dtype == F32 {
        ptx!(expansion, "fma.rn.f32 {lo}, {n0}, {w0}, {b0};");
        ptx!(expansion, "fma.rn.f32 {hi}, {n1}, {w1}, {b1};");
        return;
    }
    ptx!(expansion, "mul.rn.f32 {lo}, {n0}, {w0};");
    ptx!(expansion, "mul.rn.f32 {hi}, {n1}, {w1};");
    round_in_place(&mut expansion, [lo, hi]);
    ptx!(expansion, "add.rn.f32 {lo}, {lo}, {b0};");
    ptx!(expansion, "add.rn.f32 {hi}, {hi}, {b1};");
}

/// Writes the row of the table for the kernel: without the roundings and factors that it does not have.
fn add(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, mut a0, mut a1, r0, r1, branch, sum] = named(operands);
    if expansion.dtype != F32 {
        round(Expansion { text: expansion.text, ..expansion }, &[lo, hi, a0, a1]);
        [a0, a1] = [lo, hi];
    }
    if let Some([dtype, _]) = expansion.scaled {
        ptx!(expansion, "mul.rn.f32 {lo}, {a0}, {branch};");
        ptx!(expansion, "mul.rn.f32 {hi}, {a1}, {branch};");
        round_in_place(&mut Expansion { text: expansion.text, dtype, ..expansion }, [lo, hi]);
        [a0, a1] = [lo, hi];
    }
    ptx!(expansion, "add.rn.f32 {lo}, {a0}, {r0};");
    ptx!(expansion, "add.rn.f32 {hi}, {a1}, {r1};");
    if let Some([_, dtype]) = expansion.scaled {
        round_in_place(&mut Expansion { text: expansion.text, dtype, ..expansion }, [lo, hi]);
        ptx!(expansion, "mul.rn.f32 {lo}, {lo}, {sum};");
        ptx!(expansion, "mul.rn.f32 {hi}, {hi}, {sum};");
    }
}

/// In a kernel without factors the result is unused, and ptxas removes the move.
fn ld_scale(expansion: Expansion<'_>, operands: &[&str]) {
    let [scale, address, number] = named(operands);
    ptx!(expansion, "mov.b32 {scale}, {number};");
    if expansion.scaled.is_some() {
        ptx!(expansion, "{{");
        ptx!(expansion, ".reg .pred %norm_p;");
        ptx!(expansion, "setp.ne.b64 %norm_p, {address}, 0;");
        ptx!(expansion, "@%norm_p ld.global.b32 {scale}, [{address}];");
        ptx!(expansion, "}}");
    }
}

/// `1 / (1 + exp(-g))`, and for SiLU `g` times that, as norm-host/src/cpu/gated.rs has it. Where the exponential is infinite
/// the reciprocal is 0.
fn activate(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, g0, g1] = named(operands);
    for (a, g) in [(lo, g0), (hi, g1)] {
        // -log2(e), and 1.
        ptx!(expansion, "mul.rn.f32 {a}, {g}, 0fBFB8AA3B;");
        ptx!(expansion, "ex2.approx.ftz.f32 {a}, {a};");
        ptx!(expansion, "add.rn.f32 {a}, {a}, 0f3F800000;");
        ptx!(expansion, "rcp.approx.ftz.f32 {a}, {a};");
        if expansion.gating.activation == Activation::Silu {
            ptx!(expansion, "mul.rn.f32 {a}, {a}, {g};");
        }
    }
}

/// Multiplies two values where the kernel gates, behind the norm after they have been rounded as its order says.
fn gate(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, v0, v1, a0, a1] = named(operands);
    let multiplies = expansion.gating.gates_first() == (expansion.role == "x");
    let dtype = if multiplies { expansion.dtype } else { F32 };
    round(Expansion { text: expansion.text, dtype, ..expansion }, &[lo, hi, v0, v1]);
    if multiplies {
        ptx!(expansion, "mul.rn.f32 {lo}, {lo}, {a0};");
        ptx!(expansion, "mul.rn.f32 {hi}, {hi}, {a1};");
    }
}

fn gates_first(expansion: Expansion<'_>, operands: &[&str]) {
    let [flag] = named(operands);
    ptx!(expansion, "mov.b32 {flag}, {};", u32::from(expansion.gating.gates_first()));
}

fn general(expansion: Expansion<'_>, operands: &[&str]) {
    let [flag] = named(operands);
    ptx!(expansion, "mov.b32 {flag}, {};", if expansion.rms_only { 0 } else { -1 });
}

fn short(expansion: Expansion<'_>, operands: &[&str]) {
    let [flag] = named(operands);
    ptx!(expansion, "mov.b32 {flag}, {};", if expansion.short { -1 } else { 0 });
}

/// Rounds two values to a type of 16 bits and back, in their registers; nothing for f32.
fn round_in_place(expansion: &mut Expansion<'_>, [lo, hi]: [&str; 2]) {
    if expansion.dtype != F32 {
        ptx!(expansion, "{{");
        ptx!(expansion, ".reg .b32 %norm_v;");
        pack(Expansion { text: expansion.text, ..*expansion }, &["%norm_v", lo, hi]);
        unpack(Expansion { text: expansion.text, ..*expansion }, &[lo, hi, "%norm_v"]);
        ptx!(expansion, "}}");
    }
}

/// Rotates a pair: with fused additions where products are not rounded.
fn turn(mut expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, a, b, cos, sin] = named(operands);
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_s, %norm_t;");
    ptx!(expansion, "mul.rn.f32 %norm_s, {b}, {sin};");
    ptx!(expansion, "mul.rn.f32 %norm_t, {a}, {sin};");
    if expansion.dtype == F32 {
        ptx!(expansion, "neg.f32 %norm_s, %norm_s;");
        ptx!(expansion, "fma.rn.f32 {lo}, {a}, {cos}, %norm_s;");
        ptx!(expansion, "fma.rn.f32 {hi}, {b}, {cos}, %norm_t;");
    } else {
        ptx!(expansion, "mul.rn.f32 {lo}, {a}, {cos};");
        ptx!(expansion, "mul.rn.f32 {hi}, {b}, {cos};");
        round_in_place(&mut expansion, [lo, hi]);
        round_in_place(&mut expansion, ["%norm_s", "%norm_t"]);
        ptx!(expansion, "sub.rn.f32 {lo}, {lo}, %norm_s;");
        ptx!(expansion, "add.rn.f32 {hi}, {hi}, %norm_t;");
    }
    ptx!(expansion, "}}");
}

/// Loads elements of a tensor whose type and size the template leaves open.
fn ld(expansion: Expansion<'_>, operands: &[&str]) {
    let [outputs @ .., base, index, wanted] = operands else { return };
    let dtype = expansion.dtype;
    // What stands in for what is not wanted: a weight of one, or NaN.
    let absent = match (expansion.role, dtype) {
        ("t", _) => 0x7fff_ffff,
        (_, F16) => 0x3c00_3c00,
        (_, BF16) => 0x3f80_3f80,
        (_, F32) => 0x3f80_0000_u32,
    };
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .pred %norm_p;");
    ptx!(expansion, ".reg .b64 %norm_a;");
    ptx!(expansion, "setp.ne.b32 %norm_p, {wanted}, 0;");
    ptx!(expansion, "mul.wide.u32 %norm_a, {index}, {};", dtype.size());
    ptx!(expansion, "add.s64 %norm_a, %norm_a, {base};");
    if dtype == F32 {
        for output in outputs {
            ptx!(expansion, "mov.b32 {output}, {absent:#x};");
        }
        ld_words(expansion.text, outputs);
    } else if let [output] = outputs {
        ptx!(expansion, ".reg .b16 %norm_h;");
        ptx!(expansion, ".reg .b32 %norm_v, %norm_w;");
        ptx!(expansion, "mov.b16 %norm_h, {:#x};", absent & 0xffff);
        ptx!(expansion, "@%norm_p ld.global.nc.b16 %norm_h, [%norm_a];");
        ptx!(expansion, "mov.b32 %norm_v, {{%norm_h, %norm_h}};");
        unpack(Expansion { text: expansion.text, ..expansion }, &[output, "%norm_w", "%norm_v"]);
    } else {
        let words: Vec<String> = (0..outputs.len() / 2).map(|word| format!("%norm_v{word}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ptx!(expansion, ".reg .b32 {};", words.join(", "));
        for word in &words {
            ptx!(expansion, "mov.b32 {word}, {absent:#x};");
        }
        ld_words(expansion.text, &words);
        for (pair, word) in outputs.chunks_exact(2).zip(&words) {
            unpack(Expansion { text: expansion.text, ..expansion }, &[pair[0], pair[1], word]);
        }
    }
    ptx!(expansion, "}}");
}

/// Loads words from the address in `%norm_a`, under the predicate `%norm_p`, 16 bytes at a time.
fn ld_words(text: &mut String, words: &[&str]) {
    for (at, words) in words.chunks(4).enumerate() {
        let (vector, list) = match words {
            [word] => (String::new(), (*word).to_owned()),
            _ => (format!(".v{}", words.len()), format!("{{{}}}", words.join(", "))),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\t@%norm_p ld.global.nc{vector}.b32 {list}, [%norm_a+{}];", 16 * at);
    }
}
