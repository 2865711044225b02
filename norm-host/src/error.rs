//! What can go wrong, and in which argument.

mod arg;
mod attribution;

use std::ops::RangeInclusive;

pub use arg::Arg;

#[cfg(feature = "gpu")]
use crate::ptx::specialize::TemplateError;
use crate::{DType, Place, Rounding, Shape};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a view was not built, an operation not started, or the driver refused.
///
/// Each check names the argument, what was expected and what was given. Checks run before
/// anything is computed or launched, so after such an error no tensor has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The element type does not fit: biases have another one than the weights, a residual
    /// another one than `x`, or a `y` on `x`'s own memory another one than `x`.
    #[error("{arg}: expected dtype {expected}, given {given}")]
    DType {
        /// The argument.
        arg: Arg,
        /// The element type it must have.
        expected: DType,
        /// The element type it has.
        given: DType,
    },
    /// The number of axes does not fit.
    #[error("{arg}: expected {}, given rank {given}", ranks(.expected))]
    Rank {
        /// The argument.
        arg: Arg,
        /// The ranks it may have.
        expected: RangeInclusive<usize>,
        /// The rank it has.
        given: usize,
    },
    /// The extents do not fit.
    #[error("{arg}: expected shape {expected}, given {given}")]
    Shape {
        /// The argument.
        arg: Arg,
        /// The shape it must have.
        expected: Shape,
        /// The shape it has.
        given: Shape,
    },
    /// The extents of weights or biases of heads do not fit.
    #[error("{arg}: expected shape {expected}, or {} for all heads, given {given}", .expected.last_axes(1))]
    HeadShape {
        /// The argument.
        arg: Arg,
        /// The shape of one for each head, `(heads, head_dim)`. The other that it may have is
        /// `(head_dim,)`.
        expected: Shape,
        /// The shape it has.
        given: Shape,
    },
    /// There is not one stride for each axis.
    #[error("{arg}: expected {expected} strides, one an axis, given {given}")]
    StrideCount {
        /// The argument.
        arg: Arg,
        /// The tensor's rank.
        expected: usize,
        /// The number of strides.
        given: usize,
    },
    /// The elements of a row are not neighbours in memory.
    #[error("{arg}: expected a dense last axis (stride 1), given stride {stride}")]
    LastAxisStrided {
        /// The argument.
        arg: Arg,
        /// The stride of its last axis, in elements.
        stride: usize,
    },
    /// Rows have no elements, so there is no mean to divide by.
    #[error("{arg}: expected rows of at least 1 element, given dim 0")]
    EmptyRow {
        /// The argument.
        arg: Arg,
    },
    /// Rows have more elements than can be counted exactly in `f32`.
    #[error("{arg}: expected rows of at most {max} elements, given dim {dim}")]
    RowTooLong {
        /// The argument.
        arg: Arg,
        /// The length of its last axis.
        dim: usize,
        /// The longest row: [`MAX_DIM`](crate::MAX_DIM).
        max: usize,
    },
    /// A row that is split over devices is said to be shorter than what is here of it.
    #[error(
        "{}: expected the length of whole rows, at least the {here} elements that are here, given {given}",
        Arg::Dim
    )]
    SplitRow {
        /// Elements of a row in the tensors given.
        here: usize,
        /// Its length, as given.
        given: usize,
    },
    /// A LayerNorm of rows that are split over devices: sums of squares alone do not tell it.
    #[error("{}: expected RMSNorm, where rows are split over devices, given LayerNorm", Arg::Kind)]
    SplitLayerNorm,
    /// Weights or biases in the description of a norm on several devices, each of which has its own.
    #[error("{arg}: expected those of each device alone, given some in the description of the norm as well")]
    OwnParameters {
        /// Which: `w` or `b`.
        arg: Arg,
    },
    /// The elements, or the distance between the first and the last, cannot be counted in 64 bits.
    #[error("{arg}: expected fewer than 2^64 bytes and rows, given shape {shape}")]
    TooManyElements {
        /// The argument.
        arg: Arg,
        /// Its shape.
        shape: Shape,
    },
    /// The tensor would run past the highest address.
    #[error("{arg}: expected {bytes} bytes below 2^64, given address {address:#x}")]
    AddressRange {
        /// The argument.
        arg: Arg,
        /// The address of its first element.
        address: u64,
        /// Bytes from its first element to the end of its last.
        bytes: u64,
    },
    /// The shape and strides reach past the end of the slice or buffer.
    #[error("{arg}: expected memory for {needed} elements, given {available}")]
    OutOfBounds {
        /// The argument.
        arg: Arg,
        /// Elements from the first to the last that the view reaches.
        needed: u64,
        /// Elements that the slice or buffer holds.
        available: u64,
    },
    /// The tensor is not where the operation runs.
    #[error("{arg}: expected on {expected}, given on {given}")]
    Place {
        /// The argument.
        arg: Arg,
        /// Where the operation runs.
        expected: Place,
        /// Where the tensor is.
        given: Place,
    },
    /// A pointer is null though something must be there.
    #[error("{arg}: expected an address, given a null pointer")]
    NullPointer {
        /// The argument.
        arg: Arg,
    },
    /// An address is not a multiple of the element's size.
    #[error("{arg}: expected an address that is a multiple of {align}, given {address:#x}")]
    Misaligned {
        /// The argument.
        arg: Arg,
        /// The element's size in bytes.
        align: usize,
        /// The address.
        address: u64,
    },
    /// Two tensors, at least one of which is written, share memory without being the same.
    #[error("{a} and {b}: expected no common memory{}, given tensors that overlap", or_in_place(*.a, *.b))]
    Overlap {
        /// One of them.
        a: Arg,
        /// The one that is written, if one alone is.
        b: Arg,
    },
    /// The strides of a tensor that is written lead to one element in two ways.
    #[error("{arg}: expected strides that keep elements apart, given {strides} for shape {shape}")]
    SelfOverlap {
        /// The argument.
        arg: Arg,
        /// Its shape.
        shape: Shape,
        /// Its strides in elements, one an axis.
        strides: Shape,
    },
    /// `eps` is negative, infinite, not a number, or above 0 but 0 or infinite when it is rounded
    /// to `f32`, in which it is added.
    #[error("{}: expected 0 or a positive finite number in the range of f32, given {}", Arg::Eps, shortest(*.given))]
    Eps {
        /// What it is.
        given: f64,
    },
    /// The weight offset is infinite or not a number.
    #[error("{}: expected a finite number, given {given}", Arg::WeightOffset)]
    WeightOffset {
        /// What it is.
        given: f32,
    },
    /// There is a weight offset, and no weights that it could be added to.
    #[error("{}: expected weights to add it to, or 0, given {given} without weights", Arg::WeightOffset)]
    OffsetWithoutWeights {
        /// The offset.
        given: f32,
    },
    /// The sum of weights and offset is to be rounded, and there is no offset.
    #[error(
        "{}: expected a weight offset other than 0, whose sum with the weights is to be rounded, given 0",
        Arg::RoundOffset
    )]
    RoundOffsetOfNone,
    /// An order rounds to the type of the weights, and there are none.
    #[error("{}: expected weights, to whose type {given} rounds, given none", Arg::Rounding)]
    RoundingWithoutWeights {
        /// The order.
        given: Rounding,
    },
    /// What an addition to a residual is to be multiplied by is infinite or not a number.
    #[error("{arg}: expected a finite number, given {given}")]
    Scale {
        /// Which.
        arg: Arg,
        /// What it is.
        given: f32,
    },
    /// Something is to be multiplied in an addition to a residual, and there is no residual.
    #[error("{arg}: expected a residual, in whose addition it is a factor, given an operation without one")]
    ScaleWithoutResidual {
        /// Which.
        arg: Arg,
    },
    /// The second norm of a sandwich has a factor of its own for a residual, of which it has none.
    #[error("{}: expected a norm without {scale}, which the first norm has, given one with it", Arg::Next)]
    ScaleOfNext {
        /// Which.
        scale: Arg,
    },
    /// There is no family of models of that name, or none that is known here.
    #[error("{}: expected one of {}, given {given}", Arg::Model, crate::models::names())]
    UnknownModel {
        /// The name.
        given: String,
    },
    /// Lists that go together have different lengths.
    #[error("{arg}: expected a list of {expected}, given {given}")]
    ListLength {
        /// The argument.
        arg: Arg,
        /// The length it must have.
        expected: usize,
        /// The length it has.
        given: usize,
    },
    /// A launch would need more blocks than a grid can have.
    #[error("{arg}: expected rows for at most {max} blocks, given rows for {blocks}")]
    GridTooLarge {
        /// The argument.
        arg: Arg,
        /// Blocks needed.
        blocks: u64,
        /// The most there can be.
        max: u64,
    },
    /// The CUDA driver's library could not be opened.
    #[error("no CUDA driver: {reason}")]
    NoDriver {
        /// What the dynamic linker said.
        reason: String,
    },
    /// There is no device of that number.
    #[error("{}: expected {}", Arg::Device, ordinals(*.ordinal, *.count))]
    NoDevice {
        /// The number asked for.
        ordinal: u32,
        /// Devices there are.
        count: u32,
    },
    /// The device is older than every target that there is PTX for.
    #[error("{}: expected compute capability {}.{} or newer, given {}.{}", Arg::Device, .expected.0, .expected.1, .given.0, .given.1)]
    Capability {
        /// The oldest that is supported, major and minor.
        expected: (u32, u32),
        /// The device's.
        given: (u32, u32),
    },
    /// The kernels are for other devices alone, as those for `sm_90a` are, or there are none.
    #[error(
        "{}: expected kernels that a device of compute capability {}.{} runs, given {}",
        Arg::Ptx, .expected.0, .expected.1, targets(.given)
    )]
    Target {
        /// The device's compute capability, major and minor.
        expected: (u32, u32),
        /// The targets that there are texts for, such as `sm_90a`.
        given: String,
    },
    /// The PTX lacks a kernel: this build of the crate is broken, or the text is another library's.
    #[error("the PTX for {target} lacks kernel {kernel}")]
    KernelMissing {
        /// The kernel's name.
        kernel: String,
        /// The PTX's target, such as `sm_90`.
        target: &'static str,
    },
    /// The kernels were made of another source than those that this crate launches, so that neither its plans nor its
    /// arguments need fit them.
    #[error("{}: expected what was made of kernels {expected}, given what was made of {given}", Arg::Ptx)]
    OtherKernels {
        /// The hash of the kernels that this crate launches.
        expected: String,
        /// The hash of those that these were made of.
        given: String,
    },
    /// Compressed kernels are damaged: this build of the crate is broken.
    #[error("{}: expected a bundle of kernels as it was made, given one that is damaged: {reason}", Arg::Ptx)]
    Bundle {
        /// What is wrong with it, and where.
        reason: String,
    },
    /// Several kernels of a text have one name, so that it does not say which is meant.
    #[error("{}: expected one kernel of each name, given several named {kernel}", Arg::Ptx)]
    DuplicateKernel {
        /// The name.
        kernel: String,
    },
    /// A text has a [pseudo-instruction](crate::ptx::specialize) outside of its entry points, where nothing expands it.
    #[error("{}: expected pseudo-instructions in templates alone, given '{given}' outside of them", Arg::Ptx)]
    StrayPseudoInstruction {
        /// The pseudo-instruction's name, such as `norm.unit.x`.
        given: String,
    },
    /// The template that a kernel is to be made of is malformed: see [`ptx::specialize`](crate::ptx::specialize).
    #[cfg(feature = "gpu")]
    #[error("{arg}: {0}", arg = Arg::Ptx)]
    Template(Box<TemplateError>),
    /// The CUDA driver is older than the kernels' PTX.
    #[error(
        "the CUDA driver is too old: expected one for CUDA {}.{} or newer, given one for CUDA {}.{}",
        .expected.0, .expected.1, .given.0, .given.1
    )]
    DriverTooOld {
        /// The oldest version of CUDA whose drivers read the PTX, major and minor.
        expected: (u32, u32),
        /// The newest that this driver supports.
        given: (u32, u32),
    },
    /// The device has too little free memory for what the driver was to do: create a context, a
    /// stream or a graph, or load a kernel.
    #[error("{call} failed: the device is out of memory")]
    OutOfMemory {
        /// The driver's function.
        call: &'static str,
    },
    /// A kernel of this process trapped, reached for memory that is not there, or the device failed
    /// under it. Everything in the device's context is lost: memory, streams, graphs. Nothing of it
    /// can be used again; [`Device::new`](crate::Device::new) starts over, or gives this error where the
    /// driver lets only a new process do so.
    #[error(
        "the context of {device} is lost, and all memory and streams in it: {call} failed: {name} ({code})"
    )]
    ContextLost {
        /// The device.
        device: Place,
        /// The driver's function that was the first to say so.
        call: &'static str,
        /// Its result, a `CUresult`.
        code: u32,
        /// The result's name.
        name: String,
    },
    /// A call to the CUDA driver failed in some other way.
    #[error("{call} failed: {name} ({code})")]
    Driver {
        /// The driver's function.
        call: &'static str,
        /// Its result, a `CUresult`.
        code: u32,
        /// The result's name, such as `CUDA_ERROR_INVALID_VALUE`.
        name: String,
    },
    /// Memory that belongs to no device, as the driver has it.
    #[error("{arg}: expected memory of a CUDA device, given {address:#x}, which the driver finds on none")]
    NotOnDevice {
        /// The argument.
        arg: Arg,
        /// The address.
        address: u64,
    },
    /// A stream belongs to another context than its device's primary one.
    #[error("{}: expected one of the primary context of {device}, given one of another context", Arg::Stream)]
    ForeignStream {
        /// The device.
        device: Place,
    },
    /// A kernel could not be loaded.
    #[error(
        "kernel {kernel} cannot be loaded: {call} failed: {name} ({code}); the driver's compiler {}", says(.log)
    )]
    Load {
        /// The kernel's name.
        kernel: String,
        /// The driver's function.
        call: &'static str,
        /// Its result, a `CUresult`.
        code: u32,
        /// The result's name.
        name: String,
        /// What the driver's compiler said; may be empty.
        log: String,
    },
    /// A tensor that candle records for backpropagation would be updated in place, or go into one that is:
    /// candle would know nothing of that, and gradients would be wrong without a word.
    #[cfg(feature = "candle")]
    #[error(
        "{arg}: expected a tensor without gradients, since {written} is updated in place, given one that candle \
         records for backpropagation: call {instead}, or detach() the tensor"
    )]
    GradientInPlace {
        /// The argument.
        arg: Arg,
        /// The tensor that would be updated.
        written: Arg,
        /// The operation that computes the same out of place, with gradients.
        instead: &'static str,
    },
    /// The simulated kernel did something wrong, or cannot be loaded.
    #[cfg(feature = "sim")]
    #[error("simulator: {0}")]
    Simulated(Box<SimulatorError>),
    /// A tensor-parallel group without streams.
    #[error("{}: expected at least one stream, given none", Arg::Tp)]
    EmptyGroup,
    /// Two streams of a tensor-parallel group are of one device, or are one stream.
    #[error(
        "{}: expected streams of different devices, given {first} and {second}, both of {place}",
        Arg::Tp
    )]
    DuplicateDevice {
        /// The device.
        place: Place,
        /// Which of the streams.
        first: usize,
        /// And which other.
        second: usize,
    },
    /// NCCL's library could not be opened, or lacks a function.
    #[error("no NCCL: {reason}")]
    NoNccl {
        /// What the dynamic linker said.
        reason: String,
    },
    /// A call to NCCL failed.
    #[error("{call} failed: {name} ({code})")]
    Nccl {
        /// NCCL's function.
        call: &'static str,
        /// Its result, an `ncclResult_t`.
        code: i32,
        /// What NCCL says about it.
        name: String,
    },
    /// The communicators are not those of the group: NCCL has them on other devices.
    #[error(
        "{}: expected a communicator of {expected} for stream {index}, given one of {given}",
        Arg::Reduce
    )]
    Communicator {
        /// Which of the group's streams.
        index: usize,
        /// Its device.
        expected: Place,
        /// The communicator's.
        given: Place,
    },
    /// The caller's own reduction failed. For those who write one.
    #[error("{}: {reason}", Arg::Reduce)]
    Reduction {
        /// What it said.
        reason: String,
    },
    /// One device of a tensor-parallel group failed.
    #[error("{}: stream {index} ({place}), after {launched} launches: {source}", Arg::Tp)]
    Tp {
        /// Which of the group's streams.
        index: usize,
        /// Its device.
        place: Place,
        /// Launches made on the streams before it. Those go on.
        launched: usize,
        /// What went wrong there.
        source: Box<Error>,
    },
}

