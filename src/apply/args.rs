//! The arguments of `norm rms`, `norm layer` and `norm head`.

use clap::Args;
use norm_host::{Arg, Cpu, DType, Error, Norm, NormKind, Rounding, View, ViewMut};

use super::argument::{Argument, RefusedError};
use super::form::Form;
use super::input::TensorRef;
use super::quantize::QuantizeArgs;
use super::sink::DestinationArgs;
use crate::failure::Failure;
use crate::order::order;
use crate::target::TargetArgs;
use crate::whole::whole;

/// The help text below the options: which files are read and written.
const FILES_HELP: &str = "\
FILE is a safetensors file, or the index of a sharded model (model.safetensors.index.json), which leads to the
one that has the tensor. Where names hold colons, the longest FILE that exists is taken. F64 is rounded to f32.

A file that exists is replaced only with --force, and by --out never one that is read. --into FILE may be the
file of --input (of a sharded model the one that has the tensor): it is replaced whole, by a rename, without
--force unless it is read-only. Results are written under a temporary name in FILE's folder; where there is a
link, the file that it leads to is meant.";

/// The arguments of `norm rms` and `norm layer`.
#[derive(Args, Debug)]
#[command(after_help = FILES_HELP)]
pub struct RowsArgs {
    #[command(flatten)]
    pub norm: NormArgs,
    /// Parts of each row that are normalized by themselves, as in Mamba 2; must divide dim. Weights stay (dim,)
    #[arg(long, value_name = "N", value_parser = whole(1, u32::MAX), allow_hyphen_values = true)]
    groups: Option<u32>,
    #[command(flatten)]
    pub quantize: QuantizeArgs,
}

/// The arguments of `norm head`.
#[derive(Args, Debug)]
#[command(after_help = FILES_HELP)]
pub struct HeadArgs {
    #[command(flatten)]
    pub norm: NormArgs,
    /// LayerNorm rather than RMSNorm
    #[arg(long)]
    pub layer: bool,
}

/// The arguments that all of them have.
#[derive(Args, Debug)]
pub struct NormArgs {
    /// The tensor to normalize over its last axis: (…, dim); for head (…, heads, head_dim)
    #[arg(long, value_name = "FILE:TENSOR")]
    pub input: TensorRef,
    /// Weights: (dim,), also as (1, dim) or (dim, 1); for head (heads, head_dim), or (head_dim,) for all heads.
    /// Without them, 1
    #[arg(long, value_name = "FILE:TENSOR")]
    pub weight: Option<TensorRef>,
    /// Biases, of a shape that weights may have. Without them, 0
    #[arg(long, value_name = "FILE:TENSOR")]
    pub bias: Option<TensorRef>,
    /// Added under the square root
    #[arg(long, default_value = "1e-6", allow_hyphen_values = true)]
    pub eps: f64,
    /// Added to every weight, in f32: 1 where a checkpoint stores w - 1 (Gemma 1 to 3, Nemotron, Qwen3-Next, Qwen3.5; not Gemma 3n and 4, not GGUF files)
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER", value_parser = single, allow_hyphen_values = true)]
    pub weight_offset: f32,
    /// Round each weight with its offset to the type of the weights, as Nemotron's LayerNorm does
    #[arg(long)]
    pub round_offset: bool,
    /// Where to round before the last time: nowhere (single), the norm to the input's type (before-weight: Llama, Mistral,
    /// Qwen and most others run eagerly; vLLM) or to the weights' (t5), or the product with the weight (before-bias: exllamav2)
    #[arg(long, default_value_t = Rounding::Single, value_name = "ORDER", value_parser = order, allow_hyphen_values = true)]
    pub rounding: Rounding,
    /// Element type of the result [default: that of the input]
    #[arg(long, value_name = "f16|bf16|f32", value_parser = dtype)]
    pub out_dtype: Option<DType>,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

impl RowsArgs {
    pub fn form(&self) -> Form {
        self.groups.map_or(Form::Rows, |groups| Form::Groups(groups as usize))
    }
}

impl NormArgs {
    /// Refuses numbers that the operation would, before any file is opened.
    pub fn check_numbers(&self) -> Result<(), Failure> {
        let (one, mut none) = ([1.0_f32], [0.0_f32; 0]);
        let weight = self.weight.as_ref().map(|_| View::from_slice(&one, &[1])).transpose();
        // Both norms take the same numbers. Without rows there is nothing to compute.
        let checked = weight.and_then(|weight| {
            self.described(NormKind::Rms)
                .weight(weight)
                .rows_in_place(&mut ViewMut::from_slice(&mut none, &[0, 1])?, &Cpu)
        });
        checked.map_err(|error| self.explain(error))
    }

    /// The norm without its tensors.
    pub fn described<'a>(&self, kind: NormKind) -> Norm<'a> {
        Norm::new(kind, self.eps)
            .weight_offset(self.weight_offset)
            .round_offset(self.round_offset)
            .rounding(self.rounding)
    }

    /// The library's error, said of the option that gave the argument at fault; what no option is at fault for
    /// as it is.
    pub fn explain(&self, source: Error) -> Failure {
        let argument = match (source.arg(), &self.weight, &self.bias) {
            (Some(Arg::X | Arg::Y), ..) => Argument::tensor("--input", &self.input),
            (Some(Arg::W), Some(weight), _) => Argument::tensor("--weight", weight),
            (Some(Arg::B), _, Some(bias)) => Argument::tensor("--bias", bias),
            (Some(Arg::Eps), ..) => Argument::option("--eps"),
            (Some(Arg::WeightOffset), ..) => Argument::option("--weight-offset"),
            (Some(Arg::RoundOffset), ..) => Argument::option("--round-offset"),
            (Some(Arg::Rounding), ..) => Argument::option("--rounding"),
            _ => return source.into(),
        };
        RefusedError { argument, source }.into()
    }
}

/// A number that f32 has, rounded. What is infinite or not a number as it is typed is left to the library to refuse.
fn single(text: &str) -> Result<f32, String> {
    let given: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    // Parsed as f32, which rounds once.
    let rounded: f32 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if rounded.is_infinite() && given.is_finite() {
        return Err("expected a number in the range of f32".to_owned());
    }
    Ok(rounded)
}

fn dtype(text: &str) -> Result<DType, String> {
    let found = DType::ALL.into_iter().find(|dtype| dtype.name() == text);
    found.ok_or_else(|| "expected f16, bf16 or f32".to_owned())
}
