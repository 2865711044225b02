//! `norm rms`, `norm layer`, `norm head`: one tensor of a safetensors file, normalized.

mod args;
mod argument;
mod form;
pub mod input;
mod quantize;
mod rows;
mod sink;

use norm_host::{Arg, Backend, DType, Error, NormKind, Place, Rounding, View, ViewMut};
use serde::Serialize;

use args::NormArgs;
pub use args::{HeadArgs, RowsArgs};
pub use argument::{RefusedError, ShapeError};
use form::{Form, Shapes};
pub use input::InputError;
use input::{Tensor, TensorRef};
pub use quantize::{QuantForm, QuantScaling, QuantizeError};
pub use sink::SinkError;
use sink::{Destination, FileLayout, Sink};

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::printable;

pub fn rms(args: &RowsArgs) -> Result<Outcome, Failure> {
    of_rows(args, NormKind::Rms)
}

pub fn layer(args: &RowsArgs) -> Result<Outcome, Failure> {
    of_rows(args, NormKind::Layer)
}

fn of_rows(args: &RowsArgs, kind: NormKind) -> Result<Outcome, Failure> {
    match args.quantize.quantize {
        Some(form) => quantize::apply(args, kind, form),
        None => apply(&args.norm, kind, args.form()),
    }
}

pub fn head(args: &HeadArgs) -> Result<Outcome, Failure> {
    apply(&args.norm, if args.layer { NormKind::Layer } else { NormKind::Rms }, Form::Heads)
}

/// The summary of a run.
#[derive(Serialize)]
struct Summary {
    op: &'static str,
    /// The number of groups of a row, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<usize>,
    /// The order of roundings, if it is not the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounding: Option<&'static str>,
    tensor: String,
    shape: Vec<usize>,
    input_dtype: String,
    /// The element type of the result.
    dtype: String,
    device: String,
    out: String,
    /// The name of the result in that file.
    result: String,
    /// The time from the input in host memory to the result there, with transfers to a device.
    seconds: f64,
}

