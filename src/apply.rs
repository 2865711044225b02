//! `norm rms`, `norm layer`, `norm head`: one tensor of a safetensors file, normalized.

mod input;
mod sink;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use norm_host::{Backend, Cpu, DType, Error, Norm, NormKind, Place, View, ViewMut};
use serde::Serialize;

pub use input::InputError;
use input::{Tensor, TensorRef};
use sink::Sink;
pub use sink::SinkError;

use crate::bytes::AlignedBytes;
use crate::failure::{Failure, Outcome};
use crate::memory::DeviceBytes;
use crate::output;
use crate::target::{Target, TargetArgs};

/// What `norm rms` and `norm layer` take.
#[derive(Args, Debug)]
pub struct RowsArgs {
    /// The tensor to normalize over its last axis, of 1 to 4 axes (head: 2 to 4)
    #[arg(long, value_name = "FILE:TENSOR")]
    input: TensorRef,
    /// Weights, (dim,); for head (heads, head_dim). Without them, 1
    #[arg(long, value_name = "FILE:TENSOR")]
    weight: Option<TensorRef>,
    /// Biases, shaped as the weights. Without them, 0
    #[arg(long, value_name = "FILE:TENSOR")]
    bias: Option<TensorRef>,
    /// Added under the square root
    #[arg(long, default_value = "1e-6", allow_negative_numbers = true)]
    eps: f32,
    /// Added to every weight, in f32: 1 where a checkpoint stores w - 1 (Gemma 1 to 3, Qwen3-Next; not Gemma 3n and 4, not GGUF files)
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER", allow_negative_numbers = true)]
    weight_offset: f32,
    /// Element type of the result [default: that of the input]
    #[arg(long, value_name = "f16|bf16|f32", value_parser = dtype)]
    out_dtype: Option<DType>,
    #[command(flatten)]
    target: TargetArgs,
    /// The safetensors file to write; its tensor is named as the input's
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What `norm head` takes.
#[derive(Args, Debug)]
pub struct HeadArgs {
    #[command(flatten)]
    rows: RowsArgs,
    /// LayerNorm rather than RMSNorm
    #[arg(long)]
    layer: bool,
}

fn dtype(text: &str) -> Result<DType, String> {
    let found = DType::ALL.into_iter().find(|dtype| dtype.name() == text);
    found.ok_or_else(|| "expected f16, bf16 or f32".to_owned())
}

pub fn rms(args: &RowsArgs) -> Result<Outcome, Failure> {
    apply(args, NormKind::Rms, false)
}

pub fn layer(args: &RowsArgs) -> Result<Outcome, Failure> {
    apply(args, NormKind::Layer, false)
}

pub fn head(args: &HeadArgs) -> Result<Outcome, Failure> {
    apply(&args.rows, if args.layer { NormKind::Layer } else { NormKind::Rms }, true)
}

/// What was done.
#[derive(Serialize)]
struct Summary {
    op: &'static str,
    tensor: String,
    shape: Vec<usize>,
    dtype: String,
    device: String,
    out: String,
    /// From the input in host memory to the result there, transfers to a device included.
    seconds: f64,
}

fn apply(args: &RowsArgs, kind: NormKind, heads: bool) -> Result<Outcome, Failure> {
    let x = Tensor::load(&args.input)?;
    let w = args.weight.as_ref().map(Tensor::load).transpose()?;
    let b = args.bias.as_ref().map(Tensor::load).transpose()?;
    let call = Call { x: &x, w: w.as_ref(), b: b.as_ref(), args, kind, heads };
    let target = args.target.open()?;
    let sink = Sink::create(&args.out)?;

    let dtype = args.out_dtype.unwrap_or(x.dtype);
    let (y, time) = call.on(&target, dtype)?;
    sink.finish(&x.name, dtype, &x.shape, &y)?;

    let op = match (heads, kind) {
        (true, NormKind::Rms) => "head (rms)",
        (true, NormKind::Layer) => "head (layer)",
        (false, kind) => kind.name(),
    };
    report(
        args.json,
        &Summary {
            op,
            tensor: x.name,
            shape: x.shape,
            dtype: dtype.to_string(),
            device: target.name(),
            out: args.out.display().to_string(),
            seconds: time.as_secs_f64(),
        },
    )?;
    Ok(Outcome::Good)
}

fn report(json: bool, summary: &Summary) -> Result<(), Failure> {
    if json {
        return output::json(summary);
    }
    let Summary { op, tensor, shape, dtype, device, out, seconds } = summary;
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    output::text(&format!(
        "{op} of {tensor}, {} {dtype}, on {device} in {:.1} ms, written to {out}\n",
        shape.join(" × "),
        seconds * 1e3,
    ))
}

/// The operation that was asked for.
struct Call<'a> {
    x: &'a Tensor,
    w: Option<&'a Tensor>,
    b: Option<&'a Tensor>,
    args: &'a RowsArgs,
    kind: NormKind,
    heads: bool,
}

