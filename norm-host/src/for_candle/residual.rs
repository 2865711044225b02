//! The norm and the residual connection around it, over candle's tensors.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Storage, Tensor, op::BackpropOp};

use super::{
    apart::Around,
    norm::{Norm, locked, readable},
    scale::Scales,
    store::{Lend, LendMut, Spot, Store},
};
use crate::{Arg, Error};

/// What [`Error::GradientInPlace`] suggests instead of `add_then_norm_in_place` and the functions built on it, which have no
/// gradients.
const ADD_THEN: &str =
    "add_then_norm (of a module add_then_forward; of ops add_then_rms_norm, add_then_layer_norm)";
/// What it suggests instead of `norm_then_add_in_place`.
const THEN_ADD: &str = "norm_then_add (of ops rms_norm_then_add, layer_norm_then_add)";

impl Norm {
    /// `r += x; y = norm(r)` in one pass, as in front of a layer (pre-norm): updates `residual` in place, as candle's in-place
    /// operations do, and returns `y`, a new tensor.
    ///
    /// `xs` and `residual` `(…, dim)` have one shape and type, or `residual` is f32 where `xs` has 16 bits. What
    /// [`add_then_norm`](crate::Norm::add_then_norm) says of rounding holds.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows); if `residual` shares its storage with `xs` or a parameter; if
    /// its last axis is not dense, or it has more than four axes and is not contiguous; if candle tracks one of the tensors for
    /// backpropagation, which an in-place operation cannot record: [`add_then_norm`](Norm::add_then_norm) has gradients.
    pub fn add_then_norm_in_place(&self, xs: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.without_gradients(xs, (residual, Arg::R), ADD_THEN)?;
        let x = readable(xs)?;
        self.apart_from(&x, (residual, Arg::R))?;
        let op = AddThenNorm { norm: self, y: RefCell::new(None) };
        residual.inplace_op2(&x, &op)?;
        let y = op.y.into_inner().expect("the operation has returned without an error");
        Ok(Tensor::from_storage(y, residual.shape(), BackpropOp::none(), false))
    }

    /// `y += norm(x)` in one pass, as behind a layer (post-norm): updates `ys` in place.
    ///
    /// `xs` and `ys` `(…, dim)` have one shape; their types are chosen apart.
    ///
    /// # Errors
    ///
    /// As for [`add_then_norm_in_place`](Norm::add_then_norm_in_place), with `ys` in `residual`'s place;
    /// [`norm_then_add`](Norm::norm_then_add) has gradients.
    pub fn norm_then_add_in_place(&self, xs: &Tensor, ys: &Tensor) -> Result<()> {
        self.without_gradients(xs, (ys, Arg::Y), THEN_ADD)?;
        let x = readable(xs)?;
        self.apart_from(&x, (ys, Arg::Y))?;
        ys.inplace_op2(&x, &NormThenAdd { norm: self })
    }

    /// `s = x + residual; y = norm(s)`, as in front of a layer (pre-norm): returns `(s, y)`, new tensors, with gradients for
    /// every tensor.
    ///
    /// `xs` and `residual` `(…, dim)` have one shape and type, or `residual` is f32 where `xs` has 16 bits; `s` has the
    /// type of `residual`, `y` that of `xs`. One pass, with the bits of
    /// [`add_then_norm_in_place`](Norm::add_then_norm_in_place). If candle tracks one of the tensors for backpropagation, there
    /// are two operations: candle computes `s`, with the same bits, and the norm computes `y`, which is first rounded to f32 if
    /// `s` is f32 and `xs` is not.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows), and if `residual` has another shape, type or device; if tensors are tracked,
    /// candle's.
    pub fn add_then_norm(&self, xs: &Tensor, residual: &Tensor) -> Result<(Tensor, Tensor)> {
        if !self.is_recorded([xs, residual]) {
            let (sum, ys) = self.apart(xs, residual, Around::InFront)?;
            return Ok((sum, ys.expect("in front of a norm there are two results")));
        }
        let sum = self.scales.sum(xs, residual, self.settings.rounding)?;
        let ys = self.without_scales().rows(&sum)?.to_dtype(xs.dtype())?;
        Ok((sum, ys))
    }

