//! Norms with a residual whose sum is a new tensor, for tensors that candle does not track: one pass each, without
//! gradients.

use std::cell::RefCell;

use candle_core::{CustomOp1, Layout, Result, Shape, Storage, Tensor, op::BackpropOp};

use super::{
    custom_op::custom_op,
    dense::{Results, Tensors},
    norm::{Norm, locked, readable},
    store::{Lend, LendMut, Spot, Store},
};
use crate::{Arg, problem::ResidualPlace};

/// Where the residual is added.
#[derive(Clone, Copy)]
pub(super) enum Around<'a> {
    /// `sum = x + r; y = norm(sum)`.
    InFront,
    /// `sum = r + norm(x)`.
    Behind,
    /// `sum = r + norm(x); y = next(sum)`.
    Between(&'a Norm),
}

impl Norm {
    /// The sum, of the type of `residual`, and its norm, of the type of `xs`; `None` for a residual behind the norm, whose sum
    /// is not normalized.
    ///
    /// # Errors
    ///
    /// Those of the operation on views, and candle's for other types and devices.
    pub(super) fn apart(
        &self,
        xs: &Tensor,
        residual: &Tensor,
        around: Around<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let residual = readable(residual)?;
        let op = Apart { norm: self, residual: &residual, around, y: RefCell::new(None) };
        let sum = readable(xs)?.apply_op1_no_bwd(&op)?;
        let y = op.y.into_inner().map(|y| Tensor::from_storage(y, sum.shape(), BackpropOp::none(), false));
        Ok((sum, y))
    }
}

/// The operation as candle sees it: from x to the sum. All other tensors are fields.
struct Apart<'a> {
    norm: &'a Norm,
    residual: &'a Tensor,
    around: Around<'a>,
    /// The second result, left here by `forward`.
    y: RefCell<Option<Storage>>,
}

impl Apart<'_> {
    fn forward<S: Store>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let Apart { norm, around, .. } = *self;
        let op = self.name();
        let next = if let Around::Between(next) = around { Some(next) } else { None };
        let residual = locked(Some(self.residual)).expect("one is given");
        let (w, b) = (locked(norm.weights()), locked(norm.biases()));
        let scale = locked(norm.scales.tensor());
        let (next_w, next_b) = (locked(next.and_then(Norm::weights)), locked(next.and_then(Norm::biases)));
        let (r, r_layout) = residual.beside(x, op)?;
        let place = match around {
            Around::InFront => Some(ResidualPlace::InFront),
            Around::Behind => Some(ResidualPlace::Behind),
            Around::Between(_) => None,
        };
        if let Some(place) = place.filter(|_| norm.scales.is_none()) {
            let [w, b] =
                [&w, &b].map(|tensor| tensor.as_ref().map(|tensor| tensor.beside(x, op)).transpose());
            let tensors = Tensors { x: (x, layout), w: w?, b: b?, residual: Some((place, (r, r_layout))) };
            if let Some(Results { y, sum }) = S::without_views(norm.settings, &tensors) {
                let (first, second) = match sum {
                    Some(sum) => (sum, Some(y)),
                    None => (y, None),
                };
                self.y.replace(second.map(Store::into_storage));
                return Ok((first, layout.shape().clone()));
            }
        }
        let elements = layout.shape().elem_count();
        let mut sum = r.like(elements, op)?;
        let mut y = match around {
            Around::InFront | Around::Between(_) => Some(x.like(elements, op)?),
            Around::Behind => None,
        };
        let queue = x.queue()?;
        {
            let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
            let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
            let scale = scale.as_ref().map(|scale| scale.read(Arg::SumScale, x, &queue, op)).transpose()?;
            let next_w = next_w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
            let next_b = next_b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
            let x = x.read(&queue, &Spot::new(Arg::X, layout, 1, op)?)?;
            let r = r.read(&queue, &Spot::new(Arg::R, r_layout, 1, op)?)?;
            let mut sum = sum.write(&queue, &Spot::dense(Arg::Sum, layout, 1, op))?;
            let mut y =
                y.as_mut().map(|y| y.write(&queue, &Spot::dense(Arg::Y, layout, 1, op))).transpose()?;
            let (x, r, mut sum) = (x.lend(), r.lend(), sum.lend_mut());
            let first = norm.scales.over(norm.settings.over(w.as_ref(), b.as_ref()), scale.as_ref());
            match (next, y.as_mut()) {
                (Some(next), Some(y)) => {
                    let over = next.settings.over(next_w.as_ref(), next_b.as_ref());
                    let next = next.scales.over(over, None::<&S::Read<'_>>);
                    first.sandwich_rows_to(&next, x, r, &mut sum, &mut y.lend_mut(), queue.as_ref())?;
                }
                (None, Some(y)) => {
                    first.add_then_norm_to(x, r, &mut sum, &mut y.lend_mut(), queue.as_ref())?
                }
                (_, None) => first.norm_then_add_to(x, r, &mut sum, queue.as_ref())?,
            }
        }
        self.y.replace(y.map(Store::into_storage));
        Ok((sum, layout.shape().clone()))
    }
}

custom_op!(Apart);
