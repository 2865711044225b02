//! Two threads at one byte with no barrier between.

use ptx_sim::{Fault, FaultKind, Launch, Memory, Party};

use crate::plant::{Addresses, Plant, byte};
use norm_testing::kernel::{fault, kernel, marked, text};

/// The race with a thread of a block, at `// other`.
fn with([block, thread]: [u32; 2], wrote: bool, at: &Addresses) -> Party {
    Party { line: at.other, block: [block, 0, 0], thread: Some([thread, 0, 0]), writes: wrote }
}

pub const PLANTS: &[Plant] = &[
    Plant {
        name: "a word of shared memory read before the barrier behind its store",
        body: "st.shared.b32 [%word], %thread; // other
            setp.ge.u32 %p1, %thread, 32; add.u32 %r1, %word, -128;
            @%p1 ld.shared.b32 %r2, [%r1]; // here",
        mend: ["setp", "bar.sync 0; setp"],
        shape: [1, 1, 64],
        place: [0, 32],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 0, element: None,
            writes: false,
            other: with([0, 0], true, at),
        },
    },
    Plant {
        name: "a word of shared memory read before the warp that stores it comes to that",
        body: "setp.ge.u32 %p1, %thread, 32; @%p1 st.shared.b32 [%word], %thread; // other
            @!%p1 ld.shared.b32 %r1, [%word+128]; // here",
        mend: ["@!%p1", "bar.sync 0; @!%p1"],
        shape: [1, 1, 64],
        place: [0, 0],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 128,
            element: None,
            writes: false,
            other: with([0, 32], true, at),
        },
    },
    Plant {
        name: "a word of global memory read before the warp that stores it comes to that",
        body: "setp.ge.u32 %p1, %thread, 32; setp.lt.u32 %p2, %thread, 40; and.pred %p2, %p1, %p2;
            add.s64 %d1, %blank, %offset; @%p2 st.global.b32 [%d1+-128], %thread; // other
            setp.eq.u32 %p3, %thread, 5; @%p3 ld.global.b32 %r1, [%d1]; // here",
        mend: ["setp.eq.u32 %p3", "bar.sync 0; setp.eq.u32 %p3"],
        shape: [1, 1, 64],
        place: [0, 5],
        kind: |at| FaultKind::Race {
            space: "global",
            address: at.blank + 20,
            element: byte("blank", 20),
            writes: false,
            other: with([0, 37], true, at),
        },
    },
    Plant {
        name: "a warp's barrier where the block's is needed",
        body: "st.shared.b32 [%word], 0; bar.sync 0; setp.eq.u32 %p1, %thread, 31;
            @%p1 ld.shared.b32 %r2, [scratch]; // other
            bar.warp.sync -1; setp.eq.u32 %p1, %thread, 63;
            @%p1 st.shared.b16 [scratch+2], 1; // here",
        mend: ["bar.warp.sync -1", "bar.sync 0"],
        shape: [1, 1, 64],
        place: [0, 63],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 2, element: None,
            writes: true,
            other: with([0, 31], false, at),
        },
    },
    Plant {
        name: "a read that later ones of the writer's warp hide",
        body: "st.shared.b32 [%word], 0; bar.sync 0;
            ld.shared.b32 %r2, [scratch]; // other
            bar.warp.sync -1; setp.eq.u32 %p1, %thread, 63;
            @%p1 st.shared.b32 [scratch], 1; // here",
        mend: ["bar.warp.sync -1", "bar.sync 0"],
        shape: [1, 1, 64],
        place: [0, 63],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 0, element: None,
            writes: true,
            other: with([0, 31], false, at),
        },
    },
    Plant {
        name: "lanes of one warp that count on going in step",
        body: "st.shared.b32 [%word], %thread; // other
            add.u32 %r1, %word, 4; setp.lt.u32 %p1, %thread, 31;
            @%p1 ld.shared.b32 %r2, [%r1]; // here",
        mend: ["add.u32", "bar.warp.sync -1; add.u32"],
        shape: [1, 1, 32],
        place: [0, 0],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 4, element: None,
            writes: false,
            other: with([0, 1], true, at),
        },
    },
    Plant {
        name: "shared memory of another block of the cluster",
        body: "st.shared.b32 [%word], %thread; barrier.cluster.arrive; barrier.cluster.wait;
            xor.b32 %r1, %block, 1; mapa.shared::cluster.u32 %r2, %word, %r1;
            st.shared::cluster.b32 [%r2], %thread; // here
            ld.shared.b32 %r3, [%word]; // other
            barrier.cluster.arrive; barrier.cluster.wait;",
        mend: ["ld.shared.b32", "barrier.cluster.arrive; barrier.cluster.wait; ld.shared.b32"],
        shape: [2, 2, 1],
        place: [1, 0],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 0, element: None,
            writes: true,
            other: with([0, 0], false, at),
        },
    },
    Plant {
        name: "a store behind a barrier of its own warp alone, which another warp reads once it wakes",
        body: "bar.sync 0; setp.ge.u32 %p1, %thread, 32; @%p1 bra READ;
            st.shared.b32 [%word], %thread; // other
            bar.sync 0, 32; bra DONE; READ: add.u32 %r1, %word, -128;
            ld.shared.b32 %r2, [%r1]; // here
            DONE:",
        mend: ["bar.sync 0, 32; bra DONE; READ:", "bar.sync 0; bra DONE; READ: bar.sync 0;"],
        shape: [1, 1, 64],
        place: [0, 32],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 0, element: None,
            writes: false,
            other: with([0, 0], true, at),
        },
    },
    Plant {
        name: "a read behind two barriers of its own warp alone, whose word another warp writes once it wakes",
        body: "st.shared.b32 [%word], 0; bar.sync 0; setp.ge.u32 %p1, %thread, 32; @%p1 bra WRITE;
            ld.shared.b32 %r2, [%word]; // other
            bar.sync 0, 32; bar.sync 0, 32; bra DONE; WRITE: add.u32 %r1, %word, -128;
            st.shared.b32 [%r1], 1; // here
            DONE:",
        mend: ["bar.sync 0, 32; bra DONE; WRITE:", "bar.sync 1; bra DONE; WRITE: bar.sync 1;"],
        shape: [1, 1, 64],
        place: [0, 32],
        kind: |at| FaultKind::Race {
            space: "shared",
            address: 0, element: None,
            writes: true,
            other: with([0, 0], false, at),
        },
    },
    Plant {
        name: "an asynchronous copy that others read before a barrier",
        body: "mul.lo.u32 %r1, %thread, 12; add.u32 %r1, %r1, %word; mul.wide.u32 %d1, %thread, 16; add.s64 %d1, %data, %d1;
            cp.async.ca.shared.global [%r1], [%d1], 16; // other
            cp.async.wait_all;
            setp.ge.u32 %p1, %thread, 32; add.u32 %r2, %r1, -512;
            @%p1 ld.shared.b32 %r3, [%r2]; // here",
        mend: ["wait_all;", "wait_all; bar.sync 0;"],
        shape: [1, 1, 64],
        place: [0, 32],
        kind: |at| FaultKind::Race { space: "shared", address: 0, element: None, writes: false, other: with([0, 0], true, at) },
    },
    Plant {
        name: "a word of global memory within a block",
        body: "st.global.b32 [%mine], %thread; // other
            setp.ge.u32 %p1, %thread, 32; add.s64 %d1, %mine, -128;
            @%p1 ld.global.b32 %r1, [%d1]; // here",
        mend: ["setp", "bar.sync 0; setp"],
        shape: [1, 1, 64],
        place: [0, 32],
        kind: |at| FaultKind::Race {
            space: "global",
            address: at.data, element: byte("data", 0),
            writes: false,
            other: with([0, 0], true, at),
        },
    },
    Plant {
        name: "a word of global memory that two blocks write",
        body: "setp.eq.u32 %p1, %block, 5; setp.eq.and.u32 %p2, %thread, 33, %p1;
            @%p2 st.global.b32 [%data+256], 1; // here
            setp.eq.u32 %p1, %block, 9; setp.eq.and.u32 %p2, %thread, 2, %p1;
            @%p2 st.global.b16 [%data+258], 1; // other",
        mend: ["+258", "+260"],
        shape: [16, 2, 64],
        place: [5, 33],
        kind: |at| FaultKind::Race {
            space: "global",
            address: at.data + 258, element: byte("data", 258),
            writes: true,
            other: with([9, 2], true, at),
        },
    },
    Plant {
        name: "a word of global memory that one block writes and another reads",
        body: "setp.eq.u32 %p1, %block, 1; @%p1 bra WRITE;
            ld.global.b32 %r1, [%mine]; // other
            bra DONE;
            WRITE: st.global.b32 [%mine], %thread; // here
            DONE:",
        // Accesses that order memory themselves.
        mend: [".global.b32", ".volatile.global.b32"],
        shape: [2, 1, 64],
        place: [1, 0],
        kind: |at| FaultKind::Race {
            space: "global",
            address: at.data, element: byte("data", 0),
            writes: true,
            other: with([0, 0], false, at),
        },
    },
];

