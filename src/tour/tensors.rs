//! The tour's tensors in the memory of the host or of a device, and the calls on them.

use half::f16;
use norm_host::{
    Backend, DType, Error, Place, Stream, TpContext, View, ViewMut, head_norm, head_norm_, layer_norm,
    layer_norm_, rms_norm, rms_norm_, rms_norm_tp,
};

use super::function::Function;
use super::inputs::{EPS, Inputs, parameter_shape};
use crate::bytes::AlignedBytes;
use crate::memory::DeviceBytes;

/// The tour's tensors in the memory of one place.
pub struct Tensors {
    buffers: Buffers,
    shape: Vec<usize>,
    parameter_shape: Vec<usize>,
}

/// The memory of the tensors.
enum Buffers {
    Host { x: AlignedBytes, y: AlignedBytes, w: AlignedBytes, b: AlignedBytes },
    Device { x: DeviceBytes, y: DeviceBytes, w: DeviceBytes, b: DeviceBytes, stream: Stream },
}

/// Views of all tensors.
struct Views<'a> {
    x: View<'a>,
    y: ViewMut<'a>,
    w: View<'a>,
    b: View<'a>,
}

impl Tensors {
    /// Copies of the inputs in host memory, and a `y` of zeros.
    pub fn on_host(inputs: &Inputs, heads: bool) -> Tensors {
        let copy = |values: &[f16]| AlignedBytes::copy_of(bytemuck::cast_slice(values));
        let y = AlignedBytes::zeroed(size_of_val(inputs.x.as_slice()));
        Tensors::new(
            inputs,
            heads,
            Buffers::Host { x: copy(&inputs.x), y, w: copy(&inputs.w), b: copy(&inputs.b) },
        )
    }

    /// Copies of the inputs in the memory of the stream's device, and an uninitialized `y`.
    pub fn on_device(inputs: &Inputs, heads: bool, stream: &Stream) -> Result<Tensors, Error> {
        let copy = |values: &[f16]| DeviceBytes::copy_of(bytemuck::cast_slice(values), stream);
        let y = DeviceBytes::uninitialized(stream.device(), size_of_val(inputs.x.as_slice()))?;
        let (x, w, b) = (copy(&inputs.x)?, copy(&inputs.w)?, copy(&inputs.b)?);
        let stream = Stream::new(stream.device())?;
        Ok(Tensors::new(inputs, heads, Buffers::Device { x, y, w, b, stream }))
    }

    fn new(inputs: &Inputs, heads: bool, buffers: Buffers) -> Tensors {
        Tensors { buffers, shape: inputs.shape(heads), parameter_shape: parameter_shape(heads) }
    }

    /// The function's output. The work on the tensors must be done.
    pub fn output(&self, function: Function) -> Result<Vec<f16>, Error> {
        let mut output = vec![f16::ZERO; self.shape.iter().product()];
        let bytes = bytemuck::cast_slice_mut(&mut output);
        match &self.buffers {
            Buffers::Host { x, y, .. } => bytes.copy_from_slice(if function.in_place() { x } else { y }),
            Buffers::Device { x, y, stream, .. } => {
                if function.in_place() { x } else { y }.download(bytes, stream)?;
            }
        }
        Ok(output)
    }

    /// Calls any function but `rms_norm_tp`.
    pub fn call(&mut self, function: Function, on: &impl Backend) -> Result<(), Error> {
        let kind = function.kind();
        match function {
            Function::RmsNormInPlace | Function::LayerNormInPlace | Function::HeadNormInPlace => {
                let (mut x, w, b) = self.views_in_place()?;
                match function {
                    Function::RmsNormInPlace => rms_norm_(&mut x, w, EPS, on),
                    Function::LayerNormInPlace => layer_norm_(&mut x, w, b, EPS, on),
                    _ => head_norm_(&mut x, w, None, EPS, kind, on),
                }
            }
            _ => {
                let Views { x, mut y, w, b } = self.views()?;
                match function {
                    Function::LayerNorm => layer_norm(x, w, b, &mut y, EPS, on),
                    Function::HeadNorm => head_norm(x, w, None, &mut y, EPS, kind, on),
                    _ => rms_norm(x, w, &mut y, EPS, on),
                }
            }
        }
    }

    /// Calls `rms_norm_tp` on a group of one device.
    pub fn call_tp(&mut self, tp: &TpContext) -> Result<(), Error> {
        let Views { x, y, w, .. } = self.views()?;
        rms_norm_tp(&[x], &[w], &mut [y], EPS, tp)
    }

    /// Views for a call out of place.
    fn views(&mut self) -> Result<Views<'_>, Error> {
        let Addresses { place, x, y, w, b } = self.buffers.addresses();
        // SAFETY: `self` owns the memory at these addresses, which was allocated for tensors of f16 with these shapes. It is
        // borrowed exclusively while the views live, and `measure` waits for enqueued work before it returns.
        unsafe {
            Ok(Views {
                x: View::from_raw_parts(place, x, DType::F16, &self.shape)?,
                y: ViewMut::from_raw_parts(place, y, DType::F16, &self.shape)?,
                w: View::from_raw_parts(place, w, DType::F16, &self.parameter_shape)?,
                b: View::from_raw_parts(place, b, DType::F16, &self.parameter_shape)?,
            })
        }
    }

    /// Views of `x`, `w` and `b` for a call in place.
    fn views_in_place(&mut self) -> Result<(ViewMut<'_>, View<'_>, View<'_>), Error> {
        let Addresses { place, x, w, b, .. } = self.buffers.addresses();
        // SAFETY: `self` owns the memory at these addresses, which was allocated for tensors of f16 with these shapes. It is
        // borrowed exclusively while the views live, of which one alone is of `x`, and `measure` waits for enqueued work
        // before it returns.
        unsafe {
            Ok((
                ViewMut::from_raw_parts(place, x, DType::F16, &self.shape)?,
                View::from_raw_parts(place, w, DType::F16, &self.parameter_shape)?,
                View::from_raw_parts(place, b, DType::F16, &self.parameter_shape)?,
            ))
        }
    }
}

/// The place and the addresses of the tensors.
struct Addresses {
    place: Place,
    x: u64,
    y: u64,
    w: u64,
    b: u64,
}

impl Buffers {
    fn addresses(&mut self) -> Addresses {
        match self {
            Buffers::Host { x, y, w, b } => {
                let address = |bytes: &mut AlignedBytes| bytes.as_mut_ptr().expose_provenance() as u64;
                Addresses { place: Place::Host, x: address(x), y: address(y), w: address(w), b: address(b) }
            }
            Buffers::Device { x, y, w, b, stream } => Addresses {
                place: stream.device().place(),
                x: x.address(),
                y: y.address(),
                w: w.address(),
                b: b.address(),
            },
        }
    }
}
