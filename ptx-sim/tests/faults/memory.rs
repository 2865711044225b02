//! Accesses to what is not there, may not be touched, or holds nothing.

use ptx_sim::FaultKind::{
    Freed, Misaligned, OutOfBounds, ReadOnly, UninitializedMemory, UninitializedRegister,
};

use crate::plant::{Plant, byte};

const FRAME: &str = "the thread has 16 bytes";

pub const PLANTS: &[Plant] = &[
    Plant {
        name: "a load behind the last byte",
        body: "ld.global.b32 %r1, [%mine+3904]; // here",
        mend: ["+3904", "+3840"],
        shape: [1, 1, 64],
        place: [0, 48],
        kind: |at| OutOfBounds {
            space: "global",
            address: at.data + 4096,
            bytes: 4,
            near: Some("data ends 0 bytes before it".to_owned()),
        },
    },
    Plant {
        name: "a store through a null pointer, by one block",
        body: "setp.eq.u32 %p1, %block, 2; mov.b64 %d1, 0;
            @%p1 st.global.v2.b32 [%d1], {%thread, %thread}; // here",
        mend: ["%d1, 0", "%d1, %data"],
        shape: [4, 1, 1],
        place: [2, 0],
        kind: |_| OutOfBounds { space: "global", address: 0, bytes: 8, near: None },
    },
    Plant {
        name: "a store behind the block's shared memory",
        body: "st.shared.b32 [%word+1000], %thread; // here",
        mend: ["+1000", "+768"],
        shape: [1, 1, 64],
        place: [0, 6],
        kind: |_| OutOfBounds {
            space: "shared",
            address: 1024,
            bytes: 4,
            near: Some("the block has 1024 bytes".to_owned()),
        },
    },
    Plant {
        name: "a generic address behind the block's shared memory",
        body: "mov.u64 %d1, scratch; cvta.shared.u64 %d1, %d1;
            st.b16 [%d1+1024], 7; // here",
        mend: ["+1024", "+1022"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |_| OutOfBounds {
            space: "shared",
            address: 1024,
            bytes: 2,
            near: Some("the block has 1024 bytes".to_owned()),
        },
    },
    Plant {
        name: "shared memory of a block that the cluster has not",
        body: "st.shared.b32 [%word], %thread; mapa.shared::cluster.u32 %r1, %word, 2;
            ld.shared::cluster.b32 %r2, [%r1]; // here",
        mend: ["%word, 2", "%word, %block"],
        shape: [2, 2, 1],
        place: [0, 0],
        kind: |_| OutOfBounds {
            space: "shared::cluster",
            address: 3 << 24,
            bytes: 4,
            near: Some("the cluster has 2 blocks".to_owned()),
        },
    },
    Plant {
        name: "a store behind the thread's local memory",
        body: ".local .align 16 .b8 frame[16]; mov.u32 %r1, frame; mad.lo.u32 %r1, %thread, 4, %r1;
            st.local.b32 [%r1], %thread; // here",
        mend: ["%thread, 4,", "%thread, 0,"],
        shape: [1, 1, 64],
        place: [0, 4],
        kind: |_| OutOfBounds { space: "local", address: 16, bytes: 4, near: Some(FRAME.to_owned()) },
    },
    Plant {
        name: "a load behind the thread's local memory",
        body: ".local .align 16 .b8 frame[16]; st.local.v4.b32 [frame], {%thread, %thread, %thread, %thread};
            ld.local.v2.b32 {%r1, %r2}, [frame+16]; // here",
        mend: ["+16", "+8"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |_| OutOfBounds { space: "local", address: 16, bytes: 8, near: Some(FRAME.to_owned()) },
    },
    Plant {
        name: "a load behind the parameters",
        body: "mov.u64 %d1, blank; cvta.param.u64 %d1, %d1;
            ld.b64 %d2, [%d1+8]; // here",
        mend: ["+8", ""],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |_| OutOfBounds {
            space: "param",
            address: 32,
            bytes: 8,
            near: Some("the parameters have 32 bytes".to_owned()),
        },
    },
    Plant {
        name: "a load from freed memory",
        body: "setp.eq.u32 %p1, %thread, 40;
            @%p1 ld.global.b16 %h1, [%freed+62]; // here",
        mend: ["%freed+62", "%data+62"],
        shape: [1, 1, 64],
        place: [0, 40],
        kind: |at| Freed { address: at.freed + 62, bytes: 2, buffer: "freed".to_owned() },
    },
    Plant {
        name: "a store to freed memory",
        body: "st.global.b32 [%freed], %thread; // here",
        mend: ["%freed", "%data"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |at| Freed { address: at.freed, bytes: 4, buffer: "freed".to_owned() },
    },
    Plant {
        name: "a store to memory that may only be read",
        body: "add.s64 %d1, %constant, %offset;
            setp.ge.u32 %p1, %thread, 3; @%p1 st.global.b32 [%d1], %thread; // here",
        mend: ["%constant, %offset", "%data, %offset"],
        shape: [1, 1, 16],
        place: [0, 3],
        kind: |at| ReadOnly { address: at.constant + 12, buffer: "constant".to_owned() },
    },
    Plant {
        name: "a vector at half its width in global memory",
        body: "ld.global.v2.b32 {%r1, %r2}, [%mine+4]; // here",
        mend: ["%mine+4", "%data+8"],
        shape: [1, 1, 32],
        place: [0, 0],
        kind: |at| Misaligned { space: "global", address: at.data + 4, align: 8 },
    },
    Plant {
        name: "an odd word of shared memory",
        body: "mul.lo.u32 %r1, %thread, 6; mov.u32 %r2, scratch; add.u32 %r1, %r1, %r2;
            st.shared.b32 [%r1], %thread; // here",
        mend: ["%thread, 6", "%thread, 8"],
        shape: [1, 1, 64],
        place: [0, 1],
        kind: |_| Misaligned { space: "shared", address: 6, align: 4 },
    },
    Plant {
        name: "an odd word of local memory",
        body: ".local .align 16 .b8 frame[16]; st.local.b32 [frame+2], %thread; // here",
        mend: ["+2", "+4"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |_| Misaligned { space: "local", address: 2, align: 4 },
    },
    Plant {
        name: "a register that some threads have not written",
        body: "setp.lt.u32 %p1, %thread, 8; @%p1 mov.b32 %r1, 1;
            add.u32 %r2, %r1, 1; // here",
        mend: ["setp", "mov.b32 %r1, 0; setp"],
        shape: [1, 1, 32],
        place: [0, 8],
        kind: |_| UninitializedRegister { register: "%r1".to_owned() },
    },
    Plant {
        name: "a predicate with a name of its own that nothing wrote",
        body: "{ .reg .pred is_odd, is_even; setp.eq.u32 %p1, %thread, 0;
            @!%p1 setp.ne.u32 is_even, %thread, 3;
            @is_even mov.b32 %r2, 1; } // here",
        mend: ["@!%p1", ""],
        shape: [1, 1, 32],
        place: [0, 0],
        kind: |_| UninitializedRegister { register: "is_even".to_owned() },
    },
    Plant {
        name: "shared memory that another warp writes behind the next barrier",
        body: "setp.ge.u32 %p1, %thread, 32; @%p1 bra WRITE;
            ld.shared.b32 %r1, [%word]; // here
            bar.sync 0; bra DONE; WRITE: bar.sync 0; add.u32 %r2, %word, -128; st.shared.b32 [%r2], 1; DONE:",
        mend: ["setp", "st.shared.b32 [%word], 0; setp"],
        shape: [1, 1, 64],
        place: [0, 0],
        kind: |_| UninitializedMemory { space: "shared", address: 0, element: None },
    },
    Plant {
        name: "shared memory that nothing wrote",
        body: "st.shared.b32 [%word], %thread; bar.sync 0;
            ld.shared.v2.b32 {%r1, %r2}, [scratch+248]; // here",
        mend: ["+248", "+240"],
        shape: [1, 1, 63],
        place: [0, 0],
        kind: |_| UninitializedMemory { space: "shared", address: 252, element: None },
    },
    Plant {
        name: "shared memory that a former block wrote",
        body: "setp.eq.u32 %p1, %block, 0; @%p1 st.shared.b32 [%word], %thread;
            ld.shared.b32 %r1, [%word]; // here",
        mend: ["@%p1", ""],
        shape: [2, 1, 1],
        place: [1, 0],
        kind: |_| UninitializedMemory { space: "shared", address: 0, element: None },
    },
    Plant {
        name: "local memory that the thread has not written",
        body: ".local .align 16 .b8 frame[16]; setp.ne.u32 %p1, %thread, 33; @%p1 st.local.b16 [frame+2], 7;
            st.local.b16 [frame], 7;
            ld.local.b32 %r1, [frame]; // here",
        mend: ["@%p1", ""],
        shape: [1, 1, 64],
        place: [0, 33],
        kind: |_| UninitializedMemory { space: "local", address: 2, element: None },
    },
    Plant {
        name: "global memory that nothing wrote",
        body: "st.global.b32 [%blank], %thread;
            ld.global.v2.b32 {%r1, %r2}, [%blank]; // here",
        mend: ["v2.b32 {%r1, %r2}", "b32 %r1"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |at| UninitializedMemory { space: "global", address: at.blank + 4, element: byte("blank", 4) },
    },
];
