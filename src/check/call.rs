//! One call of an operation on the tensors of an image, and the backends that execute it.
//!
//! An image is one block of memory that holds all tensors of a case: see [`layout`](super::layout).

use std::sync::{PoisonError, RwLock};

use norm_host::{
    Backend, Cpu, DType, Error, Gate, Gating, GroupFailure, Place, Scale, Simulator, Stray, Stream, View,
    ViewMut, reference::Operation, rms_norm_partial,
};

use super::group::GroupImage;
use super::heads::HeadsCall;
use super::quantized::{QuantizedOperands, in_front};
use crate::bytes::AlignedBytes;
use crate::memory::DeviceBytes;

/// A tensor in an image. Shape and strides are in elements.
#[derive(Clone, Debug)]
pub struct ImageTensor {
    pub dtype: DType,
    /// Bytes from the start of the image to the first element.
    pub byte_offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A whole operation, or one of the two steps of RMSNorm over rows that are split into shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Whole,
    /// Writes each shard's sums of squares.
    Partial,
    /// Writes the outputs of all shards. The sums over whole rows have replaced those of the first shard.
    Apply,
}

/// The tensors of an addition to a residual, by where the residual stands.
#[derive(Clone, Debug)]
pub enum ResidualOperands {
    /// `r` is added to `x`, and the sum is normalized.
    PreNorm { r: ImageTensor },
    /// The norm of `x` is added to `r`, or without an `r` to what the output holds.
    PostNorm { r: Option<ImageTensor> },
    /// The norm of `x` is added to `r`, and the second norm `next` is applied to the sum.
    Sandwich { r: ImageTensor, next: SecondNormOperands },
}

/// The second norm of a sandwich, with its weights.
#[derive(Clone, Debug)]
pub struct SecondNormOperands {
    pub operation: Operation,
    pub w: Option<ImageTensor>,
}

/// The tensors of an addition to a residual.
#[derive(Clone, Debug)]
pub struct AdditionOperands {
    pub residual: ResidualOperands,
    /// A separate tensor for the sum, if it replaces neither the residual nor the output.
    pub s: Option<ImageTensor>,
    /// The factor of the sum, if the operation reads it from memory.
    pub scale: Option<ImageTensor>,
}

impl AdditionOperands {
    /// The residual, unless it is what the output holds.
    pub fn r(&self) -> Option<&ImageTensor> {
        match &self.residual {
            ResidualOperands::PreNorm { r } | ResidualOperands::Sandwich { r, .. } => Some(r),
            ResidualOperands::PostNorm { r } => r.as_ref(),
        }
    }

    /// The tensor that the sum is written to, unless that is the output.
    pub fn sum(&self) -> Option<&ImageTensor> {
        match &self.residual {
            ResidualOperands::PreNorm { r } | ResidualOperands::Sandwich { r, .. } => {
                Some(self.s.as_ref().unwrap_or(r))
            }
            ResidualOperands::PostNorm { .. } => None,
        }
    }

    /// The second norm of a sandwich.
    pub fn next(&self) -> Option<&SecondNormOperands> {
        if let ResidualOperands::Sandwich { next, .. } = &self.residual { Some(next) } else { None }
    }

    /// Whether the norm is added to what the output holds.
    pub fn is_onto_output(&self) -> bool {
        matches!(self.residual, ResidualOperands::PostNorm { r: None })
    }
}

/// A call of an operation on tensors in an image. Without `y` it works in place. Over heads it has no residual.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: Operation,
    pub heads: bool,
    pub x: ImageTensor,
    pub y: Option<ImageTensor>,
    pub w: Option<ImageTensor>,
    pub b: Option<ImageTensor>,
    /// The addition to a residual, if there is one.
    pub addition: Option<AdditionOperands>,
    /// The gate, if there is one, and what it does. Then there is no addition.
    pub gate: Option<(Gating, ImageTensor)>,
    pub step: Step,
    /// The number of shards that each row is split into. Their lengths differ by at most one element.
    pub shards: usize,
    /// If rows are split, the sums of squares, `(shards * rows,)` with the rows of one shard side by side.
    pub sums: Option<ImageTensor>,
    /// The output, if it is quantized. Then there is no `y`.
    pub quantized: Option<QuantizedOperands>,
}

