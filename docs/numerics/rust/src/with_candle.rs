//! candle-nn's `LayerNorm` and `RmsNorm`, on the CPU.

use candle_core::Module;
use candle_nn::{LayerNorm, RmsNorm};

use crate::{Answer, Row};

pub fn norm(row: &Row, eps: f64) -> Answer {
    let (x, w) = (&row["x"], row["w"].clone());
    Ok(match row.get("b") {
        Some(b) => LayerNorm::new(w, b.clone(), eps).forward(x)?,
        None => RmsNorm::new(w, eps).forward(x)?,
    })
}
