//! What an engine on candle writes.

use candle_core::{Device, Module, Result, Tensor};
use norm_host::for_candle::{ops, RmsNorm};

/// As the README has it.
fn main() -> Result<()> {
    let xs = Tensor::randn(0_f32, 1.0, (8, 4096), &Device::Cpu)?;
    let residual = xs.zeros_like()?;
    let norm = RmsNorm::new(Tensor::ones(4096, xs.dtype(), &Device::Cpu)?, 1e-6);
    let ys = norm.forward(&xs)?;
    let zs = ops::add_rms_norm(&ys, &residual, norm.weight(), 1e-6)?;
    println!("in candle: {:?}", zs.dims());
    Ok(())
}
