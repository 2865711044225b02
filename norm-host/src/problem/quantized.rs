//! A norm whose output is quantized.

use norm_kernels::abi::{QuantFormat, QuantRecipe};

use super::Problem;

/// A checked norm whose output is quantized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizedProblem {
    /// The norm, perhaps with a residual in front. Its `y` has the address of the codes, which have one byte each, and the
    /// strides of its axes are theirs; `y`'s type, that of `x`, is the one of the norm's values before they are quantized.
    /// It has no factors of a residual, rounds no offset, and its order of roundings is
    /// [`Single`](norm_kernels::abi::Rounding::Single): the recipe says what is rounded.
    pub norm: Problem,
    /// The format of the codes.
    pub format: QuantFormat,
    /// The formula.
    pub recipe: QuantRecipe,
    /// The scales.
    pub scales: QuantScales,
    /// The copy of the norm's values, of the type of `x`, if it is written.
    pub normed: Option<UniformRows>,
}

/// The scales of a quantized output, each an `f32`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QuantScales {
    /// One, which is read from this address.
    Tensor {
        /// The address.
        at: u64,
    },
    /// One for each row, which is written.
    Token {
        /// Where.
        rows: UniformRows,
        /// The formula's numbers.
        limits: QuantLimits,
    },
    /// One for each block of a row, which is written.
    Block {
        /// Where the first of each row is.
        rows: UniformRows,
        /// Elements between the scales of neighbouring blocks.
        stride: u64,
        /// Elements of a block, 64 or 128, of which `dim` is a multiple.
        block: u32,
        /// The formula's numbers.
        limits: QuantLimits,
    },
}

/// The numbers in the formula of a dynamic scale, `max(max(min(absmax, bound), floor) / max, least)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantLimits {
    /// The largest magnitude that counts; infinite if there is no bound.
    pub bound: f32,
    /// Address of an `f32` that replaces it; it is read when the operation runs.
    pub bound_at: Option<u64>,
    /// The least magnitude that counts.
    pub floor: f32,
    /// What the largest magnitude is scaled to.
    pub max: f32,
    /// The least scale.
    pub least: f32,
}

/// Rows at one distance from each other, in the order of the problem's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniformRows {
    /// Address of the first row.
    pub address: u64,
    /// Elements from one row to the next.
    pub stride: u64,
}

impl QuantLimits {
    /// The numbers of a recipe, without a bound.
    pub(crate) fn of(recipe: QuantRecipe, format: QuantFormat) -> QuantLimits {
        let (floor, least) = match (recipe, format) {
            (QuantRecipe::VllmStatic | QuantRecipe::VllmDynamic, QuantFormat::E4m3) => {
                (0.0, 1.0 / (448.0 * 512.0))
            }
            (QuantRecipe::VllmStatic | QuantRecipe::VllmDynamic, QuantFormat::Int8) => (0.0, f32::EPSILON),
            (QuantRecipe::FlashInferStatic | QuantRecipe::FlashInferBlock, _) => (1e-4, 0.0),
            // The least whose reciprocal is finite. A row of zeros has it.
            (QuantRecipe::Exact, _) => (0.0, f32::MIN_POSITIVE),
        };
        QuantLimits { bound: f32::INFINITY, bound_at: None, floor, max: format.max(), least }
    }
}
