//! Random straight-line programs, whose results are the same bits on every machine: no
//! approximate instruction, no shift or division whose result PTX leaves open.

use proptest::prelude::*;

/// Words that a thread reads, and words that it writes.
pub const INPUTS: usize = 8;
pub const OUTPUTS: usize = 8 + 4 + 8 + 4;

/// Instructions. `$R`, `$H`, `$D` and `$P` are results of 32, 16 and 64 bits and predicates, small
/// letters operands; `$q` is an operand of 32 bits that is not the one before it, `$i` a small number,
/// `$b` one below 32.
const TEMPLATES: &[&str] = &[
    "add.u32 $R, $r, $r",
    "add.s32 $R, $r, $r",
    "sub.s32 $R, $r, $r",
    "add.sat.s32 $R, $r, $r",
    "mul.lo.u32 $R, $r, $r",
    "mul.lo.s32 $R, $r, $r",
    "mul.hi.u32 $R, $r, $r",
    "mul.hi.s32 $R, $r, $r",
    "mad.lo.s32 $R, $r, $r, $r",
    "mad.lo.s64 $D, $d, $d, $d",
    "mul.wide.u32 $D, $r, $r",
    "mul.wide.s32 $D, $r, $r",
    "mad.wide.u32 $D, $r, $r, $d",
    "mul.wide.s16 $R, $h, $h",
    "min.s32 $R, $r, $r",
    "min.u32 $R, $r, $r",
    "max.u32 $R, $r, $r",
    "max.s32 $R, $r, $r",
    "and.b32 $R, $r, $r",
    "and.b64 $D, $d, $d",
    "and.b16 $H, $h, $h",
    "or.b32 $R, $r, $r",
    "or.b64 $D, $d, $d",
    "or.b16 $H, $h, $h",
    "xor.b32 $R, $r, $r",
    "xor.b16 $H, $h, $h",
    "not.b32 $R, $r",
    "cnot.b32 $R, $r",
    "shl.b32 $R, $r, $r",
    "shr.u32 $R, $r, $r",
    "shr.s32 $R, $r, $i",
    "shl.b64 $D, $d, $i",
    "shr.u64 $D, $d, $i",
    "shr.s64 $D, $d, %r13",
    "shl.b16 $H, $h, $i",
    "shr.u16 $H, $h, $i",
    "shr.s16 $H, $h, $i",
    "add.s64 $D, $d, $d",
    "sub.s64 $D, $d, $d",
    "mul.lo.s64 $D, $d, $d",
    "mul.hi.u64 $D, $d, $d",
    "min.u64 $D, $d, $d",
    "max.s64 $D, $d, $d",
    "max.u64 $D, $d, $d",
    "xor.b64 $D, $d, $d",
    "add.u16 $H, $h, $h",
    "mul.lo.u16 $H, $h, $h",
    "max.s16 $H, $h, $h",
    "cvt.u16.u64 $H, $d",
    "setp.gt.s32 $P, $r, $r",
    "setp.le.u64 $P, $d, $d",
    "setp.ge.u64 $P, $d, $d",
    "popc.b32 $R, $r",
    "popc.b64 $R, $d",
    "clz.b32 $R, $r",
    "clz.b64 $R, $d",
    "brev.b32 $R, $r",
    "bfind.u32 $R, $r",
    "bfind.s32 $R, $r",
    "bfind.shiftamt.u32 $R, $r",
    // Beyond 31 ptxas 13.0 computes other bits than the PTX ISA says: hence `$b`.
    "bfe.u32 $R, $r, $r, $b",
    "bfe.s32 $R, $r, $b, $b",
    "bfe.s64 $D, $d, $b, $b",
    "bfi.b32 $R, $r, $r, $b, $b",
    "bfi.b64 $D, $d, $d, $b, $b",
    "shf.l.wrap.b32 $R, $r, $r, $r",
    "shf.r.clamp.b32 $R, $r, $r, $r",
    "prmt.b32 $R, $r, $r, $r",
    // Of `a ^ lop3(a, b, b, 0xca)`, which is `a ^ b`, ptxas 13.0 makes `a & !b`.
    "lop3.b32 $R, $r, $r, $q, 0x96",
    "lop3.b32 $R, $r, $r, $q, 0xca",
    "sad.s32 $R, $r, $r, $r",
    "add.rn.f32 $R, $r, $r",
    "add.rz.f32 $R, $r, $r",
    "add.rm.f32 $R, $r, $r",
    "sub.rp.f32 $R, $r, $r",
    "sub.rn.f32 $R, $r, $r",
    "mul.rn.f32 $R, $r, $r",
    "mul.rz.ftz.f32 $R, $r, $r",
    "mul.rn.sat.f32 $R, $r, $r",
    "fma.rn.f32 $R, $r, $r, $r",
    "fma.rm.f32 $R, $r, $r, $r",
    "fma.rp.ftz.sat.f32 $R, $r, $r, $r",
    "div.rn.f32 $R, $r, $r",
    "div.rz.f32 $R, $r, $r",
    "sqrt.rn.f32 $R, $r",
    "sqrt.rp.f32 $R, $r",
    "rcp.rn.f32 $R, $r",
    "max.NaN.f32 $R, $r, $r",
    "min.NaN.f32 $R, $r, $r",
    "add.rn.f16x2 $R, $r, $r",
    "sub.rn.f16x2 $R, $r, $r",
    "mul.rn.sat.f16x2 $R, $r, $r",
    "mul.rn.ftz.f16 $H, $h, $h",
    "fma.rn.f16x2 $R, $r, $r, $r",
    "fma.rn.relu.f16 $H, $h, $h, $h",
    "fma.rn.bf16x2 $R, $r, $r, $r",
    "fma.rn.bf16 $H, $h, $h, $h",
    "min.NaN.f16x2 $R, $r, $r",
    "max.NaN.f16x2 $R, $r, $r",
    "min.NaN.xorsign.abs.f16x2 $R, $r, $r",
    "max.f16x2 $R, $r, $r",
    "max.NaN.bf16x2 $R, $r, $r",
    "cvt.f32.f16 $R, $h",
    "cvt.f32.bf16 $R, $h",
    "cvt.rn.f16.f32 $H, $r",
    "cvt.rz.f16.f32 $H, $r",
    "cvt.rn.bf16.f32 $H, $r",
    "cvt.rn.f16x2.f32 $R, $r, $r",
    "cvt.rz.bf16x2.f32 $R, $r, $r",
    "cvt.rn.bf16x2.f32 $R, $r, $r",
    "cvt.rn.relu.f16x2.f32 $R, $r, $r",
    "cvt.rn.satfinite.e4m3x2.f32 $H, $r, $r",
    "cvt.rn.satfinite.e5m2x2.f32 $H, $r, $r",
    "cvt.rn.satfinite.relu.e4m3x2.f32 $H, $r, $r",
    "cvt.rn.satfinite.relu.e5m2x2.f32 $H, $r, $r",
    "cvt.rni.s32.f32 $R, $r",
    "cvt.rni.sat.s8.f32 $R, $r",
    "cvt.rni.s8.f32 $R, $r",
    "cvt.rni.sat.u8.f32 $R, $r",
    "cvt.rni.sat.s32.f32 $R, $r",
    "cvt.rzi.u32.f32 $R, $r",
    "cvt.rmi.f32.f32 $R, $r",
    "cvt.rzi.s16.f16 $H, $h",
    "cvt.rn.f32.s32 $R, $r",
    "cvt.rn.f32.u32 $R, $r",
    "cvt.rz.f32.u32 $R, $r",
    "cvt.rn.f32.u64 $R, $d",
    "cvt.rp.f32.s64 $R, $d",
    "cvt.rn.f16.s32 $H, $r",
    "cvt.u32.u16 $R, $h",
    "cvt.u16.u32 $H, $r",
    "cvt.s32.s16 $R, $h",
    "cvt.sat.u16.s32 $H, $r",
    "cvt.sat.s32.s64 $R, $d",
    "cvt.s32.s8 $R, $r",
    "cvt.u64.u32 $D, $r",
    "cvt.s64.s32 $D, $r",
    "cvt.u32.u64 $R, $d",
    "mov.b64 {$R, _}, $d",
    "mov.b64 {_, $R}, $d",
    "mov.b32 {_, $H}, $r",
    "mov.b32 $R, {$h, $h}",
    "mov.b64 $D, {$r, $r}",
    "setp.lt.s32 $P, $r, $r",
    "setp.hi.u32 $P, $r, $r",
    "setp.eq.b64 $P, $d, $d",
    "setp.eq.b32 $P, $r, $r",
    "setp.eq.s32 $P, $r, $r",
    "setp.ge.u32 $P, $r, $r",
    "setp.gt.u32 $P, $r, $r",
    "setp.le.u32 $P, $r, $r",
    "setp.lt.u32 $P, $r, $r",
    "setp.ne.b32 $P, $r, $r",
    "setp.ne.s32 $P, $r, $r",
    "setp.eq.s64 $P, $d, $d",
    "setp.gt.u64 $P, $d, $d",
    "setp.lt.u64 $P, $d, $d",
    "setp.ne.b64 $P, $d, $d",
    "setp.ne.s64 $P, $d, $d",
    "setp.eq.u32 $P, $r, $r",
    "setp.leu.f32 $P, $r, $r",
    "setp.equ.f32 $P, $r, $r",
    "setp.gtu.f32 $P, $r, $r",
    "setp.le.f32 $P, $r, $r",
    "setp.lt.f32 $P, $r, $r",
    "setp.ne.f32 $P, $r, $r",
    "setp.eq.f32 $P, $r, $r",
    "setp.neu.f32 $P, $r, $r",
    "setp.gt.ftz.f32 $P, $r, $r",
    "setp.nan.f32 $P, $r, $r",
    "setp.ne.f16 $P, $h, $h",
    "setp.ge.and.s32 $P, $r, $r, $p",
    "setp.lt.xor.u32 $P, $r, $r, !$p",
    "set.lt.u32.s32 $R, $r, $r",
    "selp.b32 $R, $r, $r, $p",
    "selp.b64 $D, $d, $d, $p",
    "selp.u32 $R, $r, $r, $p",
    "selp.f32 $R, $r, $r, $p",
    "selp.f64 $D, $d, $d, $p",
    "and.pred $P, $p, $p",
    "or.pred $P, $p, $p",
    "xor.pred $P, $p, $p",
    "not.pred $P, $p",
    // With a number, for of two NaNs ptxas may exchange the operands, and which of them comes out.
    "add.rn.f64 $D, $d, %d8",
    "sub.rz.f64 $D, %d9, $d",
    "sub.rn.f64 $D, $d, %d8",
    "mul.rn.f64 $D, $d, %d8",
    "fma.rn.f64 $D, $d, %d8, %d9",
    "fma.rp.f64 $D, %d8, %d9, $d",
    "cvt.f64.f32 $D, $r",
    "cvt.rn.f32.f64 $R, $d",
    "cvt.rz.f32.f64 $R, $d",
    "cvt.rn.f16.f64 $H, $d",
    "cvt.rni.f64.f64 $D, $d",
    "setp.gtu.f64 $P, $d, $d",
];

