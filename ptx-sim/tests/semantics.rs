//! Results that the PTX ISA's text fixes, case by case.

use norm_testing::kernel::{store_result, text, words};

/// What one thread computes.
fn result(instructions: &str) -> u32 {
    words(&format!("{instructions}\n{}", store_result("%r0")), 1).unwrap()[0]
}

#[test]
fn integers() {
    assert_eq!(result("mov.b32 %r1, -7; shr.s32 %r0, %r1, 40;"), u32::MAX);
    assert_eq!(result("mov.b32 %r1, -7; shr.u32 %r0, %r1, 40;"), 0);
    assert_eq!(result("mov.b32 %r1, 0x80000000; mov.b32 %r2, -1; add.sat.s32 %r0, %r1, %r2;"), 0x8000_0000);
    assert_eq!(result("mov.b32 %r1, 0x12345678; prmt.b32 %r0, %r1, 0, 0x0123;"), 0x7856_3412);
    assert_eq!(result("mov.b32 %r1, 0x80; prmt.b32 %r0, %r1, 0, 0x8888;"), 0xffff_ffff);
    assert_eq!(result("mov.b32 %r1, 0xf0f0; bfe.s32 %r0, %r1, 4, 4;"), u32::MAX);
    assert_eq!(result("mov.b32 %r1, 0; bfind.u32 %r0, %r1;"), u32::MAX);
    assert_eq!(result("mov.b32 %r1, 3; bfind.shiftamt.u32 %r0, %r1;"), 30);
    assert_eq!(result("mov.b32 %r1, 1; mov.b32 %r2, 2; shf.l.wrap.b32 %r0, %r1, %r2, 33;"), 4);
    assert_eq!(result("mov.b32 %r1, 1; mov.b32 %r2, 2; shf.l.clamp.b32 %r0, %r1, %r2, 33;"), 1);
    assert_eq!(result("mov.b32 %r1, 5; bfi.b32 %r0, %r1, -1, 8, 4;"), 0xffff_f5ff);
    assert_eq!(result("mov.b64 %d1, -5; cvt.u32.u64 %r0, %d1;"), -5i32 as u32);
    assert_eq!(result("mov.b64 %d1, 0x123456789; cvt.u16.u64 %h1, %d1; cvt.u32.u16 %r0, %h1;"), 0x6789);
    let greater = |a: &str, b: &str| {
        result(&format!("mov.b32 %r1, {a}; setp.gt.s32 %p1, %r1, {b}; selp.b32 %r0, 1, 0, %p1;"))
    };
    assert_eq!([greater("1", "-1"), greater("-1", "1"), greater("3", "3")], [1, 0, 0]);
    let at_most = |a: &str, b: &str| {
        result(&format!("mov.b64 %d1, {a}; setp.le.u64 %p1, %d1, {b}; selp.b32 %r0, 1, 0, %p1;"))
    };
    assert_eq!([at_most("1", "-1"), at_most("-1", "1"), at_most("3", "3")], [1, 0, 1]);
    let at_least = |a: &str, b: &str| {
        result(&format!("mov.b64 %d1, {a}; setp.ge.u64 %p1, %d1, {b}; selp.b32 %r0, 1, 0, %p1;"))
    };
    assert_eq!([at_least("1", "-1"), at_least("-1", "1"), at_least("3", "3")], [0, 1, 1]);
    assert_eq!(result("mov.b32 %r1, 200; cvt.sat.s8.s32 %r2, %r1; mov.b32 %r0, %r2;"), 127);
}

#[test]
fn predicates() {
    for (constant, truth) in [("0", 0), ("1", 1), ("-1", 1)] {
        assert_eq!(result(&format!("mov.pred %p1, {constant}; selp.b32 %r0, 1, 0, %p1;")), truth);
    }
    assert_eq!(result("mov.pred %p1, -1; mov.pred %p2, %p1; selp.b32 %r0, 1, 0, %p2;"), 1);
}

