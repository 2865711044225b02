//! Accuracy of results: distances in ULP, and the error bound that every backend keeps.

mod gated;
mod heads;
mod promise;
mod quantized;
mod rounding;
mod value;

pub use gated::{activation_error, judge_gated_row};
pub use heads::judge_head;
pub use promise::{MIN_MEAN_SQUARE, Promise, Terms, Verdict, WorstRow, judge_row};
pub use quantized::{
    QuantizedPart, QuantizedRow, QuantizedVerdict, RowQuantization, WrongElement, judge_quantized_row,
};
pub use rounding::{largest, round, round_to_bf16, round_to_f16, ulp, ulp_distance};
pub use value::{RELATIVE, RELATIVE_BETWEEN};
