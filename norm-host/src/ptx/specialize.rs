//! Specialization of a template: writing the types of an entry point into compiled text.
//!
//! The compiled text of a target is a set of [templates](Template). A template is PTX with **pseudo-instructions**, which
//! stand for what is not compiled in: which 16-bit type each of x, w and y has, and where the kernel
//! [rounds](EpilogueRounding). PTX has no specialization constants, as Vulkan and Metal have, but every module holds a
//! single kernel, whose text the host takes out for the driver anyway. [`specialize`] writes the types into that text;
//! driver and simulator see only plain PTX.
//!
//! # Pseudo-instructions
//!
//! A pseudo-instruction is a statement alone on its line, `norm.<operation>.<role> operands;`, perhaps with a vector's
//! length behind the role. The role is the tensor whose type is meant: `x` (also the residual's), `w` (also the
//! biases') or `y`; `t`, a table of cosines or sines; `n`, the normalized value, whose type follows from the order of
//! roundings; `m`, what goes from a norm to a rotation or back; or `p`, a product of a rotation. Operands are registers,
//! outputs first. No output may be another operand of its statement. A "word" is a 32-bit register with two 16-bit
//! elements, the first in the lower half.
//!
//! | pseudo-instruction, without `norm.` | roles | meaning | f16 | bf16 | f32 |
//! |---|---|---|---|---|---|
//! | `unpack.T {lo, hi}, word` | x, w, y | a word's elements as f32 | `cvt.f32.f16` of either half | `shl.b32` by 16; `and.b32` with the upper half's mask | – |
//! | `pack.T word, {lo, hi}` | x, w, y | two f32, rounded to nearest even, as a word | `cvt.rn.f16x2.f32` | `cvt.rn.bf16x2.f32` | – |
//! | `clamp.T clamped, word` | x | infinities become ±65504, NaN stays; bf16, whose largest numbers f32 holds, as it is | `min.NaN.xorsign.abs.f16x2`; before sm_90 `min.NaN.f16x2` and `max.NaN.f16x2` | `mov.b32` | – |
//! | `ones.T word` | w | two elements of one | `mov.b32` | `mov.b32` | – |
//! | `st_clamped.T.v2 [slot], {a, b}`, `.v4 [slot], {a, b, c, d}` | x | words that `clamp` has changed, back to shared memory | `st.shared.v2.b32`, `.v4` | nothing: `clamp` changes none | – |
//! | `add.T {lo, hi}, {a0, a1}, {r0, r1}, branch, sum` | x, y, n | `a + r`, a rounded first where the kernel rounds there; in a kernel that is scaled `(a * branch + r) * sum`, the product and the sum rounded where the order is not `Single` | `round`, `mul.rn.f32`, `round`, `add.rn.f32`, `round`, `mul.rn.f32` | as for f16 | the same without `round` |
//! | `ld_scale.T scale, [address], number` | x | in a kernel that is scaled the f32 at the address, or the number where that is 0 | `setp.ne.b64`, `ld.global.b32`; else `mov.b32` | as for f16 | as for f16 |
//! | `round.T {lo, hi}, {a, b}` | n, w, m, p | two f32, rounded to nearest even to that type where the kernel rounds there | `cvt.rn.f16x2.f32`, `unpack` | `cvt.rn.bf16x2.f32`, `unpack` | `mov.b32` |
//! | `activate.T {lo, hi}, {g0, g1}` | x | the activation of two elements of a gate, an f32 each: `1 / (1 + exp(-g))`, or `g` times that | `mul.rn.f32` by -log2 e, `ex2.approx.ftz.f32`, `add.rn.f32`, `rcp.approx.ftz.f32`; of SiLU `mul.rn.f32` | as for f16 | as for f16 |
//! | `gate.T {lo, hi}, {v0, v1}, {a0, a1}` | x, y | the values, multiplied by the activations where the gate multiplies there: at `x` in front of the norm, at `y` behind it | `mul.rn.f32` or `mov.b32`; at `y` `round` in front of it | as for f16 | the same without `round` |
//! | `gates_first.T flag` | x | not 0 if the gate multiplies in front of the norm | `mov.b32` | as for f16 | as for f16 |
//! | `turn.T {lo, hi}, {a, b}, cos, sin` | p | `a · cos - b · sin` and `b · cos + a · sin`, with the products rounded where the kernel rounds them | `mul.rn.f32`, `round`, `sub.rn.f32`, `add.rn.f32` | as for f16 | `mul.rn.f32`, `fma.rn.f32` |
//! | `general.T flag` | p | all bits set if the kernel serves every norm of heads, 0 if it is for RMSNorm in front of the rotation | `mov.b32` | as for f16 | as for f16 |
//! | `short.T flag` | p | all bits set if the kernel is for grids whose blocks nearly all run at once, else 0 | `mov.b32` | as for f16 | as for f16 |
//! | `ld.T.v1 {a}, [base], index, wanted`, `.v2`, `.v4`, `.v8` | w, t | neighbouring elements as f32, from number `index` on, where `wanted` is not 0; else 1 for weights and NaN for a table | `ld.global.nc` of 16-bit words, `unpack` | as for f16 | `ld.global.nc` |
//! | `affine.T {lo, hi}, {n0, n1}, {w0, w1}, {b0, b1}` | y | n · w + b, where the kernel rounds before the bias with the product rounded to that type | `mul.rn.f32`, `round`, `add.rn.f32` | as for f16 | `fma.rn.f32` |
//!
//!
//! LayerNorm's mean takes totals of two 32-bit words (`total.rs`). Their role is `x`, or `s` where what is normalized is f32. The
//! first column of meanings is for devices with many lanes of f64, on which a total is an f64, the others for those with few:
//!
//! | pseudo-instruction, without `norm.` | roles | meaning | f64 | f16 | bf16, f32 |
//! |---|---|---|---|---|---|
//! | `total.T.v4 {lo, hi}, {s0, s1}, {a, b, c, d}, {p, q}`, `.v8` | x | a total with more elements, given as f32 and as words | the fields of the words moved to those of f64; `add.rn.f64` | an integer that counts 2⁻²⁴: `add.rn.f32`, `sub.rn.f32`, `mad.wide.s32` | an f32 and what it lost: `add.rn.f32`, `sub.rn.f32` |
//! | `total_f32.T.v4 {lo, hi}, {s0, s1}, {a, b, c, d}`, `.v8` | s | the same of f32 | `cvt.f64.f32`, `add.rn.f64` | – | as for `total` |
//! | `plus.T {lo, hi}, {a0, a1}, {b0, b1}` | x, s | the sum of two totals | `add.rn.f64` | `add.s64` | `add.rn.f32`, `sub.rn.f32` |
//! | `moments.T {mean, excess, centered}, {s0, s1}, squares, elements, r32, r64` | x, s | a mean rounded to f32, what the rounding added, and the squares less the mean's, given the total, the number of elements, and one over it | `mul.rn.f64`, `sub.rn.f64` | `cvt.rn.f32.s64`, `fma.rn.f32` | `fma.rn.f32` |
//! | `mean.T {mean, excess}, {s0, s1}, elements, r32, r64` | x, s | the first two of these, the second 0 where all elements are the same | as for `moments` | as for `moments` | as for `moments` |
//! | `distance.T distance, {s0, s1}, elements, share32, share64, {u0, u1}, row64, mean, excess` | x, s | the mean of a share less that of its row | as for `moments` | as for `moments` | as for `moments` |
//! | `overflows.T flag, mean` | x, s | not 0 if the elements may add up to more than a total holds | `mov.b32` of 0 | the same | `abs.f32`, `setp.lt.f32` |
//!
//! Kernels whose output is quantized have these, too. Their expansions follow from the kernel's format and
//! [recipe](QuantRecipe):
//!
//! | pseudo-instruction, without `norm.` | role | meaning | expansion |
//! |---|---|---|---|
//! | `sum.T {lo, hi}, {a, b}` | x | sums with a residual as they are normalized: rounded to x's type and clamped, or as they are | `round` and `clamp`, or `mov.b32` |
//! | `value.T {p, q}, {a, b}` | v | a pair of values: a word of x's type, in p, where the recipe rounds values, else an f32 each | `pack.x` or `mov.b32` |
//! | `number.T {lo, hi}, {p, q}` | v | a pair of values as f32 | `unpack.x` or `mov.b32` |
//! | `weigh.T {p, q}, {a, b}, word` | w | normalized numbers times the word's weights as a pair of values, rounded before the weight and behind it where the recipe rounds there | where it rounds at both, and x and w have one type, `pack.x` and `mul.rn.f16x2` or `mul.rn.bf16x2` (before sm_90 `fma.rn.bf16x2`); else `round.n`, `unpack`, `mul.rn.f32`, `value` |
//! | `larger.T {r, s}, {a, b}, {p, q}` | q | of two pairs of values the larger magnitudes, place by place, of either sign; a NaN where the recipe keeps it | `abs.f32` and `max.f32`; of words `max.xorsign.abs`, before sm_90 `abs` and `max`; with `.NaN` or without |
//! | `largest.T largest, {a, b}` | q | the larger magnitude of a pair of values as f32; a NaN where the recipe keeps it | `number`, `abs.f32`; `max.NaN.f32` or `max.f32` |
//! | `reciprocal.T reciprocal, scale, magnitude, max` | q | what values are multiplied by | `rcp.approx.ftz.f32` of the scale, or `rcp.rn.f32`; for `FlashInferBlock` `div.rn.f32` of `max` by the magnitude |
//! | `quotient.T {lo, hi}, {p, q}, scale, reciprocal` | q | a pair of values over their scale | `number`, `mul.rn.f32`; where the recipe divides a division, rounded once, of `mul.rn.f32` and `fma.rn.f32` |
//! | `codes.T word, {a, b, c, d}` | q | four codes, rounded to nearest even and saturated | E4M3: `cvt.rn.satfinite.e4m3x2.f32` twice, before sm_89 integer arithmetic, a NaN made 448 first where the recipe does not keep it; int8: `cvt.rni.sat.s8.f32` four times, `prmt.b32` |
//! | `has_range.T flag` | q | not 0 if quotients and codes in range take fewer instructions | `mov.b32` |
//! | `quotient_in_range.T {lo, hi}, {p, q}, scale, reciprocal` | q | a pair of values of 16 bits over a scale, both finite, no value larger than the format's largest number times the scale | as `quotient`; where the recipe divides one `mul.rn.f32` and two `fma.rn.f32` |
//! | `codes_in_range.T word, {a, b, c, d}` | q | four codes of quotients that need no saturation | as `codes`; int8 that keeps NaNs: `add.rn.f32` four times, `prmt.b32` |
//!
//! Where the kernel does not round, `round` and `affine` expand as for f32. It rounds at
//!
//! | place | [`Single`](Rounding::Single) | [`BeforeWeight`](Rounding::BeforeWeight) | [`BeforeBias`](Rounding::BeforeBias) | [`T5`](Rounding::T5) |
//! |---|---|---|---|---|
//! | `round.n`, the normalized value | – | to x's type | – | to w's type |
//! | `affine.y`, its product with the weight | – | – | to y's type | – |
//! | `add.y`, what is added to a residual behind the norm | – | to y's type | to y's type | to y's type |
//! | `add.n`, what is added to one between two norms | – | to x's type | to x's type | to x's type |
//! | `gate.y`, what a gate behind the norm multiplies | – | to y's type | to y's type | to y's type |
//!
//! and at `round.w`, a weight with its offset, where [`EpilogueRounding::offset`] says so. A [wide](Addition) residual's sum
//! is never rounded. `add.x`, an element of x that is added, has its type already. `round.m` and `round.p` round to x's type
//! where [`RopeRounding`] says so.
//!
//! An expansion declares its temporary registers in its own block, with names that begin with `%norm_`.
//!
//! # Example
//!
//! The template `rms_b16_b16_b16_block4` serves `rms_f16_bf16_f16_block4`, whose text is the same but for the name, the
//! launch bounds in front of the body, and the pseudo-instructions:
//!
//! ```
//! use norm_host::ptx::specialize::specialize;
//! use norm_kernels::abi::EntryPoint;
//!
//! let template = "\
//! .visible .entry rms_b16_b16_b16_block4(
//!     .param .align 8 .b8 rms_b16_b16_b16_block4_param_0[280]
//! )
//! {
//!     norm.unpack.x {%r1, %r2}, %r3;
//!     norm.unpack.w {%r4, %r5}, %r6;
//!     ret;
//! }";
//! let kernel = "\
//! .visible .entry rms_f16_bf16_f16_block4(
//!     .param .align 8 .b8 rms_f16_bf16_f16_block4_param_0[280]
//! )
//! .maxntid 512
//! .maxnreg 68
//! {
//!     {
//!     .reg .b16 %norm_l, %norm_h;
//!     mov.b32 {%norm_l, %norm_h}, %r3;
//!     cvt.f32.f16 %r1, %norm_l;
//!     cvt.f32.f16 %r2, %norm_h;
//!     }
//!     shl.b32 %r4, %r6, 16;
//!     and.b32 %r5, %r6, 0xffff0000;
//!     ret;
//! }";
//! let entry = EntryPoint::named("rms_f16_bf16_f16_block4").unwrap();
//! assert_eq!(specialize(template, entry, (9, 0)).unwrap().replace('\t', "    "), kernel);
//!
//! let misspelt = template.replace("unpack.w", "unpakc.w");
//! let error = specialize(&misspelt, entry, (9, 0)).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "kernel rms_f16_bf16_f16_block4, line 6 of template rms_b16_b16_b16_block4: expected an operation (unpack, pack, \
//!      clamp, total, total_f32, plus, moments, mean, distance, overflows, ones, st_clamped, round, add, ld_scale, \
//!      affine, activate, gate, gates_first, turn, general, short, ld, sum, value, number, weigh, larger, largest, reciprocal, quotient, codes, has_range, quotient_in_range or codes_in_range), given 'unpakc'"
//! );
//! ```

