//! The shipped kernels of groups, with the launches of several ranks beside each other: sums, orders of calls, ranks that do not
//! come; and faults that are planted in their text, each of which has to be found.

use std::sync::Arc;

use half::f16;
use norm_host::{DType, EpilogueRounding, NormKind, ptx::EMBEDDED};
use norm_kernels::abi::{
    Args, Axis, Divisor, EntryPoint, Exchange, Failure, GroupArgs, GroupKernel, GroupVariant, MAX_RANKS,
    NO_PREFETCH, workspace,
};
use ptx_sim::{Argument, FaultKind, Kernel, Launch, LaunchError, Memory, Module, Together, TogetherError};

/// A group, and the calls that all its ranks make.
#[derive(Clone, Copy)]
struct Group {
    ranks: u32,
    blocks: u32,
    rows: u32,
    dim: u32,
    exchange: Exchange,
    calls: u32,
    entry: GroupKernel,
}

const SUM: GroupKernel = GroupKernel {
    norm: None,
    x: DType::F16,
    w: DType::F16,
    variant: GroupVariant::Stream,
    epilogue: EpilogueRounding::SINGLE,
};

/// Five rows of three vectors, in two blocks, of two ranks that make three calls.
const PLAIN: Group =
    Group { ranks: 2, blocks: 2, rows: 5, dim: 24, exchange: Exchange::OneShot, calls: 3, entry: SUM };

/// Threads of a block.
const THREADS: u32 = 32;
/// Bytes of a buffer.
const BUFFER: u64 = 1 << 10;
/// Bytes of the packets of a rank for another.
const PACKETS: u32 = 5 << 10;
/// Nanoseconds, of which the simulator counts one an instruction.
const PATIENCE: u64 = 200_000;

fn text(entry: GroupKernel) -> String {
    let [_, newest] = &EMBEDDED;
    newest.module(EntryPoint::Group(entry)).expect("it is shipped")
}

fn kernel(text: &str, entry: GroupKernel) -> Arc<Kernel> {
    Module::parse(text).and_then(|module| module.kernel(&entry.to_string())).expect("it is PTX")
}

/// An element of `x` of a rank, a call and an index, none of whose sums is exact in 16 bits.
fn element(rank: u32, call: u32, index: u32) -> f16 {
    let hash = (rank * 7919 + call * 104_729 + index).wrapping_mul(0x9e37_79b9);
    f16::from_f32((hash >> 16) as f32 / 65536.0 * 4.0 - 2.0)
}

/// What a call has to give.
fn expected(group: &Group, call: u32) -> Vec<u8> {
    let sum = |index| {
        let parts = (0..group.ranks).map(|rank| element(rank, call, index).to_f32());
        f16::from_f32(parts.fold(-0.0, |sum, part| sum + part))
    };
    (0..group.rows * group.dim).flat_map(|index| sum(index).to_le_bytes()).collect()
}

fn bytes<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: both kinds of arguments are plain numbers without padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Memory of all ranks, and where things are in it.
struct Devices {
    memory: Memory,
    workspaces: [u64; MAX_RANKS],
    /// By rank and call.
    x: Vec<Vec<u64>>,
    y: Vec<Vec<u64>>,
}

impl Devices {
    fn new(group: &Group) -> Devices {
        Devices::behind(group, [0; MAX_RANKS])
    }

    /// Devices that have completed so many calls, the flags and packets of which are old.
    fn behind(group: &Group, completed: [u32; MAX_RANKS]) -> Devices {
        let mut memory = Memory::new();
        let mut workspaces = [0; MAX_RANKS];
        for (rank, address) in workspaces.iter_mut().enumerate().take(group.ranks as usize) {
            let buffers = (workspace::BUFFERS + 2 * BUFFER) as usize;
            let mut empty = vec![0; buffers + 2 * (group.ranks * PACKETS) as usize];
            if completed != [0; MAX_RANKS] {
                let old = completed[rank].wrapping_sub(4);
                let (flags, packets) = empty.split_at_mut(buffers);
                let flags = flags[workspace::FLAGS as usize..workspace::BUFFERS as usize].chunks_exact_mut(8);
                for word in flags.chain(packets.chunks_exact_mut(8)) {
                    word[4..].copy_from_slice(&old.to_le_bytes());
                }
            }
            for block in 0..group.blocks as usize {
                let at = workspace::CALLS as usize + 4 * block;
                empty[at..at + 4].copy_from_slice(&completed[rank].to_le_bytes());
            }
            *address = memory.upload(&format!("workspace {rank}"), &empty);
        }
        let elements = group.rows * group.dim;
        let per_call = |f: &mut dyn FnMut(u32, u32) -> u64| {
            let ranks = 0..group.ranks;
            ranks.map(|rank| (0..group.calls).map(|call| f(rank, call)).collect()).collect()
        };
        let x = per_call(&mut |rank, call| {
            let x: Vec<u8> =
                (0..elements).flat_map(|index| element(rank, call, index).to_le_bytes()).collect();
            memory.upload("x", &x)
        });
        let y = per_call(&mut |_, _| memory.upload("y", &vec![0; 2 * elements as usize]));
        Devices { memory, workspaces, x, y }
    }