#[test]
fn floats() {
    let bits = |value: f32| value.to_bits();
    assert_eq!(
        result("mov.b32 %r1, 0f3F800000; mov.b32 %r2, 0f33000000; add.rn.f32 %r0, %r1, %r2;"),
        bits(1.0)
    );
    assert_eq!(
        result("mov.b32 %r1, 0f3F800000; mov.b32 %r2, 0f33000000; add.rp.f32 %r0, %r1, %r2;"),
        bits(1.0) + 1
    );
    assert_eq!(result("mov.b32 %r1, 0f00000001; add.ftz.f32 %r0, %r1, %r1;"), 0);
    assert_eq!(result("mov.b32 %r1, 0f7F800000; sub.f32 %r0, %r1, %r1;"), 0x7fff_ffff);
    assert_eq!(result("mov.b32 %r1, 0f80000000; mov.b32 %r2, 0; min.f32 %r0, %r2, %r1;"), 0x8000_0000);
    assert_eq!(result("mov.b32 %r1, 0f7FC00000; mul.sat.f32 %r0, %r1, %r1;"), 0);
    assert_eq!(result("mov.b32 %r1, 0f4F800000; cvt.rzi.s32.f32 %r0, %r1;"), i32::MAX as u32);
    assert_eq!(result("mov.b32 %r1, 0fBFC00000; cvt.rni.s32.f32 %r0, %r1;"), -2i32 as u32);
    assert_eq!(result("mov.b32 %r1, 0f40800000; rsqrt.approx.f32 %r0, %r1;"), bits(0.5));
    assert_eq!(result("mov.b32 %r1, 0f80000000; rsqrt.approx.f32 %r0, %r1;"), bits(f32::NEG_INFINITY));
    assert_eq!(
        result("mov.b32 %r1, 0f3F800000; mov.b32 %r2, 0f40000000; cvt.rn.f16x2.f32 %r0, %r1, %r2;"),
        0x3c00_4000
    );
    // PTX leaves open what becomes of a NaN's bits when its sign changes; this is what an NVIDIA H200 makes of them.
    assert_eq!(result("mov.b32 %r1, 0fFFF8B000; neg.f32 %r0, %r1;"), 0x7fff_ffff);
    assert_eq!(result("mov.b32 %r1, 0f7FF00001; abs.f32 %r0, %r1;"), 0x7fff_ffff);
    assert_eq!(result("mov.b32 %r1, 0fFF800000; abs.f32 %r0, %r1;"), 0x7f80_0000);
    // A NaN of bf16 keeps its bits, one of f16 does not.
    assert_eq!(result("mov.b16 %h1, 0xffc1; cvt.f32.bf16 %r0, %h1;"), 0xffc1_0000);
    assert_eq!(result("mov.b16 %h1, 0xfe01; cvt.f32.f16 %r0, %h1;"), 0x7fff_ffff);
    assert_eq!(result("mov.b16 %h1, 0x7e00; cvt.rzi.s64.f16 %d1, %h1; mov.b64 {_, %r0}, %d1;"), 1 << 31);
    assert_eq!(
        result("mov.b32 %r1, 0x7c00fe00; mov.b32 %r2, 0x7bff7bff; min.NaN.f16x2 %r0, %r1, %r2;"),
        0x7bff_7fff
    );
}

#[test]
fn quantization() {
    let pair = |ty: &str, high: u32, low: u32| {
        let modifiers = format!("rn.satfinite.{ty}");
        result(&format!(
            "mov.b32 %r1, {high}; mov.b32 %r2, {low}; cvt.{modifiers}.f32 %h1, %r1, %r2; cvt.u32.u16 %r0, %h1;"
        ))
    };
    let bits = |value: f32| value.to_bits();
    // The first operand is in the upper half.
    assert_eq!(pair("e4m3x2", bits(1.0), bits(-0.0)), 0x3880);
    assert_eq!(pair("e4m3x2", bits(f32::INFINITY), bits(-449.0)), 0x7efe);
    assert_eq!(pair("e4m3x2", bits(f32::NAN), bits(-f32::NAN)), 0x7f7f);
    // Half of the smallest number is a tie, to the even 0.
    assert_eq!(pair("e4m3x2", bits(1.0 / 1024.0), bits(1.5 / 1024.0)), 0x0001);
    assert_eq!(pair("e5m2x2", bits(f32::NEG_INFINITY), bits(1.0)), 0xfb3c);
    assert_eq!(pair("relu.e4m3x2", bits(-1.0), bits(f32::NAN)), 0x007f);
    let whole =
        |value: f32| result(&format!("mov.b32 %r1, {}; cvt.rni.sat.s8.f32 %r0, %r1;", bits(value))) as i32;
    assert_eq!(
        [0.5, 1.5, -2.5, 126.5, 127.5, -128.5, f32::NAN, f32::NEG_INFINITY].map(whole),
        [0, 2, -2, 126, 127, -128, 0, -128]
    );
}