/// Instructions that are compared by themselves alone: together with others ptxas 13.0 makes of them
/// what the PTX ISA does not say. It takes the result of `set` for 0 or 1 when it is converted from
/// an integer, the amount of a 64-bit shift for a number to convert (`F2I`) where f32 arithmetic
/// gave it, the absolute value and the negation of the least integer for what only a wider register
/// holds, and the lesser or greater of a NaN and its copy for a move, which keeps the NaN's bits. Under a
/// predicate the absolute value of an f32 keeps them, too, where alone it gives the one NaN of arithmetic.
const ALONE: &[&str] = &[
    "set.gt.f32.f32 $R, $r, $r",
    "shr.s64 $D, $d, $r",
    "abs.f32 $R, $r",
    "neg.f32 $R, $r",
    "abs.s32 $R, $r",
    "neg.s32 $R, $r",
    "neg.s64 $D, $d",
    "min.f32 $R, $r, $q",
    "max.ftz.f32 $R, $r, $q",
    "max.f32 $R, $r, $q",
];

/// A template with its registers and numbers, under a predicate or not.
fn instruction(template: &str, numbers: [usize; 8], guard: Option<(usize, bool)>) -> String {
    let mut numbers = numbers.into_iter().cycle();
    let mut text = String::new();
    let mut parts = template.split('$');
    text += parts.next().unwrap_or_default();
    let mut before = 0;
    for part in parts {
        let (kind, rest) = part.split_at(1);
        let number = numbers.next().unwrap_or(0);
        text += &match kind {
            "R" | "r" => {
                before = number % 8;
                format!("%r{before}")
            }
            "q" => format!("%r{}", (before + 1 + number % 7) % 8),
            "H" | "h" => format!("%h{}", number % 4),
            "D" | "d" => format!("%d{}", number % 4),
            "P" | "p" => format!("%p{}", number % 4),
            "b" => (number % 32).to_string(),
            _ => number.to_string(),
        };
        text += rest;
    }
    let guard = guard.map(|(number, negated)| format!("@{}%p{number} ", if negated { "!" } else { "" }));
    format!("{}{text};\n", guard.unwrap_or_default())
}

