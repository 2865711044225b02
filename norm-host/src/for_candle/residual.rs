//! The norm and the residual connection around it, over candle's tensors.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Storage, Tensor, op::BackpropOp};

use super::{
    norm::{Norm, locked, readable},
    store::{Lend, LendMut, Spot, Store},
};
use crate::{Arg, Error};

/// What has gradients where `add_rows`, and what is named after it, has none.
const ADD_THEN: &str =
    "add_then_rows (of a module add_then_forward; of ops add_then_rms_norm, add_then_layer_norm)";
/// The same of `rows_add`.
const THEN_ADD: &str = "rows_then_add (of ops rms_norm_then_add, layer_norm_then_add)";

impl Norm {
    /// `r += x; y = norm(r)` in one pass, as in front of a layer (pre-norm): updates `residual` where
    /// it lies, as candle's in-place operations do, and gives `y`, a new tensor.
    ///
    /// `xs` and `residual` `(…, dim)` have one shape and type. What
    /// [`add_rows`](crate::Norm::add_rows) says of rounding holds.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows); if `residual` shares its storage with `xs` or a parameter; if
    /// its last axis is not dense, or it has more than four axes and is not contiguous; if one of the
    /// tensors is recorded for backpropagation, which what happens in place is not:
    /// [`add_then_rows`](Norm::add_then_rows) has gradients.
    pub fn add_rows(&self, xs: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.without_gradients(xs, (residual, Arg::R), ADD_THEN)?;
        let x = readable(xs)?;
        self.apart_from(&x, (residual, Arg::R))?;
        let op = AddRows { norm: self, y: RefCell::new(None) };
        residual.inplace_op2(&x, &op)?;
        let y = op.y.into_inner().expect("the operation has returned without an error");
        Ok(Tensor::from_storage(y, residual.shape(), BackpropOp::none(), false))
    }

    /// `y += norm(x)` in one pass, as behind a layer (post-norm): updates `ys` where it lies.
    ///
    /// `xs` and `ys` `(…, dim)` have one shape; their types are chosen apart.
    ///
    /// # Errors
    ///
    /// As for [`add_rows`](Norm::add_rows), with `ys` in `residual`'s place;
    /// [`rows_then_add`](Norm::rows_then_add) has gradients.
    pub fn rows_add(&self, xs: &Tensor, ys: &Tensor) -> Result<()> {
        self.without_gradients(xs, (ys, Arg::Y), THEN_ADD)?;
        let x = readable(xs)?;
        self.apart_from(&x, (ys, Arg::Y))?;
        ys.inplace_op2(&x, &RowsAdd { norm: self })
    }

    /// `s = x + residual; y = norm(s)`, as in front of a layer (pre-norm): gives `(s, y)`, new tensors,
    /// with gradients of every tensor.
    ///
    /// What [`add_rows`](Norm::add_rows) does in place, with the same bits. Two operations: `s` is
    /// candle's sum.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows), and candle's where `xs` and `residual` are not of one shape and type.
    pub fn add_then_rows(&self, xs: &Tensor, residual: &Tensor) -> Result<(Tensor, Tensor)> {
        let sum = (xs + residual)?;
        let ys = self.rows(&sum)?;
        Ok((sum, ys))
    }