mod error;
mod operation;
mod quantize;
mod statement;
#[cfg(test)]
mod tests;
mod total;

use std::{fmt::Write, ops::Range};

use memchr::memmem;

#[cfg(doc)]
use norm_kernels::abi::Template;
use norm_kernels::abi::{
    Addition, DType, EntryPoint, EpilogueRounding, GatedKernel, Gating, GroupKernel, Kernel, QuantFormat,
    QuantKernel, QuantRecipe, RopeKernel, RopeRounding, Rounding, ShardKernel,
};

use super::scanner::{Scanner, is_word};
use crate::problem::Roundings;
use error::Fault;
pub use error::{Malformed, TemplateError};
use statement::Statement;

/// The prefix of every pseudo-instruction.
pub(super) const PREFIX: &str = "norm.";

/// The launch bounds, which the host writes in front of a body, so that a template must not have them.
const BOUNDS: [&str; 4] = [".maxntid", ".maxnreg", ".minnctapersm", ".reqntid"];

/// The beginning of a body, as errors describe it.
const BODY: &str = "a line '{' behind the parameters, in front of which launch bounds can stand";

/// A kernel to be made from a template: an entry point of this library, or one of a caller's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The name of the template. It is replaced where it is a word by itself or part of a parameter's name,
    /// `<template>_param_0`.
    pub template: String,
    /// The name of the kernel.
    pub kernel: String,
    /// The type of x and the residual. As with the other two, `None` means that the kernel has no such tensor.
    pub x: Option<DType>,
    /// The type of the weights and biases.
    pub w: Option<DType>,
    /// The type of y.
    pub y: Option<DType>,
    /// How it adds a residual.
    pub addition: Addition,
    /// What a gate does to its rows; `None` if it has no gate.
    pub gating: Option<Gating>,
    /// Where it rounds.
    pub epilogue: EpilogueRounding,
    /// The type of the tables of cosines and sines, and where the rotation rounds; `None` where nothing is rotated.
    pub rope: Option<(DType, RopeRounding)>,
    /// Of such a kernel, whether it is for RMSNorm in front of the rotation alone.
    pub rms_only: bool,
    /// Of such a kernel, whether it is for short grids.
    pub short: bool,
    /// The format and formula of its codes, if its output is quantized.
    pub quantized: Option<(QuantFormat, QuantRecipe)>,
    /// The largest block that it is launched with, for `.maxntid`: without it ptxas may use more registers than such a
    /// block has.
    pub max_threads: u32,
    /// The most registers that a thread may use, for `.maxnreg`.
    pub max_registers: Option<u32>,
    /// Whether it is for devices with few lanes of `f64`, on which no kernel adds in `f64`
    /// ([`has_few_doubles`](super::has_few_doubles)).
    pub few_doubles: bool,
}