/// Conversions to 8 bits, of every tie and its neighbours, as recorded.
#[test]
fn conversions_to_eight_bits_are_those_of_a_gpu() {
    const UPPER_HALVES: u32 = 1 << 16;
    let mut lines = 0;
    for line in include_str!("recorded/quarters.txt").lines().filter(|line| !line.starts_with('#')) {
        let number = |digits: &str| u32::from_str_radix(digits, 16).unwrap();
        let mut words = line.split(' ');
        let (opcode, low) = (words.next().unwrap(), number(words.next().unwrap()));
        let to_half = opcode.contains("x2");
        let conversion = match to_half {
            true => format!("{opcode} %h1, %r1, %r1; cvt.u32.u16 %r0, %h1;"),
            false => format!("{opcode} %r0, %r1;"),
        };
        let upper = "mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; shl.b32 %r2, %r2, 9; add.u32 %r1, %r1, %r2;";
        let text = text(
            ".param .u64 data",
            &format!(
                "{upper} mul.wide.u32 %d2, %r1, 4; ld.param.u64 %d1, [data]; add.s64 %d1, %d1, %d2;
                 shl.b32 %r1, %r1, 16; or.b32 %r1, %r1, {low}; {conversion} st.global.b32 [%d1], %r0; ret;"
            ),
        );
        let kernel = ptx_sim::Module::parse(text).unwrap().kernel("k").unwrap();
        let mut memory = ptx_sim::Memory::new();
        let output = memory.output("output", 4 * u64::from(UPPER_HALVES));
        let launch = ptx_sim::Launch::new(&kernel).grid([UPPER_HALVES / 512, 1, 1]).block([512, 1, 1]);
        launch.arg(output).run(&mut memory).unwrap();
        let bytes = memory.read(output, 4 * u64::from(UPPER_HALVES)).unwrap();
        let mut runs =
            words.map(|run| run.split_once(':').unwrap()).map(|(from, to)| (number(from), number(to)));
        let (mut next, mut expected) = (runs.next(), 0);
        for (high, given) in (0..UPPER_HALVES).zip(bytes.as_chunks().0) {
            if let Some((from, value)) = next
                && from == high
            {
                (next, expected) = (runs.next(), value);
            }
            assert_eq!(u32::from_le_bytes(*given), expected, "{opcode} of {:#010x}", high << 16 | low);
        }
        assert_eq!(next, None);
        lines += 1;
    }
    assert_eq!(lines, 15);
}

#[test]
fn an_instruction_that_the_target_lacks_is_refused() {
    let load = |target: &str| {
        let text = format!(
            ".version 8.1\n{target}\n.address_size 64\n.entry k()\n{{\n.reg .b16 %h<1>;\n.reg .b32 %r<2>;\n\
             cvt.rn.satfinite.e4m3x2.f32 %h0, %r0, %r1;\n}}"
        );
        ptx_sim::Module::parse(text).unwrap().kernel("k").map(drop).map_err(|error| error.to_string())
    };
    for enough in [".target sm_89", ".target sm_90a", ".target sm_120", ""] {
        assert_eq!(load(enough), Ok(()), "{enough}");
    }
    let expected = "line 8: instruction cvt.rn.satfinite.e4m3x2.f32 is not supported: it needs sm_89, and the text is for sm_86";
    assert_eq!(load(".target sm_86, texmode_independent").unwrap_err(), expected);
}

