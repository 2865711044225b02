//! The pseudo-instructions that there are, and what each stands for: the table of the [module above](super), as code.

use std::fmt::Write;

use norm_kernels::abi::DType::{self, BF16, F16, F32};

/// A pseudo-instruction.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// The tensors whose types it goes by.
    pub(super) roles: &'static [&'static str],
    /// A vector's length, `v4`.
    pub(super) vector: Option<&'static str>,
    /// Its operands by names, outputs in front. What stands for `elements` and `wanted` may be an integer.
    pub(super) form: &'static str,
    /// Operands that it writes.
    pub(super) outputs: usize,
    /// Writes its expansion, given what stands for each name of `form`.
    pub(super) expand: fn(Expansion<'_>, &[&str]),
}

impl Operation {
    /// Whether there is one of that type: eight f32 would be a vector of 32 bytes.
    pub(super) fn takes(&self, dtype: DType) -> bool {
        !(dtype == F32 && self.vector == Some("v8"))
    }
}

const fn operation(
    name: &'static str,
    roles: &'static [&'static str],
    vector: Option<&'static str>,
    form: &'static str,
    outputs: usize,
    expand: fn(Expansion<'_>, &[&str]),
) -> Operation {
    Operation { name, roles, vector, form, outputs, expand }
}

/// Those of one name are neighbours.
pub(super) const OPERATIONS: &[Operation] = &[
    operation("unpack", &["x", "w"], None, "{lo, hi}, word", 2, unpack),
    operation("pack", &["x", "w"], None, "word, {lo, hi}", 1, pack),
    operation("clamp", &["x"], None, "clamped, word", 1, clamp),
    operation("widen", &["x"], None, "{lo, hi}, word", 2, widen),
    operation("unit", &["x"], None, "unit", 1, unit),
    operation("ones", &["w"], None, "word", 1, ones),
    operation("st_clamped", &["x"], Some("v2"), "[slot], {a, b}", 0, st_clamped),
    operation("st_clamped", &["x"], Some("v4"), "[slot], {a, b, c, d}", 0, st_clamped),
    operation("bytes", &["y"], None, "bytes, elements", 1, bytes),
    operation("offset", &["y"], None, "bytes, elements", 1, offset),
    operation("st", &["y"], None, "[address], value", 0, st),
    operation("st", &["y"], Some("v4"), "[address], {a, b, c, d}", 0, st_vector),
    operation("st", &["y"], Some("v8"), "[address], {a, b, c, d, e, f, g, h}", 0, st_vector),
    operation("ld", &["y"], None, "value, [address]", 1, ld),
    operation("ld", &["y"], Some("v4"), "{a, b, c, d}, [address], wanted", 4, ld_vector),
    operation("ld", &["y"], Some("v8"), "{a, b, c, d, e, f, g, h}, [address], wanted", 8, ld_vector),
];

/// Where an expansion goes, and what it goes by.
pub(super) struct Expansion<'a> {
    pub(super) text: &'a mut String,
    /// The type of the operation's role.
    pub(super) dtype: DType,
    /// The lowest compute capability that the text is for.
    pub(super) capability: (u32, u32),
}

/// Writes a line.
macro_rules! ptx {
    ($expansion:ident, $($line:tt)*) => {{
        $expansion.text.push('\t');
        // Writing to a string cannot fail.
        let _ = writeln!($expansion.text, $($line)*);
    }};
}

/// Operands by position. There are as many as the form has names.
fn named<'a, const N: usize>(operands: &[&'a str]) -> [&'a str; N] {
    std::array::from_fn(|at| operands.get(at).copied().unwrap_or_default())
}

fn unpack(expansion: Expansion<'_>, operands: &[&str]) {
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
        F32 => {} // A word holds one: `Statement::dtype` refuses it.
    }
}

fn pack(expansion: Expansion<'_>, operands: &[&str]) {
    let [word, lo, hi] = named(operands);
    // The upper half stands in front.
    ptx!(expansion, "cvt.rn.{}x2.f32 {word}, {hi}, {lo};", expansion.dtype);
}

/// Whether infinities of that type are held to its largest finite number before they are normalized.
const fn is_clamped(dtype: DType) -> bool {
    match dtype {
        F16 => true,
        BF16 | F32 => false,
    }
}

fn clamp(expansion: Expansion<'_>, operands: &[&str]) {
    let [clamped, word] = named(operands);
    if !is_clamped(expansion.dtype) {
        ptx!(expansion, "mov.b32 {clamped}, {word};");
        return;
    }
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 %norm_w;");
    ptx!(expansion, "mov.b32 %norm_w, 0x7bff7bff;");
    if expansion.capability >= (9, 0) {
        // The lesser magnitude with the sign of both together, which is the word's.
        ptx!(expansion, "min.NaN.xorsign.abs.f16x2 {clamped}, {word}, %norm_w;");
    } else {
        ptx!(expansion, "min.NaN.f16x2 {clamped}, {word}, %norm_w;");
        ptx!(expansion, "mov.b32 %norm_w, 0xfbfffbff;");
        ptx!(expansion, "max.NaN.f16x2 {clamped}, {clamped}, %norm_w;");
    }
    ptx!(expansion, "}}");
}

/// Bits of exponent that an f64 has, and such an element has not.
const fn missing_exponent_bits(dtype: DType) -> u32 {
    match dtype {
        F16 => 11 - 5,
        BF16 | F32 => 11 - 8,
    }
}

