//! Kernels that do not come to a good end.

use ptx_sim::FaultKind::{Endless, Trap};

use crate::plant::{LIMIT, Plant};

pub const PLANTS: &[Plant] = &[
    Plant {
        name: "a trap that one thread takes",
        body: "setp.eq.u32 %p1, %thread, 57; setp.eq.and.u32 %p1, %block, 3, %p1;
            @%p1 trap; // here",
        mend: ["trap", "ret"],
        shape: [4, 1, 64],
        place: [3, 57],
        kind: |_| Trap,
    },
    Plant {
        name: "a loop without end",
        body: "setp.gt.u32 %p1, %thread, 35;
            LOOP: @%p1 bra LOOP; // here",
        mend: ["@%p1 bra LOOP;", ""],
        shape: [1, 1, 64],
        place: [0, 36],
        kind: |_| Endless { instructions: LIMIT },
    },
];
