//! Mbarriers, and stores that arrive at them.

use norm_testing::kernel::{self, fault, kernel, store_result};
use ptx_sim::{Counts, Fault, FaultKind, Launch, LaunchError, Memory};

/// Each block sends its rank to all blocks of the cluster, and writes the sum of what it receives.
const EXCHANGE: &str = "
    mov.u32 %r1, %cluster_ctarank; mov.u32 %r2, %cluster_nctarank; mov.u32 %r3, %tid.x;
    mov.u32 %r4, scratch; add.u32 %r5, %r4, 512; shl.b32 %r6, %r2, 4;
    setp.ne.u32 %p1, %r3, 0; @%p1 bra STARTED;
    mbarrier.init.shared::cta.b64 [%r5], 1;
    mbarrier.arrive.expect_tx.shared::cta.b64 %d1, [%r5], %r6;
    fence.mbarrier_init.release.cluster;
    STARTED:
    barrier.cluster.arrive.relaxed; barrier.cluster.wait;
    setp.ge.u32 %p2, %r3, %r2; @%p2 bra SENT;
    shl.b32 %r7, %r1, 4; add.u32 %r7, %r4, %r7;
    mapa.shared::cluster.u32 %r8, %r7, %r3; mapa.shared::cluster.u32 %r9, %r5, %r3;
    st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%r8], {%r1, %r1, %r1, %r1}, [%r9];
    SENT:
    mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p3, [%r5], 0;
    @!%p3 bra SENT;
    mov.u32 %r10, 0; mov.u32 %r11, 0;
    NEXT: add.u32 %r12, %r4, %r11; ld.shared.b32 %r13, [%r12]; add.u32 %r10, %r10, %r13;
    add.u32 %r11, %r11, 16; setp.lt.u32 %p4, %r11, %r6; @%p4 bra NEXT;
    ld.param.u64 %d2, [out]; mov.u32 %r14, %ctaid.x; mul.wide.u32 %d3, %r14, 4; add.s64 %d2, %d2, %d3;
    @%p1 bra DONE; st.global.b32 [%d2], %r10; DONE: ret;";

fn exchange(body: &str, cluster: u32, threads: u32) -> Result<(Counts, Vec<u32>), LaunchError> {
    let kernel = kernel(".param .u64 out", body);
    let mut memory = Memory::new();
    let bytes = u64::from(cluster) * 8;
    let out = memory.output("out", bytes);
    let launch = Launch::new(&kernel).grid([2 * cluster, 1, 1]).block([threads, 1, 1]);
    let counts = launch.cluster([cluster, 1, 1]).arg(out).run(&mut memory)?;
    let words = memory.read(out, bytes).unwrap();
    Ok((counts, words.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()))
}

fn broken(from: &str, to: &str) -> Fault {
    assert!(EXCHANGE.contains(from), "{from}");
    fault(exchange(&EXCHANGE.replace(from, to), 4, 64).map(|(counts, _)| counts))
}

