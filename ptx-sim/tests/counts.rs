//! What a launch counts is what hardware counts.

use norm_testing::kernel::{kernel, run};
use ptx_sim::{Counts, InstructionKind, Launch, Memory, Module};

/// Transposes 32 x 32 words through a tile of shared memory whose rows are `pitch` words apart, a
/// warp a row.
fn transpose(pitch: u32) -> Counts {
    let text = format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n.shared .align 16 .b8 tile[{}];
        .visible .entry transpose(.param .u64 from, .param .u64 to) {{
        .reg .b32 %lane, %warp, %tile, %at, %value; .reg .b64 %from, %to, %offset;
        mov.u32 %lane, %tid.x; mov.u32 %warp, %tid.y; ld.param.u64 %from, [from]; ld.param.u64 %to, [to];
        mad.lo.u32 %at, %warp, 32, %lane; mul.wide.u32 %offset, %at, 4;
        add.s64 %from, %from, %offset; add.s64 %to, %to, %offset;
        ld.global.b32 %value, [%from]; mov.u32 %tile, tile;
        mad.lo.u32 %at, %warp, {pitch}, %lane; mad.lo.u32 %at, %at, 4, %tile; st.shared.b32 [%at], %value;
        bar.sync 0;
        mad.lo.u32 %at, %lane, {pitch}, %warp; mad.lo.u32 %at, %at, 4, %tile; ld.shared.b32 %value, [%at];
        st.global.b32 [%to], %value; ret; }}",
        32 * pitch * 4
    );
    let kernel = Module::parse(text).unwrap().kernel("transpose").unwrap();
    let mut memory = Memory::new();
    let words: Vec<u8> = (0..1024u32).flat_map(u32::to_le_bytes).collect();
    let from = memory.upload_read_only("from", &words);
    let to = memory.output("to", 4096);
    let counts = Launch::new(&kernel).block([32, 32, 1]).arg(from).arg(to).run(&mut memory).unwrap();
    let transposed: Vec<u8> = (0..1024u32).flat_map(|at| (at % 32 * 32 + at / 32).to_le_bytes()).collect();
    assert_eq!(memory.read(to, 4096).unwrap(), transposed);
    counts
}

#[test]
fn a_column_of_a_tile_is_in_one_bank_unless_its_rows_are_padded() {
    // Each of 32 warps stores a row, which takes one pass, and loads a column, which takes 32.
    assert_eq!(transpose(32).shared.conflicts, 32 * 31);
    // With rows two words longer, two lanes meet in every other bank.
    assert_eq!(transpose(34).shared.conflicts, 32);
    let padded = transpose(33);
    assert_eq!(padded.shared.conflicts, 0);
    assert_eq!((padded.shared.requests, padded.shared.bytes), (64, 2 * 4096));
    let (from, to) = (padded.global["from"].loads, padded.global["to"].stores);
    assert_eq!((from.requests, from.accesses, from.bytes, from.sectors), (32, 1024, 4096, 128));
    assert_eq!((from.distinct_sectors, from), (128, to));
    assert_eq!((padded.barriers, padded.divergent_branches), (32, 0));
}

/// Bank conflicts of one warp whose lanes load `bytes` bytes each, `stride` apart.
fn conflicts(bytes: u32, stride: u32) -> u64 {
    let (vector, values) = match bytes {
        16 => (".v4.b32", "{%r5, %r6, %r7, %r8}"),
        8 => (".v2.b32", "{%r5, %r6}"),
        _ => (".b32", "%r5"),
    };
    // All of it is written first, a word a lane at a time.
    let fill = (0..1024).step_by(128).map(|at| format!("st.shared.b32 [%r2+{at}], 0; "));
    let body = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r3, scratch; mad.lo.u32 %r2, %r1, 4, %r3; {} bar.sync 0;
         mad.lo.u32 %r3, %r1, {stride}, %r3; ld.shared{vector} {values}, [%r3]; ret;",
        fill.collect::<String>()
    );
    run(&body, 1, 32).unwrap().shared.conflicts
}

#[test]
fn wide_accesses_take_as_many_passes_as_they_must() {
    // Words: as many lanes at one bank as the stride has factors of two, up to the 8 that fit here.
    assert_eq!([4, 8, 16, 32, 12, 0].map(|stride| conflicts(4, stride)), [0, 1, 3, 7, 0, 0]);
    // 8 bytes go half a warp at a time: the two passes that they need are no conflict.
    assert_eq!([8, 16, 32, 24, 0].map(|stride| conflicts(8, stride)), [0, 2, 6, 0, 0]);
    // 16 bytes go a quarter at a time.
    assert_eq!([16, 32, 0].map(|stride| conflicts(16, stride)), [0, 4, 0]);
}

