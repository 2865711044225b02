//! What a kernel can do wrong.

use std::fmt;

/// Something a kernel did wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[error("kernel {kernel}, line {line}, block {block:?}, thread {thread:?}: {kind}")]
pub struct Fault {
    /// The kernel.
    pub kernel: String,
    /// The instruction's line in the PTX, from 1. It is 0 only for races between blocks, if the kernel behaved differently
    /// when it was run again to find the line, or if the access orders memory by itself (volatile, relaxed or stronger).
    pub line: u32,
    /// The block, along x, y and z.
    pub block: [u32; 3],
    /// The thread, along x, y and z.
    pub thread: [u32; 3],
    /// What it did.
    pub kind: FaultKind,
}

/// The other thread of a race.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Party {
    /// Its instruction's line in the PTX, from 1; 0 where only the block is known.
    pub line: u32,
    /// Its block.
    pub block: [u32; 3],
    /// The thread; `None` where only the block is known.
    pub thread: Option<[u32; 3]>,
    /// Whether it wrote.
    pub writes: bool,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Party { line, block, thread, writes } = self;
        match thread {
            Some(thread) => write!(f, "block {block:?}, thread {thread:?} {} at line {line}", does(*writes)),
            None if *line == 0 => write!(f, "block {block:?} {}", does(*writes)),
            None => write!(f, "block {block:?} {} at line {line}", does(*writes)),
        }
    }
}

/// Where another kernel does something, for messages.
fn at(other: &Party) -> String {
    match other.line {
        0 => String::new(),
        line => format!(" at its line {line} (block {:?})", other.block),
    }
}

fn does(writes: bool) -> &'static str {
    if writes { "writes" } else { "reads" }
}

/// A place in an allocation of global memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Element {
    /// The allocation's name.
    pub buffer: String,
    /// Which element, from 0.
    pub index: u64,
    /// Bytes of an element; 1 where [`Memory::set_elements`](crate::Memory::set_elements) has not said more.
    pub size: u32,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Element { buffer, index, size } = self;
        write!(f, "{} {index} of {buffer}", if *size == 1 { "byte" } else { "element" })
    }
}

/// An element in brackets, for messages.
fn named(element: &Option<Box<Element>>) -> String {
    element.as_ref().map(|element| format!(" ({element})")).unwrap_or_default()
}

