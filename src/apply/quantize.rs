//! `--quantize`: a norm whose output is quantized, written as codes and scales.

mod args;

use std::time::{Duration, Instant};

use norm_host::{
    Arg, Backend, Cpu, DType, Error, NormKind, Place, Quantization, QuantizedMut, View, ViewMut,
};
use serde::Serialize;

use args::Scaling;
pub use args::{Form as QuantForm, QuantizeArgs, QuantizeError, Scaling as QuantScaling};

use super::args::RowsArgs;
use super::argument::{Argument, RefusedError, ShapeError};
use super::form::Form;
use super::input::{Entry, Tensor};
use super::rows::{CHUNK, Chunks};
use super::sink::{Destination, FileLayout, Sink};
use crate::bytes::AlignedBytes;
use crate::failure::{Failure, Outcome};
use crate::memory::DeviceBytes;
use crate::target::Target;
use crate::{output, printable};

/// The names of the result's tensors, unless `--as` says otherwise.
const CODES: &str = "y";
const SCALES: &str = "scale";

/// The summary of a run.
#[derive(Serialize)]
struct Summary {
    op: &'static str,
    tensor: String,
    shape: Vec<usize>,
    input_dtype: String,
    /// The form of quantization, as it was asked for.
    quantize: &'static str,
    preset: &'static str,
    device: String,
    out: String,
    /// The name of the codes in that file.
    result: String,
    /// The name and the shape of the scales there.
    scale: String,
    scale_shape: Vec<usize>,
    /// The time from the input in host memory to the result there, with transfers to a device.
    seconds: f64,
}

/// Normalizes and quantizes the tensor that `args` name, as `form` says.
pub fn apply(args: &RowsArgs, kind: NormKind, form: QuantForm) -> Result<Outcome, Failure> {
    let RowsArgs { norm, quantize, .. } = args;
    norm.check_numbers()?;
    quantize.check(form, args)?;
    let x = Tensor::open(&norm.input)?;
    let w = norm.weight.as_ref().map(Tensor::open).transpose()?;
    let b = norm.bias.as_ref().map(Tensor::open).transpose()?;
    let given_w = norm.weight.as_ref().zip(w.as_ref());
    let given_b = norm.bias.as_ref().zip(b.as_ref());
    let shapes = Form::Rows.shapes((&norm.input, &x), given_w, given_b)?;
    let dim = shapes.unit[0];
    let scale =
        quantize.scale.as_ref().map(|name| Tensor::open(name).map(|scale| (name, scale))).transpose()?;
    let scale = match scale {
        Some((name, tensor)) if tensor.elements() != 1 => {
            return Err(ShapeError::Shape {
                argument: Argument::tensor("--scale", name),
                expected: "(1,)".to_owned(),
                given: super::form::text(&tensor.shape),
            }
            .into());
        }
        scale => scale.map(|(_, tensor)| tensor),
    };

    let mut scale_shape = x.shape.clone();
    match form.scaling {
        Scaling::Given => scale_shape = vec![1],
        // A block that does not divide `dim` is refused below, before anything is written.
        Scaling::Token | Scaling::Block(_) => {
            *scale_shape.last_mut().expect("rows have an axis") = groups(form, dim)
        }
    }
    let call = Call { args, kind, form, x: &x, w: w.as_ref(), b: b.as_ref(), scale: scale.as_ref(), dim };
    call.check()?;
    let inputs = call.inputs();
    let destination = Destination::of(&norm.destination, &inputs)?;
    let names = norm.destination.given_name().map_or_else(
        || [CODES, SCALES].map(str::to_owned),
        |name| [name.to_owned(), format!("{name}_{SCALES}")],
    );
    let entry = |dtype: &str, shape: &[usize], size: usize| Entry {
        dtype: dtype.to_owned(),
        shape: shape.to_vec(),
        data_offsets: (0, (shape.iter().product::<usize>() * size) as u64),
    };
    let codes = entry(form.stored_name(), &x.shape, 1);
    let scales = entry("F32", &scale_shape, size_of::<f32>());
    let layout = FileLayout::of_two(&norm.destination, (&names[0], codes), (&names[1], scales))?;
    let target = norm.target.open()?;

    let mut sink = Sink::create(destination, layout)?;
    for rounding in inputs.iter().filter_map(|(_, tensor)| tensor.rounding()) {
        output::note(&rounding);
    }
    let (time, scales) = call.run(shapes.units, &target, CHUNK, |codes| Ok(sink.append(codes)?))?;
    sink.write_second(&scales)?;
    let out = sink.finish()?;

    let [result, scale] = names;
    report(
        norm.json,
        &Summary {
            op: kind.name(),
            tensor: x.name.clone(),
            shape: x.shape.clone(),
            input_dtype: x.dtype.to_string(),
            quantize: form.name,
            preset: quantize.preset.name(),
            device: target.name(),
            out,
            result,
            scale,
            scale_shape,
            seconds: time.as_secs_f64(),
        },
    )?;
    Ok(Outcome::Good)
}