impl ImageTensor {
    /// The number of heads with weights or biases of their own; 1 if all rows share them.
    pub fn heads(&self) -> usize {
        if let [heads, _] = self.shape[..] { heads } else { 1 }
    }

    /// The columns `from..to` of each row.
    fn columns(&self, from: usize, to: usize) -> ImageTensor {
        let mut part =
            ImageTensor { byte_offset: self.byte_offset + from * self.dtype.size(), ..self.clone() };
        *part.shape.last_mut().expect("a rank of at least 1") = to - from;
        part
    }
}

impl Call {
    /// Executes the call on the image that starts at `base`, or enqueues it if `on` is a stream.
    ///
    /// # Safety
    ///
    /// `base` is the address in `place` of an image that contains all tensors of the call, each aligned to its elements.
    /// Nothing else uses the image until the work of `on` is done.
    unsafe fn run(&self, place: Place, base: u64, on: &impl Backend) -> Result<(), Error> {
        let view = |tensor: &ImageTensor| {
            let address = base + tensor.byte_offset as u64;
            // SAFETY: the caller guarantees that the image contains this tensor, which nothing else uses meanwhile.
            unsafe { View::from_raw_parts(place, address, tensor.dtype, &tensor.shape) }?
                .with_strides(&tensor.strides)
        };
        let view_mut = |tensor: &ImageTensor| {
            let address = base + tensor.byte_offset as u64;
            // SAFETY: the caller guarantees that the image contains this tensor, which nothing else uses meanwhile. The
            // tensors of an image are disjoint; `x` is viewed twice only in place, which the operations allow.
            unsafe { ViewMut::from_raw_parts(place, address, tensor.dtype, &tensor.shape) }?
                .with_strides(&tensor.strides)
        };
        let described = self.operation.norm();
        if let Some(sums) = &self.sums {
            let dim = self.x.shape[self.x.shape.len() - 1];
            let rows = sums.shape[0] / self.shards;
            for shard in 0..self.shards {
                let (from, to) = (shard * dim / self.shards, (shard + 1) * dim / self.shards);
                let x = view(&self.x.columns(from, to))?;
                let sums_shard = if self.step == Step::Partial { shard } else { 0 };
                let sums = sums.columns(sums_shard * rows, (sums_shard + 1) * rows);
                if self.step == Step::Partial {
                    rms_norm_partial(x, &mut view_mut(&sums)?, on)?;
                    continue;
                }
                let shard_of = |param: &ImageTensor| view(&param.columns(from, to));
                let w = self.w.as_ref().map(shard_of).transpose()?;
                let b = self.b.as_ref().map(shard_of).transpose()?;
                let y = self.y.as_ref().unwrap_or(&self.x).columns(from, to);
                described.weight(w).bias(b).rows_apply(x, view(&sums)?, &mut view_mut(&y)?, dim, on)?;
            }
            return Ok(());
        }
        let norm = described
            .weight(self.w.as_ref().map(view).transpose()?)
            .bias(self.b.as_ref().map(view).transpose()?);
        if let Some(quantized) = &self.quantized {
            let [r, sum] = in_front(self.addition.as_ref());
            let added = [r.map(view_mut).transpose()?, sum.map(view_mut).transpose()?];
            let x = (view(&self.x)?, &self.x.shape[..]);
            // SAFETY: the caller guarantees that the image contains all tensors of the call.
            return unsafe { quantized.run(&norm, (place, base), x, added, on) };
        }
        if let Some(AdditionOperands { residual, s, scale }) = &self.addition {
            let norm = match scale {
                Some(scale) => norm.sum_scale(Scale::Memory(view(scale)?)),
                None => norm,
            };
            if let (ResidualOperands::PreNorm { r }, None, None) = (residual, s, &self.y) {
                return norm.add_then_norm_in_place(&mut view_mut(&self.x)?, &mut view_mut(r)?, on);
            }
            // In place `x` and `y` are views of the same tensor, which these operations allow.
            let (x, y) = (view(&self.x)?, &mut view_mut(self.y.as_ref().unwrap_or(&self.x))?);
            return match (residual, s) {
                (ResidualOperands::PreNorm { r }, None) => norm.add_then_norm(x, &mut view_mut(r)?, y, on),
                (ResidualOperands::PreNorm { r }, Some(s)) => {
                    norm.add_then_norm_to(x, view(r)?, &mut view_mut(s)?, y, on)
                }
                (ResidualOperands::PostNorm { r: None }, _) => norm.norm_then_add(x, y, on),
                (ResidualOperands::PostNorm { r: Some(r) }, _) => norm.norm_then_add_to(x, view(r)?, y, on),
                (ResidualOperands::Sandwich { r, next }, s) => {
                    let w = next.w.as_ref().map(view).transpose()?;
                    let next = &next.operation.norm().weight(w);
                    match s {
                        None => norm.sandwich_rows(next, x, &mut view_mut(r)?, y, on),
                        Some(s) => norm.sandwich_rows_to(next, x, view(r)?, &mut view_mut(s)?, y, on),
                    }
                }
            };
        }
        if let Some((Gating { activation, order }, g)) = &self.gate {
            let gate = Gate::new(view(g)?, *activation).order(*order);
            return match (&self.y, self.heads) {
                (Some(y), false) => norm.gated_rows(view(&self.x)?, gate, &mut view_mut(y)?, on),
                (Some(y), true) => norm.gated_heads(view(&self.x)?, gate, &mut view_mut(y)?, on),
                (None, false) => norm.gated_rows_in_place(&mut view_mut(&self.x)?, gate, on),
                (None, true) => norm.gated_heads_in_place(&mut view_mut(&self.x)?, gate, on),
            };
        }
        match (&self.y, self.heads) {
            (Some(y), false) => norm.rows(view(&self.x)?, &mut view_mut(y)?, on),
            (Some(y), true) => norm.heads(view(&self.x)?, &mut view_mut(y)?, on),
            (None, false) => norm.rows_in_place(&mut view_mut(&self.x)?, on),
            (None, true) => norm.heads_in_place(&mut view_mut(&self.x)?, on),
        }
    }
}

