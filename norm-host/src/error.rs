//! Typed errors, each of which names the argument, what was expected and what was given.

mod arg;
mod attribution;

use std::ops::RangeInclusive;

pub use arg::Arg;

#[cfg(feature = "gpu")]
use crate::ptx::specialize::TemplateError;
use crate::{DType, Place, QuantFormat, QuantPreset, Rounding, Shape};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a view could not be built, why an operation was not started, or what the driver refused.
///
/// Each check names the argument, what was expected and what was given. Checks run before
/// anything is computed or launched, so that after such an error no tensor has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The element type does not fit: the biases have another type than the weights, a residual
    /// has another type than `x`, or a `y` in the memory of `x` has another type than `x`.
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
    /// The elements of a row are not contiguous in memory.
    #[error("{arg}: expected a dense last axis (stride 1), given stride {stride}")]
    LastAxisStrided {
        /// The argument.
        arg: Arg,
        /// The stride of its last axis, in elements.
        stride: usize,
    },
    /// Rows have no elements, so that they have no mean.
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
    /// The given length of a row that is split over devices is less than the shards' here.
    #[error(
        "{}: expected the length of whole rows, at least the {here} elements that are here, given {given}",
        Arg::Dim
    )]
    SplitRow {
        /// Elements of a row in the tensors given.
        here: usize,
        /// The length of whole rows, as given.
        given: usize,
    },
    /// A LayerNorm of rows that are split over devices, for which sums of squares alone do not suffice.
    #[error("{}: expected RMSNorm, where rows are split over devices, given LayerNorm", Arg::Kind)]
    SplitLayerNorm,
    /// The description of a norm on several devices has weights or biases; each device has its own, in the lists.
    #[error("{arg}: expected those of each device alone, given some in the description of the norm as well")]
    OwnParameters {
        /// `w` or `b`.
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
    /// The tensor would extend past the highest address.
    #[error("{arg}: expected {bytes} bytes below 2^64, given address {address:#x}")]
    AddressRange {
        /// The argument.
        arg: Arg,
        /// The address of its first element.
        address: u64,
        /// Bytes from its first element to the end of its last.
        bytes: u64,
    },
    /// The shape and strides lead past the end of the slice or buffer.
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
    /// The address of a tensor with elements is null.
    #[error("{arg}: expected an address, given a null pointer")]
    NullPointer {
        /// The argument.
        arg: Arg,
    },
    /// The address is not a multiple of the element's size.
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
        /// The other; the one that is written, if only one is.
        b: Arg,
    },
    /// The strides of a tensor that is written lead to one element by two indices.
    #[error("{arg}: expected strides that keep elements apart, given {strides} for shape {shape}")]
    SelfOverlap {
        /// The argument.
        arg: Arg,
        /// Its shape.
        shape: Shape,
        /// Its strides in elements, one for each axis.
        strides: Shape,
    },
    /// `eps` is negative, infinite or not a number, or it is above 0 and rounds to 0 or infinity in `f32`, the type in
    /// which it is added.
    #[error("{}: expected 0 or a positive finite number in the range of f32, given {}", Arg::Eps, shortest(*.given))]
    Eps {
        /// The given value.
        given: f64,
    },
    /// The weight offset is infinite or not a number.
    #[error("{}: expected a finite number, given {given}", Arg::WeightOffset)]
    WeightOffset {
        /// The given value.
        given: f32,
    },
    /// There is a weight offset but no weights.
    #[error("{}: expected weights to add it to, or 0, given {given} without weights", Arg::WeightOffset)]
    OffsetWithoutWeights {
        /// The offset.
        given: f32,
    },
    /// The sum of weights and offset is to be rounded, but there is no offset.
    #[error(
        "{}: expected a weight offset other than 0, whose sum with the weights is to be rounded, given 0",
        Arg::RoundOffset
    )]
    RoundOffsetOfNone,
    /// The order rounds to the type of the weights, but there are none.
    #[error("{}: expected weights, to whose type {given} rounds, given none", Arg::Rounding)]
    RoundingWithoutWeights {
        /// The order.
        given: Rounding,
    },
    /// A factor of an addition to a residual is infinite or not a number.
    #[error("{arg}: expected a finite number, given {given}")]
    Scale {
        /// The argument.
        arg: Arg,
        /// The given value.
        given: f32,
    },
    /// There is a factor for an addition to a residual, but no residual.
    #[error("{arg}: expected a residual, in whose addition it is a factor, given an operation without one")]
    ScaleWithoutResidual {
        /// The argument.
        arg: Arg,
    },
    /// The second norm of a sandwich has a factor; those of the addition belong to the first norm.
    #[error("{}: expected a norm without {scale}, which the first norm has, given one with it", Arg::Next)]
    ScaleOfNext {
        /// The factor.
        scale: Arg,
    },
    /// A gated LayerNorm: only RMSNorms are gated.
    #[error("{}: expected RMSNorm, where rows are gated, given LayerNorm", Arg::Kind)]
    GatedLayerNorm,
    /// A gated norm has biases.
    #[error("{}: expected a gated norm without biases, given some", Arg::B)]
    GatedBias,
    /// A norm of heads has an option that the norm of queries, keys and values does not take.
    #[error("{arg}: expected a norm without {option}, given one with it")]
    HeadNormOption {
        /// The norm.
        arg: Arg,
        /// The option, as [`Norm`](crate::Norm) names it.
        option: Arg,
    },
    /// The norms of queries, keys and values round in different orders.
    #[error(
        "{arg}: expected the order of roundings {expected}, as the norms in front of it have, given {given}"
    )]
    HeadNormRounding {
        /// The norm.
        arg: Arg,
        /// The order that it must have.
        expected: Rounding,
        /// The order it has.
        given: Rounding,
    },
    /// There is a norm for keys or values that are not there.
    #[error("{arg}: expected none, as there are no {heads}, given one")]
    NormWithoutHeads {
        /// The norm.
        arg: Arg,
        /// What it would norm.
        heads: Arg,
    },
    /// Of queries, keys or values there is what is read but nothing to write, or the reverse.
    #[error("{arg}: expected one, as there is {other}, given none")]
    Unpaired {
        /// What is missing.
        arg: Arg,
        /// What is there.
        other: Arg,
    },
    /// The weights, or the tables of a rotation, are neither of the heads' type nor `f32`.
    #[error("{arg}: expected dtype {}, given {given}", or_f32(*.expected))]
    OtherDType {
        /// The argument.
        arg: Arg,
        /// The heads' type.
        expected: DType,
        /// The element type it has.
        given: DType,
    },
    /// The tables of a rotation have more pairs than a head.
    #[error("{arg}: expected at most {} pairs, half of head_dim {head_dim}, given {pairs}", .head_dim / 2)]
    RotaryWidth {
        /// The table.
        arg: Arg,
        /// Elements of a head.
        head_dim: usize,
        /// Columns of the table.
        pairs: usize,
    },
    /// A position lies outside of the tables of a rotation.
    #[error("{}: expected rows of the tables, 0 to {}, given {given} for token {token}", Arg::Positions, .rows.saturating_sub(1))]
    Position {
        /// The token, from 0.
        token: usize,
        /// Its position.
        given: i64,
        /// Rows of the tables.
        rows: usize,
    },
    /// A scaling of a rotation's frequencies that no model has: a number out of its range.
    #[error("{}: expected {expected}, given {given}", Arg::RopeScaling)]
    RopeScaling {
        /// What is expected.
        expected: &'static str,
        /// The number.
        given: f64,
    },
    /// The input of a norm that quantizes its output is not of 16 bits.
    #[error("{}: expected f16 or bf16, where the output is quantized, given {given}", Arg::X)]
    QuantizedInput {
        /// Its element type.
        given: DType,
    },
    /// The norm has an option that a quantization leaves no place for: its preset says what is rounded.
    #[error("{arg}: expected a norm without it, where the output is quantized, given one with it")]
    QuantizedOption {
        /// The option.
        arg: Arg,
    },
    /// A quantized tensor has codes of another format.
    #[error("{arg}: expected codes of {expected}, given codes of {given}")]
    QuantFormat {
        /// The argument.
        arg: Arg,
        /// The format that the quantization has.
        expected: QuantFormat,
        /// The tensor's.
        given: QuantFormat,
    },
    /// A preset has no formula for such an output.
    #[error("{}: expected what {preset} has a formula for, given {given}", Arg::Quantization)]
    QuantPreset {
        /// The preset.
        preset: QuantPreset,
        /// What it lacks.
        given: &'static str,
    },
    /// There are no kernels for blocks of that size.
    #[error("{}: expected blocks of 64 or 128 elements, given {given}", Arg::Quantization)]
    QuantBlock {
        /// The size.
        given: usize,
    },
    /// Rows do not consist of whole blocks.
    #[error("{}: expected rows of whole blocks of {block} elements, given dim {dim}", Arg::X)]
    QuantBlocks {
        /// The length of its last axis.
        dim: usize,
        /// Elements of a block.
        block: usize,
    },
    /// A scale of a quantization, or an upper bound, is not positive and finite.
    #[error("{arg}: expected a positive finite number, given {given}")]
    QuantScale {
        /// The argument.
        arg: Arg,
        /// The given value.
        given: f32,
    },
    /// A quantization computes scales, and there is no tensor for them.
    #[error("{}: expected a tensor for them, given none", Arg::Scales)]
    NoScales,
    /// A quantization is given its scale, and there is a tensor for computed ones.
    #[error("{}: expected none, where the scale is given, given a tensor", Arg::Scales)]
    ScalesBesideGiven,
    /// There is an upper bound for a scale that is given.
    #[error("{}: expected none, where the scale is given, given one", Arg::UpperBound)]
    BoundOfGivenScale,
    /// The rows of scales, or of the copy of a quantized norm, have several distances.
    #[error("{arg}: expected strides with one distance between all rows, given {strides} for shape {shape}")]
    RowsApart {
        /// The argument.
        arg: Arg,
        /// Its shape.
        shape: Shape,
        /// Its strides in elements, one for each axis.
        strides: Shape,
    },
    /// No family of models with that name is known.
    #[error("{}: expected one of {}, given {given}", Arg::Model, crate::models::names())]
    UnknownModel {
        /// The name.
        given: String,
    },
    /// A list does not have the length of the list that it belongs to.
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
    /// There is no device with that ordinal.
    #[error("{}: expected {}", Arg::Device, ordinals(*.ordinal, *.count))]
    NoDevice {
        /// The number asked for.
        ordinal: u32,
        /// The number of devices.
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
    /// The kernels are only for other devices, as those for `sm_90a` are, or there are none.
    #[error(
        "{}: expected kernels that a device of compute capability {}.{} runs, given {}",
        Arg::Ptx, .expected.0, .expected.1, targets(.given)
    )]
    Target {
        /// The device's compute capability, major and minor.
        expected: (u32, u32),
        /// The targets of the given texts, such as `sm_90a`.
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
    /// The kernels were compiled from another source than those that this crate launches, so that its plans and arguments
    /// may not fit them.
    #[error("{}: expected what was made of kernels {expected}, given what was made of {given}", Arg::Ptx)]
    OtherKernels {
        /// The hash of the kernels that this crate launches.
        expected: String,
        /// The hash of the kernels that the given PTX was compiled from.
        given: String,
    },
    /// Compressed kernels are damaged: this build of the crate is broken.
    #[error("{}: expected a bundle of kernels as it was made, given one that is damaged: {reason}", Arg::Ptx)]
    Bundle {
        /// What is damaged, and where.
        reason: String,
    },
    /// Several kernels of a text have the same name.
    #[error("{}: expected one kernel of each name, given several named {kernel}", Arg::Ptx)]
    DuplicateKernel {
        /// The name.
        kernel: String,
    },
    /// A text has a [pseudo-instruction](crate::ptx::specialize) outside of its entry points, where nothing expands it.
    #[error("{}: expected pseudo-instructions in templates alone, given '{given}' outside of them", Arg::Ptx)]
    StrayPseudoInstruction {
        /// The pseudo-instruction's name, such as `norm.ones.w`.
        given: String,
    },
    /// The template of a kernel is malformed: see [`ptx::specialize`](crate::ptx::specialize).
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
    /// The device has too little free memory to create a context, a stream, a graph or the workspaces of a group, or to load
    /// a kernel.
    #[error("{call} failed: the device is out of memory")]
    OutOfMemory {
        /// The driver's function.
        call: &'static str,
    },
    /// A kernel of this process trapped or accessed an invalid address, or the device failed. Everything in
    /// the device's context is lost: memory, streams, graphs. None of it can be used again.
    /// [`Device::new`](crate::Device::new) creates a new context, or returns this error where the
    /// driver gives one only to a new process.
    #[error(
        "the context of {device} is lost, and all memory and streams in it: {call} failed: {name} ({code})"
    )]
    ContextLost {
        /// The device.
        device: Place,
        /// The driver's function that was the first to return the error.
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
    /// According to the driver, the memory belongs to no device.
    #[error("{arg}: expected memory of a CUDA device, given {address:#x}, which the driver finds on none")]
    NotOnDevice {
        /// The argument.
        arg: Arg,
        /// The address.
        address: u64,
    },
    /// The stream belongs to another context than its device's primary one.
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
        /// The message of the driver's compiler; may be empty.
        log: String,
    },
    /// A tensor that candle records for backpropagation would be updated in place, or be the input of an in-place update.
    /// candle does not record such an update, so that gradients would be silently wrong.
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
    /// The simulated kernel failed, or cannot be loaded.
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
        /// Index of one of the streams.
        first: usize,
        /// Index of the other.
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
        /// NCCL's description of it.
        name: String,
    },
    /// The communicators do not belong to the group: NCCL has them on other devices.
    #[error(
        "{}: expected a communicator of {expected} for stream {index}, given one of {given}",
        Arg::Reduce
    )]
    Communicator {
        /// Index of the stream in the group.
        index: usize,
        /// Its device.
        expected: Place,
        /// The communicator's.
        given: Place,
    },
    /// A norm of rows that are added up over devices is for `x` of 16 bits.
    #[error(
        "{}: expected dtype f16 or bf16 for a norm of rows that are added up over devices, given {given}",
        Arg::X
    )]
    ReducedInput {
        /// The element type of `x`.
        given: DType,
    },
    /// Rows that are added up over devices have no factors in the addition to a residual.
    #[error("{arg}: expected 1 where rows are added up over devices, given another factor")]
    ReducedScale {
        /// Which factor.
        arg: Arg,
    },
    /// The number of ranks of a group whose devices reach each other's memory.
    #[error(
        "ranks: expected {first} of this process from number {first_rank} on among 1 to {max}, given {given} in all"
    )]
    Ranks {
        /// Ranks of this process.
        first: usize,
        /// The number of the first of them.
        first_rank: usize,
        /// The most ranks.
        max: usize,
        /// The number of ranks of all processes.
        given: usize,
    },
    /// A device cannot reach another one's memory.
    #[error("{from} has no access to the memory of {to}")]
    NoPeerAccess {
        /// The device.
        from: Place,
        /// The other device.
        to: Place,
    },
    /// What a process offers its peers is not what the others can use.
    #[error("offer of rank {rank}: expected {expected}")]
    PeerOffer {
        /// The rank.
        rank: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// Rows are longer than a group's buffers.
    #[error(
        "{}: expected rows of at most {buffer} bytes, as long as the group's buffers, given {given}",
        Arg::X
    )]
    GroupBuffer {
        /// Bytes of a buffer.
        buffer: u64,
        /// Bytes of a row, in whole 16 bytes.
        given: u64,
    },
    /// An earlier call of a group has failed on the devices, and left what it was to write undefined. The group is of no use any
    /// more.
    #[error("an earlier call of the group failed: {failure}")]
    GroupFailed {
        /// What happened.
        failure: GroupFailure,
    },
    /// The caller's own reduction failed. Implementors of `AllReduce` return it.
    #[error("{}: {reason}", Arg::Reduce)]
    Reduction {
        /// The reason.
        reason: String,
    },
    /// One device of a tensor-parallel group failed.
    #[error("{}: stream {index} ({place}), after {launched} launches: {source}", Arg::Tp)]
    Tp {
        /// Index of the stream in the group.
        index: usize,
        /// Its device.
        place: Place,
        /// The number of launches before the failure. They are not cancelled.
        launched: usize,
        /// The error on that device.
        source: Box<Error>,
    },
}