/// Each instruction there is, once, with operands that differ.
pub fn each_instruction() -> impl Iterator<Item = String> {
    TEMPLATES.iter().chain(ALONE).map(|template| instruction(template, [0, 1, 2, 3, 4, 5, 6, 7], None))
}

/// Programs of 1 to 40 instructions.
pub fn programs() -> impl Strategy<Value = Vec<String>> {
    let template = prop::sample::select(TEMPLATES);
    let guard = prop::option::weighted(0.2, (0..4usize, any::<bool>()));
    let numbers = prop::array::uniform8(0..40usize);
    let step = (template, numbers, guard)
        .prop_map(|(template, numbers, guard)| instruction(template, numbers, guard));
    prop::collection::vec(step, 1..40)
}

/// A thread's inputs: any bits, and often those of numbers that floats are hard on.
pub fn inputs() -> impl Strategy<Value = [u32; INPUTS]> {
    let special = prop::sample::select(
        &[
            0u32,
            1,
            0x8000_0000,
            0xffff_ffff,
            0x7fff_ffff,
            0x3f80_0000,
            0x7f80_0000,
            0x7fc0_0000,
            0x0080_0000,
            0x807f_ffff,
            0x7f7f_ffff,
            0x3c00_3c00,
            0x7bff_fbff,
            0x7c00_fc00,
            0x0001_8001,
            0x3f80_bf80,
            0x477f_e000,
            0x4b7f_ffff,
            // The upper halves of f64 NaNs and of an infinity.
            0x7ff0_0001,
            0xfff8_b000,
            0x7ff0_0000,
        ][..],
    );
    let number = any::<f32>().prop_map(f32::to_bits);
    prop::array::uniform8(prop_oneof![any::<u32>(), special, number, (-8f32..8.0).prop_map(f32::to_bits)])
}