/// What a kernel did wrong. Addresses in shared memory count from the block's first byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum FaultKind {
    /// An access outside every allocation.
    #[error("{bytes} bytes at {space} address {address:#x} are in no allocation{}", near.as_ref().map(|near| format!("; {near}")).unwrap_or_default())]
    #[allow(missing_docs)]
    OutOfBounds { space: &'static str, address: u64, bytes: u32, near: Option<String> },
    /// An access to memory that has been freed.
    #[error("{bytes} bytes at global address {address:#x} are in {buffer}, which has been freed")]
    #[allow(missing_docs)]
    Freed { address: u64, bytes: u32, buffer: String },
    /// A store to memory that may only be read.
    #[error("store to global address {address:#x} in {buffer}, which may only be read")]
    #[allow(missing_docs)]
    ReadOnly { address: u64, buffer: String },
    /// An address that is no multiple of the access's bytes.
    #[error("{space} address {address:#x} is not a multiple of {align}")]
    #[allow(missing_docs)]
    Misaligned { space: &'static str, address: u64, align: u32 },
    /// A bulk prefetch of a number of bytes that is no multiple of what it must be.
    #[error("prefetches {bytes} bytes at global address {address:#x}: expected a multiple of {multiple}")]
    #[allow(missing_docs)]
    PrefetchSize { address: u64, bytes: u64, multiple: u64 },
    /// A register is read that the thread has not written.
    #[error("reads register {register}, which nothing wrote")]
    #[allow(missing_docs)]
    UninitializedRegister { register: String },
    /// Memory is read that nothing wrote.
    #[error("reads {space} address {address:#x}{}, which nothing wrote", named(.element))]
    #[allow(missing_docs)]
    UninitializedMemory { space: &'static str, address: u64, element: Option<Box<Element>> },
    /// Two threads access the same byte, at least one of them writes, and no barrier is between.
    #[error("{} {space} address {address:#x}{}, which {other} with no barrier between", does(*.writes), named(.element))]
    #[allow(missing_docs)]
    Race { space: &'static str, address: u64, element: Option<Box<Element>>, writes: bool, other: Party },
    /// Memory that the kernel writes is read by `ld.global.nc` or `ldu`. Their cache is not coherent with stores, so they
    /// may only read what is read-only as long as the kernel runs (CUDA C++ Programming Guide on `__ldg`). They may miss even
    /// the thread's own stores, stores before a barrier, and stores that order memory.
    #[error("{} global address {address:#x}{}, which {other}: what a kernel writes has to be read without .nc or ldu", if *.writes { "writes" } else { "reads non-coherently" }, named(.element))]
    #[allow(missing_docs)]
    NonCoherent { address: u64, element: Option<Box<Element>>, writes: bool, other: Party },
    /// A programmatic launch accesses what an earlier launch of the stream may still access ([`Stream`](crate::Stream)):
    /// its thread has not executed `griddepcontrol.wait`, or, with `waited`, has, but that does not wait for this earlier
    /// launch. `kernel` is the name of the earlier launch's kernel, and `other` its access.
    #[error(
        "{} global address {address:#x}{} {}, while {kernel} in front of it in the stream may still {} it{}",
        does(*.writes),
        named(.element),
        if *.waited { "after a griddepcontrol.wait that waits for the launch in front alone" } else { "before griddepcontrol.wait" },
        if .other.writes { "write" } else { "read" },
        at(.other)
    )]
    #[allow(missing_docs)]
    DependentLaunch {
        address: u64,
        element: Option<Box<Element>>,
        writes: bool,
        waited: bool,
        kernel: String,
        other: Party,
    },
    /// Only some lanes of a warp come to an instruction that all of them must reach together.
    #[error("lanes {present:#010x} of the warp come to {instruction}, which needs lanes {needed:#010x}")]
    #[allow(missing_docs)]
    Divergence { instruction: &'static str, present: u32, needed: u32 },
    /// A lane takes part in an instruction whose member mask does not name it, or that another
    /// lane gave another mask.
    #[error(
        "lane {lane} executes {instruction} with member mask {members:#010x}, which does not fit lanes {present:#010x}"
    )]
    #[allow(missing_docs)]
    Members { instruction: &'static str, lane: u32, members: u32, present: u32 },
    /// A shuffle reads from a lane that takes no part in it.
    #[error("lane {lane} shuffles from lane {source_lane}, which takes no part")]
    #[allow(missing_docs)]
    ShuffleSource { lane: u32, source_lane: u32 },
    /// All threads wait, and nothing can end that.
    #[error("waits at {instruction} for ever: {waiting} threads wait, {exited} have exited")]
    #[allow(missing_docs)]
    Deadlock { instruction: &'static str, waiting: u32, exited: u32 },
    /// A barrier that does not exist, or with an impossible number of threads.
    #[error("barrier {number} with {threads} threads: expected 0 to 15 and a multiple of 32 threads")]
    #[allow(missing_docs)]
    Barrier { number: u32, threads: u32 },
    /// `barrier.cluster.arrive` twice without a wait, or a wait without it.
    #[error("barrier.cluster.{instruction} out of turn")]
    #[allow(missing_docs)]
    ClusterBarrier { instruction: &'static str },
    /// An mbarrier that is not initialized, or is not used as the PTX ISA allows.
    #[error("the mbarrier at shared address {address:#x} {problem}")]
    #[allow(missing_docs)]
    Mbarrier { address: u64, problem: String },
    /// Another block's shared memory is accessed without a cluster barrier after that block's start, or without one before
    /// its end. In the second case the address is no longer known.
    #[error("accesses shared{} of block {rank} of the cluster, which may have {state}", address.map_or(" memory".to_owned(), |address| format!(" address {address:#x}")))]
    #[allow(missing_docs)]
    RemoteLifetime { rank: u32, address: Option<u64>, state: &'static str },
    /// The kernel executed `trap`.
    #[error("trap")]
    Trap,
    /// A warp ran more instructions than the launch allows.
    #[error("the warp has run {instructions} instructions, the launch's limit")]
    #[allow(missing_docs)]
    Endless { instructions: u64 },
}
