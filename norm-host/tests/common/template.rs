//! A template written by hand, with every pseudo-instruction that its types leave open.

use std::fmt::Write;

use norm_kernels::abi::Template;

/// What a thread reads: a word of x, w and y, and values to round.
pub const VALUES: usize = 8;

/// Where a thread's results are among the [`RESULTS`] words that it writes, two a pair of neighbours.
pub mod result {
    pub const UNPACK_X: usize = 0;
    pub const UNPACK_W: usize = 2;
    pub const PACK_X: usize = 4;
    pub const PACK_W: usize = 5;
    pub const CLAMP: usize = 6;
    pub const ONES: usize = 7;
    pub const WIDEN: usize = 8;
    pub const UNIT: usize = 10;
    /// Of as many elements as the thread's number.
    pub const BYTES: usize = 12;
    pub const LD: usize = 14;
    /// Four words of shared memory that held the thread's number and took clamped words.
    pub const ST_CLAMPED: usize = 16;
    /// Where the vector is wanted.
    pub const LD_VECTOR: usize = 20;
    /// Where it is not.
    pub const LD_NOTHING: usize = 28;
    /// Of as many elements as the thread's number.
    pub const OFFSET: usize = 36;
}

/// Words that a thread writes.
pub const RESULTS: usize = 38;

/// The entry of a template. The kernel takes the addresses of
///
/// - a word a thread, in which it finds two elements of x and of w,
/// - [`VALUES`] f32 a thread,
/// - y to read: an element a thread, and behind as many bytes as `behind` says a vector a thread,
/// - y to write, laid out likewise,
/// - [`RESULTS`] words a thread for what it computes; those of what the template has not stay as they are;
///
/// and `behind`, in bytes.
pub fn entry(template: Template) -> String {
    let name = template.to_string();
    let (x, w, width) = match template {
        Template::Norm { x, w, width, .. } | Template::Apply { x, w, width, .. } => (x, Some(w), Some(width)),
        Template::Partial { x, .. } => (x, None, None),
    };
    let parameters: Vec<_> = (0..6).map(|index| format!("\t.param .u64 {name}_param_{index}")).collect();
    let mut text = format!(".visible .entry {name}(\n{}\n)\n{{\n", parameters.join(",\n"));
    text += "\t.reg .b32 %r<64>;\n\t.reg .b64 %rd<32>;\n";
    text += "\tmov.u32 %r0, %ctaid.x;\n\tmov.u32 %r1, %ntid.x;\n\tmov.u32 %r2, %tid.x;\n";
    text += "\tmad.lo.u32 %r0, %r0, %r1, %r2;\n\tcvt.u64.u32 %rd0, %r0;\n";
    for index in 0..6 {
        let _ = writeln!(text, "\tld.param.u64 %rd{}, [{name}_param_{index}];", index + 1);
    }
    // The thread's word, values and results.
    for (at, bytes) in [(1, 4), (2, 4 * VALUES), (5, 4 * RESULTS)] {
        let _ = writeln!(text, "\tmad.lo.u64 %rd{at}, %rd0, {bytes}, %rd{at};");
    }
    text += "\tld.global.b32 %r3, [%rd1];\n";
    for value in 0..VALUES {
        let _ = writeln!(text, "\tld.global.b32 %r{}, [%rd2+{}];", 4 + value, 4 * value);
    }
    let keep = |text: &mut String, at: usize, register: &str| {
        let _ = writeln!(text, "\tst.global.b32 [%rd5+{}], {register};", 4 * at);
    };
    if x == 16 {
        text += "\tnorm.unpack.x {%r12, %r13}, %r3;\n";
        text += "\tnorm.pack.x %r14, {%r4, %r5};\n";
        text += "\tnorm.clamp.x %r15, %r3;\n";
        text += "\tnorm.widen.x {%r16, %r17}, %r3;\n";
        text += "\tnorm.unit.x %rd7;\n\tmov.b64 {%r18, %r19}, %rd7;\n";
        for (at, register) in [(result::PACK_X, "%r14"), (result::CLAMP, "%r15")] {
            keep(&mut text, at, register);
        }
        for half in 0..2 {
            keep(&mut text, result::UNPACK_X + half, &format!("%r{}", 12 + half));
            keep(&mut text, result::WIDEN + half, &format!("%r{}", 16 + half));
            keep(&mut text, result::UNIT + half, &format!("%r{}", 18 + half));
        }
        text += "\tmov.u32 %r20, norm_scratch;\n\tshl.b32 %r21, %r2, 4;\n\tadd.u32 %r20, %r20, %r21;\n";
        text += "\tst.shared.v4.b32 [%r20], {%r0, %r0, %r0, %r0};\n";
        text += match width {
            Some(4) => "\tnorm.st_clamped.x.v2 [%r20], {%r15, %r3};\n",
            _ => "\tnorm.st_clamped.x.v4 [%r20], {%r15, %r3, %r15, %r3};\n",
        };
        text += "\tld.shared.v4.b32 {%r22, %r23, %r24, %r25}, [%r20];\n";
        for word in 0..4 {
            keep(&mut text, result::ST_CLAMPED + word, &format!("%r{}", 22 + word));
        }
    }
    if w == Some(16) {
        text += "\tnorm.unpack.w {%r12, %r13}, %r3;\n";
        text += "\tnorm.pack.w %r14, {%r4, %r5};\n";
        text += "\tnorm.ones.w %r15;\n";
        for (at, register) in [(0, "%r12"), (1, "%r13")] {
            keep(&mut text, result::UNPACK_W + at, register);
        }
        keep(&mut text, result::PACK_W, "%r14");
        keep(&mut text, result::ONES, "%r15");
    }
    if let Some(width) = width {
        text += "\tnorm.bytes.y %rd8, %rd0;\n\tmov.b64 {%r12, %r13}, %rd8;\n";
        text += "\tnorm.offset.y %rd9, %r0;\n\tmov.b64 {%r14, %r15}, %rd9;\n";
        for half in 0..2 {
            keep(&mut text, result::BYTES + half, &format!("%r{}", 12 + half));
            keep(&mut text, result::OFFSET + half, &format!("%r{}", 14 + half));
        }
        text += "\tadd.u64 %rd9, %rd3, %rd8;\n\tadd.u64 %rd10, %rd4, %rd8;\n";
        text += "\tnorm.ld.y %r14, [%rd9];\n\tnorm.st.y [%rd10], %r4;\n";
        keep(&mut text, result::LD, "%r14");

        let _ = writeln!(text, "\tmul.lo.u64 %rd11, %rd8, {width};\n\tadd.u64 %rd11, %rd11, %rd6;");
        text += "\tadd.u64 %rd12, %rd3, %rd11;\n\tadd.u64 %rd13, %rd4, %rd11;\n";
        let list = |first: u32| {
            let registers: Vec<_> = (first..first + width).map(|register| format!("%r{register}")).collect();
            registers.join(", ")
        };
        text += "\tmov.b32 %r40, 7;\n";
        let _ = writeln!(text, "\tnorm.ld.y.v{width} {{{}}}, [%rd12], %r40;", list(20));
        let _ = writeln!(text, "\tnorm.ld.y.v{width} {{{}}}, [%rd12], 0;", list(30));
        let _ = writeln!(text, "\tnorm.st.y.v{width} [%rd13], {{{}}};", list(4));
        for element in 0..width {
            keep(&mut text, result::LD_VECTOR + element as usize, &format!("%r{}", 20 + element));
            keep(&mut text, result::LD_NOTHING + element as usize, &format!("%r{}", 30 + element));
        }
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
