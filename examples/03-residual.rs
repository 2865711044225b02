//! A residual connection and the norm behind it in one operation, as between the layers of a decoder.

use norm_host::{Cpu, Norm, Result, View, ViewMut};

fn main() -> Result<()> {
    let (rows, dim) = (2, 3);
    // The output of a layer, and the residual stream that it is added to.
    let mut x = [1.0_f32, 1.0, 1.0, 0.0, 0.0, 3.0];
    let mut r = [0.0_f32, 1.0, 0.0, 1.0, 0.0, 0.0];
    // The weights of a checkpoint that stores them minus 1, as those of Gemma 1 to 3 do.
    let w = [0.0_f32, 0.0, 0.5];

    let norm = Norm::rms(1e-6).weight(View::from_slice(&w, &[dim])?).weight_offset(1.0);
    let shape = [rows, dim];
    norm.add_then_norm_in_place(
        &mut ViewMut::from_slice(&mut x, &shape)?,
        &mut ViewMut::from_slice(&mut r, &shape)?,
        &Cpu,
    )?;
    println!("the stream       {r:.4?}");
    println!("the next input   {x:.4?}");
    Ok(())
}
