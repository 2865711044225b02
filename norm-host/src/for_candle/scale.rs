//! The two factors of a residual addition: `(x * branch_scale + r) * sum_scale`.

use candle_core::{DType, Result, Tensor};

use super::{norm::Norm, store::Lend};
use crate::{Arg, Error, Rounding};

/// A factor: a number, or a tensor that is read when the operation runs.
#[derive(Clone, Debug)]
pub enum Scale {
    /// A finite number.
    Number(f32),
    /// One f32, of shape `(1,)`, on the device of the input, as [`Scale::Memory`](crate::Scale::Memory) of views.
    Tensor(Tensor),
}

impl From<f32> for Scale {
    fn from(number: f32) -> Scale {
        Scale::Number(number)
    }
}

impl From<Tensor> for Scale {
    fn from(tensor: Tensor) -> Scale {
        Scale::Tensor(tensor)
    }
}

/// Both factors of a norm.
#[derive(Clone, Debug)]
pub(super) struct Scales {
    branch: f32,
    sum: Scale,
}

impl Scales {
    pub(super) const NONE: Scales = Scales { branch: 1.0, sum: Scale::Number(1.0) };

    /// The tensor of `sum`, if it is one.
    pub(super) fn tensor(&self) -> Option<&Tensor> {
        match &self.sum {
            Scale::Number(_) => None,
            Scale::Tensor(tensor) => Some(tensor),
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.branch == 1.0 && matches!(self.sum, Scale::Number(1.0))
    }

    /// The norm over views with these factors; `tensor` is a view of [`tensor`](Scales::tensor).
    pub(super) fn over<'a>(&self, norm: crate::Norm<'a>, tensor: Option<&'a impl Lend>) -> crate::Norm<'a> {
        let norm = norm.branch_scale(self.branch);
        match (&self.sum, tensor) {
            (_, Some(tensor)) => norm.sum_scale(tensor.lend()),
            (&Scale::Number(number), None) => norm.sum_scale(number),
            (Scale::Tensor(_), None) => norm,
        }
    }

    /// Refuses factors in an operation without a residual, as the operation on views does.
    pub(super) fn refuse_without_residual(&self) -> Result<()> {
        self.given().map_or(Ok(()), |arg| Err(Error::ScaleWithoutResidual { arg }.into()))
    }

    /// The first factor that is not 1, if there is one.
    pub(super) fn given(&self) -> Option<Arg> {
        match self {
            scales if scales.is_none() => None,
            scales if scales.branch != 1.0 => Some(Arg::BranchScale),
            _ => Some(Arg::SumScale),
        }
    }

    /// Refuses the factors that the operation on views refuses.
    fn check(&self) -> Result<()> {
        let finite = |arg, given: f32| match given.is_finite() {
            true => Ok(()),
            false => Err(Error::Scale { arg, given }),
        };
        finite(Arg::BranchScale, self.branch)?;
        match &self.sum {
            &Scale::Number(number) => finite(Arg::SumScale, number)?,
            Scale::Tensor(tensor) if tensor.dims() == [1] => {}
            Scale::Tensor(tensor) => {
                candle_core::bail!("{}: expected shape (1,), given {:?}", Arg::SumScale, tensor.dims())
            }
        }
        Ok(())
    }

    /// The scaled sum of `branch` and `residual`, in the type of `residual`, by candle's operations, which record gradients.
    /// It has the bits of the fused operation.
    pub(super) fn sum(&self, branch: &Tensor, residual: &Tensor, rounding: Rounding) -> Result<Tensor> {
        if self.is_none() && branch.dtype() == residual.dtype() {
            return branch + residual;
        }
        self.check()?;
        // Rounds as if the value were stored in between, in the orders of roundings that do.
        let rounded = |tensor: Tensor, dtype: DType| match rounding {
            Rounding::Single => Ok(tensor),
            _ => tensor.to_dtype(dtype)?.to_dtype(DType::F32),
        };
        let mut added = branch.to_dtype(DType::F32)?;
        if self.branch != 1.0 {
            added = rounded((added * f64::from(self.branch))?, branch.dtype())?;
        }
        let sum = (added + residual.to_dtype(DType::F32)?)?;
        let scaled = match &self.sum {
            Scale::Number(1.0) => sum,
            &Scale::Number(number) => (rounded(sum, residual.dtype())? * f64::from(number))?,
            Scale::Tensor(tensor) => rounded(sum, residual.dtype())?.broadcast_mul(tensor)?,
        };
        scaled.to_dtype(residual.dtype())
    }
}

impl Norm {
    /// Multiplies what is added to a residual by a finite number, 1 unless given, as
    /// [`branch_scale`](crate::Norm::branch_scale) of views does. It is `residual_multiplier` of Granite's configurations.
    pub fn branch_scale(mut self, scale: f32) -> Norm {
        self.scales.branch = scale;
        self
    }

    /// Multiplies the sum with a residual by a number, 1 unless given, or by a tensor `(1,)` of f32, as
    /// [`sum_scale`](crate::Norm::sum_scale) of views does. It is `layer_scalar` of Gemma 4.
    pub fn sum_scale(mut self, scale: impl Into<Scale>) -> Norm {
        self.scales.sum = scale.into();
        self
    }
}