    /// `y + norm(x)`, as behind a layer (post-norm): a new tensor of the type of `ys`, with gradients of
    /// every tensor.
    ///
    /// What [`rows_add`](Norm::rows_add) does in place. Two operations: the sum is candle's, so 16-bit
    /// results of the norm are rounded before it, and the sum once more. In every order of roundings but
    /// [`Single`](crate::Rounding::Single) that is so in place, too, with the same bits where both tensors have one type.
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows), and candle's where `xs` and `ys` are not of one shape.
    pub fn rows_then_add(&self, xs: &Tensor, ys: &Tensor) -> Result<Tensor> {
        ys + self.rows(xs)?.to_dtype(ys.dtype())?
    }

    /// Neither what is written nor what goes into it is recorded for backpropagation.
    fn without_gradients(
        &self,
        xs: &Tensor,
        (tensor, written): (&Tensor, Arg),
        instead: &'static str,
    ) -> Result<()> {
        let tensors =
            [(Some(xs), Arg::X), (Some(tensor), written), (self.weights(), Arg::W), (self.biases(), Arg::B)];
        match tensors.into_iter().find(|(tensor, _)| tensor.is_some_and(Tensor::track_op)) {
            Some((_, arg)) => Err(Error::GradientInPlace { arg, written, instead }.into()),
            None => Ok(()),
        }
    }

    /// Neither `x` nor a parameter is in the storage of a tensor that is written, which is locked meanwhile.
    fn apart_from(&self, x: &Tensor, (tensor, written): (&Tensor, Arg)) -> Result<()> {
        let storage = |tensor: &Tensor| std::ptr::from_ref(&*tensor.storage_and_layout().0);
        let locked = storage(tensor);
        // candle 0.11.1 looks after this itself; those before it would wait for their own lock.
        if storage(x) == locked {
            let op = self.settings.name();
            candle_core::bail!("{op}: x shares storage with {written}, which is written where it lies");
        }
        for (parameter, a) in [(self.weights(), Arg::W), (self.biases(), Arg::B)] {
            if parameter.is_some_and(|parameter| storage(parameter) == locked) {
                return Err(Error::Overlap { a, b: written }.into());
            }
        }
        Ok(())
    }
}

struct AddRows<'a> {
    norm: &'a Norm,
    /// The result, once it is there.
    y: RefCell<Option<Storage>>,
}

impl AddRows<'_> {
    fn forward<S: Store>(&self, r: &mut S, r_layout: &Layout, x: &S, layout: &Layout) -> Result<()> {
        let op = self.norm.settings.name();
        let mut y = x.like(layout.shape().elem_count(), op)?;
        let queue = x.queue()?;
        let (w, b) = (locked(self.norm.weights()), locked(self.norm.biases()));
        {
            let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
            let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
            let x = x.read(&queue, &Spot::new(Arg::X, layout, 1, op)?)?;
            let mut r = r.write(&queue, &Spot::new(Arg::R, r_layout, 1, op)?)?;
            let mut y = y.write(&queue, &Spot::new(Arg::Y, &Layout::contiguous(layout.shape()), 1, op)?)?;
            let norm = self.norm.settings.over(w.as_ref(), b.as_ref());
            norm.add_rows(x.lend(), &mut r.lend_mut(), &mut y.lend_mut(), queue.as_ref())?;
        }
        self.y.replace(Some(y.into_storage()));
        Ok(())
    }
}

struct RowsAdd<'a> {
    norm: &'a Norm,
}

impl RowsAdd<'_> {
    fn forward<S: Store>(&self, y: &mut S, y_layout: &Layout, x: &S, layout: &Layout) -> Result<()> {
        let op = self.norm.settings.name();
        let queue = x.queue()?;
        let (w, b) = (locked(self.norm.weights()), locked(self.norm.biases()));
        let w = w.as_ref().map(|w| w.read(Arg::W, x, &queue, op)).transpose()?;
        let b = b.as_ref().map(|b| b.read(Arg::B, x, &queue, op)).transpose()?;
        let x = x.read(&queue, &Spot::new(Arg::X, layout, 1, op)?)?;
        let mut y = y.write(&queue, &Spot::new(Arg::Y, y_layout, 1, op)?)?;
        let norm = self.norm.settings.over(w.as_ref(), b.as_ref());
        Ok(norm.rows_add(x.lend(), &mut y.lend_mut(), queue.as_ref())?)
    }
}

/// Both kinds of storage take the one way.
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

in_place!(AddRows);
in_place!(RowsAdd);
