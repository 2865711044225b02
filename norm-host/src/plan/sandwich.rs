//! The plan of two norms with a residual between them as one launch.

use norm_kernels::abi::{EpilogueRounding, Kernel, NormKind, Rounding, SecondNorm, Variant};

use super::{DeviceProfile, LaunchShape, Plan, Tile, alignment, kernel_offset};
use crate::{
    DType,
    error::Result,
    problem::{Problem, Residual, ResidualPlace, SandwichProblem},
};

/// One launch for both norms.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SandwichPlan {
    /// The launch as if the residual were in front of one norm, with the first norm's parameters.
    pub plan: Plan,
    /// The kernel's second parameter.
    pub second: SecondNorm,
}

impl SandwichPlan {
    /// The launch for at least one row; `None` where no kernel has the result of two launches.
    ///
    /// # Errors
    ///
    /// As for [`Plan::new`].
    pub fn new(problem: &SandwichProblem, profile: DeviceProfile) -> Result<Option<SandwichPlan>> {
        let SandwichProblem { first, second, axes } = problem;
        let Some(residual) = first.residual_behind() else { return Ok(None) };
        let (Some(epilogue), Some(w)) = (epilogue(first, second), weights(first, second)) else {
            return Ok(None);
        };
        if !fits_a_kernel(first, second, residual) {
            return Ok(None);
        }
        // The kernel's argument is that of a norm with a residual in front, although the kernel adds it later.
        let in_front = Residual { place: ResidualPlace::InFront, ..residual };
        let as_one = Problem { y: second.y, residual: Some(in_front), axes: *axes, ..*first };
        let plan = Plan::new(&as_one, profile)?;
        let tile = Tile::new(NormKind::Rms, first.x.dtype, second.y.dtype, first.dim, profile);
        let shape = LaunchShape {
            kind: NormKind::Rms,
            types: [first.x.dtype, w, second.y.dtype],
            tile,
            residual: true,
            wide: false,
            extras: false,
            blocks: tile.grid(first.rows),
        };
        let are_vectors =
            plan.kernel.variant != Variant::Scalar && alignment::takes_param_vectors(second.w, tile);
        let Some(variant) = shape.select_sandwich(profile).filter(|_| are_vectors) else { return Ok(None) };
        let plan = Plan { kernel: Kernel { w, epilogue, ..plan.kernel }, ..plan };
        Ok(Some(SandwichPlan {
            plan: plan.with_tile(variant, tile.for_variant(variant), profile),
            second: SecondNorm {
                w: second.w.map_or(0, |w| w.address),
                eps: second.eps,
                weight_offset: kernel_offset(second.w, second.weight_offset),
            },
        }))
    }
}

/// Whether kernels are compiled for these norms and types. If `y` has elements of another size than `x`, the rows of the
/// two norms have different tiles, and no launch does both.
fn fits_a_kernel(first: &Problem, second: &Problem, residual: Residual) -> bool {
    let are_rms = [first, second].iter().all(|norm| norm.kind == NormKind::Rms && norm.b.is_none());
    are_rms && residual.r.dtype == first.x.dtype && first.x.dtype.size() == second.y.dtype.size()
}

/// The type of both norms' weights, that of `x` where there are none; `None` where they differ.
fn weights(first: &Problem, second: &Problem) -> Option<DType> {
    match (first.w, second.w) {
        (Some(a), Some(b)) => (a.dtype == b.dtype).then_some(a.dtype),
        (Some(w), None) | (None, Some(w)) => Some(w.dtype),
        (None, None) => Some(first.x.dtype),
    }
}

/// The roundings of a kernel that serves both norms; `None` where their orders exclude each other.
fn epilogue(first: &Problem, second: &Problem) -> Option<EpilogueRounding> {
    let [a, b] = [first, second].map(|norm| norm.roundings().epilogue(norm.rounding));
    // A norm to which its order makes no difference can have the order of the other norm.
    let order = match (a.order, b.order) {
        (a, b) if a == b => a,
        (order, Rounding::Single) if second.rounding == order => order,
        (Rounding::Single, order) if first.rounding == order => order,
        _ => return None,
    };
    // A weight without an offset already has its type, so that rounding it makes no difference.
    let without_offset = |norm: &Problem| norm.w.is_none() || norm.weight_offset == 0.0;
    let is_one =
        a.offset == b.offset || (!a.offset && without_offset(first)) || (!b.offset && without_offset(second));
    is_one.then_some(EpilogueRounding { order, offset: a.offset || b.offset })
}
