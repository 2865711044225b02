//! One call of an operation on tensors in an image, and what carries it out.

use norm_host::{
    Backend, Cpu, DType, Error, Place, Scale, Simulator, Stream, View, ViewMut, reference::Operation,
    rms_norm_partial,
};

use crate::bytes::AlignedBytes;
use crate::memory::DeviceBytes;

/// A tensor in an image. Strides are in elements.
#[derive(Clone, Debug)]
pub struct Operand {
    pub dtype: DType,
    /// Where its first element is.
    pub byte: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The whole of an operation, or a step of RMSNorm over rows that are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Whole,
    /// The sums of all shards.
    Partial,
    /// The outputs of all shards, of the sums that stand where the first shard's were.
    Apply,
}

/// Where a residual is added.
#[derive(Clone, Debug)]
pub enum Side {
    /// To `x`, of the residual `r`.
    InFront { r: Operand },
    /// To the norm, of a residual or, where there is none, what the output holds.
    Behind { r: Option<Operand> },
    /// To the norm, whose sum is normalized next.
    Between { r: Operand, next: Next },
}

/// The second of two norms.
#[derive(Clone, Debug)]
pub struct Next {
    pub operation: Operation,
    pub w: Option<Operand>,
}

/// An addition to a residual.
#[derive(Clone, Debug)]
pub struct Addition {
    pub side: Side,
    /// The tensor of the sum where it is neither the residual nor the output.
    pub s: Option<Operand>,
    /// What the sum is multiplied by, where that is in memory.
    pub scale_at: Option<Operand>,
}

impl Addition {
    /// The residual, where it is not the output.
    pub fn r(&self) -> Option<&Operand> {
        match &self.side {
            Side::InFront { r } | Side::Between { r, .. } => Some(r),
            Side::Behind { r } => r.as_ref(),
        }
    }

    /// The sum, where it is not the output.
    pub fn sum(&self) -> Option<&Operand> {
        match &self.side {
            Side::InFront { r } | Side::Between { r, .. } => Some(self.s.as_ref().unwrap_or(r)),
            Side::Behind { .. } => None,
        }
    }

    /// The second of two norms.
    pub fn next(&self) -> Option<&Next> {
        if let Side::Between { next, .. } = &self.side { Some(next) } else { None }
    }

    /// Whether it is to what the output holds.
    pub fn is_onto_output(&self) -> bool {
        matches!(self.side, Side::Behind { r: None })
    }
}

/// A call on tensors in an image, in place where there is no `y`. Over heads there is no residual.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: Operation,
    pub heads: bool,
    pub x: Operand,
    pub y: Option<Operand>,
    pub w: Option<Operand>,
    pub b: Option<Operand>,
    /// What is added and where, if anything is.
    pub addition: Option<Addition>,
    pub step: Step,
    /// Parts of a row, which differ in length by one element at most.
    pub shards: usize,
    /// Sums of squares, those of each shard behind those of the one before, where rows are split.
    pub sums: Option<Operand>,
}

impl Operand {
    /// The heads that have elements of their own, of weights or biases: 1 where all rows share them.
    pub fn heads(&self) -> usize {
        if let [heads, _] = self.shape[..] { heads } else { 1 }
    }

    /// Columns `from..to` of each row.
    fn columns(&self, from: usize, to: usize) -> Operand {
        let mut part = Operand { byte: self.byte + from * self.dtype.size(), ..self.clone() };
        *part.shape.last_mut().expect("a rank of at least 1") = to - from;
        part
    }
}

