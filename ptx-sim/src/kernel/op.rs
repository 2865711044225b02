//! What a decoded instruction does.

use super::file::Mask;
use super::lanes::Compute;
use crate::counts::InstructionKind;
use crate::text::body::Guard;
use crate::text::registers::Register;

/// A decoded instruction.
pub struct Instruction {
    /// Its line in the module's text.
    pub line: u32,
    pub kind: InstructionKind,
    pub guard: Option<Guard>,
    pub op: Op,
    /// Registers that it reads and that some path to it does not write.
    pub reads: Box<[Register]>,
    /// Registers that it writes and that some instruction lists in `reads`.
    pub writes: Box<[Register]>,
}

/// What an instruction does.
pub enum Op {
    /// Arithmetic in registers.
    Compute(Compute),
    /// Memory to registers.
    Load(Access),
    /// Registers to memory.
    Store(Access),
    /// `cp.async`: global memory to shared memory, done by a later wait.
    CopyAsync(CopyAsync),
    /// `cp.async.commit_group`.
    CommitCopies,
    /// `cp.async.wait_group`: all but that many of the last groups; `None` for `wait_all`.
    WaitCopies(Option<u32>),
    /// `shfl.sync`.
    Shuffle(Shuffle),
    /// `vote.sync`, `activemask`, `redux.sync`, `match.sync`, `elect.sync`.
    Vote(Vote),
    /// `bar.warp.sync`.
    WarpBarrier { members: u32 },
    /// `bar` and `barrier`.
    Barrier(Barrier),
    /// `barrier.cluster.arrive`.
    ClusterArrive { aligned: bool, release: bool },
    /// `barrier.cluster.wait`.
    ClusterWait { aligned: bool },
    /// `mbarrier`.
    Mbarrier(Mbarrier),
    /// `fence.mbarrier_init`.
    FenceMbarriers,
    /// `st.async`.
    StoreAsync(StoreAsync),
    /// Goes on at another instruction.
    Branch { target: u32 },
    /// `griddepcontrol.wait`.
    WaitForLaunches,
    /// `griddepcontrol.launch_dependents`.
    LaunchDependents,
    /// `mov.u64` from `%globaltimer`, to a wide register.
    Timer { target: u32 },
    /// Ends the thread.
    Exit,
    /// `trap`: the kernel ends with an error.
    Trap,
    /// `prefetch`, `prefetchu`, `cp.async.bulk.prefetch` and `applypriority`.
    Prefetch(Prefetch),
    /// Fences and hints, which have no effect in a simulator.
    Nothing,
}

/// The state space that an access names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Generic,
    Global,
    Constant,
    Shared,
    /// `.shared::cluster`.
    Cluster,
    Local,
    Param,
}

/// `[register + offset]`; without a register, the offset alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub base: Option<Register>,
    pub offset: i64,
}

/// A load or a store of one or more elements side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub space: Space,
    pub place: Place,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub size: u32,
    /// Whether an element is extended by its sign into a wider register.
    pub signed: bool,
    /// A register an element; `None` drops a loaded one.
    pub registers: Box<[Option<Register>]>,
    pub semantics: Semantics,
}

/// How an access is ordered with others (PTX ISA, "Memory Consistency Model").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semantics {
    /// As barriers order it.
    Weak,
    /// It orders memory by itself, as volatile, relaxed and stronger ones do: then it is no race with such accesses of its device.
    Strong,
    /// The same for the whole system (`.relaxed.sys`, `.volatile`): no race with such accesses of other devices, either.
    System,
    /// A load (`.acquire.sys`) that orders what follows it behind what came before the store whose value it loads, if that is a
    /// [`Release`](Semantics::Release): where launches run beside each other, see `together`.
    Acquire,
    /// A store (`.release.sys`), the other side of [`Acquire`](Semantics::Acquire).
    Release,
    /// A load through the non-coherent cache (`.nc`, `ldu`): nothing orders it with a store while the kernel runs.
    NonCoherent,
}

impl Semantics {
    /// Whether it is no race with such accesses of its device.
    pub fn is_strong(self) -> bool {
        self == Semantics::Strong || self.is_of_system()
    }

    /// Whether it is no race with accesses of its kind by other devices.
    pub fn is_of_system(self) -> bool {
        matches!(self, Semantics::System | Semantics::Acquire | Semantics::Release)
    }
}

impl Access {
    /// Bytes that a thread moves.
    pub fn bytes(&self) -> u32 {
        self.size * self.registers.len() as u32
    }
}

/// A prefetch, or another hint about a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    pub space: Space,
    pub place: Place,
    pub kind: PrefetchKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchKind {
    /// The line that an address lies in.
    Line,
    /// So many bytes, a word.
    Bulk { bytes: u32 },
    /// `applypriority`.
    Priority,
}