/// Run again without the block that it waits for, a block never comes to its access: then the block
/// is all that is known.
#[test]
fn a_block_that_waits_for_a_third_is_named_without_its_line() {
    let body = "ld.param.u64 %d1, [data]; mov.u32 %r1, %ctaid.x;
        setp.eq.u32 %p1, %r1, 0; @%p1 st.volatile.global.b32 [%d1], 1;
        setp.eq.u32 %p1, %r1, 1; @%p1 ld.global.b32 %r2, [%d1+4]; // other
        setp.ne.u32 %p1, %r1, 2; @%p1 ret;
        WAIT: ld.volatile.global.b32 %r2, [%d1]; setp.eq.u32 %p2, %r2, 0; @%p2 bra WAIT;
        st.global.b32 [%d1+4], 7; ret;";
    let mut memory = Memory::new();
    let data = memory.upload("data", &[0; 8]);
    let launch = Launch::new(&kernel(".param .u64 data", body)).grid([3, 1, 1]).arg(data);
    let line = marked(&text("", body), "// other");
    let other = Party { line, block: [1, 0, 0], thread: Some([0; 3]), writes: false };
    let expected = Fault {
        kernel: "k".to_owned(),
        line: 0,
        block: [2, 0, 0],
        thread: [0; 3],
        kind: FaultKind::Race {
            space: "global",
            address: data + 4,
            element: byte("data", 4),
            writes: true,
            other,
        },
    };
    assert_eq!(fault(launch.run(&mut memory)), expected);
    // What the kernel had written is there, not what it wrote when it was run again.
    assert_eq!(memory.read(data, 8).unwrap(), [1, 0, 0, 0, 7, 0, 0, 0]);
}
