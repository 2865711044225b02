//! The kernels that add up rows over the devices of a group, and what a group's devices agree on: the layout of workspaces,
//! flags, and failures.

use super::{DType, EpilogueRounding, MAX_BLOCK_THREADS, NormKind};

/// The most ranks of a group.
pub const MAX_RANKS: usize = 8;

/// The most blocks of a launch.
pub const MAX_GROUP_BLOCKS: u32 = 256;

/// The layout of a rank's workspace in device memory, in bytes from its start. It begins as zeros.
///
/// ```text
/// 0        u32                  what has failed, 0 as long as nothing has; written by every rank
/// 128      u32 [256]            how many calls each block has completed; this rank's alone
/// 2048     u64 [2][256][8]      flags: step, block, rank that has come; each written by that rank
/// 65536    2 buffers            staged rows, of even and of odd calls; read by every rank
/// behind   2 x a part a rank    packets, of even and of odd calls; each part written by that rank
/// ```
///
/// A packet is a u64, 4 bytes of a row in its lower half and the call's number in its upper one. A row has two for each 8 bytes of
/// its vectors of 16 bytes. Of each 32 vectors, which a warp loads at a time, there are those of the first halves, and behind them
/// those of the second halves.
pub mod workspace {
    /// The failure, a [`Failure`](super::Failure) as a word.
    pub const FAILURE: u64 = 0;
    /// The number of completed calls, a `u32` for each block.
    pub const CALLS: u64 = 128;
    /// The flags of a step, of a block, of a rank: a `u64` each, call in the upper half, signature in the lower one.
    pub const FLAGS: u64 = 2048;
    /// Bytes of one block's flags.
    pub const BLOCK_FLAGS: u64 = 8 * super::MAX_RANKS as u64;
    /// Bytes of one step's flags.
    pub const STEP_FLAGS: u64 = BLOCK_FLAGS * super::MAX_GROUP_BLOCKS as u64;
    /// The buffers.
    pub const BUFFERS: u64 = 1 << 16;
    /// Calls after which packets and flags that have not been written since are marked as old, so that a number that has wrapped
    /// is not taken for theirs: the first call of each `RENEWAL`, and the one behind it for the other half of the packets.
    pub const RENEWAL: u32 = 1 << 30;
    /// Bytes of a row whose packets of first halves lie side by side.
    pub const PACKET_SPAN: u32 = 16 * super::super::WARP;
    /// Bytes of the packets of a row of so many bytes, a multiple of 16.
    pub const fn packets_of_row(pitch: u32) -> u64 {
        2 * (pitch as u64).next_multiple_of(PACKET_SPAN as u64)
    }
    const _: () = assert!(CALLS + 4 * super::MAX_GROUP_BLOCKS as u64 <= FLAGS);
    const _: () = assert!(FLAGS + 2 * STEP_FLAGS <= BUFFERS);
}

/// The second argument of the kernels of this module.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupArgs {
    /// Address of each rank's workspace, as this device reaches it; 0 behind the last rank.
    pub workspaces: [u64; MAX_RANKS],
    /// Address of a `u32` of the host's memory, to which a failure is written too; 0 if nobody reads one.
    pub failure: u64,
    /// How long a block waits for another rank, in nanoseconds.
    pub patience: u64,
    /// Bytes of a buffer of the workspace.
    pub buffer: u64,
    /// Bytes from a staged row to the next, a multiple of 16.
    pub pitch: u32,
    /// The blocks of the grid.
    pub blocks: u32,
    /// The ranks of the group, 1 to [`MAX_RANKS`].
    pub ranks: u32,
    /// This device's.
    pub rank: u32,
    /// The first row of this launch, and the one behind its last.
    pub rows: [u32; 2],
    /// What all ranks' calls have in common, so that different calls do not meet.
    pub signature: u32,
    /// How rows get to other ranks, an [`Exchange`].
    pub exchange: u32,
    /// Bytes of the packets that one rank has for another in a call, a multiple of 16; 0 if there are none.
    pub packets: u32,
    /// Not 0 if the next kernel may become resident before this one has met the other ranks: where none of them needs this
    /// device.
    pub early: u32,
}

