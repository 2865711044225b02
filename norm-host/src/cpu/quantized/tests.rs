//! The instruction set changes no bit.

use half::{bf16, f16};
use norm_kernels::abi::{QuantFormat, QuantPreset};

use super::*;
use crate::{
    Norm, Place, Quantization, QuantizedMut, View, ViewMut,
    check::{self, ResidualArgs},
    cpu::simd::Portable,
};

/// The codes, the scales, the sum and the copy of three rows.
fn bits(isa: Isa, quantization: &Quantization<'_>, dim: usize, x: &[f16]) -> (Vec<u8>, Vec<u32>, Vec<u16>) {
    let shape = [3, dim];
    let (mut codes, mut normed) = (vec![0; 3 * dim], vec![bf16::ZERO; 3 * dim]);
    let mut r: Vec<bf16> = x.iter().rev().map(|x| bf16::from_f32(x.to_f32() / 3.0)).collect();
    let mut scales = vec![0.0_f32; 3];
    let as_bf16: Vec<bf16> = x.iter().map(|x| bf16::from_f32(x.to_f32())).collect();
    let y = QuantizedMut::from_e4m3(&mut codes, &shape).unwrap();
    let y = y.scales(ViewMut::from_slice(&mut scales, &[3, 1]).unwrap());
    let y = y.normed(ViewMut::from_slice(&mut normed, &shape).unwrap());
    let r_view = ViewMut::from_slice(&mut r, &shape).unwrap();
    let problem = check::quantized(
        &Norm::layer(1e-6),
        quantization,
        &View::from_slice(&as_bf16, &shape).unwrap().raw,
        &y,
        ResidualArgs::InFront { r: &r_view.raw, sum: None },
        Place::Host,
    );
    // SAFETY: the checks have established what `run` requires of these tensors, which live until it returns.
    unsafe { run(&problem.unwrap(), isa) };
    let halves = r.iter().chain(&normed).map(|value| value.to_bits());
    (codes, scales.iter().map(|scale| scale.to_bits()).collect(), halves.collect())
}

#[test]
fn instruction_sets_give_the_same_bits() {
    for dim in [1, 7, 8, 17, 100] {
        let x: Vec<f16> =
            (0..3 * dim).map(|i| f16::from_f32(((i * 7919) % 10_007) as f32 / 997.0 - 5.0)).collect();
        for preset in [QuantPreset::Exact, QuantPreset::Vllm] {
            let quantization = Quantization::per_token(QuantFormat::E4m3).preset(preset);
            let portable = bits(Isa::Portable(Portable), &quantization, dim, &x);
            assert_eq!(portable, bits(Isa::detect(), &quantization, dim, &x), "{preset} {dim}");
            // A row of one element is its own mean.
            assert!(dim == 1 || portable.0.iter().any(|code| code & 0x7f == 0x7e));
        }
    }
}