/// Each thread loads 32 bytes in two requests of 16.
const PAIRS: &str =
    "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 32; add.s64 %d1, %d1, %d2;
    ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%d1]; ld.global.v4.b32 {%r6, %r7, %r8, %r9}, [%d1+16]; ret;";

#[test]
fn a_sector_asked_for_twice_is_one_distinct_sector() {
    let loads = run(PAIRS, 1, 32).unwrap().global["data"].loads;
    assert_eq!((loads.requests, loads.sectors, loads.distinct_sectors), (2, 64, 32));
    assert_eq!((loads.factor(1024), loads.distinct_factor(1024)), (2.0, 1.0));
    assert_eq!((loads.sectors_a_request(), loads.bytes_an_access()), (32.0, 16.0));
    // By eight blocks, too.
    let loads = run(PAIRS, 8, 32).unwrap().global["data"].loads;
    assert_eq!((loads.sectors, loads.distinct_sectors), (8 * 64, 32));
    // Accesses that order memory themselves are no others.
    let volatile = PAIRS.replace("ld.global.v4", "ld.volatile.global.v4");
    assert_eq!(run(&volatile, 8, 32).unwrap().global["data"].loads, loads);
}

#[test]
fn loads_and_stores_are_counted_apart() {
    let body =
        "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 64; add.s64 %d1, %d1, %d2;
        ld.global.b32 %r2, [%d1]; st.global.b32 [%d1], %r2; st.global.b32 [%d1+4], %r2; ret;";
    let traffic = run(body, 1, 64).unwrap().global["data"];
    assert_eq!((traffic.loads.sectors, traffic.loads.distinct_sectors), (64, 64));
    assert_eq!((traffic.stores.sectors, traffic.stores.distinct_sectors), (128, 64));
}

/// The PTX ISA does not say what becomes of them, so they are no faults.
#[test]
fn prefetches_of_no_memory_are_counted() {
    let count = |instruction: &str| {
        let body = format!(
            "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 128; add.s64 %d2, %d1, %d2;
            mov.u32 %r2, scratch; cvt.u64.u32 %d3, %r2; cvta.shared.u64 %d3, %d3; mov.u64 %d4, 0;
            {instruction} ret;"
        );
        let counts = run(&body, 1, 64).unwrap();
        let line = counts.lines[&13].stray_prefetches;
        assert_eq!(line, counts.stray_prefetches, "{instruction}");
        let in_data = counts
            .global
            .get("data")
            .map_or((0, 0), |data| (data.prefetches.accesses, data.prefetches.sectors));
        (line, in_data)
    };
    // 32 lines of 128 bytes are in the buffer, and so are the addresses of the first warp.
    assert_eq!(count("prefetch.global.L2 [%d2];"), (32, (32, 32)));
    assert_eq!(count("prefetch.global.L2 [%d4];"), (64, (0, 0)));
    assert_eq!(count("prefetch.global.L1 [%d1+-1];"), (64, (0, 0)));
    assert_eq!(count("prefetch.L1 [%d3];"), (0, (0, 0)), "of shared memory it does nothing");
    assert_eq!(count("cp.async.bulk.prefetch.L2.global [%d1], 4096;"), (0, (64, 64 * 128)));
    assert_eq!(count("cp.async.bulk.prefetch.L2.global [%d1+16], 4096;"), (64, (0, 0)));
    assert_eq!(count("cp.async.bulk.prefetch.L2.global [%d1], 0;"), (0, (0, 0)));
}

#[test]
fn instructions_are_counted_a_warp_and_a_thread() {
    // 40 threads: a whole warp, and one with 8 lanes, of which 4 skip the addition.
    let body = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 36; @!%p1 bra DONE;
        add.u32 %r2, %r1, 1;
        add.u32 %r2, %r1, 2;
        DONE: ret;";
    let kernel = kernel("", body);
    let counts = Launch::new(&kernel).block([40, 1, 1]).run(&mut Memory::new()).unwrap();
    assert_eq!(counts.divergent_branches, 1);
    assert_eq!(counts.instructions[&InstructionKind::Integer], 4);
    let [branch, addition] = [11, 12].map(|line| counts.lines[&line]);
    assert_eq!((addition.instructions, addition.thread_instructions), (2, 36));
    assert_eq!((branch.divergent_branches, addition.divergent_branches), (1, 0));
    // `mov`, `setp` and `ret` by all, the branch by the lanes that take it, two additions by 36.
    assert_eq!(counts.thread_instructions, 3 * 40 + 4 + 2 * 36);
    assert_eq!(counts.total(), counts.instructions.values().sum::<u64>());
    assert_eq!(counts.longest_warp, counts.total() - 6);
}