/// How rows get to other ranks. All ranks of a call have the same.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exchange {
    /// Each rank stages its rows, and reads those of all others.
    #[default]
    OneShot,
    /// Each rank stages its rows, reduces a share of them, and reads the others' shares.
    TwoShot,
    /// Each rank stores its rows as packets in all others' workspaces, twice the bytes, which need no further synchronization.
    Packets,
}

/// Why a kernel gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This rank did not come in time.
    Absent {
        /// Its number.
        rank: u32,
    },
    /// This rank is ahead by more calls than are possible, as after a workspace has been used for two groups.
    OtherEpoch {
        /// Its number.
        rank: u32,
    },
    /// This rank has called with other rows, another norm or another type.
    OtherCall {
        /// Its number.
        rank: u32,
    },
}

impl Failure {
    /// Kind 1: [`Absent`](Failure::Absent).
    pub const ABSENT: u32 = 1;
    /// Kind 2: [`OtherEpoch`](Failure::OtherEpoch).
    pub const OTHER_EPOCH: u32 = 2;
    /// Kind 3: [`OtherCall`](Failure::OtherCall).
    pub const OTHER_CALL: u32 = 3;

    /// The word of a kind and a rank.
    pub const fn word(kind: u32, rank: u32) -> u32 {
        kind | rank << 8
    }

    /// The failure of a word; `None` for 0, which is none.
    pub const fn of(word: u32) -> Option<Failure> {
        let rank = word >> 8;
        match word & 0xff {
            0 => None,
            Failure::OTHER_EPOCH => Some(Failure::OtherEpoch { rank }),
            Failure::OTHER_CALL => Some(Failure::OtherCall { rank }),
            _ => Some(Failure::Absent { rank }),
        }
    }
}

/// How a kernel works on a row. All deal a row to threads as the launch's tile says and add in the same order, so that all
/// give the same bits for one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupVariant {
    /// At most [`REGISTER_VECTORS`](GroupVariant::REGISTER_VECTORS) vectors a thread, held in registers; a block has one row
    /// at a time.
    Block,
    /// Any row of whole, aligned vectors. The sum is stored in `y`, from where every pass loads it again.
    Stream,
    /// Any row, element by element, as [`Stream`](GroupVariant::Stream) otherwise.
    Scalar,
}

impl GroupVariant {
    /// Every variant, in the order of kernel numbers.
    pub const ALL: [GroupVariant; 3] = [GroupVariant::Block, GroupVariant::Stream, GroupVariant::Scalar];

    /// Vectors that a thread of [`Block`](GroupVariant::Block) holds.
    pub const REGISTER_VECTORS: u32 = 4;

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            GroupVariant::Block => "block",
            GroupVariant::Stream => "stream",
            GroupVariant::Scalar => "scalar",
        }
    }
}

/// A kernel that adds up rows over the devices of a group: `y = Σ x`, or `r += Σ x; y = norm(r)`, or `y = norm(Σ x)`.
///
/// Its parameters are [`Args`](super::Args), whose residual stands in front of the norm, and [`GroupArgs`]. Its grid has the
/// same number of blocks on every rank and in every call of a group, all of which are resident at a time. `y` has the type of
/// `x`, to which the sum is rounded once before anything else is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupKernel {
    /// The norm of the sum; `None` where `y` is the sum.
    pub norm: Option<NormKind>,
    /// Element type of `x` and `y`: of 16 bits if there is a norm.
    pub x: DType,
    /// Element type of weights and biases: that of `x`, or f32. Without a norm that of `x`.
    pub w: DType,
    /// How it works on a row: without a norm [`Stream`](GroupVariant::Stream) or [`Scalar`](GroupVariant::Scalar).
    pub variant: GroupVariant,
    /// Where it rounds.
    pub epilogue: EpilogueRounding,
}

