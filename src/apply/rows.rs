//! Rows, a chunk at a time: of a tensor of any size, memory holds a chunk of the input and one of the result.
//!
//! A row's bits do not depend on the rows beside it (batch invariance), so where chunks are cut changes no bit.

use std::ops::Range;
use std::time::{Duration, Instant};

use norm_host::{Cpu, DType, Error, Place, Simulator, Stream};

use super::input::Tensor;
use super::{Addresses, Call};
use crate::bytes::AlignedBytes;
use crate::failure::Failure;
use crate::memory::DeviceBytes;
use crate::target::Target;

/// Bytes of the input to a chunk, where a unit has no more: 2 GiB of f32 take 70 MiB of memory on a CPU (2026-11-29),
/// and 4102 where all of it is held.
pub const CHUNK: usize = 32 << 20;

/// A tensor cut into chunks of whole units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// The axes in front of a unit's, merged, where there are any.
    leading: Option<usize>,
    /// The trailing axes that weights and biases span: a row, or the rows of all heads.
    unit: Vec<usize>,
    /// Units to a chunk, but for the last.
    most: usize,
}

impl Chunks {
    /// Cuts a tensor of this shape, whose last `axes` axes make a unit, into chunks of some `bytes` of elements of
    /// `size` bytes.
    ///
    /// A shape of fewer axes is one chunk of that shape, for the checks of the operation to refuse.
    pub fn new(shape: &[usize], axes: usize, size: usize, bytes: usize) -> Chunks {
        let Some(leading) = shape.len().checked_sub(axes) else {
            return Chunks { leading: None, unit: shape.to_vec(), most: 1 };
        };
        let (leading, unit) = shape.split_at(leading);
        let leading = leading.iter().product();
        let unit_bytes = unit.iter().fold(size, |product, &extent| product.saturating_mul(extent));
        // Units without elements take no memory, however many there are.
        let most = bytes.checked_div(unit_bytes).unwrap_or(leading);
        Chunks { leading: Some(leading), unit: unit.to_vec(), most: most.max(1) }
    }

    /// Elements of a unit.
    fn unit_elements(&self) -> usize {
        self.unit.iter().product()
    }

    /// Elements of the largest chunk.
    pub fn largest(&self) -> usize {
        self.most.min(self.leading.unwrap_or(1)) * self.unit_elements()
    }

    /// The chunks, at least one: where there are no units, one of none.
    pub fn iter(&self) -> impl Iterator<Item = Chunk> {
        let units = self.leading.unwrap_or(1);
        (0..units.max(1)).step_by(self.most).map(move |first| {
            let count = self.most.min(units - first);
            let shape = self.leading.map(|_| count).into_iter().chain(self.unit.iter().copied()).collect();
            let elements = self.unit_elements();
            Chunk { shape, elements: first * elements..(first + count) * elements }
        })
    }
}

/// A part of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Units, and the shape of each.
    pub shape: Vec<usize>,
    /// Which elements of the tensor it has.
    pub elements: Range<usize>,
}

/// Where the tensors of a call are while its chunks pass.
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

