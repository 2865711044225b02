//! What the lanes of a warp must do together.

use ptx_sim::FaultKind::{Divergence, Members, ShuffleSource};

use crate::plant::Plant;

pub const PLANTS: &[Plant] = &[
    Plant {
        name: "a shuffle that half of its lanes reach",
        body: "setp.lt.u32 %p1, %thread, 16; @%p1 bra LOW;
            shfl.sync.bfly.b32 %r1, %thread, 1, 31, -1; // here
            bra DONE;
            LOW: shfl.sync.bfly.b32 %r1, %thread, 1, 31, -1; // and there, which is no meeting
            DONE:",
        mend: ["@%p1 bra LOW;", ""],
        shape: [1, 1, 32],
        place: [0, 16],
        kind: |_| Divergence { instruction: "shfl.sync", present: 0xffff_0000, needed: u32::MAX },
    },
    Plant {
        name: "a vote that half of its lanes reach",
        body: "setp.lt.u32 %p1, %thread, 48; @%p1 bra DONE;
            vote.sync.any.pred %p2, %p1, -1; // here
            DONE: bar.warp.sync -1;",
        mend: ["%thread, 48", "%thread, 32"],
        shape: [1, 1, 64],
        place: [0, 48],
        kind: |_| Divergence { instruction: "a vote", present: 0xffff_0000, needed: u32::MAX },
    },
    Plant {
        name: "a lane that its own member mask leaves out",
        body: "setp.lt.u32 %p1, %thread, 16; @%p1 bra DONE;
            shfl.sync.bfly.b32 %r1, %thread, 1, 31, 0xfffe0000; // here
            DONE:",
        mend: ["0xfffe0000", "0xffff0000"],
        shape: [1, 1, 32],
        place: [0, 16],
        kind: |_| Members { instruction: "shfl.sync", lane: 16, members: 0xfffe_0000, present: 0xffff_0000 },
    },
    Plant {
        name: "lanes that bring different member masks",
        body: "setp.lt.u32 %p1, %thread, 5; selp.b32 %r1, 0x0fffffff, 0xffffffff, %p1;
            bar.warp.sync %r1; // here",
        mend: ["0x0fffffff", "0xffffffff"],
        shape: [1, 1, 32],
        place: [0, 5],
        kind: |_| Members { instruction: "bar.warp.sync", lane: 5, members: u32::MAX, present: u32::MAX },
    },
    Plant {
        name: "a shuffle from a lane that is no member",
        body: "setp.ge.u32 %p1, %thread, 24; @%p1 bra DONE;
            shfl.sync.down.b32 %r1, %thread, 4, 31, 0x00ffffff; // here
            DONE:",
        mend: ["%thread, 4, 31", "%thread, 4, 0x1807"],
        shape: [1, 1, 32],
        place: [0, 20],
        kind: |_| ShuffleSource { lane: 20, source_lane: 24 },
    },
    Plant {
        name: "a shuffle from a thread that has exited",
        body: "setp.eq.u32 %p1, %thread, 39; @%p1 ret;
            shfl.sync.idx.b32 %r1, %thread, 7, 31, -1; // here",
        mend: ["%thread, 7,", "%thread, 6,"],
        shape: [1, 1, 64],
        place: [0, 32],
        kind: |_| ShuffleSource { lane: 0, source_lane: 7 },
    },
];