/// What is allowed of `x` and `y` alone: to be one tensor.
fn or_in_place(a: Arg, b: Arg) -> &'static str {
    match (a, b) {
        (Arg::X, Arg::Y) | (Arg::R, Arg::Sum) => ", or one tensor for work in place",
        _ => "",
    }
}

/// `rank 2`, `rank 1 or 2` or `rank 1 to 4`.
fn ranks(expected: &RangeInclusive<usize>) -> String {
    match (expected.start(), expected.end()) {
        (low, high) if low == high => format!("rank {low}"),
        (low, high) if low + 1 == *high => format!("rank {low} or {high}"),
        (low, high) => format!("rank {low} to {high}"),
    }
}

/// What the driver's compiler says, on one line.
fn says(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "gives no reason".to_owned() } else { format!("says: {}", lines.join("; ")) }
}

/// Which of so many devices could be asked for, and which was.
fn ordinals(given: u32, count: u32) -> String {
    match count {
        0 => format!("a CUDA device, given ordinal {given} on a machine where the driver finds none"),
        1 => format!("ordinal 0, that of the only CUDA device, given {given}"),
        _ => format!("an ordinal from 0 to {}, those of the CUDA devices, given {given}", count - 1),
    }
}

/// What kernels are for.
fn targets(given: &str) -> String {
    if given.is_empty() { "none".to_owned() } else { format!("those for {given}") }
}