fn report(json: bool, summary: &Summary) -> Result<(), Failure> {
    if json {
        return output::json(summary);
    }
    let shape: Vec<String> = summary.shape.iter().map(usize::to_string).collect();
    output::text(&format!(
        "{} of {}, {} {} to {}, preset {}, on {} in {:.1} ms, written to {} as {} and {}\n",
        summary.op,
        printable::name(&summary.tensor),
        shape.join(" × "),
        summary.input_dtype,
        summary.quantize,
        summary.preset,
        summary.device,
        summary.seconds * 1e3,
        printable::name(&summary.out),
        printable::name(&summary.result),
        printable::name(&summary.scale),
    ))
}

/// Scales of a row of `dim` elements, if they are computed.
fn groups(form: QuantForm, dim: usize) -> usize {
    match form.scaling {
        Scaling::Given => 0,
        Scaling::Token => 1,
        Scaling::Block(block) => dim / block,
    }
}

/// The requested operation.
struct Call<'a> {
    args: &'a RowsArgs,
    kind: NormKind,
    form: QuantForm,
    x: &'a Tensor,
    w: Option<&'a Tensor>,
    b: Option<&'a Tensor>,
    scale: Option<&'a Tensor>,
    dim: usize,
}

/// The addresses of a call's tensors.
struct Addresses {
    place: Place,
    x: u64,
    w: Option<u64>,
    b: Option<u64>,
    scale: Option<u64>,
    codes: u64,
    scales: u64,
}

impl<'a> Call<'a> {
    /// The input tensors, each with its option.
    fn inputs(&self) -> Vec<(&'static str, &'a Tensor)> {
        let given =
            [("--input", Some(self.x)), ("--weight", self.w), ("--bias", self.b), ("--scale", self.scale)];
        given.into_iter().filter_map(|(option, tensor)| Some((option, tensor?))).collect()
    }

    /// Refuses what the operation would, before anything is written: it is tried on no rows. The scale is read, for on a device
    /// nobody looks at it.
    fn check(&self) -> Result<(), Failure> {
        let scale = self.scale.map(Tensor::read_all).transpose()?;
        let [w, b] = [self.w, self.b].map(|p| p.map(|p| AlignedBytes::zeroed(self.dim * p.dtype.size())));
        let address = |bytes: &AlignedBytes| bytes.as_ptr().expose_provenance() as u64;
        // Without rows no element is accessed, but an address must be aligned and not null.
        let none = AlignedBytes::zeroed(16);
        let addresses = Addresses {
            place: Place::Host,
            x: address(&none),
            w: w.as_ref().map(address),
            b: b.as_ref().map(address),
            scale: scale.as_ref().map(address),
            codes: address(&none),
            scales: address(&none),
        };
        // SAFETY: the weights, biases and the scale are there, and there are no rows.
        unsafe { self.run_chunk(0, &addresses, &Cpu) }.map_err(|error| self.explain(error))
    }