fn problem(fault: &Fault) -> &str {
    match &fault.kind {
        FaultKind::Mbarrier { address: 512, problem } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn blocks_of_a_cluster_exchange_without_a_second_barrier() {
    for (cluster, threads) in [(1, 32), (2, 64), (8, 96), (16, 1024)] {
        let (counts, out) = exchange(EXCHANGE, cluster, threads).unwrap();
        assert_eq!(out, vec![cluster * (cluster - 1) / 2; 2 * cluster as usize]);
        assert_eq!(counts.shared.remote, u64::from(2 * cluster * (cluster - 1)));
    }
}

#[test]
fn what_arrives_must_be_waited_for() {
    let wait = "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p3, [%r5], 0;\n    @!%p3 bra SENT;";
    let unread = broken(wait, "");
    assert!(matches!(unread.kind, FaultKind::Race { space: "shared", address: 0, .. }), "{unread}");
    // One try is not enough: it may give up before the end.
    let tried = broken("@!%p3 bra SENT;", "");
    assert!(matches!(tried.kind, FaultKind::Race { space: "shared", address: 0, .. }), "{tried}");
}

#[test]
fn a_block_that_ends_before_its_data_has_come() {
    let body = EXCHANGE.replace("    SENT:\n", "    SENT: ret;\n");
    let found = fault(exchange(&body, 4, 64).map(|(counts, _)| counts));
    assert!(matches!(found.kind, FaultKind::RemoteLifetime { .. }), "{found}");
}

#[test]
fn a_wait_for_its_own_block_learns_of_its_own_block() {
    let race = broken("try_wait.parity.acquire.cluster.", "try_wait.parity.");
    assert!(matches!(race.kind, FaultKind::Race { space: "shared", .. }), "{race}");
    let race = broken("try_wait.parity.acquire.cluster.", "try_wait.parity.relaxed.cluster.");
    assert!(matches!(race.kind, FaultKind::Race { space: "shared", .. }), "{race}");
}

#[test]
fn an_initialization_that_nobody_was_told_of() {
    let race = broken("fence.mbarrier_init.release.cluster;", "");
    let FaultKind::Race { space: "shared", address: 512, other, .. } = &race.kind else { panic!("{race}") };
    assert!(other.writes);
    let missing = broken("mbarrier.init.shared::cta.b64 [%r5], 1;", "");
    assert!(problem(&missing).contains("not initialized"), "{missing}");
    let written =
        broken("barrier.cluster.arrive.relaxed;", "@!%p1 st.shared.b32 [%r5], 1; barrier.cluster.arrive;");
    assert!(problem(&written).contains("overwritten"), "{written}");
    let twice = broken("mbarrier.arrive", "mbarrier.init.shared.b64 [%r5], 1; mbarrier.arrive");
    assert!(problem(&twice).contains("initialized again"), "{twice}");
}

#[test]
fn counts_that_do_not_fit() {
    let waits = |found: Fault| match found.kind {
        FaultKind::Deadlock { instruction: "mbarrier.try_wait", waiting, exited: 0 } => waiting,
        other => panic!("{other}"),
    };
    assert_eq!(waits(broken("[%r5], %r6;", "[%r5], 80;")), 256);
    assert_eq!(waits(broken("[%r5], 1;", "[%r5], 2;")), 256);
    assert!(problem(&broken("[%r5], 1;", "[%r5], 0;")).contains("0 arrivals"));
    let twice = broken(
        "fence.mb",
        "mbarrier.arrive.shared.b64 _, [%r5]; mbarrier.arrive.shared.b64 _, [%r5]; fence.mb",
    );
    assert!(problem(&twice).contains("has 1 arrivals where it lacks 0"), "{twice}");
    let many = broken("[%r5], %r6;", "[%r5], 2000000;");
    assert!(problem(&many).contains("2000000 bytes"), "{many}");
}

#[test]
fn places_that_do_not_fit() {
    let odd = broken("add.u32 %r5, %r4, 512;", "add.u32 %r5, %r4, 516;");
    assert!(matches!(odd.kind, FaultKind::Misaligned { space: "shared", align: 8, .. }), "{odd}");
    let elsewhere = broken("[%r9];", "[%r5];");
    assert!(problem(&elsewhere).contains("`st.async` writes in block"), "{elsewhere}");
    let odd = broken("add.u32 %r7, %r4, %r7;", "add.u32 %r7, %r4, 8;");
    assert!(matches!(odd.kind, FaultKind::Misaligned { space: "shared", align: 16, .. }), "{odd}");
    let outside = broken("add.u32 %r7, %r4, %r7;", "add.u32 %r7, %r4, 1024;");
    assert!(matches!(outside.kind, FaultKind::OutOfBounds { .. }), "{outside}");
    let same = broken("add.u32 %r7, %r4, %r7;", "mov.u32 %r7, %r4;");
    assert!(matches!(same.kind, FaultKind::Race { space: "shared", writes: true, .. }), "{same}");
}

/// One warp hands words to another and back, phase by phase.
#[test]
fn phases_follow_each_other() {
    let body = "
        mov.u32 %r1, %tid.x; shr.u32 %r2, %r1, 5; and.b32 %r3, %r1, 31; shl.b32 %r4, %r3, 2;
        mov.u32 %r5, scratch; add.u32 %r6, %r5, %r4;
        setp.ne.u32 %p1, %r1, 0; @%p1 bra READY;
        mbarrier.init.shared.b64 [scratch+512], 32; mbarrier.init.shared.b64 [scratch+520], 32;
        READY: bar.sync 0;
        mov.u32 %r7, 0; mov.u32 %r10, 0;
        setp.ne.u32 %p2, %r2, 0; @%p2 bra TAKE;
        GIVE: add.u32 %r8, %r7, %r3; st.shared.b32 [%r6], %r8;
        mbarrier.arrive.shared.b64 %d1, [scratch+512];
        and.b32 %r9, %r7, 1;
        BACK: mbarrier.test_wait.parity.shared.b64 %p3, [scratch+520], %r9; @!%p3 bra BACK;
        add.u32 %r7, %r7, 1; setp.lt.u32 %p4, %r7, 3; @%p4 bra GIVE; bra DONE;
        TAKE: and.b32 %r9, %r7, 1;
        HERE: mbarrier.try_wait.parity.shared.b64 %p3, [scratch+512], %r9, 100; @!%p3 bra HERE;
        xor.b32 %r11, %r4, 4; add.u32 %r11, %r5, %r11; ld.shared.b32 %r12, [%r11]; add.u32 %r10, %r10, %r12;
        mbarrier.arrive.release.cta.shared.b64 %d2, [scratch+520], 1;
        add.u32 %r7, %r7, 1; setp.lt.u32 %p4, %r7, 3; @%p4 bra TAKE;
        DONE: ";
    let body = format!("{body}{}", store_result("%r10"));
    let words = kernel::words(&body, 64).unwrap();
    let expected: Vec<u32> =
        (0..64).map(|thread| if thread < 32 { 0 } else { 3 * ((thread - 32) ^ 1) + 3 }).collect();
    assert_eq!(words, expected);
    // Who does not wait until they are taken overwrites them, or is phases ahead of who waits.
    let hasty = kernel::words(&body.replace("@!%p3 bra BACK;", ""), 64);
    let Err(LaunchError::Fault(found)) = hasty else { panic!("{hasty:?}") };
    assert!(matches!(found.kind, FaultKind::Deadlock { waiting: 32, exited: 32, .. }), "{found}");
    // A state that an arrival gave names the phase as its parity does.
    let body = "
        mov.u32 %r1, %tid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra READY; mbarrier.init.shared.b64 [scratch], 64;
        READY: bar.sync 0; mbarrier.arrive.shared.b64 %d1, [scratch];
        WAIT: mbarrier.try_wait.shared.b64 %p2, [scratch], %d1; @!%p2 bra WAIT;
        bar.sync 0; @!%p1 mbarrier.inval.shared.b64 [scratch]; @!%p1 mbarrier.init.shared.b64 [scratch], 1;";
    let words = kernel::words(&format!("{body}{}", store_result("%r1")), 64).unwrap();
    assert_eq!(words, (0..64).collect::<Vec<u32>>());
}
