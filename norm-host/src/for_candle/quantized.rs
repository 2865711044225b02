//! Norms whose output is quantized, over candle's tensors.

use std::cell::RefCell;

use candle_core::{CustomOp1, Layout, Result, Shape, Storage, Tensor, op::BackpropOp};

use super::{
    custom_op::custom_op,
    norm::{Norm, locked, readable},
    store::{Lend, LendCodes, LendMut, Spot, Store},
};
use crate::{Arg, QuantFormat, QuantPreset, Scale};

/// How the values of a norm become codes of one byte: for candle what [`crate::Quantization`] is for views.
#[derive(Clone, Debug)]
#[must_use = "a description does nothing until a norm applies it"]
pub struct Quantization {
    format: QuantFormat,
    scaling: Scaling,
    preset: QuantPreset,
    bound: Option<f32>,
}

/// Which elements share a scale.
#[derive(Clone, Debug)]
enum Scaling {
    Tensor(Tensor),
    Token,
    Block(usize),
}

/// A quantized tensor.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The codes, of type `U8`: of E4M3 what candle's `F8E4M3` has as bits, of Int8 the bytes.
    pub codes: Tensor,
    /// The scales that were computed, of type `F32`: `(…, 1)`, one for each row, or `(…, dim / block)`.
    pub scales: Option<Tensor>,
}

impl Quantization {
    /// One scale for the tensor, which is given: an `F32` tensor `(1,)`.
    pub fn per_tensor(format: QuantFormat, scale: Tensor) -> Quantization {
        Quantization::new(format, Scaling::Tensor(scale))
    }

    /// One scale for each row, which is written.
    pub fn per_token(format: QuantFormat) -> Quantization {
        Quantization::new(format, Scaling::Token)
    }

    /// One scale for each block of 64 or 128 neighbours in a row, which is written. `dim` is a multiple of the block.
    pub fn per_block(format: QuantFormat, block: usize) -> Quantization {
        Quantization::new(format, Scaling::Block(block))
    }

    fn new(format: QuantFormat, scaling: Scaling) -> Quantization {
        Quantization { format, scaling, preset: QuantPreset::Exact, bound: None }
    }

    /// Sets whose formula it is, [`QuantPreset::Exact`] unless set.
    pub fn preset(self, preset: QuantPreset) -> Quantization {
        Quantization { preset, ..self }
    }

    /// Sets the largest magnitude that a computed scale accounts for, a positive finite number. `None` removes it.
    pub fn upper_bound(self, bound: impl Into<Option<f32>>) -> Quantization {
        Quantization { bound: bound.into(), ..self }
    }

    /// The format of the codes.
    pub fn format(&self) -> QuantFormat {
        self.format
    }

    /// The scale that is given.
    fn given(&self) -> Option<&Tensor> {
        if let Scaling::Tensor(scale) = &self.scaling { Some(scale) } else { None }
    }

    /// The shape of the scales that are written for a tensor of that shape.
    fn scales(&self, layout: &Layout) -> Option<Layout> {
        let mut dims = layout.dims().to_vec();
        let dim = dims.last_mut()?;
        *dim = match self.scaling {
            Scaling::Tensor(_) => return None,
            Scaling::Token => 1,
            // The checks refuse blocks of no elements, and those that do not divide `dim`.
            Scaling::Block(block) => *dim / block.max(1),
        };
        Some(Layout::contiguous(dims))
    }

    /// The quantization over a view of its scale.
    fn over<'a>(&self, scale: Option<&'a impl Lend>) -> crate::Quantization<'a> {
        let quantization = match (&self.scaling, scale) {
            (Scaling::Tensor(_), Some(scale)) => crate::Quantization::per_tensor(self.format, scale.lend()),
            (Scaling::Block(block), _) => crate::Quantization::per_block(self.format, *block),
            (Scaling::Token | Scaling::Tensor(_), _) => crate::Quantization::per_token(self.format),
        };
        quantization.preset(self.preset).upper_bound(self.bound.map(Scale::Number))
    }
}

impl Norm {
    /// The norm over the last axis of `xs` `(…, dim)`, f16 or bf16, quantized: new tensors, in one pass. What
    /// [`quantize_rows`](crate::Norm::quantize_rows) says holds.
    ///
    /// # Errors
    ///
    /// Those of [`quantize_rows`](crate::Norm::quantize_rows), candle's for other types and devices, and one if candle tracks
    /// a tensor for backpropagation: codes have no gradients.
    pub fn quantize_rows(&self, xs: &Tensor, quantization: &Quantization) -> Result<Quantized> {
        Ok(self.quantize(xs, None, quantization)?.1)
    }

