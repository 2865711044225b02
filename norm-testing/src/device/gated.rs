//! Gated norms, by every kernel.

use libtest_mimic::Failed;
use norm_host::{
    DType, Device, EpilogueRounding, Gate, Gating, Norm, NormKind, Rounding, Stream,
    accuracy::judge_gated_row,
    problem::Roundings,
    reference::{Factors, Parameters, input},
};
use norm_kernels::abi::{GatedKernel, GatedVariant, width};

use super::memory::Memory;
use crate::buffer::Buffer;

/// A gated norm of dense rows.
#[derive(Clone, Copy, Debug)]
struct Case {
    kernel: GatedKernel,
    rows: usize,
    dim: usize,
}

/// Every kernel in every order and with each activation, in turn: the promise, and the same bits at addresses that do not
/// suit vectors.
pub fn each_kernel_once(device: Device) -> Result<(), Failed> {
    for (index, kernel) in GatedKernel::all().enumerate() {
        let width = width(kernel.x, kernel.x) as usize;
        // Some threads have no vector, and the last block fewer rows.
        let (rows, dim) = match kernel.variant {
            GatedVariant::Warp => (19, 23 * width),
            GatedVariant::Block => (3, 100 * width),
            GatedVariant::Stream => (1, 2100 * width),
            GatedVariant::Scalar => (3, 100 * width + 1),
        };
        for (turn, gating) in (index..).zip(Gating::ALL) {
            let order = Rounding::ALL[turn % Rounding::ALL.len()];
            let epilogue = EpilogueRounding { order, offset: false };
            holds(device, Case { kernel: GatedKernel { gating, epilogue, ..kernel }, rows, dim })?;
        }
    }
    Ok(())
}

/// Numbers around 0, from -5 to 5.
fn values(dtype: DType, len: usize, seed: usize) -> Buffer {
    let value = |i: usize| ((i * 7919 + seed) % 10_007) as f64 / 997.0 - 5.0;
    Buffer::new(dtype, &(0..len).map(value).collect::<Vec<_>>())
}

fn holds(device: Device, case: Case) -> Result<(), Failed> {
    let Case { kernel: GatedKernel { x, w, gating, epilogue, .. }, rows, dim } = case;
    let given = run(device, case, 0)?;
    if given.bits() != run(device, case, 1)?.bits() {
        return Err(format!("{case:?}: other bits at other addresses").into());
    }
    let [inputs, gates, weights] = inputs(case);
    let row = |buffer: &Buffer, row: usize| -> Vec<f64> {
        (row * dim..(row + 1) * dim).map(|index| buffer.get(index)).collect()
    };
    let weight = row(&weights, 0);
    let parameters = Parameters {
        kind: NormKind::Rms,
        eps: f64::from(EPS),
        weight: Some(&weight),
        weight_offset: 0.0,
        roundings: Roundings::of(epilogue.order, false, x, Some(w), x),
        bias: None,
        onto: None,
        factors: Factors::NONE,
    };
    for index in 0..rows {
        let values: Vec<f64> = row(&inputs, index).into_iter().map(|value| input(x, value)).collect();
        let judged =
            judge_gated_row(&values, &row(&gates, index), gating, &parameters, x, &row(&given, index));
        if !(judged.promised && judged.is_kept()) {
            return Err(format!("{case:?}: row {index}: {judged:?}").into());
        }
    }
    Ok(())
}

const EPS: f32 = 1e-5;

/// Those of x, of the gate and of the weights.
fn inputs(Case { kernel, rows, dim }: Case) -> [Buffer; 3] {
    [values(kernel.x, rows * dim, 1), values(kernel.gate(), rows * dim, 17), values(kernel.w, dim, 29)]
}

/// The output, of tensors that are so many elements off an address that suits vectors.
fn run(device: Device, case: Case, by: usize) -> Result<Buffer, Failed> {
    let Case { kernel: GatedKernel { x, gating, epilogue, .. }, rows, dim } = case;
    let stream = Stream::new(&device)?;
    let [inputs, gates, weights] = inputs(case);
    let upload = |buffer: &Buffer| Memory::upload(device, buffer, by);
    let (inputs, gates, weights) = (upload(&inputs)?, upload(&gates)?, upload(&weights)?);
    let mut y = upload(&values(x, rows * dim, 0))?;
    let (shape, strides) = ([rows, dim], [dim, 1]);
    let gate = Gate::new(gates.view(&shape, &strides), gating.activation).order(gating.order);
    let norm = Norm::rms(EPS).weight(weights.view(&[dim], &[1])).rounding(epilogue.order);
    norm.gated_rows(inputs.view(&shape, &strides), gate, &mut y.view_mut(&shape, &strides), &stream)?;
    stream.synchronize()?;
    y.download()
}