/// The fewest digits that tell the number from others: of `f32`, if it is one of those.
fn shortest(number: f64) -> String {
    let narrow = number as f32;
    if f64::from(narrow) == number { format!("{narrow:?}") } else { format!("{number:?}") }
}

/// What the simulator has to say.
#[cfg(feature = "sim")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatorError {
    /// The PTX cannot be loaded.
    #[error(transparent)]
    Load(#[from] ptx_sim::LoadError),
    /// The kernel failed.
    #[error(transparent)]
    Launch(#[from] ptx_sim::LaunchError),
    /// The kernel prefetches where none of the operation's tensors is, which changes nothing and is of no use.
    #[error("kernel {kernel}, line {line}: {count} prefetches lie outside the operation's tensors")]
    StrayPrefetch {
        /// The kernel.
        kernel: String,
        /// The line of the first such prefetch in the kernel's PTX, from 1.
        line: u32,
        /// Threads that execute such a prefetch, over all lines.
        count: u64,
    },
    /// The tensors cannot lie in the simulator's memory as they lie in the host's.
    #[error(transparent)]
    Memory(#[from] ptx_sim::MemoryError),
}

#[cfg(feature = "sim")]
impl<E: Into<SimulatorError>> From<E> for Error {
    fn from(error: E) -> Error {
        Error::Simulated(Box::new(error.into()))
    }
}
