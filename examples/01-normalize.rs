//! RMSNorm and LayerNorm of a few rows, on the CPU.

use norm_host::{Cpu, Result, View, ViewMut, layer_norm_, rms_norm};

fn main() -> Result<()> {
    let (rows, dim) = (2, 4);
    let x = [1.0_f32, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
    let w = [1.0_f32, 1.0, 1.0, 2.0];
    let mut y = [0.0_f32; 8];

    // A view has a shape and borrows its memory; here it is a slice.
    let x = View::from_slice(&x, &[rows, dim])?;
    let w = View::from_slice(&w, &[dim])?;
    rms_norm(x, w, &mut ViewMut::from_slice(&mut y, &[rows, dim])?, 1e-6, &Cpu)?;
    println!("rms_norm    {y:.4?}");

    // A function whose name ends in `_` works in place. The two `None` mean: no weights, no biases.
    layer_norm_(&mut ViewMut::from_slice(&mut y, &[rows, dim])?, None, None, 1e-5, &Cpu)?;
    println!("layer_norm_ {y:.4?}");
    Ok(())
}