    fn launch(&self, group: &Group, kernel: &Arc<Kernel>, rank: u32, call: u32) -> Launch {
        let Group { rows, dim, .. } = *group;
        let dense = Axis {
            extent: rows.into(),
            x_stride: dim.into(),
            y_stride: dim.into(),
            r_stride: dim.into(),
            s_stride: dim.into(),
        };
        let [x, y] = [&self.x, &self.y].map(|tensors| tensors[rank as usize][call as usize]);
        let reciprocal = 1.0 / f64::from(dim);
        let args = Args {
            x,
            y,
            w: 0,
            b: 0,
            rows,
            dim,
            share: dim,
            l2_prefetch_rows: NO_PREFETCH,
            eps: 1e-6,
            weight_offset: -0.0,
            reciprocal_f32: reciprocal as f32,
            accumulate: 0,
            share_reciprocal: reciprocal,
            w_stride: 0,
            b_stride: 0,
            inner: dense,
            r: 0,
            s: 0,
            sum_scale_at: 0,
            branch_scale: 1.0,
            sum_scale: 1.0,
            reciprocal,
            last_share_reciprocal: reciprocal,
            outer: [Axis::ONE; 2],
            divisors: [Divisor::new(1), Divisor::new(rows)],
        };
        let of_group = GroupArgs {
            workspaces: self.workspaces,
            failure: 0,
            patience: PATIENCE,
            buffer: BUFFER,
            pitch: (2 * dim).next_multiple_of(16),
            blocks: group.blocks,
            ranks: group.ranks,
            rank,
            rows: [0, rows],
            signature: rows * 31 + dim,
            exchange: group.exchange as u32,
            packets: PACKETS,
            early: 1,
        };
        Launch::new(kernel)
            .grid([group.blocks, 1, 1])
            .block([THREADS, 1, 1])
            .limit(1 << 24)
            .arg(Argument::bytes(bytes(&args), 8))
            .arg(Argument::bytes(bytes(&of_group), 8))
    }

    /// All calls of all ranks.
    fn streams(&self, group: &Group, kernel: &Arc<Kernel>) -> Vec<Vec<Launch>> {
        let calls = |rank| (0..group.calls).map(|call| self.launch(group, kernel, rank, call)).collect();
        (0..group.ranks).map(calls).collect()
    }

    fn failure(&self, rank: usize) -> Option<Failure> {
        let word = self.memory.read(self.workspaces[rank], 4).expect("it is there");
        Failure::of(u32::from_le_bytes(word.try_into().expect("four bytes")))
    }

    fn y(&self, group: &Group, rank: u32, call: u32) -> Vec<u8> {
        let address = self.y[rank as usize][call as usize];
        self.memory.read(address, 2 * u64::from(group.rows * group.dim)).expect("it is there").to_vec()
    }
}

/// Runs all calls with a text of the kernel.
fn run(group: &Group, text: &str, seed: u64) -> Result<Devices, TogetherError> {
    let mut devices = Devices::new(group);
    let streams = devices.streams(group, &kernel(text, group.entry));
    Together::new(seed).run(&streams, &mut devices.memory)?;
    Ok(devices)
}

