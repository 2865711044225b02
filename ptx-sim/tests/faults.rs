//! Every fault that is promised, planted in a small kernel and found; and the same kernel
//! without it, clean.

mod common;

use common::{fault, kernel, run, words};
use ptx_sim::{FaultKind, Launch, LaunchError, Memory};

/// Loads the pointer, and `data + 4 * tid` into `%d2`.
const POINTER: &str = "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 4;
    add.s64 %d2, %d1, %d2; mov.u32 %r9, %ctaid.x;\n";

#[test]
fn access_outside_every_allocation() {
    let found = fault(run(&format!("{POINTER} ld.global.b32 %r2, [%d2+4096];\nret;"), 1, 64));
    assert!(matches!(&found.kind, FaultKind::OutOfBounds { space: "global", bytes: 4, near: Some(near), .. }
        if near.starts_with("data ends 0 bytes")));
    assert_eq!((found.kernel.as_str(), found.block, found.thread), ("k", [0; 3], [0; 3]));
    // The header of a test kernel has ten lines, the pointer two.
    assert_eq!(found.line, 13);
    let last = fault(run(&format!("{POINTER} ld.global.b32 %r2, [%d2+4036];\nret;"), 1, 64));
    assert_eq!(last.thread, [15, 0, 0]);
    run(&format!("{POINTER} ld.global.b32 %r2, [%d2+3840]; ret;"), 1, 64).unwrap();
}

#[test]
fn access_to_freed_and_read_only_memory() {
    let store = kernel(".param .u64 data", &format!("{POINTER} st.global.b32 [%d2], %r1; ret;"));
    let mut memory = Memory::new();
    let constant = memory.upload_read_only("constant", &[0; 64]);
    let launch = Launch::new(&store).arg(constant);
    assert!(
        matches!(fault(launch.run(&mut memory)).kind, FaultKind::ReadOnly { buffer, .. } if buffer == "constant")
    );
    let freed = memory.upload("freed", &[0; 64]);
    let launch = Launch::new(&store).arg(freed);
    launch.run(&mut memory).unwrap();
    memory.free(freed).unwrap();
    assert!(
        matches!(fault(launch.run(&mut memory)).kind, FaultKind::Freed { address, .. } if address == freed)
    );
}

#[test]
fn misaligned_access() {
    let vector = |offset: u32| format!("{POINTER} ld.global.v2.b32 {{%r2, %r3}}, [%d1+{offset}]; ret;");
    let found = fault(run(&vector(4), 1, 1));
    assert!(matches!(found.kind, FaultKind::Misaligned { space: "global", align: 8, .. }));
    run(&vector(8), 1, 1).unwrap();
    let shared = "mov.b32 %r1, 0; st.shared.b32 [scratch+2], %r1; ret;";
    assert!(matches!(fault(run(shared, 1, 1)).kind, FaultKind::Misaligned { space: "shared", align: 4, .. }));
}

#[test]
fn read_of_what_nothing_wrote() {
    let register =
        "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 8; @%p1 mov.b32 %r2, 1;\nadd.u32 %r3, %r2, 1; ret;";
    let found = fault(run(register, 1, 32));
    assert_eq!((found.kind, found.thread), (FaultKind::UninitializedRegister, [8, 0, 0]));
    run(&register.replace("setp", "mov.b32 %r2, 0; setp"), 1, 32).unwrap();

    let shared = "mov.b32 %r1, 7; st.shared.b32 [scratch], %r1; ld.shared.v2.b32 {%r2, %r3}, [scratch]; ret;";
    let found = fault(run(shared, 1, 1));
    assert_eq!(found.kind, FaultKind::UninitializedMemory { space: "shared", address: 4 });
    run(&shared.replace("ld.shared.v2.b32 {%r2, %r3}", "ld.shared.b32 %r2"), 1, 1).unwrap();

    let global = kernel(".param .u64 data", &format!("{POINTER} ld.global.b32 %r2, [%d2]; ret;"));
    let mut memory = Memory::new();
    let data = memory.allocate("data", 64);
    let found = fault(Launch::new(&global).arg(data).run(&mut memory));
    assert_eq!(found.kind, FaultKind::UninitializedMemory { space: "global", address: data });
}

/// Thread `t` writes word `t` of shared memory and reads word `t + 1`.
fn neighbours(barrier: &str) -> String {
    format!(
        "mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 2; mov.u32 %r3, scratch; add.u32 %r3, %r3, %r2;
         mov.b32 %r4, 0; st.shared.b32 [%r3+4], %r4; {barrier}
         st.shared.b32 [%r3], %r1; {barrier}
         ld.shared.b32 %r5, [%r3+4]; ret;"
    )
}

#[test]
fn races_on_shared_memory() {
    for threads in [2, 64] {
        let found = fault(run(&neighbours(""), 1, threads));
        assert!(
            matches!(&found.kind, FaultKind::Race { space: "shared", other, .. } if other.writes),
            "{found}"
        );
        run(&neighbours("bar.sync 0;"), 1, threads).unwrap();
    }
    // A barrier of the warp is enough for a warp, and for no more.
    run(&neighbours("bar.warp.sync -1;"), 1, 32).unwrap();
    assert!(matches!(fault(run(&neighbours("bar.warp.sync -1;"), 1, 64)).kind, FaultKind::Race { .. }));
    // Halves of one word are apart.
    let halves = "mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 1; mov.u32 %r3, scratch; add.u32 %r3, %r3, %r2;
        cvt.u16.u32 %h1, %r1; st.shared.b16 [%r3], %h1; ld.shared.b16 %h2, [%r3]; ret;";
    run(halves, 1, 64).unwrap();
}

