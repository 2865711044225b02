//! Clusters, distributed shared memory, asynchronous copies.

use norm_testing::kernel::{fault, kernel};
use ptx_sim::{Counts, FaultKind, Launch, LaunchError, Memory};

/// Each block writes its rank to shared memory and reads the next block's.
const EXCHANGE: &str = "
    mov.u32 %r1, %cluster_ctarank; mov.u32 %r2, %cluster_nctarank;
    st.shared.b32 [scratch], %r1;
    barrier.cluster.arrive.RELEASE.aligned; barrier.cluster.wait.acquire.aligned;
    add.u32 %r3, %r1, 1; rem.u32 %r3, %r3, %r2;
    mov.u32 %r4, scratch; mapa.shared::cluster.u32 %r5, %r4, %r3;
    ld.shared::cluster.b32 %r6, [%r5];
    LAST
    ld.param.u64 %d1, [out]; mov.u32 %r7, %ctaid.x; mul.wide.u32 %d2, %r7, 4; add.s64 %d1, %d1, %d2;
    st.global.b32 [%d1], %r6; ret;";
const END: &str = "barrier.cluster.arrive; barrier.cluster.wait;";

fn exchange(body: &str) -> Result<(Counts, Vec<u8>), LaunchError> {
    let kernel = kernel(".param .u64 out", body);
    let mut memory = Memory::new();
    let out = memory.output("out", 32);
    let launch = Launch::new(&kernel).grid([8, 1, 1]).block([1, 1, 1]).cluster([4, 1, 1]).arg(out);
    let counts = launch.run(&mut memory)?;
    Ok((counts, memory.read(out, 32).unwrap()))
}

#[test]
fn blocks_of_a_cluster_exchange_through_shared_memory() {
    let clean = EXCHANGE.replace("RELEASE", "release").replace("LAST", END);
    let (counts, out) = exchange(&clean).unwrap();
    let ranks: Vec<u8> = out.chunks_exact(4).map(|word| word[0]).collect();
    assert_eq!(ranks, [1, 2, 3, 0, 1, 2, 3, 0]);
    assert_eq!(counts.shared.remote, 8);
}

#[test]
fn a_relaxed_arrival_orders_nothing() {
    let relaxed = EXCHANGE.replace("RELEASE", "relaxed").replace("LAST", END);
    let found = fault(exchange(&relaxed).map(|(counts, _)| counts));
    assert!(
        matches!(found.kind, FaultKind::Race { space: "shared", address: 0, writes: false, .. }),
        "{found}"
    );
}

#[test]
fn a_block_must_not_end_while_others_read_it() {
    let early = EXCHANGE.replace("RELEASE", "release").replace("LAST", "");
    let found = fault(exchange(&early).map(|(counts, _)| counts));
    assert!(matches!(found.kind, FaultKind::RemoteLifetime { rank: 1, address: None, .. }), "{found}");
    let unbegun =
        EXCHANGE.replace("barrier.cluster.arrive.RELEASE.aligned; barrier.cluster.wait.acquire.aligned;", "");
    let found = fault(exchange(&unbegun.replace("LAST", END)).map(|(counts, _)| counts));
    assert!(
        matches!(found.kind, FaultKind::RemoteLifetime { address: Some(0), state: "not begun", .. }),
        "{found}"
    );
}

#[test]
fn cluster_barriers_out_of_turn() {
    let found = fault(exchange("barrier.cluster.wait; ret;").map(|(counts, _)| counts));
    assert_eq!(found.kind, FaultKind::ClusterBarrier { instruction: "wait" });
    let found =
        fault(exchange("barrier.cluster.arrive; barrier.cluster.arrive; ret;").map(|(counts, _)| counts));
    assert_eq!(found.kind, FaultKind::ClusterBarrier { instruction: "arrive" });
}

/// Copies 16 bytes a thread to dynamic shared memory, and reads the next thread's.
fn copies(wait: &str) -> Result<Counts, LaunchError> {
    let text = ".version 8.0\n.target sm_90\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];
        .visible .entry k(.param .u64 data) { .reg .b32 %r<9>; .reg .b64 %d<9>;
        ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 4; cvt.u64.u32 %d2, %r2;
        add.s64 %d1, %d1, %d2; mov.u32 %r3, dynamic; add.u32 %r4, %r3, %r2;
        cp.async.cg.shared.global.L2::128B [%r4], [%d1], 16; cp.async.commit_group;
        griddepcontrol.launch_dependents; prefetch.global.L2 [%d1];
        WAIT
        xor.b32 %r5, %r2, 16; add.u32 %r5, %r5, %r3; ld.shared.v4.b32 {%r1, %r6, %r7, %r8}, [%r5];
        st.global.b32 [%d1], %r1; ret; }";
    let module = ptx_sim::Module::parse(text.replace("WAIT", wait)).unwrap();
    let mut memory = Memory::new();
    let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    let data = memory.upload("data", &bytes);
    let kernel = module.kernel("k").unwrap();
    let counts = Launch::new(&kernel).block([32, 1, 1]).dynamic_shared(512).arg(data).run(&mut memory)?;
    assert_eq!(memory.read(data, 4).unwrap(), [16, 17, 18, 19]);
    Ok(counts)
}

#[test]
fn asynchronous_copies_arrive_when_they_are_waited_for() {
    let counts = copies("cp.async.wait_group 0; bar.sync 0;").unwrap();
    assert_eq!(counts.global["data"].loads.sectors, 16);
    assert_eq!(counts.dependent_launch, 1);
    assert!(matches!(
        fault(copies("bar.sync 0;")).kind,
        FaultKind::UninitializedMemory { space: "shared", .. }
    ));
    assert!(matches!(fault(copies("cp.async.wait_all;")).kind, FaultKind::Race { space: "shared", .. }));
}