#[test]
fn every_rank_gets_the_sum_in_the_order_of_ranks() {
    for (index, (ranks, exchange, variant)) in [
        (1, Exchange::OneShot, GroupVariant::Stream),
        (1, Exchange::Packets, GroupVariant::Stream),
        (2, Exchange::OneShot, GroupVariant::Stream),
        (2, Exchange::TwoShot, GroupVariant::Stream),
        (2, Exchange::Packets, GroupVariant::Stream),
        (3, Exchange::TwoShot, GroupVariant::Scalar),
        (3, Exchange::Packets, GroupVariant::Scalar),
        (4, Exchange::OneShot, GroupVariant::Scalar),
        (4, Exchange::TwoShot, GroupVariant::Stream),
        (8, Exchange::TwoShot, GroupVariant::Stream),
        (8, Exchange::Packets, GroupVariant::Stream),
    ]
    .into_iter()
    .enumerate()
    {
        let group = Group { ranks, exchange, entry: GroupKernel { variant, ..SUM }, ..PLAIN };
        let devices = run(&group, &text(group.entry), index as u64).expect("nothing races");
        for (rank, call) in (0..ranks).flat_map(|rank| (0..group.calls).map(move |call| (rank, call))) {
            assert!(
                devices.y(&group, rank, call) == expected(&group, call),
                "{ranks} {exchange:?} {rank} {call}"
            );
            assert_eq!(devices.failure(rank as usize), None);
        }
    }
}

#[test]
fn every_norm_has_the_same_bits_on_all_ranks_and_every_way() {
    for (norm, variant) in [
        (NormKind::Rms, GroupVariant::Block),
        (NormKind::Rms, GroupVariant::Scalar),
        (NormKind::Layer, GroupVariant::Block),
        (NormKind::Layer, GroupVariant::Stream),
    ] {
        let entry = GroupKernel { norm: Some(norm), variant, ..SUM };
        let group = Group { ranks: 3, calls: 2, entry, ..PLAIN };
        let [one, two, packets] = [Exchange::OneShot, Exchange::TwoShot, Exchange::Packets].map(|exchange| {
            run(&Group { exchange, ..group }, &text(entry), 5).unwrap_or_else(|error| panic!("{error}"))
        });
        for call in 0..group.calls {
            let first = one.y(&group, 0, call);
            assert!(first.iter().any(|&byte| byte != 0));
            for rank in 0..group.ranks {
                for devices in [&one, &two, &packets] {
                    assert!(devices.y(&group, rank, call) == first, "{entry}");
                }
            }
        }
    }
}

/// A rank that does not come: every other one ends, says which, and the next call ends at once.
#[test]
fn a_rank_that_never_comes_is_named_by_all_others() {
    for exchange in [Exchange::OneShot, Exchange::Packets] {
        let group = Group { ranks: 3, exchange, ..PLAIN };
        let mut devices = Devices::new(&group);
        let mut streams = devices.streams(&group, &kernel(&text(SUM), SUM));
        streams[1].truncate(1);
        Together::new(3).run(&streams, &mut devices.memory).expect("kernels end");
        for rank in 0..3 {
            assert_eq!(devices.failure(rank), Some(Failure::Absent { rank: 1 }), "{rank}");
        }
        assert!(devices.y(&group, 0, 0) == expected(&group, 0), "the call to which all came");
    }
}

/// One that comes with other rows or other values in as many bytes, or after calls that the others have not made.
#[test]
fn ranks_that_disagree_are_told() {
    for exchange in [Exchange::OneShot, Exchange::Packets] {
        let group = Group { exchange, ..PLAIN };
        let kernel = kernel(&text(SUM), SUM);
        for (rows, dim) in [(4, 24), (5, 16)] {
            let mut devices = Devices::new(&group);
            let mut streams = devices.streams(&group, &kernel);
            streams[1] = vec![devices.launch(&Group { rows, dim, ..group }, &kernel, 1, 0)];
            Together::new(4).run(&streams, &mut devices.memory).expect("kernels end");
            for rank in 0..2 {
                let failure = devices.failure(rank);
                assert!(matches!(failure, Some(Failure::OtherCall { .. })), "{exchange:?}, {failure:?}");
            }
        }
        let mut devices = Devices::behind(&group, [0, 7, 0, 0, 0, 0, 0, 0]);
        let streams = devices.streams(&group, &kernel);
        Together::new(4).run(&streams, &mut devices.memory).expect("kernels end");
        assert_eq!(devices.failure(0), Some(Failure::OtherEpoch { rank: 1 }), "{exchange:?}");
    }
}