impl Instance {
    /// The instance of an entry point, in a text for devices of this compute capability (major, minor) and newer, with many lanes
    /// of `f64`.
    pub fn of(entry: EntryPoint, capability: (u32, u32)) -> Instance {
        let (mut rope, mut rms_only, mut short) = (None, false, false);
        let (x, [w, y], epilogue) = match entry {
            EntryPoint::Norm(Kernel { x, w, y, epilogue, .. })
            | EntryPoint::Shard(ShardKernel::Apply { x, w, y, epilogue, .. }) => {
                (x, [Some(w), Some(y)], epilogue)
            }
            // Of a recipe `roundings` knows what it rounds.
            EntryPoint::Quant(QuantKernel { x, w, .. }) => (x, [Some(w), None], EpilogueRounding::SINGLE),
            EntryPoint::Shard(ShardKernel::Partial { x, .. }) => (x, [None; 2], EpilogueRounding::SINGLE),
            EntryPoint::Gated(GatedKernel { x, w, epilogue, .. }) => (x, [Some(w), Some(x)], epilogue),
            EntryPoint::Rope(kernel) => {
                let RopeKernel { x, w, table, rounding, .. } = kernel;
                (rope, rms_only, short) = (Some((table, rounding)), kernel.rms_only, kernel.short);
                let order = kernel.norm_rounding();
                (x, [Some(w), Some(x)], EpilogueRounding { order, offset: false })
            }
            EntryPoint::Group(GroupKernel { x, w, epilogue, .. }) => (x, [Some(w), Some(x)], epilogue),
        };
        let (addition, quantized) = match entry {
            EntryPoint::Norm(Kernel { addition, .. }) => (addition, None),
            EntryPoint::Quant(QuantKernel { format, recipe, .. }) => {
                (Addition::PLAIN, Some((format, recipe)))
            }
            EntryPoint::Shard(_) | EntryPoint::Gated(_) | EntryPoint::Rope(_) | EntryPoint::Group(_) => {
                (Addition::PLAIN, None)
            }
        };
        let gating = match entry {
            EntryPoint::Gated(GatedKernel { gating, .. }) => Some(gating),
            EntryPoint::Norm(_)
            | EntryPoint::Quant(_)
            | EntryPoint::Shard(_)
            | EntryPoint::Rope(_)
            | EntryPoint::Group(_) => None,
        };
        Instance {
            template: entry.template().to_string(),
            kernel: entry.to_string(),
            x: Some(x),
            w,
            y,
            addition,
            gating,
            epilogue,
            rope,
            rms_only,
            short,
            quantized,
            max_threads: entry.max_threads(),
            max_registers: entry.max_registers(capability),
            few_doubles: false,
        }
    }