/// Normalizes the tensor in chunks of some `bytes` and hands each chunk of the result, of `dtype`, to `write`, in
/// their order. The time is what the operation took, transfers to a device included, files not.
pub fn normalize(
    call: &Call<'_>,
    target: &Target,
    dtype: DType,
    bytes: usize,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Duration, Failure> {
    let chunks = Chunks::new(&call.x.shape, call.unit_axes(), call.x.stored_size(), bytes);
    let mut memory = Memory::prepare(call, target, dtype, chunks.largest())?;
    let (mut x, mut y) = (AlignedBytes::default(), AlignedBytes::default());
    let mut time = Duration::ZERO;
    for chunk in chunks.iter() {
        call.x.read(chunk.elements.clone(), &mut x)?;
        y.resize(chunk.elements.len() * dtype.size());
        let start = Instant::now();
        memory.run(call, &chunk.shape, &x, dtype, &mut y)?;
        time += start.elapsed();
        write(&y)?;
    }
    Ok(time)
}

impl<'a> Memory<'a> {
    /// Brings weights and biases to the target, and makes room there for `elements` of the input and the result.
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
                // SAFETY: `x`, `w` and `b` have been read whole from the call's tensors, and `y` has been given
                // room for as many elements as `x` has; this function alone uses them until `run` returns.
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
mod tests {
    use clap::Parser;
    use norm_host::NormKind;
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::kernel_set::KernelSet;
    use crate::target::DeviceChoice;

    #[test]
    fn chunks_cover_a_tensor_in_order_and_hold_whole_units() {
        for (shape, axes, bytes, units) in [
            (&[10, 3][..], 1, 48, &[4, 4, 2][..]),
            (&[2, 5, 3], 1, 48, &[4, 4, 2]),
            (&[5, 2, 3], 2, 48, &[2, 2, 1]),
            (&[2, 2, 2, 2, 3], 1, 1 << 20, &[16]),
            (&[3], 1, 48, &[1]),
            (&[2, 3], 2, 48, &[1]),
            (&[4, 100], 1, 48, &[1, 1, 1, 1]),
            (&[0, 3], 1, 48, &[0]),
            (&[1 << 40, 0], 1, 48, &[1 << 40]),
        ] {
            let chunks: Vec<Chunk> = Chunks::new(shape, axes, 4, bytes).iter().collect();
            let unit = &shape[shape.len() - axes..];
            let elements: usize = unit.iter().product();
            assert_eq!(chunks.iter().map(|chunk| chunk.shape[0]).collect::<Vec<_>>(), units, "{shape:?}");
            let mut end = 0;
            for chunk in &chunks {
                assert_eq!(&chunk.shape[1..], unit);
                assert_eq!(chunk.elements, end..end + chunk.shape[0] * elements);
                end = chunk.elements.end;
            }
            assert_eq!(end, shape.iter().product::<usize>());
        }
    }

    /// Normalizes a file's tensor in chunks of so many bytes, on each target that needs no device.
    fn results(args: &str, heads: bool, bytes: usize) -> Vec<Vec<u8>> {
        let line = ["norm", "rms"].into_iter().chain(args.split_whitespace()).chain(["--out", "y"]);
        let Some(Command::Rms(args)) = Cli::try_parse_from(line).unwrap().command else { unreachable!() };
        let open = |tensor: &Option<_>| tensor.as_ref().map(|tensor| Tensor::open(tensor).unwrap());
        let (x, w, b) = (Tensor::open(&args.input).unwrap(), open(&args.weight), open(&args.bias));
        let call = Call { x: &x, w: w.as_ref(), b: b.as_ref(), args: &args, kind: NormKind::Layer, heads };
        [DeviceChoice::Cpu, DeviceChoice::Sim]
            .map(|device| {
                let target = device.open(&KernelSet::Stock).unwrap();
                let mut y = Vec::new();
                normalize(&call, &target, DType::BF16, bytes, |rows| {
                    y.extend_from_slice(rows);
                    Ok(())
                })
                .unwrap();
                y
            })
            .into()
    }

    #[test]
    fn where_chunks_are_cut_changes_no_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let values = |count: usize| (0..count).flat_map(|i| ((i * i) as f32 * 0.7).sin().to_le_bytes());
        let (rows, heads, dim) = (7, 3, 40);
        let tensors = [("x", vec![rows, heads, dim]), ("w", vec![dim]), ("hw", vec![heads, dim])].map(
            |(name, shape)| {
                let bytes: Vec<u8> = values(shape.iter().product()).collect();
                (name, shape, bytes)
            },
        );
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let file = path.display();
        for (weights, heads) in [("w", false), ("hw", true)] {
            let args = format!("--input {file}:x --weight {file}:{weights} --bias {file}:{weights}");
            let whole = results(&args, heads, 1 << 20);
            assert!(whole.iter().all(|y| y.len() == 7 * 3 * 40 * 2 && y.iter().any(|&byte| byte != 0)));
            for bytes in [1, 2 * dim * 4, 5 * dim * 4, 7 * dim * 4] {
                assert!(results(&args, heads, bytes) == whole, "chunks of {bytes} bytes, heads: {heads}");
            }
        }
    }

    #[test]
    fn a_shape_of_too_few_axes_is_left_to_the_checks() {
        let chunks: Vec<Chunk> = Chunks::new(&[7], 2, 4, 1).iter().collect();
        assert_eq!(chunks, [Chunk { shape: vec![7], elements: 0..7 }]);
    }
}