/// Why the devices of a group have given up a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupFailure {
    /// A rank did not come in time: its process has died, or has not made the call.
    #[error("rank {rank} did not come in time")]
    Absent {
        /// The rank.
        rank: usize,
    },
    /// A rank is calls ahead, as where a process has joined the group a second time.
    #[error("rank {rank} is in another epoch")]
    OtherEpoch {
        /// The rank.
        rank: usize,
    },
    /// A rank has made a call with other rows, another norm or another type.
    #[error("rank {rank} has made another call")]
    OtherCall {
        /// The rank.
        rank: usize,
    },
}

/// The exception for the pairs that may be one tensor: what is read and what is written of it.
fn or_in_place(a: Arg, b: Arg) -> &'static str {
    match (a, b) {
        (Arg::X, Arg::Y)
        | (Arg::R, Arg::Sum)
        | (Arg::Q, Arg::QOut)
        | (Arg::K, Arg::KOut)
        | (Arg::V, Arg::VOut) => ", or one tensor for work in place",
        _ => "",
    }
}

/// `f16 or f32`; `f32` alone.
fn or_f32(dtype: DType) -> String {
    if dtype == DType::F32 { dtype.to_string() } else { format!("{dtype} or {}", DType::F32) }
}

/// `rank 2`, `rank 1 or 2` or `rank 1 to 4`.
fn ranks(expected: &RangeInclusive<usize>) -> String {
    match (expected.start(), expected.end()) {
        (low, high) if low == high => format!("rank {low}"),
        (low, high) if low + 1 == *high => format!("rank {low} or {high}"),
        (low, high) => format!("rank {low} to {high}"),
    }
}