    /// The kernel's text, made from its template's, which extends from the directive `.entry` (and `.visible` in front of
    /// it) to the closing brace. Pseudo-instructions are expanded, the template's name is replaced, and launch bounds are
    /// written in front of the line `{`. `capability` is the lowest that the text is for: for 9.0 and newer some
    /// expansions are shorter.
    ///
    /// # Errors
    /// A [`TemplateError`] for a malformed text; its lines count from 1.
    pub fn specialize(&self, text: &str, capability: (u32, u32)) -> Result<String, TemplateError> {
        let at = |(place, fault): (usize, Fault)| {
            let line = 1 + text[..place].matches('\n').count();
            fault.at(&self.kernel, &self.template, line as u32)
        };
        // Expansions make a text longer.
        let mut specialized = String::with_capacity(text.len() + text.len() / 2);
        let body = body(text).map_err(at)?;
        self.copy(&text[..body], &mut specialized);
        self.write_bounds(&mut specialized);

        let mut written = body;
        let (mut opened, mut closed) = (0, 0);
        let mut places = memmem::find_iter(text.as_bytes(), PREFIX).peekable();
        let mut scanner = Scanner::at(text, body);
        while let Some(code) = scanner.next_code() {
            let braces = |brace| memchr::memchr_iter(brace, text[code.clone()].as_bytes()).count();
            opened += braces(b'{');
            closed += braces(b'}');
            while let Some(start) = places.next_if(|place| *place < code.end) {
                // In a comment or a string, or among the operands of a pseudo-instruction that has been expanded.
                let is_passed = start < code.start.max(written);
                if is_passed || text[..start].bytes().next_back().is_some_and(is_word) {
                    continue;
                }
                let line = line_at(text, start);
                if !text[line.start..start].trim_ascii().is_empty() {
                    return Err(at(misplaced(text, line)));
                }
                self.copy(&text[written..line.start], &mut specialized);
                written = line.end;
                let expanded = Statement::parse(text[start..line.end].trim_ascii())
                    .and_then(|statement| statement.expand(self, capability, &mut specialized));
                expanded.map_err(|fault| at((line.start, fault)))?;
            }
        }
        if opened != closed {
            let expected = "as many closing braces as opening ones".to_owned();
            let last = line_at(text, text.len());
            return Err(at((last.start, Fault::new(Malformed::Braces, expected, text[last].trim_ascii()))));
        }
        self.copy(&text[written..], &mut specialized);
        Ok(specialized)
    }

