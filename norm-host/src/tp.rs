//! Tensor parallelism: an operation on several devices.

mod all_reduce;
mod fallback;
mod memory;
mod peers;
mod replicated;
mod sharded;

pub use all_reduce::{all_reduce, all_reduce_add_rms_norm, all_reduce_rms_norm};
#[cfg(feature = "sim")]
pub(crate) use all_reduce::{has_kernels, signature};
pub use fallback::{ReduceGroup, Transport};
#[cfg(feature = "sim")]
pub(crate) use peers::told;
pub use peers::{PeerGroup, PeerOffer, PeerOptions};
pub use replicated::{head_norm_tp, layer_norm_tp, rms_norm_tp};
pub use sharded::{AllReduce, DeviceSums, RowSums, Shard, rms_norm_sharded};

use crate::{
    device::Device,
    error::{Arg, Error, Result},
    stream::{Event, Stream},
};

/// The streams of a tensor-parallel group, one for each device, in the order of the lists of tensors.
///
/// Each stream is owned ([`Stream::new`]) or borrowed from the engine ([`Stream::from_raw`]); the
/// group takes the handles. It is created once and can be shared by threads: it is immutable.
///
/// ```no_run
/// use norm_host::{Stream, TpContext, View, ViewMut, rms_norm_tp};
///
/// fn start() -> norm_host::Result<TpContext> {
///     TpContext::on_devices(&[0, 1]) // once
/// }
///
/// fn layer(
///     x: &[View], w: &[View], y: &mut [ViewMut], main: &Stream, tp: &TpContext,
/// ) -> norm_host::Result<()> {
///     tp.wait(main)?; // x is written on `main`
///     rms_norm_tp(x, w, y, 1e-6, tp)?;
///     tp.join(main) // what `main` has next may read y
/// }
/// ```
#[derive(Debug)]
pub struct TpContext {
    streams: Vec<Stream>,
}

impl TpContext {
    /// A group of these streams, each of another device.
    ///
    /// # Errors
    ///
    /// [`EmptyGroup`](Error::EmptyGroup) without streams, and
    /// [`DuplicateDevice`](Error::DuplicateDevice).
    pub fn new(streams: Vec<Stream>) -> Result<TpContext> {
        for (second, stream) in streams.iter().enumerate() {
            let place = stream.device().place();
            if let Some(first) = streams[..second].iter().position(|first| first.device().place() == place) {
                return Err(Error::DuplicateDevice { place, first, second });
            }
        }
        TpContext::sharing_devices(streams)
    }

    /// A group with a stream of its own on each of these devices.
    ///
    /// # Errors
    ///
    /// As for [`new`](TpContext::new), [`Device::new`] and [`Stream::new`].
    pub fn on_devices(ordinals: &[u32]) -> Result<TpContext> {
        let streams = ordinals.iter().map(|&ordinal| Stream::new(&Device::new(ordinal)?));
        TpContext::new(streams.collect::<Result<_>>()?)
    }

    /// A group of these streams, of which several may be of one device: to divide work among several streams of a
    /// device, or to try out several devices on a machine that has fewer.
    ///
    /// # Errors
    ///
    /// [`EmptyGroup`](Error::EmptyGroup) without streams.
    pub fn sharing_devices(streams: Vec<Stream>) -> Result<TpContext> {
        if streams.is_empty() { Err(Error::EmptyGroup) } else { Ok(TpContext { streams }) }
    }

    /// The streams.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Makes everything that is enqueued on the group's streams from now on wait until all work enqueued on `other` so
    /// far is done. `other` may be of any device. The calling thread does not wait.
    ///
    /// # Errors
    ///
    /// [`Tp`](Error::Tp) with the stream of the group that could not be made to wait, and what `other`'s
    /// device refuses. Streams before that one wait all the same.
    pub fn wait(&self, other: &Stream) -> Result<()> {
        let event = Event::after(other)?;
        self.each(|stream| stream.wait_for(&event))
    }

    /// Makes everything that is enqueued on `other` from now on wait until all work enqueued on the group's streams so
    /// far is done. The calling thread does not wait.
    ///
    /// # Errors
    ///
    /// [`Tp`](Error::Tp) with the stream of the group that could not be waited for.
    pub fn join(&self, other: &Stream) -> Result<()> {
        self.each(|stream| other.wait(stream))
    }

    /// Waits until all work enqueued on the streams is done.
    ///
    /// # Errors
    ///
    /// [`Tp`](Error::Tp) with the first stream that fails; the others are waited for all the same.
    pub fn synchronize(&self) -> Result<()> {
        let mut first = Ok(());
        for (index, stream) in self.streams.iter().enumerate() {
            first = first.and(stream.synchronize().map_err(|error| self.at(index, 0, error)));
        }
        first
    }

    /// Calls `f` with each stream, up to the first error.
    fn each(&self, mut f: impl FnMut(&Stream) -> Result<()>) -> Result<()> {
        let mut streams = self.streams.iter().enumerate();
        streams.try_for_each(|(index, stream)| f(stream).map_err(|error| self.at(index, 0, error)))
    }

    /// The error for the `index`-th stream after `launched` launches.
    fn at(&self, index: usize, launched: usize, source: Error) -> Error {
        let place = self.streams[index].device().place();
        Error::Tp { index, place, launched, source: Box::new(source) }
    }

    /// Checks that a list has one element for each stream.
    fn matches(&self, arg: Arg, given: usize) -> Result<()> {
        let expected = self.streams.len();
        if given == expected { Ok(()) } else { Err(Error::ListLength { arg, expected, given }) }
    }
}
