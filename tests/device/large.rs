//! Tensors of more elements than 31 bits count.

use cust::memory::{CopyDestination, DeviceBuffer};
use half::f16;
use libtest_mimic::Failed;
use norm_host::{
    DType, Device, NormKind, Stream, ViewMut,
    accuracy::judge_row,
    reference::{Parameters, widen, widen_input},
    rms_norm_,
};

use crate::{
    common::values::{Random, Values},
    memory::settle,
};

const DIM: usize = 4096;
/// The row whose first element has index 2³¹.
const BOUNDARY: usize = (1 << 31) / DIM;
const ROWS: usize = BOUNDARY + 3;
const BYTES: usize = ROWS * DIM * 2;

/// Whether the device has the memory to spare.
pub fn room(device: &Device) -> Result<Device, String> {
    let _current = device.enter().map_err(|error| error.to_string())?;
    let driver = cuda_driver::driver().map_err(|error| format!("{error:?}"))?;
    let (free, _) = driver.memory_info().map_err(|error| format!("{error:?}"))?;
    let needed = BYTES + (2 << 30);
    if free >= needed {
        Ok(*device)
    } else {
        Err(format!("{free} bytes of device memory are free, not {needed}"))
    }
}

/// In place over 2³¹ elements and more. Rows at the ends, on both sides of the boundary and some
/// between are compared; the others all hold the same.
pub fn past_31_bits(device: Device) -> Result<(), Failed> {
    let stream = Stream::new(&device)?;
    let _current = device.enter()?;
    // SAFETY: all of it is set before it is read.
    let mut x = unsafe { DeviceBuffer::<u16>::uninitialized(ROWS * DIM) }?;
    x.set_16(f16::from_f32(3.0).to_bits())?;
    let mut random = Random(31);
    let chosen = [0, 1, BOUNDARY / 2, BOUNDARY - 1, BOUNDARY, BOUNDARY + 1, ROWS - 1];
    let mut rows = Vec::new();
    for row in chosen {
        let values = Values::Plain.row(DType::F16, DIM, &mut random);
        let values: Vec<f16> = values.into_iter().map(f16::from_f64).collect();
        x.index(row * DIM..(row + 1) * DIM).copy_from(&bits(&values))?;
        rows.push((row, values));
    }
    for row in [2, BOUNDARY - 2, BOUNDARY / 2 + 1] {
        rows.push((row, vec![f16::from_f32(3.0); DIM]));
    }
    settle()?;

    let eps = 1e-6_f32;
    rms_norm_(&mut ViewMut::from_buffer::<f16>(&mut x, &[ROWS, DIM])?, None, eps, &stream)?;
    stream.synchronize()?;

    let parameters = Parameters {
        kind: NormKind::Rms,
        eps: eps.into(),
        weight: None,
        weight_offset: 0.0,
        bias: None,
        onto: None,
    };
    for (row, values) in rows {
        let mut y = vec![0; DIM];
        x.index(row * DIM..(row + 1) * DIM).copy_to(&mut y)?;
        let y: Vec<f16> = y.into_iter().map(f16::from_bits).collect();
        let judged = judge_row(&widen_input(&values), &parameters, DType::F16, &widen(&y));
        assert!(judged.promised && judged.is_kept(), "row {row}: {judged:?}");
    }
    Ok(())
}

fn bits(values: &[f16]) -> Vec<u16> {
    values.iter().map(|value| value.to_bits()).collect()
}
