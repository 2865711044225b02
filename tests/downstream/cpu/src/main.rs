//! What an engine without a GPU writes.

use norm_host::{Cpu, Norm, Result, View, ViewMut};

/// As the README has it.
fn normalize(x: &mut [f32], w: &[f32]) -> Result<()> {
    let (rows, dim) = (x.len() / w.len(), w.len());
    let mut x = ViewMut::from_slice(x, &[rows, dim])?;
    Norm::rms(1e-6).weight(View::from_slice(w, &[dim])?).rows_in_place(&mut x, &Cpu)
}

fn main() -> Result<()> {
    let mut x = [3.0_f32, 4.0];
    normalize(&mut x, &[1.0, 1.0])?;
    println!("on the CPU: {x:.4?}");
    Ok(())
}