/// A backend under test: executes calls.
pub trait Executor {
    /// Executes the call on the image, and returns when its results are there.
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error>;

    /// The same for a call on heads.
    fn execute_heads(&mut self, call: &HeadsCall, image: &mut AlignedBytes) -> Result<(), Error>;

    /// The same for all calls of all ranks of a group.
    fn execute_group(&mut self, group: &GroupImage, image: &mut AlignedBytes) -> Result<(), Error>;

    /// What each rank of a group is told if the last one strays; `None` where one cannot try it.
    fn told_of_stray(
        &mut self,
        _: &GroupImage,
        _: Stray,
        _: &mut AlignedBytes,
    ) -> Result<Option<Vec<Option<GroupFailure>>>, Error> {
        Ok(None)
    }
}

impl<E: Executor + ?Sized> Executor for Box<E> {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        (**self).execute(call, image)
    }

    fn execute_heads(&mut self, call: &HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
        (**self).execute_heads(call, image)
    }

    fn execute_group(&mut self, group: &GroupImage, image: &mut AlignedBytes) -> Result<(), Error> {
        (**self).execute_group(group, image)
    }

    fn told_of_stray(
        &mut self,
        group: &GroupImage,
        stray: Stray,
        image: &mut AlignedBytes,
    ) -> Result<Option<Vec<Option<GroupFailure>>>, Error> {
        (**self).told_of_stray(group, stray, image)
    }
}

/// The CPU backend, which works on the image itself.
pub struct OnCpu;