/// Where the tensors of a call have been put.
struct Addresses {
    place: Place,
    x: u64,
    y: u64,
    w: Option<u64>,
    b: Option<u64>,
}

impl Call<'_> {
    /// Computes `y` from the tensors where they are.
    fn on_host(&self, y: &mut AlignedBytes, dtype: DType, on: &impl Backend) -> Result<(), Error> {
        let address = |tensor: &Tensor| tensor.bytes().as_ptr().expose_provenance() as u64;
        let addresses = Addresses {
            place: Place::Host,
            x: address(self.x),
            y: y.as_mut_ptr().expose_provenance() as u64,
            w: self.w.map(address),
            b: self.b.map(address),
        };
        // SAFETY: these are the tensors' own bytes, and `y` has room for as many elements.
        unsafe { self.run(&addresses, dtype, on) }
    }

    /// The result's bytes, and the time from host memory to host memory.
    fn on(&self, target: &Target, dtype: DType) -> Result<(AlignedBytes, Duration), Error> {
        let elements = self.x.bytes().len() / self.x.dtype.size();
        let mut y = AlignedBytes::zeroed(elements * dtype.size());
        let start = Instant::now();
        match target {
            Target::Cpu { .. } => self.on_host(&mut y, dtype, &Cpu)?,
            Target::Sim { simulator } => self.on_host(&mut y, dtype, simulator)?,
            Target::Cuda { stream } => {
                let upload = |tensor: &Tensor| DeviceBytes::copy_of(tensor.bytes(), stream);
                let x_there = upload(self.x)?;
                let w_there = self.w.map(upload).transpose()?;
                let b_there = self.b.map(upload).transpose()?;
                let y_there = DeviceBytes::uninitialized(stream.device(), y.len())?;
                let addresses = Addresses {
                    place: stream.device().place(),
                    x: x_there.address(),
                    y: y_there.address(),
                    w: w_there.as_ref().map(DeviceBytes::address),
                    b: b_there.as_ref().map(DeviceBytes::address),
                };
                // SAFETY: these are copies of the tensors, `y_there` has room for as many elements,
                // and all stay until the download has waited for the stream.
                unsafe { self.run(&addresses, dtype, stream) }?;
                y_there.download(&mut y, stream)?;
            }
        }
        Ok((y, start.elapsed()))
    }

    /// Normalizes what lies at `addresses`.
    ///
    /// # Safety
    ///
    /// At `addresses` lie the call's tensors and room for a `y` of the shape of `x` and type
    /// `dtype`, which nothing else uses until `on` is done.
    unsafe fn run(&self, at: &Addresses, dtype: DType, on: &impl Backend) -> Result<(), Error> {
        let view = |tensor: &Tensor, address| {
            // SAFETY: the caller's promise.
            unsafe { View::from_raw_parts(at.place, address, tensor.dtype, &tensor.shape) }
        };
        let x = view(self.x, at.x)?;
        let w = self.w.zip(at.w).map(|(tensor, address)| view(tensor, address)).transpose()?;
        let b = self.b.zip(at.b).map(|(tensor, address)| view(tensor, address)).transpose()?;
        // SAFETY: the caller's promise.
        let mut y = unsafe { ViewMut::from_raw_parts(at.place, at.y, dtype, &self.x.shape) }?;
        let norm =
            Norm::new(self.kind, self.args.eps).weight(w).weight_offset(self.args.weight_offset).bias(b);
        if self.heads { norm.heads(x, &mut y, on) } else { norm.rows(x, &mut y, on) }
    }
}