    /// The types to which the kernel rounds.
    fn roundings(&self) -> Roundings {
        let EpilogueRounding { order, offset } = self.epilogue;
        // A tensor that the kernel lacks is, like one of f32, nothing to round to.
        let [x, y] = [self.x, self.y].map(|dtype| dtype.unwrap_or(DType::F32));
        let rounds_before_weight = self.quantized.is_some_and(|(_, recipe)| recipe.rounds_before_weight());
        let order = if rounds_before_weight { Rounding::BeforeWeight } else { order };
        Roundings::of(order, offset, x, self.w, y)
    }

    /// The type to which values that are quantized are rounded, f32 where they are not, or that to which a sum with a residual
    /// is, by the method of the recipe that says so. `None` if nothing is quantized.
    fn rounded_where(&self, rounds: impl Fn(QuantRecipe) -> bool) -> Option<DType> {
        let (_, recipe) = self.quantized?;
        Some(self.x.filter(|_| rounds(recipe)).unwrap_or(DType::F32))
    }

    /// The type to which the result of a sandwich's first norm is rounded: that of the residual.
    fn rounded_norm(&self) -> Option<DType> {
        self.x.filter(|_| self.epilogue.order != Rounding::Single)
    }

    /// The type to which what goes between norm and rotation is rounded, and the one for a rotation's products; f32 where
    /// they are not.
    fn rope_roundings(&self) -> [DType; 2] {
        let x = self.x.unwrap_or(DType::F32);
        match self.rope {
            None | Some((_, RopeRounding::Single)) => [DType::F32; 2],
            Some((_, RopeRounding::Between)) => [x, DType::F32],
            Some((_, RopeRounding::Products)) => [x; 2],
        }
    }