    /// `y + norm(x)`, as behind a layer (post-norm): a new tensor of the type of `ys`, with gradients for every tensor.
    ///
    /// One pass, with the bits of [`norm_then_add_in_place`](Norm::norm_then_add_in_place). If candle tracks one of the
    /// tensors for backpropagation, there are two operations: the norm, and candle's sum. Then 16-bit results of the norm are
    /// rounded before the sum, and the sum is rounded again. The one pass rounds twice, too, in every order of roundings but
    /// [`Single`](crate::Rounding::Single), and gives the same bits as the two operations if both tensors have one type.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows), and if `ys` has another shape or device; if tensors are tracked, candle's.
    pub fn norm_then_add(&self, xs: &Tensor, ys: &Tensor) -> Result<Tensor> {
        if !self.is_recorded([xs, ys]) {
            return Ok(self.apart(xs, ys, Around::Behind)?.0);
        }
        let normed = self.without_scales().rows(xs)?.to_dtype(ys.dtype())?;
        self.scales.sum(&normed, ys, self.settings.rounding)
    }

    /// `s = residual + norm(x); y = next(s)`, as between two layers that are normalized in front and behind (Gemma 2 to
    /// 4, OLMo 2, GLM-4): returns `(s, y)`, new tensors, with gradients for every tensor.
    ///
    /// `xs` and `residual` `(…, dim)` have one shape, and types that are chosen apart; `s` has the type of `residual`, `y`
    /// that of `xs`. What [`sandwich_rows`](crate::Norm::sandwich_rows) says of bits and launches holds. If candle
    /// tracks one of the tensors for backpropagation, it is [`norm_then_add`](Norm::norm_then_add) followed by
    /// [`rows`](Norm::rows) of `next`, with their roundings.
    ///
    /// # Errors
    ///
    /// As for [`norm_then_add`](Norm::norm_then_add), and for [`rows`](Norm::rows) of `next`.
    pub fn sandwich_rows(&self, next: &Norm, xs: &Tensor, residual: &Tensor) -> Result<(Tensor, Tensor)> {
        if !(self.is_recorded([xs, residual]) || next.is_recorded([])) {
            next.scales.refuse_without_residual()?;
            let (sum, ys) = self.apart(xs, residual, Around::Between(next))?;
            return Ok((sum, ys.expect("of two norms there are two results")));
        }
        let sum = self.norm_then_add(xs, residual)?;
        let ys = next.rows(&sum)?.to_dtype(xs.dtype())?;
        Ok((sum, ys))
    }

    /// Whether candle tracks any of these tensors, or of the norm's own, for backpropagation.
    fn is_recorded<const N: usize>(&self, tensors: [&Tensor; N]) -> bool {
        let own = [self.weights(), self.biases(), self.scales.tensor()];
        own.into_iter().flatten().chain(tensors).any(Tensor::track_op)
    }

    /// This norm without scales, for a sum that candle's operations scale.
    fn without_scales(&self) -> Norm {
        let mut norm = self.clone();
        norm.scales = Scales::NONE;
        norm
    }

    /// Refuses an in-place operation if candle tracks one of its tensors for backpropagation.
    fn without_gradients(
        &self,
        xs: &Tensor,
        (tensor, written): (&Tensor, Arg),
        instead: &'static str,
    ) -> Result<()> {
        let tensors = [
            (Some(xs), Arg::X),
            (Some(tensor), written),
            (self.weights(), Arg::W),
            (self.biases(), Arg::B),
            (self.scales.tensor(), Arg::SumScale),
        ];
        match tensors.into_iter().find(|(tensor, _)| tensor.is_some_and(Tensor::track_op)) {
            Some((_, arg)) => Err(Error::GradientInPlace { arg, written, instead }.into()),
            None => Ok(()),
        }
    }

