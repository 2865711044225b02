//! A template written by hand, with every pseudo-instruction that its types leave open.

use std::fmt::Write;

use norm_kernels::abi::Template;

/// Values that a thread reads: those to round are the first two, and what `affine` takes follows. What is added to a
/// residual is the first two, what it is multiplied by and the sum is the second two, and the residual is the third two. A
/// gate is the second two, and multiplies the first two.
pub const VALUES: usize = 6;

/// Where a thread's results are among the [`RESULTS`] words that it writes, two a pair of neighbours.
pub mod result {
    pub const UNPACK_X: usize = 0;
    pub const UNPACK_W: usize = 2;
    pub const UNPACK_Y: usize = 4;
    pub const PACK_X: usize = 6;
    pub const PACK_W: usize = 7;
    pub const PACK_Y: usize = 8;
    pub const CLAMP: usize = 9;
    /// The means of twice the two elements, taken for one, by their totals: as elements of x and as f32, by `mean` and by `moments`.
    pub const MEAN: usize = 10;
    pub const MOMENTS: usize = 12;
    pub const ONES: usize = 14;
    /// Four words of shared memory that held the thread's number and took clamped words.
    pub const ST_CLAMPED: usize = 16;
    pub const ROUND_N: usize = 20;
    pub const ROUND_W: usize = 22;
    pub const AFFINE_Y: usize = 24;
    pub const ADD_X: usize = 26;
    pub const ADD_Y: usize = 28;
    pub const ADD_N: usize = 30;
    /// A scale from memory, where the thread's first value is, and one from a register, its third.
    pub const LD_SCALE: usize = 32;
    /// Of kernels that quantize: what is made of the first two values as a sum, and as a pair of values.
    pub const SUM_X: usize = 34;
    pub const VALUE_V: usize = 36;
    /// The larger magnitude of the first two, as a pair of values.
    pub const LARGEST: usize = 38;
    /// The third value is the scale, the fourth the magnitude, the fifth what it is scaled to.
    pub const RECIPROCAL: usize = 39;
    /// The first two over the third.
    pub const QUOTIENT: usize = 40;
    /// Of the first four.
    pub const CODES: usize = 42;
    pub const HAS_RANGE: usize = 43;
    /// The first two, rounded to the type of x, over the third.
    pub const QUOTIENT_IN_RANGE: usize = 44;
    /// Of the first four.
    pub const CODES_IN_RANGE: usize = 46;
    /// The larger magnitudes of the first two and of the third and fourth.
    pub const LARGER: usize = 48;
    /// The first two times the word's weights.
    pub const WEIGH_W: usize = 50;
    pub const ACTIVATE: usize = 34;
    pub const GATE_X: usize = 36;
    pub const GATE_Y: usize = 38;
    pub const GATES_FIRST: usize = 40;
    pub const ROUND_M: usize = 34;
    pub const ROUND_P: usize = 36;
    /// Of the thread's values the second element, the first two, and one that is not wanted.
    pub const LD_W: usize = 38;
    pub const LD_T: usize = 42;
    /// The first two values, rotated by the third, the cosine, and the fourth, the sine.
    pub const TURN_P: usize = 46;
    pub const GENERAL: usize = 48;
    pub const SHORT: usize = 49;
}

/// Words that a thread writes.
pub const RESULTS: usize = 53;