impl Call {
    /// Carries the call out on the image that starts at `base`.
    ///
    /// # Safety
    ///
    /// At `base` in `place` lies an image with room for all of the call's tensors, aligned to
    /// their elements, which nothing else uses until `on` is done.
    unsafe fn run(&self, place: Place, base: u64, on: &impl Backend) -> Result<(), Error> {
        let view = |operand: &Operand| {
            let address = base + operand.byte as u64;
            // SAFETY: the caller's promise.
            unsafe { View::from_raw_parts(place, address, operand.dtype, &operand.shape) }?
                .with_strides(&operand.strides)
        };
        let view_mut = |operand: &Operand| {
            let address = base + operand.byte as u64;
            // SAFETY: the caller's promise; no tensor's view but one of `x` in place of `y` shares memory.
            unsafe { ViewMut::from_raw_parts(place, address, operand.dtype, &operand.shape) }?
                .with_strides(&operand.strides)
        };
        let described = self.operation.norm();
        if let Some(sums) = &self.sums {
            let dim = self.x.shape[self.x.shape.len() - 1];
            let rows = sums.shape[0] / self.shards;
            for shard in 0..self.shards {
                let (from, to) = (shard * dim / self.shards, (shard + 1) * dim / self.shards);
                let x = view(&self.x.columns(from, to))?;
                let of_shard = if self.step == Step::Partial { shard } else { 0 };
                let sums = sums.columns(of_shard * rows, (of_shard + 1) * rows);
                if self.step == Step::Partial {
                    rms_norm_partial(x, &mut view_mut(&sums)?, on)?;
                    continue;
                }
                let part = |param: &Operand| view(&param.columns(from, to));
                let w = self.w.as_ref().map(part).transpose()?;
                let b = self.b.as_ref().map(part).transpose()?;
                let y = self.y.as_ref().unwrap_or(&self.x).columns(from, to);
                described.weight(w).bias(b).rows_apply(x, view(&sums)?, &mut view_mut(&y)?, dim, on)?;
            }
            return Ok(());
        }
        let norm = described
            .weight(self.w.as_ref().map(view).transpose()?)
            .bias(self.b.as_ref().map(view).transpose()?);
        if let Some(Addition { side, s, scale_at }) = &self.addition {
            let norm = match scale_at {
                Some(at) => norm.sum_scale(Scale::Memory(view(at)?)),
                None => norm,
            };
            if let (Side::InFront { r }, None, None) = (side, s, &self.y) {
                return norm.add_then_norm_in_place(&mut view_mut(&self.x)?, &mut view_mut(r)?, on);
            }
            // In place it is the same tensor twice, which these operations allow.
            let (x, y) = (view(&self.x)?, &mut view_mut(self.y.as_ref().unwrap_or(&self.x))?);
            return match (side, s) {
                (Side::InFront { r }, None) => norm.add_then_norm(x, &mut view_mut(r)?, y, on),
                (Side::InFront { r }, Some(s)) => {
                    norm.add_then_norm_to(x, view(r)?, &mut view_mut(s)?, y, on)
                }
                (Side::Behind { r: None }, _) => norm.norm_then_add(x, y, on),
                (Side::Behind { r: Some(r) }, _) => norm.norm_then_add_to(x, view(r)?, y, on),
                (Side::Between { r, next }, s) => {
                    let w = next.w.as_ref().map(view).transpose()?;
                    let next = &next.operation.norm().weight(w);
                    match s {
                        None => norm.sandwich_rows(next, x, &mut view_mut(r)?, y, on),
                        Some(s) => norm.sandwich_rows_to(next, x, view(r)?, &mut view_mut(s)?, y, on),
                    }
                }
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

/// Something that carries calls out: what is checked.
pub trait Executor {
    /// Makes of the image before the call the image after it.
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error>;
}

impl<E: Executor + ?Sized> Executor for Box<E> {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        (**self).execute(call, image)
    }
}

/// The CPU backend, on the image itself.
pub struct OnCpu;

impl Executor for OnCpu {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the image is borrowed for this, a layout keeps its tensors inside and aligned,
        // and the CPU backend is done when it returns.
        unsafe { call.run(Place::Host, base, &Cpu) }
    }
}

/// The shipped kernels on a simulator, on the image itself.
pub struct OnSimulator<'a> {
    pub simulator: &'a Simulator,
}

impl Executor for OnSimulator<'_> {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: as for `OnCpu`.
        unsafe { call.run(Place::Host, base, self.simulator) }
    }
}

/// A CUDA device, on a copy of the image in memory that is kept from call to call.
pub struct OnCuda {
    stream: Stream,
    arena: DeviceBytes,
}

impl OnCuda {
    pub fn new(stream: Stream) -> Result<OnCuda, Error> {
        let arena = DeviceBytes::uninitialized(stream.device(), 1 << 20)?;
        Ok(OnCuda { stream, arena })
    }
}

impl Executor for OnCuda {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        if self.arena.len() < image.len() {
            let len = image.len().next_power_of_two();
            self.arena = DeviceBytes::uninitialized(self.stream.device(), len)?;
        }
        self.arena.upload(image, &self.stream)?;
        let place = self.stream.device().place();
        // SAFETY: the arena holds a copy of the image, is used by this executor alone, and the
        // download waits for the stream.
        unsafe { call.run(place, self.arena.address(), &self.stream) }?;
        self.arena.download(image, &self.stream)
    }
}