/// Calls of all kinds may follow each other, before and behind the last number.
#[test]
fn numbers_wrap() {
    let kernel = kernel(&text(SUM), SUM);
    let kinds =
        [Exchange::Packets, Exchange::OneShot, Exchange::TwoShot, Exchange::Packets, Exchange::OneShot];
    let group = Group { calls: 5, ranks: 3, ..PLAIN };
    for completed in [0, u32::MAX - 2] {
        let mut devices = Devices::behind(&group, [completed; MAX_RANKS]);
        let calls = |rank: u32| {
            let calls = (0..5).zip(kinds);
            calls
                .map(|(call, exchange)| devices.launch(&Group { exchange, ..group }, &kernel, rank, call))
                .collect()
        };
        let streams: Vec<Vec<Launch>> = (0..3).map(calls).collect();
        Together::new(6).run(&streams, &mut devices.memory).unwrap_or_else(|error| panic!("{error}"));
        for (rank, call) in (0..3).flat_map(|rank| (0..5).map(move |call| (rank, call))) {
            assert!(devices.y(&group, rank, call) == expected(&group, call), "{completed} {rank} {call}");
        }
    }
}

/// In two calls of 2³⁰ every rank writes all packets and flags that it has in other workspaces, so that none grows so old that
/// its number comes again.
#[test]
fn what_is_not_written_for_long_is_renewed() {
    let kernel = kernel(&text(SUM), SUM);
    for exchange in [Exchange::Packets, Exchange::TwoShot] {
        // The third block has no rows.
        let group = Group { exchange, blocks: 3, rows: 2, ..PLAIN };
        let mut devices = Devices::behind(&group, [workspace::RENEWAL - 1; MAX_RANKS]);
        let streams = devices.streams(&group, &kernel);
        Together::new(7).run(&streams, &mut devices.memory).unwrap_or_else(|error| panic!("{error}"));
        for (rank, other) in [(0, 1), (1, 0)] {
            let number = |offset: u64| {
                let word =
                    devices.memory.read(devices.workspaces[rank] + offset + 4, 4).expect("it is there");
                u32::from_le_bytes(word.try_into().expect("four bytes"))
            };
            let flags = (0..6).map(|flag| {
                let (step, block) = (flag / 3, flag % 3);
                workspace::FLAGS + step * workspace::STEP_FLAGS + block * workspace::BLOCK_FLAGS + 8 * other
            });
            let packets = (0..2).flat_map(|half| {
                let part = 2 * half + other;
                (0..u64::from(PACKETS)).step_by(8).map(move |at| part * u64::from(PACKETS) + at)
            });
            let packets = packets.map(|at| workspace::BUFFERS + 2 * BUFFER + at);
            for at in flags.chain(packets) {
                let behind = number(at).wrapping_sub(workspace::RENEWAL - 2);
                assert!(behind <= 4, "{exchange:?}, rank {rank}, {at}: {:#x}", number(at));
            }
        }
        assert!(devices.y(&group, 1, 2) == expected(&group, 2));
    }
}

const ONE_BUFFER: &str = "one buffer for all calls";

/// What becomes of a line of the kernel; `None` where it stays.
type Change = fn(&str) -> Option<String>;

/// Each fault, and the lines of the kernel that it changes.
const FAULTS: [(&str, Change); 7] = [
    ("no release", |line| replaced(line, "st.release.sys", "st.relaxed.sys")),
    ("no acquire", |line| replaced(line, "ld.acquire.sys", "ld.relaxed.sys")),
    ("a release for this device alone", |line| replaced(line, ".release.sys", ".release.gpu")),
    ("an acquire from this device alone", |line| replaced(line, ".acquire.sys", ".acquire.gpu")),
    ("no barrier in front of the flag", |line| {
        replaced(line, "bar.sync", "// bar.sync")
            .or_else(|| replaced(line, "barrier.sync", "// barrier.sync"))
    }),
    // The call's number modulo 2.
    (ONE_BUFFER, |line| {
        let is_parity = line.contains("and.b32") && !line.contains("%masked");
        line.strip_suffix(", 1;").filter(|_| is_parity).map(|start| format!("{start}, 0;"))
    }),
    // The only store of one word.
    ("calls that are not counted", |line| replaced(line, "st.global.b32", "// st.global.b32")),
];

fn replaced(line: &str, from: &str, to: &str) -> Option<String> {
    line.contains(from).then(|| line.replace(from, to))
}