    /// Refuses an in-place operation if `x` or a parameter shares its storage with the tensor that is written: that storage is
    /// locked while the operation runs.
    fn apart_from(&self, x: &Tensor, (tensor, written): (&Tensor, Arg)) -> Result<()> {
        let storage = |tensor: &Tensor| std::ptr::from_ref(&*tensor.storage_and_layout().0);
        let locked = storage(tensor);
        // candle 0.11.1 checks this itself; earlier versions would deadlock on their own lock.
        if storage(x) == locked {
            let op = self.settings.name();
            candle_core::bail!("{op}: x shares storage with {written}, which is written where it lies");
        }
        let scale = (self.scales.tensor(), Arg::SumScale);
        for (parameter, a) in [(self.weights(), Arg::W), (self.biases(), Arg::B), scale] {
            if parameter.is_some_and(|parameter| storage(parameter) == locked) {
                return Err(Error::Overlap { a, b: written }.into());
            }
        }
        Ok(())
    }
}

struct AddThenNorm<'a> {
    norm: &'a Norm,
    /// The result, left here by `forward`.
    y: RefCell<Option<Storage>>,
}

impl AddThenNorm<'_> {
    fn forward<S: Store>(&self, r: &mut S, r_layout: &Layout, x: &S, layout: &Layout) -> Result<()> {
        let op = self.norm.settings.name();
        let mut y = x.like(layout.shape().elem_count(), op)?;
        let queue = x.queue()?;
        let (w, b) = (locked(self.norm.weights()), locked(self.norm.biases()));
        let scale = locked(self.norm.scales.tensor());
        {
            let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
            let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
            let scale = scale.as_ref().map(|scale| scale.read(Arg::SumScale, x, &queue, op)).transpose()?;
            let x = x.read(&queue, &Spot::new(Arg::X, layout, 1, op)?)?;
            let mut r = r.write(&queue, &Spot::new(Arg::R, r_layout, 1, op)?)?;
            let mut y = y.write(&queue, &Spot::dense(Arg::Y, layout, 1, op))?;
            let norm = self.norm.settings.over(w.as_ref(), b.as_ref());
            let norm = self.norm.scales.over(norm, scale.as_ref());
            norm.add_then_norm(x.lend(), &mut r.lend_mut(), &mut y.lend_mut(), queue.as_ref())?;
        }
        self.y.replace(Some(y.into_storage()));
        Ok(())
    }
}

struct NormThenAdd<'a> {
    norm: &'a Norm,
}

impl NormThenAdd<'_> {
    fn forward<S: Store>(&self, y: &mut S, y_layout: &Layout, x: &S, layout: &Layout) -> Result<()> {
        let op = self.norm.settings.name();
        let queue = x.queue()?;
        let (w, b) = (locked(self.norm.weights()), locked(self.norm.biases()));
        let scale = locked(self.norm.scales.tensor());
        let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
        let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
        let scale = scale.as_ref().map(|scale| scale.read(Arg::SumScale, x, &queue, op)).transpose()?;
        let x = x.read(&queue, &Spot::new(Arg::X, layout, 1, op)?)?;
        let mut y = y.write(&queue, &Spot::new(Arg::Y, y_layout, 1, op)?)?;
        let norm = self.norm.settings.over(w.as_ref(), b.as_ref());
        let norm = self.norm.scales.over(norm, scale.as_ref());
        Ok(norm.norm_then_add(x.lend(), &mut y.lend_mut(), queue.as_ref())?)
    }
}

/// Implements candle's in-place operation by `forward`, which is generic over the storage.
macro_rules! in_place {
    ($op:ident) => {
        impl InplaceOp2 for $op<'_> {
            fn name(&self) -> &'static str {
                self.norm.settings.name()
            }

            fn cpu_fwd(
                &self,
                written: &mut CpuStorage,
                written_layout: &Layout,
                x: &CpuStorage,
                layout: &Layout,
            ) -> Result<()> {
                self.forward(written, written_layout, x, layout)
            }

            #[cfg(feature = "candle-cuda")]
            fn cuda_fwd(
                &self,
                written: &mut candle_core::CudaStorage,
                written_layout: &Layout,
                x: &candle_core::CudaStorage,
                layout: &Layout,
            ) -> Result<()> {
                self.forward(written, written_layout, x, layout)
            }
        }
    };
}

in_place!(AddThenNorm);
in_place!(NormThenAdd);
