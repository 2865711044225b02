//! Which argument an error is about.

use super::{Arg, Error};

impl Error {
    /// The argument that the message begins with; the first of two that overlap. `None` where no
    /// argument is at fault, as in an error of the driver.
    pub fn arg(&self) -> Option<Arg> {
        match *self {
            Error::DType { arg, .. }
            | Error::Rank { arg, .. }
            | Error::Shape { arg, .. }
            | Error::HeadShape { arg, .. }
            | Error::StrideCount { arg, .. }
            | Error::LastAxisStrided { arg, .. }
            | Error::EmptyRow { arg }
            | Error::RowTooLong { arg, .. }
            | Error::TooManyElements { arg, .. }
            | Error::AddressRange { arg, .. }
            | Error::OutOfBounds { arg, .. }
            | Error::Place { arg, .. }
            | Error::NullPointer { arg }
            | Error::Misaligned { arg, .. }
            | Error::Overlap { a: arg, .. }
            | Error::SelfOverlap { arg, .. }
            | Error::ListLength { arg, .. }
            | Error::OwnParameters { arg }
            | Error::Scale { arg, .. }
            | Error::ScaleWithoutResidual { arg }
            | Error::GridTooLarge { arg, .. }
            | Error::HeadNormOption { arg, .. }
            | Error::HeadNormRounding { arg, .. }
            | Error::NormWithoutHeads { arg, .. }
            | Error::Unpaired { arg, .. }
            | Error::OtherDType { arg, .. }
            | Error::RotaryWidth { arg, .. }
            | Error::QuantizedOption { arg }
            | Error::QuantFormat { arg, .. }
            | Error::QuantScale { arg, .. }
            | Error::RowsApart { arg, .. }
            | Error::ReducedScale { arg }
            | Error::NotOnDevice { arg, .. } => Some(arg),
            #[cfg(feature = "candle")]
            Error::GradientInPlace { arg, .. } => Some(arg),
            Error::SplitRow { .. } => Some(Arg::Dim),
            Error::SplitLayerNorm | Error::GatedLayerNorm => Some(Arg::Kind),
            Error::GatedBias => Some(Arg::B),
            Error::Eps { .. } => Some(Arg::Eps),
            Error::WeightOffset { .. } | Error::OffsetWithoutWeights { .. } => Some(Arg::WeightOffset),
            Error::RoundOffsetOfNone => Some(Arg::RoundOffset),
            Error::RoundingWithoutWeights { .. } => Some(Arg::Rounding),
            Error::ScaleOfNext { .. } => Some(Arg::Next),
            Error::Position { .. } => Some(Arg::Positions),
            Error::RopeScaling { .. } => Some(Arg::RopeScaling),
            Error::QuantizedInput { .. } | Error::QuantBlocks { .. } => Some(Arg::X),
            Error::ReducedInput { .. } | Error::GroupBuffer { .. } => Some(Arg::X),
            Error::QuantPreset { .. } | Error::QuantBlock { .. } => Some(Arg::Quantization),
            Error::NoScales | Error::ScalesBesideGiven => Some(Arg::Scales),
            Error::BoundOfGivenScale => Some(Arg::UpperBound),
            Error::UnknownModel { .. } => Some(Arg::Model),
            Error::ForeignStream { .. } => Some(Arg::Stream),
            Error::NoDevice { .. } | Error::Capability { .. } => Some(Arg::Device),
            Error::Target { .. }
            | Error::OtherKernels { .. }
            | Error::Bundle { .. }
            | Error::DuplicateKernel { .. }
            | Error::StrayPseudoInstruction { .. } => Some(Arg::Ptx),
            #[cfg(feature = "gpu")]
            Error::Template(_) => Some(Arg::Ptx),
            Error::EmptyGroup | Error::DuplicateDevice { .. } | Error::Tp { .. } => Some(Arg::Tp),
            Error::Communicator { .. } | Error::Reduction { .. } => Some(Arg::Reduce),
            // Listed rather than matched by `_`, so that a new error has to be attributed.
            Error::NoDriver { .. }
            | Error::KernelMissing { .. }
            | Error::DriverTooOld { .. }
            | Error::OutOfMemory { .. }
            | Error::ContextLost { .. }
            | Error::Driver { .. }
            | Error::Load { .. }
            | Error::NoNccl { .. }
            | Error::Ranks { .. }
            | Error::NoPeerAccess { .. }
            | Error::PeerOffer { .. }
            | Error::GroupFailed { .. }
            | Error::Nccl { .. } => None,
            #[cfg(feature = "sim")]
            Error::Simulated(_) => None,
        }
    }

    /// The same error with another name for an argument, for an operation that is composed of others with other names.
    #[must_use]
    pub(crate) fn renamed(mut self, from: Arg, to: Arg) -> Error {
        match &mut self {
            Error::DType { arg, .. }
            | Error::Rank { arg, .. }
            | Error::Shape { arg, .. }
            | Error::LastAxisStrided { arg, .. }
            | Error::EmptyRow { arg }
            | Error::RowTooLong { arg, .. }
            | Error::TooManyElements { arg, .. }
            | Error::AddressRange { arg, .. }
            | Error::Place { arg, .. }
            | Error::NullPointer { arg }
            | Error::Misaligned { arg, .. }
            | Error::SelfOverlap { arg, .. }
                if *arg == from =>
            {
                *arg = to;
            }
            Error::Overlap { a, b } => {
                for arg in [a, b] {
                    if *arg == from {
                        *arg = to;
                    }
                }
            }
            _ => {}
        }
        self
    }

    /// The same error with `arg` in place of [`Arg::View`], for a caller that knows what the view is built for.
    ///
    /// ```
    /// use norm_host::{Arg, View};
    ///
    /// let weights = [1.0_f32; 64];
    /// let view = View::from_slice(&weights, &[128]).map_err(|error| error.for_arg(Arg::W));
    /// assert_eq!(view.unwrap_err().to_string(), "w: expected memory for 128 elements, given 64");
    /// ```
    #[must_use]
    pub fn for_arg(mut self, arg: Arg) -> Error {
        match &mut self {
            Error::Rank { arg: view, .. }
            | Error::StrideCount { arg: view, .. }
            | Error::TooManyElements { arg: view, .. }
            | Error::OutOfBounds { arg: view, .. }
            | Error::NotOnDevice { arg: view, .. }
                if *view == Arg::View =>
            {
                *view = arg;
            }
            _ => {}
        }
        self
    }
}