/// One more than the largest [`GroupKernel::index`].
pub const GROUP_KERNEL_SLOTS: usize = EpilogueRounding::COUNT * PLAIN_SLOTS;

/// Numbers of the kernels that round once.
const PLAIN_SLOTS: usize = 3 * DType::ALL.len() * DType::ALL.len() * GroupVariant::ALL.len();

impl GroupKernel {
    /// The most threads of a block: fewer where a thread adds up several vectors at a time, in f32. With more than 768, LayerNorm
    /// of long rows would spill two words on compute capability 8.9.
    pub const fn max_threads(self) -> u32 {
        match (self.norm, self.variant) {
            (None, _) | (_, GroupVariant::Block) => 512,
            (Some(NormKind::Layer), GroupVariant::Stream) => 768,
            (Some(_), GroupVariant::Stream | GroupVariant::Scalar) => MAX_BLOCK_THREADS,
        }
    }

    /// Whether there are kernels with a norm for these types.
    pub const fn takes(x: DType, w: DType) -> bool {
        x.size() == 2 && (w.size() == 4 || x as u32 == w as u32)
    }

    /// Whether there is such a kernel in the PTX.
    const fn exists(self) -> bool {
        match self.norm {
            Some(_) => GroupKernel::takes(self.x, self.w),
            None => self.x as u32 == self.w as u32 && !matches!(self.variant, GroupVariant::Block),
        }
    }

    /// A number below [`GROUP_KERNEL_SLOTS`] that no other kernel has.
    pub const fn index(self) -> usize {
        let norm = match self.norm {
            None => 0,
            Some(NormKind::Rms) => 1,
            Some(NormKind::Layer) => 2,
        };
        let [x, w] = [self.x as usize - 1, self.w as usize - 1];
        let types = (norm * DType::ALL.len() + x) * DType::ALL.len() + w;
        self.epilogue.index() * PLAIN_SLOTS + types * GroupVariant::ALL.len() + self.variant as usize
    }

    /// Every one that rounds once, in the order of [`GroupKernel::index`]; the others are these with other
    /// [`EpilogueRounding`].
    pub fn all() -> impl Iterator<Item = GroupKernel> {
        let kernels = (0..PLAIN_SLOTS).map(|index| {
            let types = index / GroupVariant::ALL.len();
            GroupKernel {
                norm: [None, Some(NormKind::Rms), Some(NormKind::Layer)][types / 9],
                x: DType::ALL[types / 3 % 3],
                w: DType::ALL[types % 3],
                variant: GroupVariant::ALL[index % GroupVariant::ALL.len()],
                epilogue: EpilogueRounding::SINGLE,
            }
        });
        kernels.filter(|kernel| kernel.exists())
    }
}

/// The kernel's name in the PTX, such as `all_reduce_f16_stream` or `all_reduce_rms_f16_f32_block_before_weight`: norm, x and
/// w, variant, and where it rounds if that is not once.
impl core::fmt::Display for GroupKernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let GroupKernel { norm, x, w, variant, epilogue } = self;
        match norm {
            None => write!(f, "all_reduce_{x}_{}", variant.name()),
            Some(kind) => write!(f, "all_reduce_{}_{x}_{w}_{}{epilogue}", kind.name(), variant.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn every_kernel_has_its_own_number() {
        let numbers: std::vec::Vec<usize> = GroupKernel::all().map(GroupKernel::index).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert!(numbers.iter().all(|&number| number < PLAIN_SLOTS));
        assert_eq!(numbers.len(), 2 * 2 * 2 * 3 + 3 * 2);
    }

    #[test]
    fn a_failure_comes_back_from_its_word() {
        assert_eq!(Failure::of(0), None);
        for rank in [0, 7] {
            for (kind, failure) in [
                (Failure::ABSENT, Failure::Absent { rank }),
                (Failure::OTHER_EPOCH, Failure::OtherEpoch { rank }),
                (Failure::OTHER_CALL, Failure::OtherCall { rank }),
            ] {
                assert_eq!(Failure::of(Failure::word(kind, rank)), Some(failure));
            }
        }
    }
}