#[test]
fn shuffles_and_votes() {
    let shuffle = |mode: &str, lane: u32, clamp: u32| {
        let body = format!("mov.u32 %r1, %tid.x; shfl.sync.{mode}.b32 %r0|%p1, %r1, {lane}, {clamp}, -1;");
        words(&format!("{body}{}", store_result("%r0")), 32).unwrap()
    };
    assert_eq!(shuffle("bfly", 3, 31), (0..32).map(|lane| lane ^ 3).collect::<Vec<u32>>());
    assert_eq!(
        shuffle("up", 2, 0),
        (0..32u32).map(|lane| if lane < 2 { lane } else { lane - 2 }).collect::<Vec<_>>()
    );
    assert_eq!(shuffle("down", 1, 31), (0..32).map(|lane| (lane + 1).min(31)).collect::<Vec<u32>>());
    // Segments of eight lanes: the mask is in the upper bits of the clamp.
    assert_eq!(shuffle("idx", 5, 0x181f), (0..32).map(|lane| lane / 8 * 8 + 5).collect::<Vec<u32>>());
    let vote = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 3; vote.sync.ballot.b32 %r0, %p1, -1;";
    assert_eq!(words(&format!("{vote}{}", store_result("%r0")), 32).unwrap(), [7; 32]);
    for (least, any) in [(31, 1), (32, 0)] {
        let vote = format!(
            "mov.u32 %r1, %tid.x; setp.ge.u32 %p1, %r1, {least}; vote.sync.any.pred %p2, %p1, -1;
             selp.b32 %r0, 1, 0, %p2;"
        );
        assert_eq!(words(&format!("{vote}{}", store_result("%r0")), 32).unwrap(), [any; 32]);
    }
    let sum = "mov.u32 %r1, %tid.x; redux.sync.add.u32 %r0, %r1, -1;";
    assert_eq!(words(&format!("{sum}{}", store_result("%r0")), 32).unwrap(), [496; 32]);
}

#[test]
fn lanes_part_and_meet_again() {
    // Loops of different length in every lane, a return from within, and a shuffle behind.
    let body = "mov.u32 %r1, %tid.x; mov.b32 %r0, 0; mov.b32 %r2, 0;
        setp.eq.u32 %p1, %r1, 31;
        @%p1 bra OUT;
        LOOP: setp.ge.u32 %p2, %r2, %r1; @%p2 bra DONE;
        add.u32 %r2, %r2, 1; and.b32 %r3, %r2, 1; setp.eq.u32 %p3, %r3, 0; @%p3 bra LOOP;
        add.u32 %r0, %r0, 1; bra LOOP;
        OUT: mov.b32 %r0, 99;
        DONE: activemask.b32 %r4; setp.ne.b32 %p4, %r4, -1; @%p4 mov.b32 %r0, 1000;\n";
    let expected: Vec<u32> = (0..32u32).map(|lane| if lane == 31 { 99 } else { lane.div_ceil(2) }).collect();
    assert_eq!(words(&format!("{body}{}", store_result("%r0")), 32).unwrap(), expected);
}

#[test]
fn what_is_not_known_is_refused_with_its_line() {
    let load = |line: &str| {
        let text = format!(
            ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k()\n{{\n.reg .b32 %r<4>;\n.reg .f64 %f<4>;\n{line}\nret;\n}}"
        );
        ptx_sim::Module::parse(text).unwrap().kernel("k").unwrap_err().to_string()
    };
    let unknown = load("atom.global.add.u32 %r1, [%f1], 1;");
    assert!(unknown.contains("line 8") && unknown.contains("atom.global.add.u32"), "{unknown}");
    let modifier = load("add.rna.f64 %f1, %f2, %f3;");
    assert!(modifier.contains("modifier .rna"), "{modifier}");
    let width = load("add.u32 %r1, %r2, %f3;");
    assert!(width.contains("found a 64-bit register"), "{width}");
    assert!(load("add.u32 %r1, %r2, %r9;").contains("%r9 is not declared"));
    assert!(load("bra NOWHERE;").contains("NOWHERE is not declared"));
    assert!(load("mov.u32 %r1, %clock;").contains("special register %clock"));
}
