//! Thread instructions a second, with every check on: `cargo bench -p ptx-sim`.
//!
//! The kernel is the kind that simulators are asked to run: each thread loads a vector, computes
//! on it, takes part in a block's reduction and stores it.

use std::time::{Duration, Instant};

use ptx_sim::{Launch, Memory, Module};

const TEXT: &str = "
.version 8.0
.target sm_80
.address_size 64
.shared .align 16 .b8 sums[128];
.visible .entry k(.param .u64 data, .param .u64 out) {
    .reg .pred %p<4>; .reg .b32 %r<64>; .reg .b64 %d<8>;
    ld.param.u64 %d1, [data]; ld.param.u64 %d4, [out];
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x;
    mad.lo.u32 %r4, %r2, %r3, %r1; mul.wide.u32 %d2, %r4, 16; add.s64 %d3, %d1, %d2; add.s64 %d5, %d4, %d2;
    ld.global.L1::no_allocate.v4.b32 {%r10, %r11, %r12, %r13}, [%d3];
    mov.b32 %r20, 0f00000000; mov.b32 %r30, 0;
LOOP:
    fma.rn.f32 %r20, %r10, %r10, %r20; fma.rn.f32 %r20, %r11, %r11, %r20;
    fma.rn.f32 %r20, %r12, %r12, %r20; fma.rn.f32 %r20, %r13, %r13, %r20;
    mul.rn.f32 %r21, %r20, 0f3F000000; add.rn.f32 %r10, %r10, %r21; sub.rn.f32 %r11, %r11, %r21;
    cvt.rn.f16x2.f32 %r22, %r10, %r11; mov.b64 {%r23, %r24}, %d3; xor.b32 %r25, %r22, %r23; shl.b32 %r26, %r25, 3;
    add.u32 %r30, %r30, 1; setp.lt.u32 %p1, %r30, 32; @%p1 bra LOOP;
    shfl.sync.bfly.b32 %r31, %r20, 16, 31, -1; add.rn.f32 %r20, %r20, %r31;
    shfl.sync.bfly.b32 %r31, %r20, 8, 31, -1; add.rn.f32 %r20, %r20, %r31;
    shr.u32 %r32, %r1, 5; shl.b32 %r33, %r32, 2; mov.u32 %r34, sums; add.u32 %r34, %r34, %r33;
    and.b32 %r35, %r1, 31; setp.eq.u32 %p2, %r35, 0; @%p2 st.shared.b32 [%r34], %r20;
    bar.sync 0;
    ld.shared.v4.b32 {%r40, %r41, %r42, %r43}, [sums];
    add.rn.f32 %r40, %r40, %r41; add.rn.f32 %r42, %r42, %r43; rsqrt.approx.f32 %r44, %r40;
    st.global.cs.v4.b32 [%d5], {%r10, %r11, %r22, %r44};
    ret;
}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` asks for one quick round.
    let quick = std::env::args().any(|argument| argument == "--test");
    let blocks = if quick { 8u32 } else { 2048 };
    let kernel = Module::parse(TEXT)?.kernel("k")?;
    for threads in [1, rayon::current_num_threads()] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut best = (Duration::MAX, 0);
        for _ in 0..if quick { 1 } else { 5 } {
            let mut memory = Memory::new();
            let bytes: Vec<u8> =
                (0..blocks * 128 * 4).flat_map(|i| (i as f32 * 1e-3).to_le_bytes()).collect();
            let data = memory.upload("data", &bytes);
            let out = memory.output("out", bytes.len() as u64);
            let launch = Launch::new(&kernel).grid([blocks, 1, 1]).block([128, 1, 1]).arg(data).arg(out);
            let start = Instant::now();
            let counts = pool.install(|| launch.run(&mut memory))?;
            best = best.min((start.elapsed(), counts.thread_instructions));
        }
        let rate = best.1 as f64 / best.0.as_secs_f64() / 1e6;
        println!("{threads} thread(s): {rate:.0} million thread instructions a second");
    }
    Ok(())
}