    /// Normalizes the tensor in chunks of about `bytes` bytes, and passes the codes of each to `write`, in order. Gives the time, without file accesses,
    /// and the scales: those that were computed, or the one that was given.
    fn run(
        &self,
        rows: usize,
        target: &Target,
        bytes: usize,
        mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(Duration, Vec<u8>), Failure> {
        let chunks = Chunks::new(rows, &[self.dim], self.x.stored_size(), bytes);
        let read = |tensor: Option<&Tensor>| tensor.map(Tensor::read_all).transpose();
        let (w, b, scale) = (read(self.w)?, read(self.b)?, read(self.scale)?);
        let row_scales = groups(self.form, self.dim) * size_of::<f32>();
        let mut scales = scale.as_deref().unwrap_or_default().to_vec();
        let mut memory = Memory::prepare(self, target, [w, b, scale], chunks.largest(), row_scales)?;
        let (mut x, mut codes, mut chunk_scales) = <(AlignedBytes, AlignedBytes, AlignedBytes)>::default();
        let mut time = Duration::ZERO;
        for chunk in chunks.iter() {
            let count = chunk.shape[0];
            self.x.read(chunk.elements.clone(), &mut x)?;
            self.x.hold(&mut codes, chunk.elements.len())?;
            self.x.hold(&mut chunk_scales, count * row_scales)?;
            let start = Instant::now();
            let done = memory.run(self, count, &x, &mut codes, &mut chunk_scales);
            done.map_err(|error| self.explain(error))?;
            time += start.elapsed();
            scales.extend_from_slice(&chunk_scales);
            write(&codes)?;
        }
        Ok((time, scales))
    }

    /// Normalizes and quantizes `rows` rows at `at`.
    ///
    /// # Safety
    ///
    /// At the addresses are so many rows of `x`, all of the weights, biases and the given scale, and memory for the codes and scales
    /// of the rows. Nothing else uses them until `on` is done.
    unsafe fn run_chunk(&self, rows: usize, at: &Addresses, on: &impl Backend) -> Result<(), Error> {
        let Addresses { place, .. } = *at;
        let shape = [rows, self.dim];
        let for_arg = |arg| move |error: Error| error.for_arg(arg);
        // SAFETY: the caller guarantees the elements.
        let x =
            unsafe { View::from_raw_parts(place, at.x, self.x.dtype, &shape) }.map_err(for_arg(Arg::X))?;
        let view = |arg, tensor: Option<&Tensor>, address: Option<u64>, len: usize| {
            let Some((tensor, address)) = tensor.zip(address) else { return Ok(None) };
            // SAFETY: the caller guarantees the whole tensor.
            let view = unsafe { View::from_raw_parts(place, address, tensor.dtype, &[len]) };
            view.map(Some).map_err(for_arg(arg))
        };
        let w = view(Arg::W, self.w, at.w, self.dim)?;
        let b = view(Arg::B, self.b, at.b, self.dim)?;
        let scale = view(Arg::Scale, self.scale, at.scale, 1)?;
        // SAFETY: the caller guarantees memory for the codes.
        let codes = unsafe { QuantizedMut::from_raw_parts(place, at.codes, self.form.format, &shape) };
        let mut y = codes.map_err(for_arg(Arg::Y))?;
        let format = self.form.format;
        let quantization = match (self.form.scaling, scale) {
            (Scaling::Given, Some(scale)) => Quantization::per_tensor(format, scale),
            (Scaling::Block(block), _) => Quantization::per_block(format, block),
            // `QuantizeArgs::check` has seen that a scale is there where it is given.
            (Scaling::Token | Scaling::Given, _) => Quantization::per_token(format),
        };
        if self.form.scaling != Scaling::Given {
            let groups = groups(self.form, self.dim);
            // SAFETY: the caller guarantees memory for the scales.
            let scales = unsafe { ViewMut::from_raw_parts(place, at.scales, DType::F32, &[rows, groups]) };
            y = y.scales(scales.map_err(for_arg(Arg::Scales))?);
        }
        let quantization = self.args.quantize.described(quantization);
        self.args.norm.described(self.kind).weight(w).bias(b).quantize_rows(&quantization, x, &mut y, on)
    }

    /// The library's error, said of the option that gave the argument at fault.
    fn explain(&self, source: Error) -> Failure {
        let QuantizeArgs { scale, .. } = &self.args.quantize;
        let argument = match (source.arg(), scale) {
            (Some(Arg::Scale), Some(scale)) => Argument::tensor("--scale", scale),
            (Some(Arg::UpperBound), _) => Argument::option("--scale-ub"),
            (Some(Arg::Quantization), _) => Argument::option("--quantize"),
            _ => return self.args.norm.explain(source),
        };
        RefusedError { argument, source }.into()
    }
}

/// The place of a call's tensors while its chunks are processed.
enum Memory<'a> {
    Host {
        parameters: [Option<AlignedBytes>; 3],
        target: &'a Target,
    },
    Device {
        stream: &'a norm_host::Stream,
        parameters: [Option<DeviceBytes>; 3],
        chunk: Box<[DeviceBytes; 3]>,
    },
}

