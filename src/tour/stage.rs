//! The tensors where a function runs, and the call.

use half::f16;
use norm_host::{
    Backend, DType, Error, Place, Stream, TpContext, View, ViewMut, head_norm, head_norm_, layer_norm,
    layer_norm_, rms_norm, rms_norm_, rms_norm_tp,
};

use super::data::{Data, EPS, parameter_shape};
use super::function::Function;
use crate::bytes::AlignedBytes;
use crate::memory::DeviceBytes;

/// The tour's tensors in the memory of one place.
pub struct Stage {
    memory: Memory,
    shape: Vec<usize>,
    parameter_shape: Vec<usize>,
}

enum Memory {
    Host { x: AlignedBytes, y: AlignedBytes, w: AlignedBytes, b: AlignedBytes },
    Device { x: DeviceBytes, y: DeviceBytes, w: DeviceBytes, b: DeviceBytes, stream: Stream },
}

/// Views of the tensors of a stage.
struct Views<'a> {
    x: View<'a>,
    y: ViewMut<'a>,
    w: View<'a>,
    b: View<'a>,
}

impl Stage {
    pub fn on_host(data: &Data, heads: bool) -> Stage {
        let copy = |values: &[f16]| AlignedBytes::copy_of(bytemuck::cast_slice(values));
        let y = AlignedBytes::zeroed(size_of_val(data.x.as_slice()));
        Stage::new(data, heads, Memory::Host { x: copy(&data.x), y, w: copy(&data.w), b: copy(&data.b) })
    }

    pub fn on_device(data: &Data, heads: bool, stream: &Stream) -> Result<Stage, Error> {
        let copy = |values: &[f16]| DeviceBytes::copy_of(bytemuck::cast_slice(values), stream);
        let y = DeviceBytes::uninitialized(stream.device(), size_of_val(data.x.as_slice()))?;
        let (x, w, b) = (copy(&data.x)?, copy(&data.w)?, copy(&data.b)?);
        let stream = Stream::new(stream.device())?;
        Ok(Stage::new(data, heads, Memory::Device { x, y, w, b, stream }))
    }

    fn new(data: &Data, heads: bool, memory: Memory) -> Stage {
        Stage { memory, shape: data.shape(heads), parameter_shape: parameter_shape(heads) }
    }

    /// What the function wrote, once the work is done.
    pub fn output(&self, function: Function) -> Result<Vec<f16>, Error> {
        let mut output = vec![f16::ZERO; self.shape.iter().product()];
        let bytes = bytemuck::cast_slice_mut(&mut output);
        match &self.memory {
            Memory::Host { x, y, .. } => bytes.copy_from_slice(if function.in_place() { x } else { y }),
            Memory::Device { x, y, stream, .. } => {
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

    fn views(&mut self) -> Result<Views<'_>, Error> {
        let Addresses { place, x, y, w, b } = self.memory.addresses();
        // SAFETY: the stage's own memory, made with these shapes and uploaded; it is borrowed for
        // as long as the views are, and whoever enqueues work waits before it drops the stage.
        unsafe {
            Ok(Views {
                x: View::from_raw_parts(place, x, DType::F16, &self.shape)?,
                y: ViewMut::from_raw_parts(place, y, DType::F16, &self.shape)?,
                w: View::from_raw_parts(place, w, DType::F16, &self.parameter_shape)?,
                b: View::from_raw_parts(place, b, DType::F16, &self.parameter_shape)?,
            })
        }
    }

    fn views_in_place(&mut self) -> Result<(ViewMut<'_>, View<'_>, View<'_>), Error> {
        let Addresses { place, x, w, b, .. } = self.memory.addresses();
        // SAFETY: as in `views`; there is no other view of `x`.
        unsafe {
            Ok((
                ViewMut::from_raw_parts(place, x, DType::F16, &self.shape)?,
                View::from_raw_parts(place, w, DType::F16, &self.parameter_shape)?,
                View::from_raw_parts(place, b, DType::F16, &self.parameter_shape)?,
            ))
        }
    }
}

struct Addresses {
    place: Place,
    x: u64,
    y: u64,
    w: u64,
    b: u64,
}

impl Memory {
    fn addresses(&mut self) -> Addresses {
        match self {
            Memory::Host { x, y, w, b } => {
                let address = |bytes: &mut AlignedBytes| bytes.as_mut_ptr().expose_provenance() as u64;
                Addresses { place: Place::Host, x: address(x), y: address(y), w: address(w), b: address(b) }
            }
            Memory::Device { x, y, w, b, stream } => Addresses {
                place: stream.device().place(),
                x: x.address(),
                y: y.address(),
                w: w.address(),
                b: b.address(),
            },
        }
    }
}