fn apply(args: &NormArgs, kind: NormKind, form: Form) -> Result<Outcome, Failure> {
    args.check_numbers()?;
    let x = Tensor::open(&args.input)?;
    let w = args.weight.as_ref().map(Tensor::open).transpose()?;
    let b = args.bias.as_ref().map(Tensor::open).transpose()?;
    let call = Call::new(args, kind, form, &x, [w.as_ref(), b.as_ref()])?;
    let dtype = args.out_dtype.unwrap_or(x.dtype);
    let destination = Destination::of(&args.destination, &call.inputs())?;
    let unlisted = destination.replaces(&x.file.source).then(|| unlisted(args, &x)).flatten();
    let layout = FileLayout::of(&args.destination, &x, dtype)?;
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

    let op = match (form, kind) {
        (Form::Heads, NormKind::Rms) => "head (rms)",
        (Form::Heads, NormKind::Layer) => "head (layer)",
        (Form::Rows | Form::Groups(_), kind) => kind.name(),
    };
    report(
        args.json,
        &Summary {
            op,
            groups: if let Form::Groups(groups) = form { Some(groups) } else { None },
            rounding: (args.rounding != Rounding::Single).then_some(args.rounding.name()),
            result: args.destination.name(&x).to_owned(),
            tensor: x.name,
            shape: x.shape,
            input_dtype: x.dtype.to_string(),
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
    let Summary { op, groups, rounding, tensor, shape, input_dtype, dtype, device, out, result, seconds } =
        summary;
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let named = if result == tensor { String::new() } else { format!(" as {}", printable::name(result)) };
    let groups = groups
        .map_or(String::new(), |groups| format!(" in {groups} group{}", if groups == 1 { "" } else { "s" }));
    let dtypes = if input_dtype == dtype { dtype.clone() } else { format!("{input_dtype} to {dtype}") };
    let rounding = rounding.map_or(String::new(), |rounding| format!(", rounding {rounding}"));
    output::text(&format!(
        "{op}{groups} of {}, {} {dtypes}{rounding}, on {device} in {:.1} ms, written to {}{named}\n",
        printable::name(tensor),
        shape.join(" × "),
        seconds * 1e3,
        printable::name(out),
    ))
}

/// What to say where a sharded model's own file has been given a tensor that the model's index does not list.
fn unlisted(args: &NormArgs, x: &Tensor) -> Option<String> {
    let name = args.destination.name(x);
    (x.index.is_some() && name != x.name).then(|| {
        let (index, name) = (printable::path(&args.input.file), printable::name(name));
        format!("{index} does not list '{name}', which is in the file now: its weight_map needs the name")
    })
}

/// The requested operation.
struct Call<'a> {
    x: &'a Tensor,
    w: Option<&'a Tensor>,
    b: Option<&'a Tensor>,
    shapes: Shapes,
    args: &'a NormArgs,
    kind: NormKind,
    form: Form,
}

/// The addresses of a call's tensors.
struct Addresses {
    place: Place,
    x: u64,
    y: u64,
    w: Option<u64>,
    b: Option<u64>,
}

impl<'a> Call<'a> {
    /// The call on the tensors that `args` name.
    fn new(
        args: &'a NormArgs,
        kind: NormKind,
        form: Form,
        x: &'a Tensor,
        [w, b]: [Option<&'a Tensor>; 2],
    ) -> Result<Call<'a>, ShapeError> {
        let given = |name: &'a Option<TensorRef>, tensor: Option<&'a Tensor>| name.as_ref().zip(tensor);
        let shapes = form.shapes((&args.input, x), given(&args.weight, w), given(&args.bias, b))?;
        Ok(Call { x, w, b, shapes, args, kind, form })
    }

    /// The input tensors, each with its option.
    fn inputs(&self) -> Vec<(&'static str, &'a Tensor)> {
        let given = [("--input", Some(self.x)), ("--weight", self.w), ("--bias", self.b)];
        given.into_iter().filter_map(|(option, tensor)| Some((option, tensor?))).collect()
    }

    /// Normalizes a chunk of `x` at `addresses`, of this shape.
    ///
    /// # Safety
    ///
    /// At `addresses` are elements of `x` for `shape`, all of `w` and `b`, and memory for a `y` of `shape` and type
    /// `dtype`. Nothing else uses them until `on` is done.
    unsafe fn run(
        &self,
        shape: &[usize],
        at: &Addresses,
        dtype: DType,
        on: &impl Backend,
    ) -> Result<(), Error> {
        // SAFETY: the caller guarantees that as many elements of `x` are there as `shape` has.
        let x = unsafe { View::from_raw_parts(at.place, at.x, self.x.dtype, shape) };
        let x = x.map_err(|error| error.for_arg(Arg::X))?;
        let view = |arg, tensor: Option<&Tensor>, address: Option<u64>, shape: &Option<Vec<usize>>| {
            let (Some(tensor), Some(address), Some(shape)) = (tensor, address, shape) else {
                return Ok(None);
            };
            // SAFETY: the caller guarantees that the whole tensor is there, which has as many elements as `shape`.
            let view = unsafe { View::from_raw_parts(at.place, address, tensor.dtype, shape) };
            view.map(Some).map_err(|error| error.for_arg(arg))
        };
        let w = view(Arg::W, self.w, at.w, &self.shapes.w)?;
        let b = view(Arg::B, self.b, at.b, &self.shapes.b)?;
        // SAFETY: the caller guarantees memory there for as many elements of `dtype` as `shape` has.
        let y = unsafe { ViewMut::from_raw_parts(at.place, at.y, dtype, shape) };
        let mut y = y.map_err(|error| error.for_arg(Arg::Y))?;
        let norm = self.args.described(self.kind).weight(w).bias(b);
        match self.form {
            Form::Rows => norm.rows(x, &mut y, on),
            // Each group has its own weights, like a head.
            Form::Groups(_) | Form::Heads => norm.heads(x, &mut y, on),
        }
    }
}
