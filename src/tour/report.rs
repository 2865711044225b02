//! The report of the tour, as text and as JSON.

use serde::Serialize;

use super::function::Function;
use super::inputs::{Inputs, Size};
use super::measure::Measured;
use crate::target::Target;

/// The tour's outcomes, of all functions.
#[derive(Serialize)]
pub struct Report {
    device: String,
    /// A description of the device and, if it is the CPU, why it is no GPU.
    #[serde(skip)]
    device_text: String,
    /// Why the functions that are skipped cannot run on the device.
    #[serde(skip)]
    why_not: &'static str,
    seed: u64,
    #[serde(skip)]
    rows: usize,
    functions: Vec<FunctionReport>,
}

/// The outcome of one function.
#[derive(Serialize)]
struct FunctionReport {
    function: &'static str,
    x: Vec<usize>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
enum Outcome {
    Ok(Figures),
    Fail(Figures),
    Skipped { why: &'static str },
}

#[derive(Clone, Copy, Serialize)]
struct Figures {
    largest_error_ulp: f64,
    /// The error that the accuracy promise allows the output with the largest error.
    allowed_ulp: f64,
    outputs_out_of_bounds: usize,
    /// The time of a call, if it was timed.
    microseconds: Option<f64>,
    gigabytes_per_second: Option<f64>,
}

impl Report {
    pub fn new(target: &Target, seed: u64, size: Size) -> Report {
        let device_text = match target {
            Target::Cpu { why } => format!("{}.\nWhy not on a GPU: {why}.", target.description()),
            Target::Sim { .. } | Target::Cuda { .. } => format!("{}.", target.description()),
        };
        let why_not = match target {
            Target::Sim { .. } => "takes CUDA streams, which the simulator has not; tests/simulated runs it",
            Target::Cpu { .. } | Target::Cuda { .. } => "needs a CUDA device",
        };
        let device = target.name();
        Report { device, device_text, why_not, seed, rows: size.rows, functions: Vec::new() }
    }

    /// The text above the table, and the table's head.
    pub fn opening(&self) -> String {
        let Report { device_text, seed, .. } = self;
        format!(
            "norm scales the rows of a tensor to one size, as a language model does between its layers.\n\
             Here its seven functions run on {device_text}\n\
             The tensors are f16, shaped as in Llama and made from seed {seed}; each result is compared with the same\n\
             formula in f64.\n\
             \n\
             {:<12}  {:<16}  {:>13}  {:>10}  {:>13}\n",
            "function", "shape of x", "largest error", "allowed", "throughput"
        )
    }

    /// Adds a function's outcome, and returns its line of the table.
    pub fn add(&mut self, function: Function, measured: Option<Measured>) -> String {
        let outcome = match measured {
            None => Outcome::Skipped { why: self.why_not },
            Some(Measured { error, time, bytes }) => {
                let seconds = time.map(|time| time.as_secs_f64());
                let figures = Figures {
                    largest_error_ulp: error.ulp,
                    allowed_ulp: error.allowed_ulp,
                    outputs_out_of_bounds: error.broken,
                    microseconds: seconds.map(|seconds| seconds * 1e6),
                    gigabytes_per_second: seconds.map(|seconds| bytes as f64 / seconds / 1e9),
                };
                if error.broken == 0 { Outcome::Ok(figures) } else { Outcome::Fail(figures) }
            }
        };
        let x = Inputs::shape_for(self.rows, function.heads());
        let line = FunctionReport { function: function.name(), x, outcome };
        let text = line.text();
        self.functions.push(line);
        text
    }

    /// Whether all outputs keep the accuracy promise.
    pub fn is_good(&self) -> bool {
        !self.functions.iter().any(|line| matches!(line.outcome, Outcome::Fail(_)))
    }

    /// The text below the table.
    pub fn closing(&self) -> String {
        let count = |of: fn(&Outcome) -> bool| self.functions.iter().filter(|line| of(&line.outcome)).count();
        let ok = count(|outcome| matches!(outcome, Outcome::Ok(_)));
        let failed = count(|outcome| matches!(outcome, Outcome::Fail(_)));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped { .. }));
        let mut counts = format!("{ok} ok");
        if failed > 0 {
            counts += &format!(", {failed} FAILED");
        }
        if skipped > 0 {
            counts += &format!(", {skipped} skipped");
        }
        format!(
            "\n{counts}. An error of 1 ULP is one step from an f16 number to the next, and rounding the exact result\n\
             alone takes half a step. Throughput counts x read once and y written once.\n\
             Next: `norm check` tries random shapes, dtypes and values; `norm rms --help` tells how to normalize a\n\
             tensor from a safetensors file; `norm doctor` tells what this machine has and lacks.\n"
        )
    }
}

impl FunctionReport {
    fn text(&self) -> String {
        let shape: Vec<String> = self.x.iter().map(usize::to_string).collect();
        let shape = shape.join(" × ");
        let function = self.function;
        match &self.outcome {
            Outcome::Skipped { why } => format!("{function:<12}  {shape:<16}  skipped: {why}\n"),
            Outcome::Ok(figures) | Outcome::Fail(figures) => {
                let Figures { largest_error_ulp, allowed_ulp, gigabytes_per_second, .. } = figures;
                let throughput =
                    gigabytes_per_second.map_or("not timed".to_owned(), |speed| format!("{speed:.1} GB/s"));
                let verdict = if matches!(self.outcome, Outcome::Ok(_)) { "ok" } else { "FAIL" };
                format!(
                    "{function:<12}  {shape:<16}  {largest_error_ulp:>9.2} ULP  {allowed_ulp:>6.2} ULP  \
                     {throughput:>13}  {verdict}\n"
                )
            }
        }
    }
}