impl Executor for OnCpu {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the image is borrowed exclusively until the CPU backend returns, which is when it is done. A layout puts
        // every tensor inside the image and aligns it to its elements.
        unsafe { call.run(Place::Host, base, &Cpu) }
    }

    fn execute_heads(&mut self, call: &HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: as for other calls.
        unsafe { call.run(Place::Host, base, &Cpu) }
    }

    fn execute_group(&mut self, group: &GroupImage, image: &mut AlignedBytes) -> Result<(), Error> {
        group.on_cpu(image)
    }
}

/// Kernels run by the simulator, which works on the image itself.
pub struct OnSimulator<'a> {
    pub simulator: &'a Simulator,
}

impl Executor for OnSimulator<'_> {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the image is borrowed exclusively until the simulator returns, which is when it is done. A layout puts
        // every tensor inside the image and aligns it to its elements.
        unsafe { call.run(Place::Host, base, self.simulator) }
    }

    fn execute_heads(&mut self, call: &HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: as for other calls.
        unsafe { call.run(Place::Host, base, self.simulator) }
    }

    fn execute_group(&mut self, group: &GroupImage, image: &mut AlignedBytes) -> Result<(), Error> {
        group.on_simulator(self.simulator, image)
    }

    fn told_of_stray(
        &mut self,
        group: &GroupImage,
        stray: Stray,
        image: &mut AlignedBytes,
    ) -> Result<Option<Vec<Option<GroupFailure>>>, Error> {
        group.astray(self.simulator, stray, image).map(Some)
    }
}

/// Ranks that are streams of one device wait for each other's kernels, all blocks of which have to be resident at a time. What
/// another thread does meanwhile, such as to free memory or to load a module, may wait for those kernels and hold up the launch
/// that they wait for. So groups have the device to themselves.
static DEVICE: RwLock<()> = RwLock::new(());

/// A CUDA device, which works on a copy of the image in device memory.
pub struct OnCuda {
    stream: Stream,
    /// Reused from call to call; replaced by a larger one when an image does not fit.
    arena: DeviceBytes,
}

impl Drop for OnCuda {
    fn drop(&mut self) {
        let _shared = DEVICE.read().unwrap_or_else(PoisonError::into_inner);
        self.arena.free();
    }
}

impl OnCuda {
    pub fn new(stream: Stream) -> Result<OnCuda, Error> {
        let _shared = DEVICE.read().unwrap_or_else(PoisonError::into_inner);
        let arena = DeviceBytes::uninitialized(stream.device(), 1 << 20)?;
        Ok(OnCuda { stream, arena })
    }
}

impl Executor for OnCuda {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        let _shared = DEVICE.read().unwrap_or_else(PoisonError::into_inner);
        let place = self.upload(image)?;
        // SAFETY: the arena holds a copy of the image, with every tensor inside and aligned. Only this executor uses it, in
        // the order of one stream, for which the download waits.
        unsafe { call.run(place, self.arena.address(), &self.stream) }?;
        self.arena.download(image, &self.stream)
    }

    fn execute_heads(&mut self, call: &HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
        let _shared = DEVICE.read().unwrap_or_else(PoisonError::into_inner);
        let place = self.upload(image)?;
        // SAFETY: as for other calls.
        unsafe { call.run(place, self.arena.address(), &self.stream) }?;
        self.arena.download(image, &self.stream)
    }

    fn execute_group(&mut self, group: &GroupImage, image: &mut AlignedBytes) -> Result<(), Error> {
        let _alone = DEVICE.write().unwrap_or_else(PoisonError::into_inner);
        self.upload(image)?;
        // SAFETY: as for other calls; the upload has waited, and so does the group.
        unsafe { group.on_device(self.stream.device(), self.arena.address()) }?;
        self.arena.download(image, &self.stream)
    }
}

impl OnCuda {
    /// Copies the image into the arena, and returns where that is.
    fn upload(&mut self, image: &AlignedBytes) -> Result<Place, Error> {
        if self.arena.len() < image.len() {
            let len = image.len().next_power_of_two();
            self.arena = DeviceBytes::uninitialized(self.stream.device(), len)?;
        }
        self.arena.upload(image, &self.stream)?;
        Ok(self.stream.device().place())
    }
}
