//! `numerics LIBRARY CASES OUT`: the norms of the rows in the folder CASES by candle or burn, as `../libraries/run.py`
//! has them of a library in Python. What a library returns as an error, or panics with, is its answer: NAME.error.

mod with_burn;
mod with_candle;

use std::collections::HashMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use candle_core::{Device, Tensor, safetensors};

/// The arrays x of shape (1, dim), w and, for LayerNorm, b of shape (dim,), by name.
type Row = HashMap<String, Tensor>;
type Answer = Result<Tensor, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let [library, cases, out] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("three arguments");
    let (cases, out) = (PathBuf::from(cases), PathBuf::from(out));
    let norm: fn(&Row, f64) -> Answer = match library.as_str() {
        "burn" => with_burn::norm,
        "candle" => with_candle::norm,
        _ => return Err("expected burn or candle".into()),
    };
    std::panic::set_hook(Box::new(|_| {}));
    let list: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(cases.join("cases.json"))?)?;
    for case in list {
        let (name, eps) = (case["name"].as_str().expect("a name"), case["eps"].as_f64().expect("eps"));
        let row = safetensors::load(cases.join(format!("{name}.safetensors")), &Device::Cpu)?;
        let answer = catch_unwind(AssertUnwindSafe(|| norm(&row, eps).map_err(|error| error.to_string())));
        match answer.unwrap_or_else(|panic| Err(format!("panic: {:?}", panic.downcast_ref::<String>()))) {
            Ok(y) => safetensors::save(&HashMap::from([("y", y)]), out.join(format!("{name}.safetensors")))?,
            Err(error) => std::fs::write(out.join(format!("{name}.error")), error + "\n")?,
        }
    }
    Ok(())
}
