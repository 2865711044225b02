//! Loads by way of a cache that sees no stores, of memory that the kernel writes.

use ptx_sim::{FaultKind, Party};

use crate::plant::{Addresses, Plant, byte};

/// The load or store at `// other`.
fn with([block, thread]: [u32; 2], writes: bool, at: &Addresses) -> Party {
    Party { line: at.other, block: [block, 0, 0], thread: Some([thread, 0, 0]), writes }
}

pub const PLANTS: &[Plant] = &[
    Plant {
        name: "a thread's own store, read through the cache that sees no stores",
        body: "st.global.b32 [%mine], %thread; // other
            ld.global.nc.b32 %r1, [%mine]; // here",
        mend: ["ld.global.nc", "ld.global"],
        shape: [1, 1, 64],
        place: [0, 0],
        kind: |at| FaultKind::NonCoherent {
            address: at.data,
            element: byte("data", 0),
            writes: false,
            other: with([0, 0], true, at),
        },
    },
    Plant {
        name: "a non-coherent load behind the barrier that orders the store",
        body: "setp.eq.u32 %p1, %thread, 40; @%p1 st.global.b16 [%data+130], 1; // other
            bar.sync 0; ld.global.b16 %h1, [%data+130];
            setp.eq.u32 %p1, %thread, 3; @%p1 ld.global.nc.v2.b32 {%r1, %r2}, [%data+128]; // here",
        mend: ["ld.global.nc", "ld.global"],
        shape: [1, 1, 64],
        place: [0, 3],
        kind: |at| FaultKind::NonCoherent {
            address: at.data + 130,
            element: byte("data", 130),
            writes: false,
            other: with([0, 40], true, at),
        },
    },
    Plant {
        name: "a store to what was read non-coherently before",
        body: "ld.global.nc.b32 %r1, [%mine]; // other
            ld.global.b32 %r2, [%mine]; st.global.b32 [%mine], %r1; // here",
        mend: ["ld.global.nc", "ld.global"],
        shape: [1, 1, 64],
        place: [0, 0],
        kind: |at| FaultKind::NonCoherent {
            address: at.data,
            element: byte("data", 0),
            writes: true,
            other: with([0, 0], false, at),
        },
    },
    Plant {
        name: "ldu of what another block writes",
        body: "setp.eq.u32 %p1, %block, 1; @%p1 bra WRITE;
            ldu.global.b32 %r1, [%data]; // other
            bra DONE;
            WRITE: setp.eq.u32 %p1, %thread, 5; @%p1 st.global.b32 [%data], %thread; // here
            DONE:",
        mend: ["ldu.global.b32 %r1, [%data];", "ldu.global.b32 %r1, [%data+4];"],
        shape: [2, 1, 64],
        place: [1, 5],
        kind: |at| FaultKind::NonCoherent {
            address: at.data,
            element: byte("data", 0),
            writes: true,
            other: with([0, 63], false, at),
        },
    },
];