/// Totals of the two elements in `%r3`, unpacked in `%r12` and `%r13`, once as elements of x and once as f32: each is added up
/// with zeros as four and as eight elements, both are added, and the sum is taken for one element.
fn totals(text: &mut String) {
    let zeros = |count| ", %r26".repeat(count);
    *text += "\tmov.b32 %r26, 0;\n\tmov.b32 %r27, 0f3F800000;\n\tmov.b64 %rd6, 0d3FF0000000000000;\n";
    for (role, total, mean, moments) in [("x", "total", "%r16", "%r18"), ("s", "total_f32", "%r17", "%r19")] {
        for (vector, to, elements, words) in [("v4", "{%r22, %r23}", 2, 1), ("v8", "{%r24, %r25}", 6, 3)] {
            let words = match role {
                "x" => format!(", {{%r3{}}}", zeros(words)),
                _ => String::new(),
            };
            let elements = zeros(elements);
            let _ = writeln!(
                text,
                "\tnorm.{total}.{role}.{vector} {to}, {{%r26, %r26}}, {{%r12, %r13{elements}}}{words};"
            );
        }
        let _ = writeln!(text, "\tnorm.plus.{role} {{%r28, %r29}}, {{%r22, %r23}}, {{%r24, %r25}};");
        let _ = writeln!(text, "\tnorm.mean.{role} {{{mean}, %r30}}, {{%r28, %r29}}, %r27, %r27, %rd6;");
        let _ = writeln!(
            text,
            "\tnorm.moments.{role} {{{moments}, %r31, %r24}}, {{%r28, %r29}}, %r26, %r27, %r27, %rd6;"
        );
        // Both are 0 where the sum is a number, and change nothing.
        let _ = writeln!(
            text,
            "\tnorm.distance.{role} %r25, {{%r28, %r29}}, %r27, %r27, %rd6, {{%r28, %r29}}, %rd6, {mean}, %r30;"
        );
        let _ = writeln!(text, "\tnorm.overflows.{role} %r31, {mean};");
        let _ =
            writeln!(text, "\tadd.rn.f32 {moments}, {moments}, %r25;\n\tadd.u32 {moments}, {moments}, %r31;");
    }
}

