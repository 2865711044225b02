//! What kernels and their host must agree on: element types, variants, kernel names, parameters, constants.
//!
//! Nothing here needs a device, so the host's planner, the simulator and the kernels share one copy. Nothing here makes a
//! choice, either: how a row is dealt to threads and which variant takes it is decided in norm-host's `plan`.

mod addition;
mod all_reduce;
mod args;
mod constants;
mod divisor;
mod entry_point;
mod gated;
mod kernel;
mod launch_bounds;
mod libnvvm;
mod qk_rope;
mod quantized;
mod rounding;
mod sharded;
mod template;
mod variant;

pub use addition::Addition;
pub use all_reduce::{
    Exchange, Failure, GROUP_KERNEL_SLOTS, GroupArgs, GroupKernel, GroupVariant, MAX_GROUP_BLOCKS, MAX_RANKS,
    workspace,
};
pub use args::{Args, Axis, NO_PREFETCH, SecondNorm};
pub use constants::{MAX_BLOCK_THREADS, MAX_DIM, MAX_STAGED_VECTORS, WARP};
pub use divisor::Divisor;
pub use entry_point::EntryPoint;
pub use gated::{Activation, GATED_KERNEL_SLOTS, GateOrder, GatedKernel, GatedVariant, Gating};
pub use kernel::{KERNEL_SLOTS, Kernel, NormKind, stages_residual_behind_norm};
pub use libnvvm::{LIBNVVM_COMMENT, is_of_libnvvm};
pub use qk_rope::{
    HAS_WEIGHTS, IS_NORMED, LAYER_NORM, MAX_HEAD_DIM, Pairing, ROPE_KERNEL_SLOTS, ROTATES, RopeArgs,
    RopeHeads, RopeKernel, RopeRounding,
};
pub use quantized::{
    Granularity, QUANT_KERNEL_SLOTS, QuantArgs, QuantFormat, QuantKernel, QuantPreset, QuantRecipe,
    QuantVariant,
};
pub use rounding::{EpilogueRounding, Rounding};
pub use sharded::{SHARD_KERNEL_SLOTS, ShardKernel};
pub use template::{Template, width};
#[cfg(all(feature = "entry-points", any(target_arch = "nvptx64", feature = "rust-cuda")))]
pub(crate) use variant::variants;
pub use variant::{
    Access, HYBRID_VECTORS, ParamLoads, ResidualSupport, Scope, Storage, VARIANTS, Variant, VariantSpec,
};

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum DType {
    /// IEEE 754 binary16.
    F16 = 1,
    /// bfloat16: the upper half of an `f32`.
    BF16 = 2,
    /// IEEE 754 binary32.
    F32 = 3,
}

impl DType {
    /// Every element type, in the order of their tags.
    pub const ALL: [DType; 3] = [DType::F16, DType::BF16, DType::F32];

    /// Bytes of one element, which is also its alignment.
    pub const fn size(self) -> usize {
        match self {
            DType::F16 | DType::BF16 => 2,
            DType::F32 => 4,
        }
    }

    /// The name used in kernel names and on the command line: `f16`, `bf16` or `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
        }
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}