/// `cp.async`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyAsync {
    /// In shared memory.
    pub target: Place,
    /// In global memory.
    pub source: Place,
    /// Bytes written: 4, 8 or 16.
    pub size: u32,
    /// Bytes read, the others being zeros; a register of them.
    pub source_size: Option<u32>,
    /// A predicate that says to read none.
    pub ignore: Option<Guard>,
}

/// `shfl.sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    pub mode: ShuffleMode,
    pub target: u32,
    /// Whether the source lane was in range.
    pub in_range: Option<u32>,
    pub source: u32,
    pub lane: u32,
    pub clamp: u32,
    pub members: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

/// Votes and their like: each lane contributes a value, and all lanes get a result of all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    pub mode: VoteMode,
    /// A predicate for `All`, `Any`, `Uniform` and `Elect`, else a word.
    pub target: Register,
    /// A second result: the elected lane, or whether all lanes match.
    pub second: Option<Register>,
    /// The predicate or word that each lane brings.
    pub source: Option<Register>,
    pub negated: bool,
    /// A word with the lanes that must take part; `None` for `activemask`.
    pub members: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteMode {
    All,
    Any,
    Uniform,
    Ballot,
    ActiveMask,
    Elect,
    MatchAny,
    MatchAll,
    Reduce(Reduction),
}

/// `redux.sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    Add,
    And,
    Or,
    Xor,
    MinUnsigned,
    MaxUnsigned,
    MinSigned,
    MaxSigned,
}

/// `bar` and `barrier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// A word with the barrier's number, the same in all lanes.
    pub number: u32,
    /// A word with the number of threads; all of the block without.
    pub threads: Option<u32>,
    /// Whether all threads of a warp come together.
    pub aligned: bool,
    /// Whether the thread waits, or only arrives.
    pub waits: bool,
}

/// `mbarrier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mbarrier {
    pub space: Space,
    pub place: Place,
    pub action: MbarrierAction,
}

/// What is done to an mbarrier. Counts and bytes are words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MbarrierAction {
    Initialize {
        count: u32,
    },
    Invalidate,
    /// With the bytes that are expected from now on; the phase goes to a wide register.
    Arrive {
        count: Option<u32>,
        bytes: Option<u32>,
        state: Option<u32>,
        scope: Scope,
    },
    Expect {
        bytes: u32,
    },
    /// Whether a phase has ended: a predicate. `waits` for `try_wait`.
    Test {
        done: u32,
        phase: Phase,
        waits: bool,
        scope: Scope,
    },
}

/// Which phase of an mbarrier is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A wide register that an arrival gave.
    State(u32),
    /// A word that says whether its number is even or odd.
    Parity(u32),
}

/// The scope in which an operation on an mbarrier releases or acquires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `.relaxed`: it orders nothing.
    Relaxed,
    Block,
    Cluster,
}

impl Scope {
    /// Whether it orders accesses of this block, or of any.
    pub fn orders(self, own_block: bool) -> bool {
        match self {
            Scope::Relaxed => false,
            Scope::Block => own_block,
            Scope::Cluster => true,
        }
    }
}

/// `st.async`: a store that arrives at an mbarrier beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAsync {
    pub access: Access,
    pub barrier: Place,
}

/// What a register holds before the first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitialValue {
    /// A literal, or an address that is known when the kernel is loaded.
    Constant(u64),
    /// The address of one of the kernel's global or constant variables.
    Variable(u32),
    /// The value of a special register.
    Special(Special),
}

/// Special registers (PTX ISA, "Special Registers"), those of one axis with the axis: 0 for x, 1 for y, 2 for z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// `%tid`
    Thread(u8),
    /// `%ntid`
    Threads(u8),
    /// `%ctaid`
    Block(u8),
    /// `%nctaid`
    Blocks(u8),
    /// `%clusterid`
    Cluster(u8),
    /// `%nclusterid`
    Clusters(u8),
    /// `%cluster_ctaid`
    BlockInCluster(u8),
    /// `%cluster_nctaid`
    BlocksInCluster(u8),
    /// `%cluster_ctarank`
    BlockRank,
    /// `%cluster_nctarank`
    BlockRanks,
    /// `%laneid`
    Lane,
    /// `%warpid`
    Warp,
    /// `%nwarpid`
    Warps,
    /// `%lanemask_eq`
    LanesEqual,
    /// `%lanemask_lt`
    LanesBelow,
    /// `%lanemask_le`
    LanesUpTo,
    /// `%lanemask_gt`
    LanesAbove,
    /// `%lanemask_ge`
    LanesFrom,
    /// `%dynamic_smem_size`
    DynamicShared,
    /// `%total_smem_size`
    TotalShared,
}

/// The lanes of a guard's instruction, among those in `mask`.
pub fn guarded(guard: Option<Guard>, predicates: &[Mask], mask: Mask) -> Mask {
    match guard {
        None => mask,
        Some(Guard { predicate, negated }) => {
            let lanes = predicates[predicate.slot as usize];
            mask & if negated { !lanes } else { lanes }
        }
    }
}
