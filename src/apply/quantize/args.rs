//! The arguments of `--quantize`.

use clap::Args;
use norm_host::{QuantFormat, QuantPreset, Quantization, Scale};

use crate::apply::args::RowsArgs;
use crate::apply::argument::Argument;
use crate::apply::input::TensorRef;
use crate::failure::Failure;

/// How the result is quantized, as the command line says it.
#[derive(Args, Debug)]
pub struct QuantizeArgs {
    /// Quantize the result, which is written as y (F8_E4M3 or I8) and scale (F32), or with --as as NAME and NAME_scale: fp8-static
    /// and int8-static with the scale of --scale; fp8-token, fp8-block64, fp8-block128 and the same of int8 with one for each
    /// row or block, its largest magnitude over 448 or 127
    #[arg(long, value_name = "FORM", value_parser = form, allow_hyphen_values = true)]
    pub quantize: Option<Form>,
    /// Whose roundings and division: exact (rounded once), vllm or flashinfer
    #[arg(long, default_value_t = QuantPreset::Exact, value_name = "exact|vllm|flashinfer", value_parser = preset, requires = "quantize")]
    pub preset: QuantPreset,
    /// The scale of a static form: one f32
    #[arg(long, value_name = "FILE:TENSOR", requires = "quantize")]
    pub scale: Option<TensorRef>,
    /// The largest magnitude that the scale of a row or block accounts for; larger ones saturate
    #[arg(long, value_name = "NUMBER", requires = "quantize", allow_hyphen_values = true)]
    scale_ub: Option<f32>,
}

/// A form of quantization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form {
    /// Its name on the command line.
    pub name: &'static str,
    pub format: QuantFormat,
    pub scaling: Scaling,
}

/// Which elements share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// All: it is given.
    Given,
    /// Those of a row.
    Token,
    /// So many neighbours in a row.
    Block(usize),
}

const FORMS: [Form; 8] = {
    use QuantFormat::{E4m3, Int8};
    use Scaling::{Block, Given, Token};
    const fn form(name: &'static str, format: QuantFormat, scaling: Scaling) -> Form {
        Form { name, format, scaling }
    }
    [
        form("fp8-static", E4m3, Given),
        form("fp8-token", E4m3, Token),
        form("fp8-block64", E4m3, Block(64)),
        form("fp8-block128", E4m3, Block(128)),
        form("int8-static", Int8, Given),
        form("int8-token", Int8, Token),
        form("int8-block64", Int8, Block(64)),
        form("int8-block128", Int8, Block(128)),
    ]
};

/// Why options do not go together.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    #[error("--quantize {form}: expected --scale FILE:TENSOR, given none")]
    NoScale { form: &'static str },
    #[error("{scale}: expected none with --quantize {form}, which computes its scales")]
    Scale { scale: Argument, form: &'static str },
    #[error("{option}: expected none with --quantize, {why}")]
    Option { option: &'static str, why: &'static str },
}

impl Form {
    /// Every one.
    pub const ALL: [Form; 8] = FORMS;

    /// The form of that name.
    pub fn named(name: &str) -> Option<Form> {
        FORMS.into_iter().find(|form| form.name == name)
    }

    /// The type of its codes as safetensors files spell it.
    pub fn stored_name(self) -> &'static str {
        match self.format {
            QuantFormat::E4m3 => "F8_E4M3",
            QuantFormat::Int8 => "I8",
        }
    }
}

impl QuantizeArgs {
    /// Refuses options that do not go together.
    pub fn check(&self, form: Form, args: &RowsArgs) -> Result<(), Failure> {
        let none = |option, why| Err(QuantizeError::Option { option, why }.into());
        if args.norm.out_dtype.is_some() {
            return none("--out-dtype", "which says what is written");
        }
        if args.form() != crate::apply::form::Form::Rows {
            return none("--groups", "which quantizes whole rows");
        }
        if args.norm.destination.keeps_others() {
            return none("--into", "whose codes and scales make a file of their own: --out");
        }
        match (&self.scale, form.scaling) {
            (None, Scaling::Given) => Err(QuantizeError::NoScale { form: form.name }.into()),
            (Some(scale), Scaling::Token | Scaling::Block(_)) => {
                Err(QuantizeError::Scale { scale: Argument::tensor("--scale", scale), form: form.name }
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// The quantization with the options that all forms have.
    pub fn described<'a>(&self, quantization: Quantization<'a>) -> Quantization<'a> {
        quantization.preset(self.preset).upper_bound(self.scale_ub.map(Scale::Number))
    }
}

fn form(text: &str) -> Result<Form, String> {
    let names: Vec<&str> = FORMS.iter().map(|form| form.name).collect();
    Form::named(text).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

fn preset(text: &str) -> Result<QuantPreset, String> {
    let found = QuantPreset::ALL.into_iter().find(|preset| preset.name() == text);
    found.ok_or_else(|| "expected exact, vllm or flashinfer".to_owned())
}
