//! The text of every error, held whole: each of its numbers and names differs from every other, so that none stands where
//! another belongs.

use std::collections::BTreeSet;

use norm_host::{Arg, DType, Error, GroupFailure, Place, QuantFormat, QuantPreset, Rounding, Shape};

fn shape(extents: &[usize]) -> Shape {
    Shape::new(extents).unwrap()
}

/// Errors, and what they say.
fn each() -> Vec<(Error, &'static str)> {
    let (here, there) = (Place::Cuda(3), Place::Cuda(5));
    let text = str::to_owned;
    let (name, reason) = (text("SOME_NAME"), text("some reason"));
    vec![
        (
            Error::DType { arg: Arg::B, expected: DType::F32, given: DType::BF16 },
            "b: expected dtype f32, given bf16",
        ),
        (Error::Rank { arg: Arg::X, expected: 2..=2, given: 7 }, "x: expected rank 2, given rank 7"),
        (Error::Rank { arg: Arg::X, expected: 1..=2, given: 7 }, "x: expected rank 1 or 2, given rank 7"),
        (Error::Rank { arg: Arg::X, expected: 1..=4, given: 7 }, "x: expected rank 1 to 4, given rank 7"),
        (
            Error::Shape { arg: Arg::Y, expected: shape(&[2, 3]), given: shape(&[5]) },
            "y: expected shape (2, 3), given (5,)",
        ),
        (
            Error::HeadShape { arg: Arg::W, expected: shape(&[2, 3]), given: shape(&[5]) },
            "w: expected shape (2, 3), or (3,) for all heads, given (5,)",
        ),
        (
            Error::StrideCount { arg: Arg::View, expected: 2, given: 3 },
            "view: expected 2 strides, one an axis, given 3",
        ),
        (
            Error::LastAxisStrided { arg: Arg::R, stride: 4 },
            "r: expected a dense last axis (stride 1), given stride 4",
        ),
        (Error::EmptyRow { arg: Arg::X }, "x: expected rows of at least 1 element, given dim 0"),
        (
            Error::RowTooLong { arg: Arg::X, dim: 11, max: 7 },
            "x: expected rows of at most 7 elements, given dim 11",
        ),
        (
            Error::SplitRow { here: 11, given: 7 },
            "dim: expected the length of whole rows, at least the 11 elements that are here, given 7",
        ),
        (Error::SplitLayerNorm, "kind: expected RMSNorm, where rows are split over devices, given LayerNorm"),
        (
            Error::OwnParameters { arg: Arg::B },
            "b: expected those of each device alone, given some in the description of the norm as well",
        ),
        (
            Error::TooManyElements { arg: Arg::Sum, shape: shape(&[2, 3]) },
            "sum: expected fewer than 2^64 bytes and rows, given shape (2, 3)",
        ),
        (
            Error::AddressRange { arg: Arg::X, address: 0xabc, bytes: 77 },
            "x: expected 77 bytes below 2^64, given address 0xabc",
        ),
        (
            Error::OutOfBounds { arg: Arg::W, needed: 11, available: 7 },
            "w: expected memory for 11 elements, given 7",
        ),
        (
            Error::Place { arg: Arg::X, expected: here, given: Place::Host },
            "x: expected on cuda:3, given on the host",
        ),
        (Error::NullPointer { arg: Arg::X }, "x: expected an address, given a null pointer"),
        (
            Error::Misaligned { arg: Arg::X, align: 4, address: 0xabe },
            "x: expected an address that is a multiple of 4, given 0xabe",
        ),
        (
            Error::Overlap { a: Arg::W, b: Arg::Y },
            "w and y: expected no common memory, given tensors that overlap",
        ),
        (
            Error::Overlap { a: Arg::X, b: Arg::Y },
            "x and y: expected no common memory, or one tensor for work in place, given tensors that overlap",
        ),
        (
            Error::Overlap { a: Arg::R, b: Arg::Sum },
            "r and sum: expected no common memory, or one tensor for work in place, given tensors that overlap",
        ),
        (
            Error::SelfOverlap { arg: Arg::Y, shape: shape(&[2, 3]), strides: shape(&[1, 7]) },
            "y: expected strides that keep elements apart, given (1, 7) for shape (2, 3)",
        ),
        (
            Error::Eps { given: -0.5 },
            "eps: expected 0 or a positive finite number in the range of f32, given -0.5",
        ),
        (Error::WeightOffset { given: f32::INFINITY }, "weight_offset: expected a finite number, given inf"),
        (
            Error::OffsetWithoutWeights { given: 0.5 },
            "weight_offset: expected weights to add it to, or 0, given 0.5 without weights",
        ),
        (
            Error::RoundOffsetOfNone,
            "round_offset: expected a weight offset other than 0, whose sum with the weights is to be rounded, \
             given 0",
        ),
        (
            Error::RoundingWithoutWeights { given: Rounding::T5 },
            "rounding: expected weights, to whose type t5 rounds, given none",
        ),
        (
            Error::Scale { arg: Arg::SumScale, given: f32::NEG_INFINITY },
            "sum_scale: expected a finite number, given -inf",
        ),
        (
            Error::ScaleWithoutResidual { arg: Arg::BranchScale },
            "branch_scale: expected a residual, in whose addition it is a factor, given an operation without one",
        ),
        (
            Error::ScaleOfNext { scale: Arg::SumScale },
            "next: expected a norm without sum_scale, which the first norm has, given one with it",
        ),
        (Error::GatedLayerNorm, "kind: expected RMSNorm, where rows are gated, given LayerNorm"),
        (Error::GatedBias, "b: expected a gated norm without biases, given some"),
        (
            Error::ListLength { arg: Arg::Shards, expected: 2, given: 3 },
            "shards: expected a list of 2, given 3",
        ),
        (
            Error::HeadNormOption { arg: Arg::KNorm, option: Arg::B },
            "k_norm: expected a norm without b, given one with it",
        ),
        (
            Error::HeadNormRounding {
                arg: Arg::VNorm,
                expected: Rounding::BeforeWeight,
                given: Rounding::Single,
            },
            "v_norm: expected the order of roundings before-weight, as the norms in front of it have, given single",
        ),
        (
            Error::NormWithoutHeads { arg: Arg::VNorm, heads: Arg::V },
            "v_norm: expected none, as there are no v, given one",
        ),
        (Error::Unpaired { arg: Arg::KOut, other: Arg::K }, "k_out: expected one, as there is k, given none"),
        (
            Error::OtherDType { arg: Arg::QWeight, expected: DType::F16, given: DType::BF16 },
            "q_weight: expected dtype f16 or f32, given bf16",
        ),
        (
            Error::RotaryWidth { arg: Arg::Cos, head_dim: 7, pairs: 5 },
            "cos: expected at most 3 pairs, half of head_dim 7, given 5",
        ),
        (
            Error::Position { token: 2, given: -5, rows: 4 },
            "positions: expected rows of the tables, 0 to 3, given -5 for token 2",
        ),
        (
            Error::RopeScaling { expected: "some number", given: 0.5 },
            "scaling: expected some number, given 0.5",
        ),
        (
            Error::GridTooLarge { arg: Arg::X, blocks: 11, max: 7 },
            "x: expected rows for at most 7 blocks, given rows for 11",
        ),
        (Error::NoDriver { reason: reason.clone() }, "no CUDA driver: some reason"),
        (
            Error::NoDevice { ordinal: 7, count: 0 },
            "device: expected a CUDA device, given ordinal 7 on a machine where the driver finds none",
        ),
        (
            Error::NoDevice { ordinal: 7, count: 1 },
            "device: expected ordinal 0, that of the only CUDA device, given 7",
        ),
        (
            Error::NoDevice { ordinal: 7, count: 4 },
            "device: expected an ordinal from 0 to 3, those of the CUDA devices, given 7",
        ),
        (
            Error::Capability { expected: (8, 1), given: (7, 5) },
            "device: expected compute capability 8.1 or newer, given 7.5",
        ),
        (
            Error::Target { expected: (8, 1), given: text("sm_90a") },
            "ptx: expected kernels that a device of compute capability 8.1 runs, given those for sm_90a",
        ),
        (
            Error::Target { expected: (8, 1), given: String::new() },
            "ptx: expected kernels that a device of compute capability 8.1 runs, given none",
        ),
        (
            Error::KernelMissing { kernel: text("some_kernel"), target: "sm_90" },
            "the PTX for sm_90 lacks kernel some_kernel",
        ),
        (
            Error::OtherKernels { expected: text("abc"), given: text("def") },
            "ptx: expected what was made of kernels abc, given what was made of def",
        ),
        (
            Error::Bundle { reason: reason.clone() },
            "ptx: expected a bundle of kernels as it was made, given one that is damaged: some reason",
        ),
        (
            Error::DuplicateKernel { kernel: text("some_kernel") },
            "ptx: expected one kernel of each name, given several named some_kernel",
        ),
        (
            Error::StrayPseudoInstruction { given: text("norm.unit.x") },
            "ptx: expected pseudo-instructions in templates alone, given 'norm.unit.x' outside of them",
        ),
        (
            Error::DriverTooOld { expected: (12, 1), given: (11, 4) },
            "the CUDA driver is too old: expected one for CUDA 12.1 or newer, given one for CUDA 11.4",
        ),
        (Error::OutOfMemory { call: "cuCall" }, "cuCall failed: the device is out of memory"),
        (
            Error::ContextLost { device: here, call: "cuCall", code: 719, name: name.clone() },
            "the context of cuda:3 is lost, and all memory and streams in it: cuCall failed: SOME_NAME (719)",
        ),
        (Error::Driver { call: "cuCall", code: 912, name: name.clone() }, "cuCall failed: SOME_NAME (912)"),
        (
            Error::NotOnDevice { arg: Arg::W, address: 0xabc },
            "w: expected memory of a CUDA device, given 0xabc, which the driver finds on none",
        ),
        (
            Error::ForeignStream { device: here },
            "stream: expected one of the primary context of cuda:3, given one of another context",
        ),
        (
            Error::Load {
                kernel: text("some_kernel"),
                call: "cuCall",
                code: 218,
                name: name.clone(),
                log: text("a log\n"),
            },
            "kernel some_kernel cannot be loaded: cuCall failed: SOME_NAME (218); the driver's compiler says: a log",
        ),
        (Error::EmptyGroup, "tp: expected at least one stream, given none"),
        (
            Error::DuplicateDevice { place: here, first: 1, second: 2 },
            "tp: expected streams of different devices, given 1 and 2, both of cuda:3",
        ),
        (Error::NoNccl { reason: reason.clone() }, "no NCCL: some reason"),
        (Error::Nccl { call: "ncclCall", code: 5, name }, "ncclCall failed: SOME_NAME (5)"),
        (
            Error::Communicator { index: 1, expected: here, given: there },
            "reduce: expected a communicator of cuda:3 for stream 1, given one of cuda:5",
        ),
        (Error::Reduction { reason }, "reduce: some reason"),
        (
            Error::ReducedInput { given: DType::F32 },
            "x: expected dtype f16 or bf16 for a norm of rows that are added up over devices, given f32",
        ),
        (
            Error::ReducedScale { arg: Arg::SumScale },
            "sum_scale: expected 1 where rows are added up over devices, given another factor",
        ),
        (
            Error::Ranks { first: 2, first_rank: 7, max: 8, given: 9 },
            "ranks: expected 2 of this process from number 7 on among 1 to 8, given 9 in all",
        ),
        (Error::NoPeerAccess { from: here, to: there }, "cuda:3 has no access to the memory of cuda:5"),
        (Error::PeerOffer { rank: 4, expected: "some bytes" }, "offer of rank 4: expected some bytes"),
        (
            Error::GroupBuffer { buffer: 4096, given: 5008 },
            "x: expected rows of at most 4096 bytes, as long as the group's buffers, given 5008",
        ),
        (
            Error::GroupFailed { failure: GroupFailure::Absent { rank: 1 } },
            "an earlier call of the group failed: rank 1 did not come in time",
        ),
        (
            Error::GroupFailed { failure: GroupFailure::OtherEpoch { rank: 2 } },
            "an earlier call of the group failed: rank 2 is in another epoch",
        ),
        (
            Error::GroupFailed { failure: GroupFailure::OtherCall { rank: 3 } },
            "an earlier call of the group failed: rank 3 has made another call",
        ),
        (
            Error::Tp { index: 1, place: here, launched: 2, source: Box::new(Error::Eps { given: -0.5 }) },
            "tp: stream 1 (cuda:3), after 2 launches: eps: expected 0 or a positive finite number in the range of \
             f32, given -0.5",
        ),
        (
            Error::QuantizedInput { given: DType::F32 },
            "x: expected f16 or bf16, where the output is quantized, given f32",
        ),
        (
            Error::QuantizedOption { arg: Arg::Rounding },
            "rounding: expected a norm without it, where the output is quantized, given one with it",
        ),
        (
            Error::QuantFormat { arg: Arg::Y, expected: QuantFormat::E4m3, given: QuantFormat::Int8 },
            "y: expected codes of e4m3, given codes of int8",
        ),
        (
            Error::QuantPreset { preset: QuantPreset::FlashInfer, given: "some form" },
            "quantization: expected what flashinfer has a formula for, given some form",
        ),
        (Error::QuantBlock { given: 7 }, "quantization: expected blocks of 64 or 128 elements, given 7"),
        (
            Error::QuantBlocks { dim: 11, block: 7 },
            "x: expected rows of whole blocks of 7 elements, given dim 11",
        ),
        (
            Error::QuantScale { arg: Arg::UpperBound, given: -7.5 },
            "upper_bound: expected a positive finite number, given -7.5",
        ),
        (Error::NoScales, "scales: expected a tensor for them, given none"),
        (Error::ScalesBesideGiven, "scales: expected none, where the scale is given, given a tensor"),
        (Error::BoundOfGivenScale, "upper_bound: expected none, where the scale is given, given one"),
        (
            Error::RowsApart { arg: Arg::Scales, shape: shape(&[2, 3]), strides: shape(&[7, 5]) },
            "scales: expected strides with one distance between all rows, given (7, 5) for shape (2, 3)",
        ),
        #[cfg(feature = "candle")]
        (
            Error::GradientInPlace { arg: Arg::X, written: Arg::R, instead: "some_call" },
            "x: expected a tensor without gradients, since r is updated in place, given one that candle records \
             for backpropagation: call some_call, or detach() the tensor",
        ),
    ]
}