    /// The types to which a kernel with factors rounds the scaled branch and the sum in the addition of a role; f32 where it
    /// does not round. `None` for a kernel without factors.
    fn scaled(&self, role: &str) -> Option<[DType; 2]> {
        let branch = if role == "y" { self.y } else { self.x };
        let sum = if role == "x" && self.addition.wide { None } else { branch };
        let rounded = |dtype: Option<DType>| {
            dtype.filter(|_| self.epilogue.order != Rounding::Single).unwrap_or(DType::F32)
        };
        self.addition.scaled.then_some([branch, sum].map(rounded))
    }

    /// Copies text, and replaces the template's name by the kernel's where it is a word by itself or in front of
    /// `_param_0`.
    fn copy(&self, text: &str, specialized: &mut String) {
        let mut copied = 0;
        for start in memmem::find_iter(text.as_bytes(), &self.template) {
            let behind = &text[start + self.template.len()..];
            let behind = behind.strip_prefix("_param_").map_or(behind, |behind| {
                let number = behind.trim_start_matches(|next: char| next.is_ascii_digit());
                // Without a digit it is another name.
                if number.len() < behind.len() { number } else { "_" }
            });
            let is_other = text[..start].bytes().next_back().is_some_and(is_word)
                || behind.bytes().next().is_some_and(is_word);
            if !is_other {
                specialized.push_str(&text[copied..start]);
                specialized.push_str(&self.kernel);
                copied = start + self.template.len();
            }
        }
        specialized.push_str(&text[copied..]);
    }