/// The module: entry `program`, a thread's words at `input + 32 * thread`, its results at
/// `output + 4 * OUTPUTS * thread`.
pub fn module(instructions: &[String]) -> String {
    let mut text = String::from(
        ".version 8.0\n.target sm_90\n.address_size 64\n
.visible .entry program(.param .u64 input, .param .u64 output)\n{\n
.reg .pred %p<4>;\n.reg .b16 %h<4>;\n.reg .b32 %r<16>;\n.reg .b64 %d<10>;\n
mov.u32 %r8, %ctaid.x;\nmov.u32 %r9, %ntid.x;\nmov.u32 %r10, %tid.x;\nmad.lo.u32 %r8, %r8, %r9, %r10;\n
ld.param.u64 %d4, [input];\nmul.wide.u32 %d5, %r8, 32;\nadd.s64 %d4, %d4, %d5;\n
ld.global.v4.b32 {%r0, %r1, %r2, %r3}, [%d4];\nld.global.v4.b32 {%r4, %r5, %r6, %r7}, [%d4+16];
and.b32 %r13, %r7, 127;\ncvt.rn.f64.s32 %d8, %r4;\ncvt.rn.f64.u32 %d9, %r6;\n",
    );
    for i in 0..4 {
        let j = i + 4;
        text += &format!(
            "cvt.u16.u32 %h{i}, %r{i};\nmov.b64 %d{i}, {{%r{i}, %r{j}}};\nsetp.lt.s32 %p{i}, %r{i}, %r{j};\n"
        );
    }
    instructions.iter().for_each(|instruction| text += instruction);
    text += &format!(
        "ld.param.u64 %d6, [output];\nmul.wide.u32 %d7, %r8, {};\nadd.s64 %d6, %d6, %d7;\n",
        4 * OUTPUTS
    );
    let mut place = 0;
    let mut store = |before: &str, register: &str| {
        text += &format!("{before}st.global.b32 [%d6+{place}], {register};\n");
        place += 4;
    };
    (0..8).for_each(|i| store("", &format!("%r{i}")));
    (0..4).for_each(|i| store(&format!("cvt.u32.u16 %r11, %h{i};\n"), "%r11"));
    (0..4).for_each(|i| {
        store(&format!("mov.b64 {{%r11, %r12}}, %d{i};\n"), "%r11");
        store("", "%r12");
    });
    (0..4).for_each(|i| store(&format!("selp.b32 %r11, 1, 0, %p{i};\n"), "%r11"));
    text += "ret;\n}\n";
    text
}

/// What the simulator makes of a program, `threads` threads a block.
pub fn simulate(text: &str, inputs: &[[u32; INPUTS]], threads: u32) -> Vec<u32> {
    let kernel = ptx_sim::Module::parse(text)
        .unwrap()
        .kernel("program")
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut memory = ptx_sim::Memory::new();
    let bytes: Vec<u8> = inputs.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    let input = memory.upload_read_only("input", &bytes);
    let size = (inputs.len() * OUTPUTS * 4) as u64;
    let output = memory.output("output", size);
    let blocks = (inputs.len() as u32).div_ceil(threads);
    let launch = ptx_sim::Launch::new(&kernel).grid([blocks, 1, 1]).block([threads, 1, 1]);
    launch.arg(input).arg(output).run(&mut memory).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let bytes = memory.read(output, size).unwrap();
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}
