//! How good results are: distances in ULP, and the bound that every backend keeps.

mod promise;
mod rounding;

pub use promise::{Element, MIN_MEAN_SQUARE, Promise, RELATIVE, Verdict, WorstRow, judge_row};
pub use rounding::{largest, round, ulp, ulp_distance};
