//! Barriers of blocks and clusters, and mbarriers.

use ptx_sim::FaultKind::{Barrier, ClusterBarrier, Deadlock, Divergence, Mbarrier, RemoteLifetime};

use crate::plant::Plant;

pub const PLANTS: &[Plant] = &[
    Plant {
        name: "a block's barrier that half a warp reaches",
        body: "setp.lt.u32 %p1, %thread, 48; @%p1 bra LOW;
            bar.sync 0; // here
            bra DONE;
            LOW: bar.sync 0;
            DONE:",
        mend: ["48", "32"],
        shape: [1, 1, 64],
        place: [0, 48],
        kind: |_| Divergence {
            instruction: "a barrier of the block",
            present: 0xffff_0000,
            needed: u32::MAX,
        },
    },
    Plant {
        name: "warps that wait at different barriers",
        body: "setp.lt.u32 %p1, %thread, 32; @%p1 bra LOW;
            bar.sync 1;
            bra DONE;
            LOW: bar.sync 0; // here
            DONE:",
        mend: ["bar.sync 1", "bar.sync 0"],
        shape: [1, 1, 64],
        place: [0, 0],
        kind: |_| Deadlock { instruction: "a barrier of the block", waiting: 64, exited: 0 },
    },
    Plant {
        name: "a barrier of more threads than there are",
        body: "setp.ge.u32 %p1, %thread, 64; @%p1 ret;
            bar.sync 3, 96; // here",
        mend: ["96", "64"],
        shape: [1, 1, 96],
        place: [0, 0],
        kind: |_| Deadlock { instruction: "a barrier of the block", waiting: 64, exited: 32 },
    },
    Plant {
        name: "a barrier that does not exist",
        body: "add.u32 %r1, %block, 15;
            bar.sync %r1; // here",
        mend: ["15", "14"],
        shape: [2, 1, 64],
        place: [1, 0],
        kind: |_| Barrier { number: 16, threads: 0 },
    },
    Plant {
        name: "a barrier of a number of threads that are no warps",
        body: "setp.ge.u32 %p1, %thread, 32; @%p1 bar.sync 2, 40; // here
            @!%p1 bar.sync 2, 64;",
        mend: ["40", "64"],
        shape: [1, 1, 64],
        place: [0, 32],
        kind: |_| Barrier { number: 2, threads: 40 },
    },
    Plant {
        name: "a cluster's barrier at which only one block arrives",
        body: "setp.eq.u32 %p1, %block, 0; mov.u32 %r1, 0; @!%p1 bra OTHER;
            barrier.cluster.arrive;
            barrier.cluster.wait; // here
            OTHER: @%p1 bra DONE;
            LOOP: bar.sync 0, 64; // which nobody else comes to
            DONE:",
        mend: ["LOOP: bar.sync 0, 64;", "barrier.cluster.arrive; barrier.cluster.wait;"],
        shape: [2, 2, 32],
        place: [0, 0],
        kind: |_| Deadlock { instruction: "barrier.cluster.wait", waiting: 64, exited: 0 },
    },
    Plant {
        name: "a wait at the cluster's barrier in front of the arrival",
        body: "barrier.cluster.wait; // here",
        mend: ["barrier", "barrier.cluster.arrive; barrier"],
        shape: [2, 2, 32],
        place: [0, 0],
        kind: |_| ClusterBarrier { instruction: "wait" },
    },
    Plant {
        name: "two arrivals at the cluster's barrier",
        body: "barrier.cluster.arrive;
            setp.eq.u32 %p1, %thread, 33; @%p1 barrier.cluster.arrive; // here
            barrier.cluster.wait;",
        mend: ["@%p1 barrier.cluster.arrive;", ""],
        shape: [2, 2, 64],
        place: [0, 33],
        kind: |_| ClusterBarrier { instruction: "arrive" },
    },
    Plant {
        name: "shared memory of a block that may not have begun",
        body:
            "st.shared.b32 [%word], %thread; xor.b32 %r1, %block, 1; mapa.shared::cluster.u32 %r2, %word, %r1;
            ld.shared::cluster.b32 %r3, [%r2+4]; // here
            barrier.cluster.arrive; barrier.cluster.wait;",
        mend: [
            "ld.shared::cluster.b32 %r3, [%r2+4];",
            "barrier.cluster.arrive; barrier.cluster.wait; ld.shared::cluster.b32 %r3, [%r2];",
        ],
        shape: [2, 2, 1],
        place: [0, 0],
        kind: |_| RemoteLifetime { rank: 1, address: Some(4), state: "not begun" },
    },
    Plant {
        name: "shared memory of a block that has ended",
        body:
            "st.shared.b32 [%word], %thread; xor.b32 %r1, %block, 1; mapa.shared::cluster.u32 %r2, %word, %r1;
            barrier.cluster.arrive; barrier.cluster.wait;
            ld.shared::cluster.b32 %r3, [%r2]; ret; // here",
        mend: ["ret; // here", "barrier.cluster.arrive; barrier.cluster.wait;"],
        shape: [2, 2, 1],
        place: [1, 0],
        kind: |_| RemoteLifetime { rank: 0, address: Some(0), state: "ended" },
    },
    Plant {
        name: "a block that exits while another may still read its shared memory",
        body: "st.shared.b32 [%word], %thread; mapa.shared::cluster.u32 %r1, %word, 1;
            barrier.cluster.arrive; barrier.cluster.wait;
            setp.eq.u32 %p1, %block, 0; @%p1 ld.shared::cluster.b32 %r2, [%r1];
            ret; // here",
        mend: ["ret; // here", "barrier.cluster.arrive; barrier.cluster.wait;"],
        shape: [2, 2, 1],
        place: [1, 0],
        kind: |_| RemoteLifetime { rank: 1, address: None, state: "ended: it exits unwarned" },
    },
    Plant {
        name: "an mbarrier that is not initialized",
        body: "setp.ne.u32 %p1, %thread, 32; @%p1 bra READY; mbarrier.init.shared.b64 [scratch+8], 64;
            READY: bar.sync 0;
            mbarrier.arrive.shared.b64 _, [scratch+16]; // here",
        mend: ["+16", "+8"],
        shape: [1, 1, 64],
        place: [0, 0],
        kind: |_| Mbarrier { address: 16, problem: "is not initialized, or has been overwritten".to_owned() },
    },
    Plant {
        name: "an mbarrier that is waited for and never arrived at",
        body: "setp.ne.u32 %p1, %thread, 0; @%p1 bra READY; mbarrier.init.shared.b64 [scratch], 1;
            READY: bar.sync 0;
            @%p1 mbarrier.arrive.shared.b64 _, [scratch];
            WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [scratch], 0; // here
            @!%p2 bra WAIT;",
        mend: ["@%p1 mbarrier", "@!%p1 mbarrier"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |_| Deadlock { instruction: "mbarrier.try_wait", waiting: 1, exited: 0 },
    },
];
