//! Normalization in chunks of rows, so that memory holds one chunk of the input and one of the result, however large
//! the tensor.
//!
//! The bits of a row do not depend on the other rows (batch invariance), so that the division into chunks changes no bit.

use std::ops::Range;
use std::time::{Duration, Instant};

use norm_host::{Cpu, DType, Error, Place, Simulator, Stream};

use super::input::Tensor;
use super::{Addresses, Call};
use crate::bytes::AlignedBytes;
use crate::failure::Failure;
use crate::memory::DeviceBytes;
use crate::target::Target;

/// Bytes of the input in a chunk, unless a single unit has more: with it a tensor of 2 GiB of f32 takes 70 MiB of memory
/// on a CPU, instead of 4102 MiB for the whole (measured 2026-11-29).
pub const CHUNK: usize = 32 << 20;

/// A tensor divided into chunks of whole units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    units: usize,
    /// The shape of a unit: the trailing axes that weights and biases may span.
    unit: Vec<usize>,
    /// Units in each chunk but the last.
    most: usize,
}

impl Chunks {
    /// Divides units into chunks of about `bytes` bytes, with elements of `size` bytes.
    pub fn new(units: usize, unit: &[usize], size: usize, bytes: usize) -> Chunks {
        let unit_bytes = unit.iter().fold(size, |product, &extent| product.saturating_mul(extent));
        // Units without elements need no memory, however many there are.
        let most = bytes.checked_div(unit_bytes).unwrap_or(units);
        Chunks { units, unit: unit.to_vec(), most: most.max(1) }
    }

    /// Elements of a unit.
    fn unit_elements(&self) -> usize {
        self.unit.iter().product()
    }

    /// Elements of the largest chunk.
    pub fn largest(&self) -> usize {
        self.most.min(self.units) * self.unit_elements()
    }

    /// The chunks, at least one: without units, one empty chunk.
    pub fn iter(&self) -> impl Iterator<Item = Chunk> {
        (0..self.units.max(1)).step_by(self.most).map(move |first| {
            let count = self.most.min(self.units - first);
            let shape = [count].into_iter().chain(self.unit.iter().copied()).collect();
            let elements = self.unit_elements();
            Chunk { shape, elements: first * elements..(first + count) * elements }
        })
    }
}

/// A chunk of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The shape of the chunk: its number of units, then the shape of each.
    pub shape: Vec<usize>,
    /// The range of the tensor's elements.
    pub elements: Range<usize>,
}

/// The place of a call's tensors while its chunks are processed.
enum Memory<'a> {
    Host {
        w: Option<AlignedBytes>,
        b: Option<AlignedBytes>,
        simulator: Option<&'a Simulator>,
    },
    Device {
        stream: &'a Stream,
        x: DeviceBytes,
        y: DeviceBytes,
        w: Option<DeviceBytes>,
        b: Option<DeviceBytes>,
    },
}

/// Normalizes the tensor in chunks of about `bytes` bytes, and passes each chunk of the result, of `dtype`, to `write`, in
/// order. Returns the time of the operation, with transfers to a device but without file accesses.
pub fn normalize(
    call: &Call<'_>,
    target: &Target,
    dtype: DType,
    bytes: usize,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Duration, Failure> {
    let chunks = Chunks::new(call.shapes.units, &call.shapes.unit, call.x.stored_size(), bytes);
    let mut memory = Memory::prepare(call, target, dtype, chunks.largest())?;
    let (mut x, mut y) = (AlignedBytes::default(), AlignedBytes::default());
    let mut time = Duration::ZERO;
    for chunk in chunks.iter() {
        call.x.read(chunk.elements.clone(), &mut x)?;
        call.x.hold(&mut y, chunk.elements.len() * dtype.size())?;
        let start = Instant::now();
        memory.run(call, &chunk.shape, &x, dtype, &mut y).map_err(|error| call.args.explain(error))?;
        time += start.elapsed();
        write(&y)?;
    }
    Ok(time)
}

impl<'a> Memory<'a> {
    /// Copies weights and biases to the target, and allocates memory there for `elements` of the input and the result.
    fn prepare(
        call: &Call<'_>,
        target: &'a Target,
        dtype: DType,
        elements: usize,
    ) -> Result<Memory<'a>, Failure> {
        let w = call.w.map(Tensor::read_all).transpose()?;
        let b = call.b.map(Tensor::read_all).transpose()?;
        let stream = match target {
            Target::Cpu { .. } => return Ok(Memory::Host { w, b, simulator: None }),
            Target::Sim { simulator } => return Ok(Memory::Host { w, b, simulator: Some(simulator) }),
            Target::Cuda { stream } => stream,
        };
        let upload = |bytes: &AlignedBytes| DeviceBytes::copy_of(bytes, stream);
        Ok(Memory::Device {
            stream,
            x: DeviceBytes::uninitialized(stream.device(), elements * call.x.dtype.size())?,
            y: DeviceBytes::uninitialized(stream.device(), elements * dtype.size())?,
            w: w.as_ref().map(upload).transpose()?,
            b: b.as_ref().map(upload).transpose()?,
        })
    }

    /// Normalizes the rows of `x`, of this shape, into `y`, of `dtype`.
    fn run(
        &mut self,
        call: &Call<'_>,
        shape: &[usize],
        x: &AlignedBytes,
        dtype: DType,
        y: &mut AlignedBytes,
    ) -> Result<(), Error> {
        let address = |bytes: &AlignedBytes| bytes.as_ptr().expose_provenance() as u64;
        match self {
            Memory::Host { w, b, simulator } => {
                let addresses = Addresses {
                    place: Place::Host,
                    x: address(x),
                    y: y.as_mut_ptr().expose_provenance() as u64,
                    w: w.as_ref().map(address),
                    b: b.as_ref().map(address),
                };
                // SAFETY: `x`, `w` and `b` have been read whole from the call's tensors, and `y` has
                // room for as many elements as `x` has; nothing else uses them until `run` returns.
                unsafe {
                    match simulator {
                        None => call.run(shape, &addresses, dtype, &Cpu),
                        Some(simulator) => call.run(shape, &addresses, dtype, *simulator),
                    }
                }
            }
            Memory::Device { stream, x: x_there, y: y_there, w, b } => {
                x_there.upload(x, stream)?;
                let addresses = Addresses {
                    place: stream.device().place(),
                    x: x_there.address(),
                    y: y_there.address(),
                    w: w.as_ref().map(DeviceBytes::address),
                    b: b.as_ref().map(DeviceBytes::address),
                };
                // SAFETY: `x_there`, `w` and `b` are copies of the call's tensors, and `y_there` has room for the
                // largest chunk; all of them outlive the download, which waits for the stream.
                unsafe { call.run(shape, &addresses, dtype, *stream) }?;
                y_there.download(y, stream)
            }
        }
    }
}

#[cfg(test)]
mod tests;
