//! `norm rms`, `norm layer`, `norm head`: one tensor of a safetensors file, normalized.

pub mod input;
mod rows;
mod sink;

use clap::Args;
use norm_host::{Backend, DType, Error, Norm, NormKind, Place, View, ViewMut};
use serde::Serialize;

pub use input::InputError;
use input::{Tensor, TensorRef};
pub use sink::SinkError;
use sink::{Destination, DestinationArgs, Layout, Sink};

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::printable;
use crate::target::TargetArgs;

/// What is read and written, below the options.
const FILES_HELP: &str = "\
FILE is a safetensors file, or the index of a sharded model (model.safetensors.index.json), which leads to the
one that has the tensor. Where names hold colons, the longest FILE that exists is taken. F64 is rounded to f32.

A file that exists is replaced only with --force, and by --out never one that is read. --into FILE may be the
file of --input (of a sharded model the one that has the tensor): it is replaced whole, by a rename. Results
are written under a temporary name in FILE's folder; where there is a link, the file that it leads to is meant.";

/// What `norm rms` and `norm layer` take.
#[derive(Args, Debug)]
#[command(after_help = FILES_HELP)]
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
    #[command(flatten)]
    destination: DestinationArgs,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What `norm head` takes.
#[derive(Args, Debug)]
#[command(after_help = FILES_HELP)]
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
    /// The name of the result in that file.
    result: String,
    /// From the input in host memory to the result there, transfers to a device included.
    seconds: f64,
}

fn apply(args: &RowsArgs, kind: NormKind, heads: bool) -> Result<Outcome, Failure> {
    let x = Tensor::open(&args.input)?;
    let w = args.weight.as_ref().map(Tensor::open).transpose()?;
    let b = args.bias.as_ref().map(Tensor::open).transpose()?;
    let call = Call { x: &x, w: w.as_ref(), b: b.as_ref(), args, kind, heads };
    let dtype = args.out_dtype.unwrap_or(x.dtype);
    let destination = Destination::of(&args.destination, &call.inputs())?;
    let unlisted = destination.replaces(&x.file.source).then(|| unlisted(args, &x)).flatten();
    let layout = Layout::of(&args.destination, &x, dtype)?;
    let target = args.target.open()?;

    let mut sink = Sink::create(destination, layout)?;
    for rounding in call.inputs().iter().filter_map(|(_, tensor)| tensor.rounding()) {
        output::note(&rounding);
    }
    let time = rows::normalize(&call, &target, dtype, rows::CHUNK, |rows| Ok(sink.append(rows)?))?;
    sink.copy_others(&x.file.source)?;
    let out = sink.finish()?;
    if let Some(unlisted) = unlisted {
        output::note(&unlisted);
    }

    let op = match (heads, kind) {
        (true, NormKind::Rms) => "head (rms)",
        (true, NormKind::Layer) => "head (layer)",
        (false, kind) => kind.name(),
    };
    report(
        args.json,
        &Summary {
            op,
            result: args.destination.name(&x).to_owned(),
            tensor: x.name,
            shape: x.shape,
            dtype: dtype.to_string(),
            device: target.name(),
            out,
            seconds: time.as_secs_f64(),
        },
    )?;
    Ok(Outcome::Good)
}

fn report(json: bool, summary: &Summary) -> Result<(), Failure> {
    if json {
        return output::json(summary);
    }
    let Summary { op, tensor, shape, dtype, device, out, result, seconds } = summary;
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let named = if result == tensor { String::new() } else { format!(" as {}", printable::name(result)) };
    output::text(&format!(
        "{op} of {}, {} {dtype}, on {device} in {:.1} ms, written to {}{named}\n",
        printable::name(tensor),
        shape.join(" × "),
        seconds * 1e3,
        printable::name(out),
    ))
}

/// What to say where a sharded model's own file has been given a tensor that the model's index does not list.
fn unlisted(args: &RowsArgs, x: &Tensor) -> Option<String> {
    let name = args.destination.name(x);
    (x.index.is_some() && name != x.name).then(|| {
        let (index, name) = (printable::path(&args.input.file), printable::name(name));
        format!("{index} does not list '{name}', which is in the file now")
    })
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
    /// The trailing axes of `x` that weights and biases span.
    fn unit_axes(&self) -> usize {
        if self.heads { 2 } else { 1 }
    }

    /// The tensors that are read, each with its option.
    fn inputs(&self) -> Vec<(&'static str, &Tensor)> {
        let given = [("--input", Some(self.x)), ("--weight", self.w), ("--bias", self.b)];
        given.into_iter().filter_map(|(option, tensor)| Some((option, tensor?))).collect()
    }

    /// Normalizes rows of `x` that lie at `addresses`: a part of the tensor, of this shape.
    ///
    /// # Safety
    ///
    /// At `addresses` lie elements of `x` for `shape`, all of `w` and `b`, and room for a `y` of `shape` and type
    /// `dtype`, which nothing else uses until `on` is done.
    unsafe fn run(
        &self,
        shape: &[usize],
        at: &Addresses,
        dtype: DType,
        on: &impl Backend,
    ) -> Result<(), Error> {
        // SAFETY: the caller has put as many elements of `x` there as `shape` has.
        let x = unsafe { View::from_raw_parts(at.place, at.x, self.x.dtype, shape) }?;
        let view = |(tensor, address): (&Tensor, u64)| {
            // SAFETY: the caller has put all of the tensor there.
            unsafe { View::from_raw_parts(at.place, address, tensor.dtype, &tensor.shape) }
        };
        let w = self.w.zip(at.w).map(view).transpose()?;
        let b = self.b.zip(at.b).map(view).transpose()?;
        // SAFETY: the caller has made room there for as many elements of `dtype` as `shape` has.
        let mut y = unsafe { ViewMut::from_raw_parts(at.place, at.y, dtype, shape) }?;
        let norm =
            Norm::new(self.kind, self.args.eps).weight(w).weight_offset(self.args.weight_offset).bias(b);
        if self.heads { norm.heads(x, &mut y, on) } else { norm.rows(x, &mut y, on) }
    }
}