impl<'a> Memory<'a> {
    /// Copies weights, biases and the scale to the target, and allocates memory there for `elements` of the input and the result.
    fn prepare(
        call: &Call<'_>,
        target: &'a Target,
        parameters: [Option<AlignedBytes>; 3],
        elements: usize,
        row_scales: usize,
    ) -> Result<Memory<'a>, Failure> {
        let Target::Cuda { stream } = target else { return Ok(Memory::Host { parameters, target }) };
        let mut there = [None, None, None];
        for (there, bytes) in there.iter_mut().zip(&parameters) {
            *there = bytes.as_deref().map(|bytes| DeviceBytes::copy_of(bytes, stream)).transpose()?;
        }
        let uninitialized = |bytes| DeviceBytes::uninitialized(stream.device(), bytes);
        let rows = elements.checked_div(call.dim).unwrap_or(0);
        let chunk = Box::new([
            uninitialized(elements * call.x.dtype.size())?,
            uninitialized(elements)?,
            uninitialized(rows * row_scales)?,
        ]);
        Ok(Memory::Device { stream, parameters: there, chunk })
    }

    /// Quantizes `rows` rows.
    fn run(
        &mut self,
        call: &Call<'_>,
        rows: usize,
        x: &AlignedBytes,
        codes: &mut AlignedBytes,
        scales: &mut AlignedBytes,
    ) -> Result<(), Error> {
        let address = |bytes: &AlignedBytes| bytes.as_ptr().expose_provenance() as u64;
        match self {
            Memory::Host { parameters, target } => {
                let [w, b, scale] = parameters.each_ref().map(|bytes| bytes.as_ref().map(address));
                let addresses = Addresses {
                    place: Place::Host,
                    x: address(x),
                    w,
                    b,
                    scale,
                    codes: codes.as_mut_ptr().expose_provenance() as u64,
                    scales: scales.as_mut_ptr().expose_provenance() as u64,
                };
                // SAFETY: the tensors have been read whole, and there is room for the codes and scales of all rows; nothing else uses
                // them until `run` returns.
                unsafe {
                    match target {
                        Target::Sim { simulator } => call.run_chunk(rows, &addresses, simulator),
                        _ => call.run_chunk(rows, &addresses, &Cpu),
                    }
                }
            }
            Memory::Device { stream, parameters, chunk } => {
                let [x_there, codes_there, scales_there] = &mut **chunk;
                x_there.upload(x, stream)?;
                let [w, b, scale] =
                    parameters.each_ref().map(|bytes| bytes.as_ref().map(DeviceBytes::address));
                let addresses = Addresses {
                    place: stream.device().place(),
                    x: x_there.address(),
                    w,
                    b,
                    scale,
                    codes: codes_there.address(),
                    scales: scales_there.address(),
                };
                // SAFETY: these are copies of the call's tensors, and room for the largest chunk's codes and scales; all of them outlive
                // the downloads, which wait for the stream.
                unsafe { call.run_chunk(rows, &addresses, *stream) }?;
                codes_there.download(codes, stream)?;
                scales_there.download(scales, stream)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use safetensors::{Dtype, tensor::TensorView};

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn where_chunks_are_cut_changes_no_code_and_no_scale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let bytes: Vec<u8> =
            (0..7 * 128).flat_map(|i| half::f16::from_f32((i as f32).sin()).to_le_bytes()).collect();
        let x = TensorView::new(Dtype::F16, vec![7, 128], &bytes).unwrap();
        std::fs::write(&path, safetensors::serialize([("x", x)], None).unwrap()).unwrap();
        let input = format!("{}:x", path.display());
        let line = ["norm", "rms", "--input", &input, "--quantize", "fp8-block64", "--out", "y"];
        let Some(Command::Rms(args)) = Cli::try_parse_from(line).unwrap().command else { unreachable!() };
        let x = Tensor::open(&args.norm.input).unwrap();
        let form = args.quantize.quantize.unwrap();
        let call =
            Call { args: &args, kind: NormKind::Rms, form, x: &x, w: None, b: None, scale: None, dim: 128 };
        let target = Target::Cpu { why: String::new() };
        let [whole, cut, rows] = [1 << 20, 3 * 256, 1].map(|bytes| {
            let mut codes = Vec::new();
            let (_, scales) = call
                .run(7, &target, bytes, |more| {
                    codes.extend_from_slice(more);
                    Ok(())
                })
                .unwrap();
            (codes, scales)
        });
        assert_eq!((whole.0.len(), whole.1.len()), (7 * 128, 7 * 2 * 4));
        assert!(whole == cut && whole == rows);
    }
}
