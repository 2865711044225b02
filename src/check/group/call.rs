//! Where the tensors of all ranks and calls lie in one block of memory, and the calls on them.
//!
//! Each rank has for each call a part of the image, which is laid out as the image of a case of one device.

use std::time::Duration;

use norm_host::{
    Cpu, Device, Error, GroupCall, GroupFailure, Norm, PeerOptions, Place, ReduceGroup, SimulatedGroup,
    Simulator, Stray, Stream, TpContext, View, ViewMut, all_reduce,
};

use norm_kernels::abi::Exchange;

use super::super::call::{AdditionOperands, Call, ImageTensor};
use super::super::layout::{ImageLayout, fill_rows};
use super::GroupCase;
use crate::bytes::AlignedBytes;

/// How long the kernels of a device wait for another rank.
const PATIENCE: Duration = Duration::from_secs(10);

/// The numbers of tensors among those of a case, from which on they are the `x` of other ranks.
const OF_RANKS: u64 = 16;

/// A group's calls on the tensors of an image.
#[derive(Clone, Debug)]
pub struct GroupImage {
    pub case: GroupCase,
    /// The first rank's first call. Without a `y` all calls are in place.
    pub call: Call,
    /// Bytes of a rank's part for a call.
    pub part: usize,
}

/// The views of one call: a list for each tensor, with one element for each rank.
struct Lists<'v> {
    x: Vec<View<'v>>,
    r: Option<Vec<ViewMut<'v>>>,
    w: Option<Vec<View<'v>>>,
    b: Option<Vec<View<'v>>>,
    y: Vec<ViewMut<'v>>,
}

impl GroupImage {
    /// Places the tensors.
    pub fn of(case: &GroupCase) -> GroupImage {
        let layout = ImageLayout::of(&case.rows);
        GroupImage { case: case.clone(), part: layout.len(), call: layout.call }
    }

    /// The parts of the image: call by call, and of each call rank by rank.
    pub fn parts(&self) -> usize {
        self.case.calls * self.case.ranks
    }

    /// Fills an image with the values of the case: `x` differs from rank to rank, all else from call to call alone.
    pub fn fill(&self, image: &mut AlignedBytes) {
        let GroupCase { rows, ranks, .. } = &self.case;
        image.refill(self.part * self.parts(), 0);
        let mut part = AlignedBytes::default();
        for (number, place) in image.chunks_exact_mut(self.part).enumerate() {
            let (call, rank) = (number / ranks, number % ranks);
            let mut rows = rows.clone();
            rows.seed ^= (call as u64) << 40;
            ImageLayout::of(&rows).fill(&rows, &mut part);
            if rank > 0 {
                fill_rows(&rows, &self.call.x, OF_RANKS + rank as u64, &mut part);
            }
            place.copy_from_slice(&part);
        }
    }

    /// A tensor of the first call as it is in another part.
    pub fn of_part(&self, tensor: &ImageTensor, number: usize) -> ImageTensor {
        ImageTensor { byte_offset: tensor.byte_offset + number * self.part, ..tensor.clone() }
    }

