//! Prefetches of addresses and sizes that the PTX ISA excludes.

use ptx_sim::FaultKind::{Misaligned, OutOfBounds, PrefetchSize};

use crate::plant::Plant;

pub const PLANTS: &[Plant] = &[
    Plant {
        name: "a bulk prefetch of an address between 16 bytes",
        body: "setp.eq.u32 %p1, %thread, 7;
            @%p1 cp.async.bulk.prefetch.L2.global [%data+8], 64; // here",
        mend: ["+8", "+16"],
        shape: [1, 1, 32],
        place: [0, 7],
        kind: |at| Misaligned { space: "global", address: at.data + 8, align: 16 },
    },
    Plant {
        name: "a bulk prefetch of bytes that are not sixteens",
        body: "mov.u32 %r1, 40;
            cp.async.bulk.prefetch.L2.global [%data], %r1; // here",
        mend: ["40", "48"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |at| PrefetchSize { address: at.data, bytes: 40, multiple: 16 },
    },
    Plant {
        name: "a priority for half a line",
        body: "applypriority.global.L2::evict_normal [%data+64], 128; // here",
        mend: ["+64", "+128"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |at| Misaligned { space: "global", address: at.data + 64, align: 128 },
    },
    Plant {
        name: "a priority for shared memory",
        body: "cvt.u64.u32 %d1, %word; cvta.shared.u64 %d1, %d1;
            applypriority.L2::evict_normal [%d1], 128; // here",
        mend: ["[%d1]", "[%data]"],
        shape: [1, 1, 1],
        place: [0, 0],
        kind: |_| OutOfBounds {
            space: "generic",
            address: 1 << 56,
            bytes: 128,
            near: Some("applypriority takes addresses of global memory alone".to_owned()),
        },
    },
];