#[test]
fn every_text_is_held_whole() {
    for (error, text) in each() {
        assert_eq!(error.to_string(), text, "{error:?}");
    }
    // The names that are known are a table's.
    let unknown = Error::UnknownModel { given: "some_model".to_owned() }.to_string();
    let names: Vec<_> = unknown
        .strip_prefix("model: expected one of ")
        .and_then(|rest| rest.strip_suffix(", given some_model"))
        .expect("the rest is names")
        .split(", ")
        .collect();
    assert!(names.is_sorted() && names.contains(&"llama"), "{names:?}");
}

/// Errors whose texts are those of a library below, and held there: `specialize.rs`, and ptx-sim's tests.
const OF_OTHERS: [&str; 2] = ["Template", "Simulated"];

#[test]
fn every_error_has_its_text_here() {
    let source = include_str!("../../src/error.rs");
    let body = source.split_once("pub enum Error {\n").expect("the enum").1;
    let body = body.split_once("\n}\n").expect("its end").0;
    let name = |line: &'static str| {
        let line = line.strip_prefix("    ").filter(|line| line.starts_with(char::is_uppercase))?;
        line.split(|c: char| !c.is_alphanumeric()).next()
    };
    let is_here =
        |name: &&str| !OF_OTHERS.contains(name) && (cfg!(feature = "candle") || *name != "GradientInPlace");
    let variants: BTreeSet<_> = body.lines().filter_map(name).filter(is_here).map(str::to_owned).collect();
    let named = |error: Error| format!("{error:?}").split([' ', '{', '(']).next().unwrap().to_owned();
    let held = each().into_iter().map(|(error, _)| named(error)).chain(["UnknownModel".to_owned()]);
    assert_eq!(held.collect::<BTreeSet<_>>(), variants);
}