    /// The norm of the sum, without weights and biases.
    fn norm(&self) -> Option<Norm<'static>> {
        (!self.case.sum).then(|| self.call.operation.norm())
    }

    /// The views of one call.
    ///
    /// # Safety
    /// There is such an image at `base`, in `place`, which nothing else uses as long as the views do.
    unsafe fn lists(&self, place: Place, base: u64, call: usize) -> Result<Lists<'static>, Error> {
        let numbers = || (0..self.case.ranks).map(|rank| call * self.case.ranks + rank);
        let address =
            |tensor: &ImageTensor, number: usize| base + self.of_part(tensor, number).byte_offset as u64;
        let read = |tensor: &ImageTensor| -> Result<Vec<View<'static>>, Error> {
            numbers()
                .map(|number| {
                    // SAFETY: the caller guarantees the image, in which the layout has put this tensor.
                    unsafe {
                        View::from_raw_parts(place, address(tensor, number), tensor.dtype, &tensor.shape)
                    }?
                    .with_strides(&tensor.strides)
                })
                .collect()
        };
        let written = |tensor: &ImageTensor| -> Result<Vec<ViewMut<'static>>, Error> {
            numbers()
                .map(|number| {
                    // SAFETY: as for those that are read; in place the operation allows two views of `x`.
                    unsafe {
                        ViewMut::from_raw_parts(place, address(tensor, number), tensor.dtype, &tensor.shape)
                    }?
                    .with_strides(&tensor.strides)
                })
                .collect()
        };
        let Call { x, y, w, b, addition, .. } = &self.call;
        let r = addition.as_ref().and_then(AdditionOperands::r);
        Ok(Lists {
            x: read(x)?,
            r: r.map(written).transpose()?,
            w: w.as_ref().map(read).transpose()?,
            b: b.as_ref().map(read).transpose()?,
            y: written(y.as_ref().unwrap_or(x))?,
        })
    }

    /// The sum in the order of ranks, and on each rank its norm.
    pub fn on_cpu(&self, image: &mut AlignedBytes) -> Result<(), Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        let ImageTensor { dtype, shape, .. } = &self.call.x;
        let mut sum = AlignedBytes::zeroed(shape.iter().product::<usize>() * dtype.size());
        let at = sum.as_mut_ptr().expose_provenance() as u64;
        for call in 0..self.case.calls {
            // SAFETY: the image is borrowed exclusively, and the sum is this function's.
            let (lists, summed, mut sum) = unsafe {
                let read = View::from_raw_parts(Place::Host, at, *dtype, shape)?;
                let written = ViewMut::from_raw_parts(Place::Host, at, *dtype, shape)?;
                (self.lists(Place::Host, base, call)?, read, written)
            };
            let Lists { x, mut r, w, b, mut y } = lists;
            Cpu.all_reduce(&x, &mut sum)?;
            for (rank, y) in y.iter_mut().enumerate() {
                let Some(norm) = self.norm() else {
                    Cpu.all_reduce(&[summed], y)?;
                    continue;
                };
                let norm = norm.weight(w.as_ref().map(|w| w[rank])).bias(b.as_ref().map(|b| b[rank]));
                match &mut r {
                    Some(r) => norm.add_then_norm(summed, &mut r[rank], y, &Cpu)?,
                    None => norm.rows(summed, y, &Cpu)?,
                }
            }
        }
        Ok(())
    }

    /// The group on a simulator, and its calls on the image.
    fn simulated<R>(
        &self,
        image: &mut AlignedBytes,
        run: impl FnOnce(&SimulatedGroup, &[GroupCall<'_, '_>]) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let base = image.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the image is borrowed exclusively until the simulator returns, which is when it is done.
        let lists = (0..self.case.calls).map(|call| unsafe { self.lists(Place::Host, base, call) });
        let mut lists = lists.collect::<Result<Vec<_>, Error>>()?;
        let calls: Vec<GroupCall<'_, '_>> = lists
            .iter_mut()
            .map(|Lists { x, r, w, b, y }| GroupCall {
                norm: self.norm(),
                x,
                r: r.as_deref_mut(),
                w: w.as_deref(),
                b: b.as_deref(),
                y,
            })
            .collect();
        let GroupCase { ranks, blocks, exchange, completed, ref rows, .. } = self.case;
        let group = SimulatedGroup {
            ranks,
            blocks: blocks as u32,
            buffer_bytes: self.case.buffer_bytes() as u64,
            exchange,
            completed,
            seed: rows.seed,
        };
        run(&group, &calls)
    }

    /// The failure that each rank reports if the last one strays.
    pub fn astray(
        &self,
        simulator: &Simulator,
        stray: Stray,
        image: &mut AlignedBytes,
    ) -> Result<Vec<Option<GroupFailure>>, Error> {
        self.simulated(image, |group, calls| simulator.all_reduce_astray(group, calls, stray))
    }

    /// Beside each other, and the first rank's first launch by itself too, behind one that may still use its memory.
    pub fn on_simulator(&self, simulator: &Simulator, image: &mut AlignedBytes) -> Result<(), Error> {
        self.simulated(image, |group, calls| {
            if let Some(first) = calls.first() {
                simulator.all_reduce_rank(group, first)?;
            }
            simulator.all_reduce(group, calls)
        })
    }

    /// On streams of one device, a rank each.
    ///
    /// # Safety
    /// There is such an image at `base` on the device, and no other thread uses the device.
    pub unsafe fn on_device(&self, device: &Device, base: u64) -> Result<(), Error> {
        let streams = (0..self.case.ranks).map(|_| Stream::new(device)).collect::<Result<Vec<_>, Error>>()?;
        let tp = TpContext::sharing_devices(streams)?;
        let options = PeerOptions {
            buffer_bytes: self.case.buffer_bytes().max(self.case.packet_bytes()),
            patience: PATIENCE,
            blocks: Some(self.case.blocks as u32),
            one_shot_bytes: Some(if self.case.exchange == Exchange::TwoShot { 0 } else { u64::MAX }),
            packet_bytes: Some(if self.case.exchange == Exchange::Packets { u64::MAX } else { 0 }),
        };
        let group = ReduceGroup::new(&tp, options)?;
        let mut enqueued = Ok(());
        for call in 0..self.case.calls {
            // SAFETY: the caller guarantees the image, until this has waited for all streams.
            let lists = unsafe { self.lists(device.place(), base, call) };
            let enqueue = |Lists { x, mut r, w, b, mut y }: Lists<'_>| match (self.norm(), &mut r) {
                (None, _) => all_reduce(&x, &mut y, &tp, &group),
                (Some(norm), None) => {
                    norm.all_reduce_rows(&x, w.as_deref(), b.as_deref(), &mut y, &tp, &group)
                }
                (Some(norm), Some(r)) => {
                    norm.all_reduce_then_add(&x, r, w.as_deref(), b.as_deref(), &mut y, &tp, &group)
                }
            };
            enqueued = enqueued.and_then(|()| enqueue(lists?));
        }
        // The streams are waited for whatever has failed: the group is freed behind this.
        let done = tp.synchronize();
        enqueued.and(done).and_then(|()| group.status())
    }
}