#[test]
fn races_on_global_memory() {
    let within = format!("{POINTER} st.global.b32 [%d2], %r1;\nBARRIER ld.global.b32 %r2, [%d1];\nret;");
    let found = fault(run(&within.replace("BARRIER", ""), 1, 64));
    assert!(matches!(&found.kind, FaultKind::Race { space: "global", other, .. }
        if other.thread == Some([0; 3]) && other.line == 13));
    run(&within.replace("BARRIER", "bar.sync 0;"), 1, 64).unwrap();

    // Blocks write the same word; then, each its own.
    let between = format!(
        "{POINTER} mul.wide.u32 %d3, %r9, STEP; add.s64 %d1, %d1, %d3; st.global.b32 [%d1], %r9; ret;"
    );
    let found = fault(run(&between.replace("STEP", "0"), 4, 1));
    assert!(
        matches!(&found.kind, FaultKind::Race { space: "global", other, .. } if other.block != found.block)
    );
    run(&between.replace("STEP", "4"), 4, 1).unwrap();

    // One block reads what another writes.
    let reader = format!(
        "{POINTER} setp.eq.u32 %p1, %r9, 0; @%p1 bra WRITE; ld.global.b32 %r2, [%d1+AT]; ret;
         WRITE: st.global.b32 [%d1], %r9; ret;"
    );
    assert!(matches!(fault(run(&reader.replace("AT", "0"), 2, 1)).kind, FaultKind::Race { .. }));
    run(&reader.replace("AT", "4"), 2, 1).unwrap();
}

#[test]
fn barrier_divergence_and_deadlock() {
    let half = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, SPLIT; @%p1 bra A; bar.sync 0; bra B; A: bar.sync WHICH; B: ret;";
    let found = fault(run(&half.replace("SPLIT", "16").replace("WHICH", "0"), 1, 64));
    assert!(matches!(
        found.kind,
        FaultKind::Divergence { instruction: "a barrier of the block", needed: u32::MAX, .. }
    ));
    // Whole warps may come to one barrier from different places, but not to different barriers.
    run(&half.replace("SPLIT", "32").replace("WHICH", "0"), 1, 64).unwrap();
    let found = fault(run(&half.replace("SPLIT", "32").replace("WHICH", "1"), 1, 64));
    assert!(matches!(found.kind, FaultKind::Deadlock { waiting: 64, exited: 0, .. }));
    // Nobody waits for threads that have exited.
    let early = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 40; @!%p1 ret; bar.sync 0; ret;";
    run(early, 1, 64).unwrap();
}

#[test]
fn shuffles_without_all_their_lanes() {
    let shuffle = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 16; @%p1 bra A;
        shfl.sync.bfly.b32 %r2, %r1, 1, 31, MEMBERS; A: ret;";
    let found = fault(run(&shuffle.replace("MEMBERS", "-1"), 1, 32));
    // The others have exited by then and are waited for by none; but they are shuffled with.
    run(&shuffle.replace("MEMBERS", "0xffff0000"), 1, 32).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(found.kind, FaultKind::Divergence { .. } | FaultKind::ShuffleSource { .. }), "{found}");
    let outside = fault(run(&shuffle.replace("MEMBERS", "0xfffe0000"), 1, 32));
    assert!(matches!(outside.kind, FaultKind::Members { lane: 16, .. }));
}

#[test]
fn output_left_unwritten() {
    let some =
        "mov.u32 %r1, %tid.x; ld.param.u64 %d1, [out]; mul.wide.u32 %d2, %r1, 4; add.s64 %d1, %d1, %d2;
        setp.ne.u32 %p1, %r1, WHICH; @%p1 st.global.b32 [%d1], %r1; ret;";
    match words(&some.replace("WHICH", "5"), 32) {
        Err(LaunchError::Unwritten { buffer, offset: 20, count: 4, .. }) => assert_eq!(buffer, "out"),
        other => panic!("{other:?}"),
    }
    assert_eq!(words(&some.replace("WHICH", "32"), 32).unwrap(), (0..32).collect::<Vec<u32>>());
}

#[test]
fn arguments_that_do_not_match() {
    let kernel = kernel(".param .u64 a, .param .align 8 .b8 b[24]", "ret;");
    let mut memory = Memory::new();
    let fitting = || ptx_sim::Argument::bytes(&[0; 24], 8);
    Launch::new(&kernel).arg(1u64).arg(fitting()).run(&mut memory).unwrap();
    let run = |launch: Launch| launch.run(&mut Memory::new()).unwrap_err();
    let error = run(Launch::new(&kernel).arg(1u64));
    assert!(matches!(error, LaunchError::ArgumentCount { expected: 2, given: 1, .. }));
    let error = run(Launch::new(&kernel).arg(1u32).arg(fitting()));
    assert!(matches!(error, LaunchError::ArgumentSize { index: 0, expected: 8, given: 4, .. }));
    let error = run(Launch::new(&kernel).arg(1u64).arg(ptx_sim::Argument::bytes(&[0; 24], 4)));
    assert!(matches!(error, LaunchError::ArgumentAlignment { index: 1, expected: 8, given: 4, .. }));
}

#[test]
fn endless_loops_and_traps() {
    let kernel = kernel("", "LOOP: bra LOOP;");
    let result = Launch::new(&kernel).limit(1000).run(&mut Memory::new());
    assert_eq!(fault(result).kind, FaultKind::Endless { instructions: 1000 });
    assert_eq!(fault(run("trap;", 1, 1)).kind, FaultKind::Trap);
}