    fn write_bounds(&self, text: &mut String) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, ".maxntid {}", self.max_threads);
        if let Some(registers) = self.max_registers {
            let _ = writeln!(text, ".maxnreg {registers}");
        }
    }
}

/// The text of an entry point of this library, as [`Instance::specialize`] makes it. The [module](self) has an example.
///
/// # Errors
/// As for [`Instance::specialize`].
pub fn specialize(text: &str, entry: EntryPoint, capability: (u32, u32)) -> Result<String, TemplateError> {
    Instance::of(entry, capability).specialize(text, capability)
}

/// The position where an entry's body begins: at the first brace, which must be alone on its line.
fn body(text: &str) -> Result<usize, (usize, Fault)> {
    let mut scanner = Scanner::new(text);
    while let Some((start, word)) = scanner.next() {
        let malformed = |malformed, expected: &str| {
            let line = line_at(text, start);
            Err((line.start, Fault::new(malformed, expected.to_owned(), text[line].trim_ascii())))
        };
        match word {
            "{" | "}" => {
                let line = line_at(text, start);
                let is_body = text[line.clone()].trim_ascii() == "{";
                return if is_body { Ok(line.start) } else { malformed(Malformed::Body, BODY) };
            }
            _ if BOUNDS.contains(&word) => {
                let expected = "no launch bounds, which are written for each entry point";
                return malformed(Malformed::Bounds, expected);
            }
            _ if word.starts_with(PREFIX) => return Err(misplaced(text, line_at(text, start))),
            _ => {}
        }
    }
    Err((text.len(), Fault::new(Malformed::Body, BODY.to_owned(), "")))
}

/// The fault of a line on which a pseudo-instruction is not alone, or that is outside of the body.
fn misplaced(text: &str, line: Range<usize>) -> (usize, Fault) {
    let expected = "a pseudo-instruction alone on a line of the body".to_owned();
    (line.start, Fault::new(Malformed::Place, expected, text[line].trim_ascii()))
}

/// The line that contains this byte, with its line break.
fn line_at(text: &str, place: usize) -> Range<usize> {
    let start = text[..place].rfind('\n').map_or(0, |end| end + 1);
    let end = text[place..].find('\n').map_or(text.len(), |length| place + length + 1);
    start..end
}
