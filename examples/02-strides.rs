//! A view with strides: the queries in the output of a fused QKV projection are normalized in place.

use half::f16;
use norm_host::{Cpu, Norm, Result, View, ViewMut};

fn main() -> Result<()> {
    // Each token's row holds two heads of queries, one of keys and one of values.
    let (tokens, heads, head_dim) = (2, 2, 4);
    let token = (heads + 2) * head_dim;
    let mut qkv: Vec<f16> = (0..tokens * token).map(|i| f16::from_f32(i as f32)).collect();
    // Weights may have another element type than activations.
    let w = [0.5_f32, 0.5, 0.5, 0.5, 2.0, 2.0, 2.0, 2.0];

    let w = View::from_slice(&w, &[heads, head_dim])?;
    let q = ViewMut::from_slice(&mut qkv, &[tokens, heads, head_dim])?;
    // The stride between tokens is that of a whole row, with keys and values. The last axis stays contiguous.
    let mut q = q.with_strides(&[token, head_dim, 1])?;
    Norm::rms(1e-6).weight(w).heads_in_place(&mut q, &Cpu)?;

    for (token, row) in qkv.chunks(token).enumerate() {
        println!("token {token}");
        for (name, head) in ["query", "query", "key", "value"].iter().zip(row.chunks(head_dim)) {
            println!("  {name:5} {head:.3?}");
        }
    }
    Ok(())
}
