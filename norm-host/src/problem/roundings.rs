//! The roundings of one operation, which follow from an order of roundings and the tensors' types.

#[cfg(test)]
mod tests;

use norm_kernels::abi::{DType, EpilogueRounding, Rounding};

/// Which intermediate values of a norm are rounded to which type before the last rounding, to the type of `y`.
///
/// `None` means that a value stays in `f32`; no field is `Some(F32)`. The default, [`NONE`](Roundings::NONE), is
/// [`Rounding::Single`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roundings {
    /// `W`, the weight with its offset added.
    pub factor: Option<DType>,
    /// `n`, the normalized value.
    pub normalized: Option<DType>,
    /// `n · W`, before a bias is added. Without biases it makes no difference, because it is the type of `y`.
    pub product: Option<DType>,
    /// The norm, before it is added to a residual behind it. Without one it makes no difference, because it is the type of
    /// `y`.
    pub result: Option<DType>,
    /// What is added to a residual, `x` or the norm, after the multiplication by
    /// [`Norm::branch_scale`](crate::Norm::branch_scale).
    pub branch: Option<DType>,
    /// The sum with a residual, before it is multiplied by [`Norm::sum_scale`](crate::Norm::sum_scale).
    pub sum: Option<DType>,
}

impl Roundings {
    /// No roundings before the last one.
    pub const NONE: Roundings =
        Roundings { factor: None, normalized: None, product: None, result: None, branch: None, sum: None };

    /// The roundings of an order for these types of `x`, `w` and `y`; with `round_offset` also that of the weight plus its
    /// offset. Without weights [`Rounding::T5`] has no type to round to, and equals [`Rounding::Single`].
    pub fn of(rounding: Rounding, round_offset: bool, x: DType, w: Option<DType>, y: DType) -> Roundings {
        let narrow = |dtype: DType| (dtype != DType::F32).then_some(dtype);
        let w = w.and_then(narrow);
        let between = match rounding {
            Rounding::Single => Roundings::NONE,
            Rounding::BeforeWeight => Roundings { normalized: narrow(x), ..Roundings::NONE },
            Rounding::BeforeBias => Roundings { product: narrow(y), ..Roundings::NONE },
            Rounding::T5 => Roundings { normalized: w, ..Roundings::NONE },
        };
        Roundings {
            factor: w.filter(|_| round_offset),
            result: narrow(y).filter(|_| rounding != Rounding::Single),
            ..between
        }
    }

    /// The same roundings for an operation whose residual has factors: `branch` is the type that the scaled addend is
    /// rounded to, `sum` the type of the sum.
    pub fn with_scales(self, rounding: Rounding, branch: DType, sum: DType) -> Roundings {
        let rounded =
            |dtype: DType| Some(dtype).filter(|&it| it != DType::F32 && rounding != Rounding::Single);
        Roundings { branch: rounded(branch), sum: rounded(sum), ..self }
    }

    /// The roundings that make a difference, given whether there are biases and whether the norm is added to a residual
    /// behind it.
    pub fn that_matter(self, biases: bool, accumulate: bool) -> Roundings {
        Roundings {
            product: self.product.filter(|_| biases),
            result: self.result.filter(|_| accumulate),
            ..self
        }
    }

    /// The order of roundings of the kernel for an operation with these roundings: `Single` if none of them is left, so
    /// that no kernel is compiled for an order that makes no difference.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "only kernels need it"))]
    pub(crate) fn epilogue(self, order: Rounding) -> EpilogueRounding {
        let Roundings { factor, normalized, product, result, branch, sum } = self;
        let rounds = [normalized, product, result, branch, sum].iter().any(Option::is_some);
        EpilogueRounding { order: if rounds { order } else { Rounding::Single }, offset: factor.is_some() }
    }
}