#[test]
fn planted_faults_are_found() {
    let whole = text(SUM);
    for exchange in [Exchange::OneShot, Exchange::TwoShot] {
        let group = Group { exchange, ..PLAIN };
        for seed in 0..4 {
            assert!(run(&group, &whole, seed).is_ok(), "the control");
            for (what, change) in FAULTS {
                // Each rank stages other rows than it reduces, and meets twice: calls of one shape need no second buffer.
                if exchange == Exchange::TwoShot && what == ONE_BUFFER {
                    continue;
                }
                let result = run(&group, &planted(&whole, what, change), seed).map(drop);
                assert!(is_race(&result), "{what}, {exchange:?}, {seed}: {result:?}");
            }
        }
    }
}

/// The text with a fault in it.
fn planted(whole: &str, what: &str, change: Change) -> String {
    let mut changed = 0;
    let lines = whole.lines().map(|line| match change(line) {
        Some(line) => {
            changed += 1;
            line + "\n"
        }
        None => format!("{line}\n"),
    });
    let planted = lines.collect();
    assert!(changed > 0, "{what}");
    planted
}

/// Faults of packets, and the lines that they change. The first three are races; others give a wrong sum, or a rank waits for
/// what it has missed.
const FAULTS_OF_PACKETS: [(&str, Change); 8] = [
    ("plain stores", |line| replaced(line, "st.relaxed.sys.global.v2", "st.global.v2")),
    ("plain loads", |line| replaced(line, "ld.relaxed.sys.global.v2", "ld.global.v2")),
    ("packets for this device alone", |line| {
        replaced(line, "relaxed.sys.global.v2", "relaxed.gpu.global.v2")
    }),
    // Of two packets that are loaded at once.
    ("a number that is not looked at", |line| {
        let (first, [word, number]) = loaded(line)?;
        Some(format!(
            ".reg .b32 %rest; {first}; mov.b64 {{{word}, %rest}}, %packet1; mov.b64 {{%rest, {number}}}, %packet0; }}"
        ))
    }),
    ("a word in place of a number", |line| {
        let (start, packet) = line.split_once("mov.b64 %packet1, {")?;
        let (word, rest) = packet.split_once(',')?;
        let (_, rest) = rest.split_once('}')?;
        let stores = line.contains("%packet<2>; mov.b64 %packet0");
        stores.then(|| format!("{start}mov.b64 %packet1, {{{word}, {word}}}{rest}"))
    }),
    (ONE_BUFFER, |line| FAULTS[5].1(line)),
    ("calls that are not counted", |line| FAULTS[6].1(line)),
    ("ranks that do not say which call it is", |line| {
        replaced(line, "st.relaxed.sys.global.u64", "// st.relaxed.sys.global.u64")
    }),
];

/// How the first of two packets is taken apart, and the registers that the second is taken apart into.
fn loaded(line: &str) -> Option<(&str, [&str; 2])> {
    let (first, second) = line.split_once("; mov.b64 {").filter(|_| line.ends_with("}, %packet1; }"))?;
    let (word, rest) = second.split_once(", ")?;
    let (number, _) = rest.split_once('}')?;
    Some((first, [word, number]))
}

#[test]
fn planted_faults_of_packets_are_found() {
    let whole = text(SUM);
    let group = Group { exchange: Exchange::Packets, calls: 4, ..PLAIN };
    let holds = |devices: &Devices| {
        (0..group.ranks).all(|rank| {
            devices.failure(rank as usize).is_none()
                && (0..group.calls).all(|call| devices.y(&group, rank, call) == expected(&group, call))
        })
    };
    for seed in 0..8 {
        assert!(holds(&run(&group, &whole, seed).expect("the control")));
    }
    for (index, (what, change)) in FAULTS_OF_PACKETS.into_iter().enumerate() {
        let planted = planted(&whole, what, change);
        let is_found = |seed| match run(&group, &planted, seed) {
            Ok(devices) => index >= 3 && !holds(&devices),
            Err(error) => is_race(&Err(error)),
        };
        let found = (0..8).filter(|&seed| is_found(seed)).count();
        // A race is found in any order of turns, others in some.
        assert!(if index < 3 { found == 8 } else { found > 0 }, "{what}: in {found} of 8 orders");
    }
}

fn is_race(result: &Result<(), TogetherError>) -> bool {
    matches!(result, Err(TogetherError { error: LaunchError::Fault(found), .. })
        if matches!(found.kind, FaultKind::Race { .. }))
}