/// The message of the driver's compiler, on one line.
fn says(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "gives no reason".to_owned() } else { format!("says: {}", lines.join("; ")) }
}

/// The valid ordinals, and the one that was given.
fn ordinals(given: u32, count: u32) -> String {
    match count {
        0 => format!("a CUDA device, given ordinal {given} on a machine where the driver finds none"),
        1 => format!("ordinal 0, that of the only CUDA device, given {given}"),
        _ => format!("an ordinal from 0 to {}, those of the CUDA devices, given {given}", count - 1),
    }
}

/// The targets of the given kernels.
fn targets(given: &str) -> String {
    if given.is_empty() { "none".to_owned() } else { format!("those for {given}") }
}

/// The shortest digits that identify the number among all `f32`, if it is one, or among all `f64`.
fn shortest(number: f64) -> String {
    let narrow = number as f32;
    if f64::from(narrow) == number { format!("{narrow:?}") } else { format!("{number:?}") }
}

/// An error of the simulator.
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
    /// The kernel of a rank of a group failed, beside those of the others.
    #[error("rank {}, launch {}: {}", .0.stream, .0.launch, .0.error)]
    Rank(#[from] ptx_sim::TogetherError),
    /// The kernel prefetches outside the operation's tensors, which changes nothing and is of no use.
    #[error("kernel {kernel}, line {line}: {count} prefetches lie outside the operation's tensors")]
    StrayPrefetch {
        /// The kernel.
        kernel: String,
        /// The line of the first such prefetch in the kernel's PTX, from 1.
        line: u32,
        /// Threads that execute such a prefetch, over all lines.
        count: u64,
    },
    /// The tensors cannot have the same addresses in the simulator's memory as in the host's.
    #[error(transparent)]
    Memory(#[from] ptx_sim::MemoryError),
}

#[cfg(feature = "sim")]
impl<E: Into<SimulatorError>> From<E> for Error {
    fn from(error: E) -> Error {
        Error::Simulated(Box::new(error.into()))
    }
}