/// As `widen_x` in norm-kernels/src/gpu/pseudo.rs says.
fn widen(expansion: Expansion<'_>, operands: &[&str]) {
    let [lo, hi, word] = named(operands);
    let shift = missing_exponent_bits(expansion.dtype);
    // The sign, and the other bits behind the exponent's that are missing.
    let fields = 0x8000_0000_u32 | 0x7fff_0000 >> shift;
    ptx!(expansion, "shl.b32 {lo}, {word}, 16;");
    ptx!(expansion, "shr.s32 {lo}, {lo}, {shift};");
    ptx!(expansion, "and.b32 {lo}, {lo}, {fields:#x};");
    ptx!(expansion, "shr.s32 {hi}, {word}, {shift};");
    ptx!(expansion, "and.b32 {hi}, {hi}, {fields:#x};");
}

fn unit(expansion: Expansion<'_>, operands: &[&str]) {
    let [unit] = named(operands);
    // What the biases of f64's exponent and the element's differ by.
    let power = 1023 - ((1 << (10 - missing_exponent_bits(expansion.dtype))) - 1);
    ptx!(expansion, "mov.b64 {unit}, {:#x};", ((1023 + power) as u64) << 52);
}

fn ones(expansion: Expansion<'_>, operands: &[&str]) {
    let [word] = named(operands);
    let one = match expansion.dtype {
        F16 => 0x3c00,
        // The upper half of an f32's.
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

fn bytes(expansion: Expansion<'_>, operands: &[&str]) {
    let [bytes, elements] = named(operands);
    ptx!(expansion, "shl.b64 {bytes}, {elements}, {};", expansion.dtype.size().ilog2());
}

fn offset(expansion: Expansion<'_>, operands: &[&str]) {
    let [bytes, elements] = named(operands);
    ptx!(expansion, "mul.wide.u32 {bytes}, {elements}, {};", expansion.dtype.size());
}

fn st(expansion: Expansion<'_>, operands: &[&str]) {
    let [address, value] = named(operands);
    if expansion.dtype == F32 {
        ptx!(expansion, "st.global.b32 [{address}], {value};");
        return;
    }
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b16 %norm_l;");
    ptx!(expansion, ".reg .b32 %norm_w;");
    ptx!(expansion, "cvt.rn.{}x2.f32 %norm_w, 0f00000000, {value};", expansion.dtype);
    ptx!(expansion, "cvt.u16.u32 %norm_l, %norm_w;");
    ptx!(expansion, "st.global.b16 [{address}], %norm_l;");
    ptx!(expansion, "}}");
}

fn ld(expansion: Expansion<'_>, operands: &[&str]) {
    let [value, address] = named(operands);
    match expansion.dtype {
        F32 => ptx!(expansion, "ld.global.b32 {value}, [{address}];"),
        F16 => {
            ptx!(expansion, "{{");
            ptx!(expansion, ".reg .b16 %norm_l;");
            ptx!(expansion, "ld.global.b16 %norm_l, [{address}];");
            ptx!(expansion, "cvt.f32.f16 {value}, %norm_l;");
            ptx!(expansion, "}}");
        }
        BF16 => {
            ptx!(expansion, "{{");
            ptx!(expansion, ".reg .b16 %norm_l;");
            ptx!(expansion, ".reg .b32 %norm_w;");
            ptx!(expansion, "ld.global.b16 %norm_l, [{address}];");
            ptx!(expansion, "cvt.u32.u16 %norm_w, %norm_l;");
            ptx!(expansion, "shl.b32 {value}, %norm_w, 16;");
            ptx!(expansion, "}}");
        }
    }
}

/// The words of a vector of 16-bit elements, for as many as are needed.
const WORDS: [&str; 4] = ["%norm_w0", "%norm_w1", "%norm_w2", "%norm_w3"];

fn st_vector(expansion: Expansion<'_>, operands: &[&str]) {
    let [address, values @ ..] = operands else { return };
    if expansion.dtype == F32 {
        ptx!(expansion, "st.global.cs.v{}.b32 [{address}], {{{}}};", values.len(), values.join(", "));
        return;
    }
    let words = &WORDS[..values.len() / 2];
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .b32 {};", words.join(", "));
    for (word, pair) in words.iter().zip(values.chunks(2)) {
        let [lo, hi] = named(pair);
        pack(Expansion { text: expansion.text, ..expansion }, &[word, lo, hi]);
    }
    ptx!(expansion, "st.global.cs.v{}.b32 [{address}], {{{}}};", words.len(), words.join(", "));
    ptx!(expansion, "}}");
}

fn ld_vector(expansion: Expansion<'_>, operands: &[&str]) {
    let [values @ .., address, wanted] = operands else { return };
    let words = if expansion.dtype == F32 { values } else { &WORDS[..values.len() / 2] };
    ptx!(expansion, "{{");
    ptx!(expansion, ".reg .pred %norm_p;");
    if expansion.dtype != F32 {
        ptx!(expansion, ".reg .b32 {};", words.join(", "));
    }
    ptx!(expansion, "setp.ne.b32 %norm_p, {wanted}, 0;");
    for word in words {
        ptx!(expansion, "mov.b32 {word}, 0;");
    }
    let vector = words.join(", ");
    ptx!(expansion, "@%norm_p ld.global.L1::no_allocate.v{}.b32 {{{vector}}}, [{address}];", words.len());
    if expansion.dtype != F32 {
        for (word, pair) in words.iter().zip(values.chunks(2)) {
            let [lo, hi] = named(pair);
            unpack(Expansion { text: expansion.text, ..expansion }, &[lo, hi, word]);
        }
    }
    ptx!(expansion, "}}");
}