/// The entry of a template. The kernel takes the addresses of a word a thread, in which it finds two elements of x, of w
/// and of y; of [`VALUES`] f32 a thread; and of [`RESULTS`] words a thread for what it computes. Those of what the template
/// has not stay as they are.
pub fn entry(template: Template) -> String {
    let name = template.to_string();
    let (x, w, y) = match template {
        Template::Norm { x, w, y, .. } | Template::Apply { x, w, y, .. } => (x, Some(w), Some(y)),
        Template::Partial { x, .. } => (x, None, None),
        Template::Gated { x, w, .. } | Template::Group { x, w, .. } => (x, Some(w), Some(x)),
        // The size of the weights' elements is open.
        Template::Rope { x, .. } => (x, None, Some(x)),
        Template::Quant { .. } => (16, None, None),
    };
    let parameters: Vec<_> = (0..3).map(|index| format!("\t.param .u64 {name}_param_{index}")).collect();
    let mut text = format!(".visible .entry {name}(\n{}\n)\n{{\n", parameters.join(",\n"));
    text += "\t.reg .b32 %r<32>;\n\t.reg .b64 %rd<8>;\n";
    text += "\tmov.u32 %r0, %ctaid.x;\n\tmov.u32 %r1, %ntid.x;\n\tmov.u32 %r2, %tid.x;\n";
    text += "\tmad.lo.u32 %r0, %r0, %r1, %r2;\n\tcvt.u64.u32 %rd0, %r0;\n";
    // The thread's word, values and results.
    for (index, bytes) in [4, 4 * VALUES, 4 * RESULTS].into_iter().enumerate() {
        let _ = writeln!(text, "\tld.param.u64 %rd{}, [{name}_param_{index}];", index + 1);
        let _ = writeln!(text, "\tmad.lo.u64 %rd{0}, %rd0, {bytes}, %rd{0};", index + 1);
    }
    text += "\tld.global.b32 %r3, [%rd1];\n";
    for value in 0..VALUES {
        let _ = writeln!(text, "\tld.global.b32 %r{}, [%rd2+{}];", 4 + value, 4 * value);
    }
    let keep = |text: &mut String, at: usize, registers: &[&str]| {
        for (word, register) in registers.iter().enumerate() {
            let _ = writeln!(text, "\tst.global.b32 [%rd3+{}], {register};", 4 * (at + word));
        }
    };
    let half = |text: &mut String, role: &str, unpacked: usize, packed: usize| {
        let _ = writeln!(text, "\tnorm.unpack.{role} {{%r12, %r13}}, %r3;");
        let _ = writeln!(text, "\tnorm.pack.{role} %r14, {{%r4, %r5}};");
        keep(text, unpacked, &["%r12", "%r13"]);
        keep(text, packed, &["%r14"]);
    };
    if x == 16 {
        half(&mut text, "x", result::UNPACK_X, result::PACK_X);
        text += "\tnorm.clamp.x %r15, %r3;\n";
        totals(&mut text);
        keep(&mut text, result::CLAMP, &["%r15"]);
        keep(&mut text, result::MEAN, &["%r16", "%r17"]);
        keep(&mut text, result::MOMENTS, &["%r18", "%r19"]);
        text += "\tmov.u32 %r20, norm_scratch;\n\tshl.b32 %r21, %r2, 4;\n\tadd.u32 %r20, %r20, %r21;\n";
        text += "\tst.shared.v4.b32 [%r20], {%r0, %r0, %r0, %r0};\n";
        text += match y {
            Some(32) => "\tnorm.st_clamped.x.v2 [%r20], {%r15, %r3};\n",
            _ => "\tnorm.st_clamped.x.v4 [%r20], {%r15, %r3, %r15, %r3};\n",
        };
        text += "\tld.shared.v4.b32 {%r22, %r23, %r24, %r25}, [%r20];\n";
        keep(&mut text, result::ST_CLAMPED, &["%r22", "%r23", "%r24", "%r25"]);
    }
    if w == Some(16) {
        half(&mut text, "w", result::UNPACK_W, result::PACK_W);
        text += "\tnorm.ones.w %r15;\n";
        keep(&mut text, result::ONES, &["%r15"]);
    }
    if y == Some(16) {
        half(&mut text, "y", result::UNPACK_Y, result::PACK_Y);
    }
    if y.is_some() {
        for (role, at) in [("n", result::ROUND_N), ("w", result::ROUND_W)] {
            let _ = writeln!(text, "\tnorm.round.{role} {{%r12, %r13}}, {{%r4, %r5}};");
            keep(&mut text, at, &["%r12", "%r13"]);
        }
        text += "\tnorm.affine.y {%r12, %r13}, {%r4, %r5}, {%r6, %r7}, {%r8, %r9};\n";
        keep(&mut text, result::AFFINE_Y, &["%r12", "%r13"]);
        for (role, at) in [("x", result::ADD_X), ("y", result::ADD_Y), ("n", result::ADD_N)] {
            let operands = "{%r12, %r13}, {%r4, %r5}, {%r8, %r9}, %r6, %r7";
            let _ = writeln!(text, "\tnorm.add.{role} {operands};");
            keep(&mut text, at, &["%r12", "%r13"]);
        }
        text += "\tmov.b64 %rd5, 0;\n";
        text += "\tnorm.ld_scale.x %r12, [%rd2], %r6;\n\tnorm.ld_scale.x %r13, [%rd5], %r6;\n";
        keep(&mut text, result::LD_SCALE, &["%r12", "%r13"]);
    }
    if let Template::Quant { w, .. } = template {
        text += "\tnorm.sum.x {%r12, %r13}, {%r4, %r5};\n";
        keep(&mut text, result::SUM_X, &["%r12", "%r13"]);
        text += "\tnorm.value.v {%r16, %r17}, {%r4, %r5};\n\tnorm.number.v {%r12, %r13}, {%r16, %r17};\n";
        keep(&mut text, result::VALUE_V, &["%r12", "%r13"]);
        text += "\tnorm.largest.q %r12, {%r16, %r17};\n";
        keep(&mut text, result::LARGEST, &["%r12"]);
        text += "\tnorm.value.v {%r18, %r19}, {%r6, %r7};\n";
        text += "\tnorm.larger.q {%r14, %r15}, {%r16, %r17}, {%r18, %r19};\n";
        text += "\tnorm.number.v {%r12, %r13}, {%r14, %r15};\n";
        keep(&mut text, result::LARGER, &["%r12", "%r13"]);
        if w == 16 {
            text += "\tnorm.weigh.w {%r14, %r15}, {%r4, %r5}, %r3;\n";
            text += "\tnorm.number.v {%r12, %r13}, {%r14, %r15};\n";
            keep(&mut text, result::WEIGH_W, &["%r12", "%r13"]);
        }
        text += "\tnorm.reciprocal.q %r12, %r6, %r7, %r8;\n";
        keep(&mut text, result::RECIPROCAL, &["%r12"]);
        text += "\trcp.rn.f32 %r15, %r6;\n\tnorm.quotient.q {%r12, %r13}, {%r16, %r17}, %r6, %r15;\n";
        keep(&mut text, result::QUOTIENT, &["%r12", "%r13"]);
        text += "\tnorm.codes.q %r12, {%r4, %r5, %r6, %r7};\n";
        keep(&mut text, result::CODES, &["%r12"]);
        text += "\tnorm.has_range.q %r12;\n\tnorm.codes_in_range.q %r13, {%r4, %r5, %r6, %r7};\n";
        keep(&mut text, result::HAS_RANGE, &["%r12"]);
        keep(&mut text, result::CODES_IN_RANGE, &["%r13"]);
        text += "\tnorm.pack.x %r14, {%r4, %r5};\n\tnorm.unpack.x {%r12, %r13}, %r14;\n";
        text += "\tnorm.value.v {%r18, %r19}, {%r12, %r13};\n";
        text += "\tnorm.quotient_in_range.q {%r16, %r17}, {%r18, %r19}, %r6, %r15;\n";
        keep(&mut text, result::QUOTIENT_IN_RANGE, &["%r16", "%r17"]);
    }
    if matches!(template, Template::Gated { .. }) {
        text += "\tnorm.activate.x {%r12, %r13}, {%r6, %r7};\n";
        keep(&mut text, result::ACTIVATE, &["%r12", "%r13"]);
        for (role, at) in [("x", result::GATE_X), ("y", result::GATE_Y)] {
            let _ = writeln!(text, "\tnorm.gate.{role} {{%r14, %r15}}, {{%r4, %r5}}, {{%r6, %r7}};");
            keep(&mut text, at, &["%r14", "%r15"]);
        }
        text += "\tnorm.gates_first.x %r16;\n";
        keep(&mut text, result::GATES_FIRST, &["%r16"]);
    }
    if matches!(template, Template::Rope { .. }) {
        for (role, at) in [("m", result::ROUND_M), ("p", result::ROUND_P)] {
            let _ = writeln!(text, "\tnorm.round.{role} {{%r12, %r13}}, {{%r4, %r5}};");
            keep(&mut text, at, &["%r12", "%r13"]);
        }
        text += "\tmov.b32 %r26, 0;\n\tmov.b32 %r27, 1;\n";
        for (role, at) in [("w", result::LD_W), ("t", result::LD_T)] {
            let _ = writeln!(text, "\tnorm.ld.{role}.v1 {{%r12}}, [%rd2], %r27, %r27;");
            let _ = writeln!(text, "\tnorm.ld.{role}.v2 {{%r13, %r14}}, [%rd2], %r26, %r27;");
            let eight = "{%r15, %r16, %r17, %r18, %r19, %r20, %r21, %r22}";
            let _ = writeln!(text, "\tnorm.ld.{role}.v8 {eight}, [%rd2], %r26, %r26;");
            keep(&mut text, at, &["%r12", "%r13", "%r14", "%r15"]);
        }
        text += "\tnorm.turn.p {%r12, %r13}, {%r4, %r5}, %r6, %r7;\n";
        keep(&mut text, result::TURN_P, &["%r12", "%r13"]);
        text += "\tnorm.general.p %r12;\n";
        keep(&mut text, result::GENERAL, &["%r12"]);
        text += "\tnorm.short.p %r12;\n";
        keep(&mut text, result::SHORT, &["%r12"]);
    }
    text + "\tret;\n}"
}

/// What stands in front of entries in the text for a target.
pub fn header(target: &str) -> String {
    let version = if target == "sm_80" { "8.0" } else { "8.1" };
    format!(
        ".version {version}\n.target {target}\n.address_size 64\n\n.shared .align 16 .b8 norm_scratch[16384];\n\n"
    )
}