    /// `s = x + residual; y = quantize(norm(s))` in one pass: returns `(s, y)`, new tensors. `residual` has the shape and the
    /// type of `xs`. What [`add_then_quantize`](crate::Norm::add_then_quantize) says holds.
    ///
    /// # Errors
    ///
    /// As for [`quantize_rows`](Norm::quantize_rows), and if `residual` does not fit `xs`.
    pub fn add_then_quantize(
        &self,
        xs: &Tensor,
        residual: &Tensor,
        quantization: &Quantization,
    ) -> Result<(Tensor, Quantized)> {
        let (sum, quantized) = self.quantize(xs, Some(residual), quantization)?;
        Ok((sum.expect("a residual has a sum"), quantized))
    }

    fn quantize(
        &self,
        xs: &Tensor,
        residual: Option<&Tensor>,
        quantization: &Quantization,
    ) -> Result<(Option<Tensor>, Quantized)> {
        let tensors = [Some(xs), residual, self.weights(), self.biases(), self.scales.tensor()];
        if tensors.into_iter().flatten().any(Tensor::track_op) {
            candle_core::bail!("{}: codes have no gradients; detach the tensors first", self.settings.name());
        }
        let residual = residual.map(readable).transpose()?;
        let op =
            Quantize { norm: self, residual: residual.as_deref(), quantization, rest: RefCell::default() };
        let xs = readable(xs)?;
        let codes = xs.apply_op1_no_bwd(&op)?;
        let Rest { scales, sum } = op.rest.into_inner();
        let tensor = |(storage, shape): (Storage, Shape)| {
            Tensor::from_storage(storage, shape, BackpropOp::none(), false)
        };
        Ok((sum.map(tensor), Quantized { codes, scales: scales.map(tensor) }))
    }
}

/// The results besides the codes, left by `forward`.
#[derive(Default)]
struct Rest {
    scales: Option<(Storage, Shape)>,
    sum: Option<(Storage, Shape)>,
}

/// The operation as candle sees it: from x to the codes. All other tensors are fields.
struct Quantize<'a> {
    norm: &'a Norm,
    residual: Option<&'a Tensor>,
    quantization: &'a Quantization,
    rest: RefCell<Rest>,
}

impl Quantize<'_> {
    fn forward<S: Store>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let Quantize { norm, quantization, .. } = *self;
        let op = self.name();
        let residual = locked(self.residual);
        let (w, b) = (locked(norm.weights()), locked(norm.biases()));
        let (given, sum_scale) = (locked(quantization.given()), locked(norm.scales.tensor()));
        let r = residual.as_ref().map(|residual| residual.beside(x, op)).transpose()?;
        let elements = layout.shape().elem_count();
        let scales_layout = quantization.scales(layout);
        let mut codes = x.bytes(elements)?;
        let mut scales =
            scales_layout.as_ref().map(|layout| x.singles(layout.shape().elem_count())).transpose()?;
        let mut sum = r.map(|(r, _)| r.like(elements, op)).transpose()?;
        let queue = x.queue()?;
        {
            let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
            let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
            let given = given.as_ref().map(|given| given.read(Arg::Scale, x, &queue, op)).transpose()?;
            let sum_scale = sum_scale.as_ref().map(|it| it.read(Arg::SumScale, x, &queue, op)).transpose()?;
            let r = r.map(|(r, layout)| r.read(&queue, &Spot::new(Arg::R, layout, 1, op)?)).transpose()?;
            let x = x.read(&queue, &Spot::new(Arg::X, layout, 1, op)?)?;
            let sum_spot = Spot::dense(Arg::Sum, layout, 1, op);
            let mut sum = sum.as_mut().map(|sum| sum.write(&queue, &sum_spot)).transpose()?;
            let mut scales = match (&mut scales, &scales_layout) {
                (Some(scales), Some(layout)) => {
                    Some(scales.write(&queue, &Spot::dense(Arg::Scales, layout, 1, op))?)
                }
                _ => None,
            };
            let codes_spot = Spot::dense(Arg::Y, layout, 1, op);
            let mut codes = codes.write_codes(&queue, quantization.format, &codes_spot)?;
            let mut y = codes.lend_codes().scales(scales.as_mut().map(LendMut::lend_mut));
            let how = quantization.over(given.as_ref());
            let described = norm.scales.over(norm.settings.over(w.as_ref(), b.as_ref()), sum_scale.as_ref());
            match (&r, &mut sum) {
                (Some(r), Some(sum)) => described.add_then_quantize_to(
                    &how,
                    x.lend(),
                    r.lend(),
                    &mut sum.lend_mut(),
                    &mut y,
                    queue.as_ref(),
                )?,
                _ => described.quantize_rows(&how, x.lend(), &mut y, queue.as_ref())?,
            }
        }
        let shape = |layout: Layout| layout.shape().clone();
        self.rest.replace(Rest {
            scales: scales.zip(scales_layout).map(|(scales, layout)| (scales.into_storage(), shape(layout))),
            sum: sum.map(|sum| (sum.into_storage(), layout.shape().clone())),
        });
        Ok((codes, layout.shape().clone()))
    }
}

custom_op!(Quantize);
