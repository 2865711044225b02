//! The Rust types of a tensor's elements.

use half::{bf16, f16};

use crate::DType;

/// A Rust type that is one of the [`DType`]s: [`struct@f16`], [`bf16`] or [`f32`].
///
/// Sealed: there are kernels only for these three.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The type as a value.
    const DTYPE: DType;
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}

mod sealed {
    pub trait Sealed: Into<f64> {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
    impl Sealed for f32 {}
}
