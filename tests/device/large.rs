//! Tensors of more elements than 31 bits count.

use cust::memory::{CopyDestination, DeviceBuffer};
use half::f16;
use libtest_mimic::Failed;
use norm_host::{
    Arg, DType, Device, Error, NormKind, Stream, View, ViewMut,
    accuracy::{judge_row, round_to_f16},
    head_norm,
    problem::Roundings,
    reference::{Factors, Parameters, widen, widen_input},
    rms_norm_,
};

use norm_testing::{
    device::memory::settle,
    values::{Random, Values},
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

/// RMSNorm and nothing else.
fn plain_rms(eps: f32) -> Parameters<'static> {
    Parameters {
        kind: NormKind::Rms,
        eps: eps.into(),
        weight: None,
        weight_offset: 0.0,
        roundings: Roundings::NONE,
        bias: None,
        onto: None,
        factors: Factors::NONE,
    }
}

/// In place over 2³¹ elements and more. Rows at the ends, on both sides of the boundary and some
/// between are compared; the others all hold the same.
pub fn past_31_bits(device: Device) -> Result<(), Failed> {
    let stream = Stream::new(&device)?;
    let _current = device.enter()?;
    // SAFETY: every element is written before it is read.
    let mut x = unsafe { DeviceBuffer::<u16>::uninitialized(ROWS * DIM) }?;
    x.set_16(f16::from_f32(3.0).to_bits())?;
    let mut random = Random(31);
    let chosen = [0, 1, BOUNDARY / 2, BOUNDARY - 1, BOUNDARY, BOUNDARY + 1, ROWS - 1];
    let mut rows = Vec::new();
    for row in chosen {
        let values = Values::Plain.row(DType::F16, DIM, &mut random);
        let values: Vec<f16> = values.into_iter().map(round_to_f16).collect();
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

    let parameters = plain_rms(eps);
    for (row, values) in rows {
        let mut y = vec![0; DIM];
        x.index(row * DIM..(row + 1) * DIM).copy_to(&mut y)?;
        let y: Vec<f16> = y.into_iter().map(f16::from_bits).collect();
        let judged = judge_row(&widen_input(&values), &parameters, DType::F16, &widen(&y));
        assert!(judged.promised && judged.is_kept(), "row {row}: {judged:?}");
    }
    Ok(())
}

/// Heads of `2³¹ - 2` rows, which a grid still has blocks for, and then of `2³¹`: an error that names them,
/// before anything is read or written. All rows of `x` are one, so every head's result is known.
pub fn heads_past_31_bits(device: Device) -> Result<(), Failed> {
    const HEADS: usize = 2;
    const HEAD: usize = 2;
    const MOST: usize = (1 << 30) - 1;
    /// What `y` holds at first.
    const POISON: u16 = 0x7a7a;
    const LOOK: usize = 1 << 20;
    let stream = Stream::new(&device)?;
    let _current = device.enter()?;
    let row = [3.0, -1.0, 0.5, 2.0].map(f16::from_f32);
    let x = DeviceBuffer::from_slice(&bits(&row))?;
    // SAFETY: every element is written before it is read.
    let mut y = unsafe { DeviceBuffer::<u16>::uninitialized((MOST + 1) * HEADS * HEAD) }?;
    y.set_16(POISON)?;
    settle()?;
    let address = x.as_device_ptr().as_raw();
    let x = |rows: usize| -> Result<View<'_>, Failed> {
        // SAFETY: the stride of the first axis is 0, so that all rows are the one in `x`, a buffer that outlives the
        // calls.
        let view = unsafe { View::from_raw_parts(device.place(), address, DType::F16, &[rows, HEADS, HEAD]) };
        Ok(view?.with_strides(&[0, HEAD, 1])?)
    };
    let eps = 1e-6_f32;
    let run = |y: &mut DeviceBuffer<u16>, rows: usize| -> Result<Result<(), Error>, Failed> {
        let mut y = ViewMut::from_buffer::<f16>(y, &[rows, HEADS, HEAD])?;
        let done = head_norm(x(rows)?, None, None, &mut y, eps, NormKind::Rms, &stream);
        stream.synchronize()?;
        Ok(done)
    };
    let places = |end: usize| {
        let around = |at: usize| at.saturating_sub(LOOK / 2).min(end - LOOK);
        [0, 1 << 28, 1 << 29, 1 << 30, 1 << 31, 3 << 30, end].map(around)
    };

    let refused = run(&mut y, MOST + 1)?;
    let blocks = 1 << 31;
    assert_eq!(refused, Err(Error::GridTooLarge { arg: Arg::X, blocks, max: blocks - 1 }));
    let mut seen = vec![0_u16; LOOK];
    for place in places(y.len()) {
        y.index(place..place + LOOK).copy_to(&mut seen)?;
        assert!(seen.iter().all(|&bits| bits == POISON), "something was written by a call that was refused");
    }

    run(&mut y, MOST)??;
    for place in places(MOST * HEADS * HEAD) {
        y.index(place..place + LOOK).copy_to(&mut seen)?;
        let first = seen[..HEADS * HEAD].to_vec();
        assert!(seen.chunks(first.len()).all(|row| row == first), "a row near element {place} is another");
        let given: Vec<f16> = first.into_iter().map(f16::from_bits).collect();
        for (x, y) in row.chunks(HEAD).zip(given.chunks(HEAD)) {
            let judged = judge_row(&widen_input(x), &plain_rms(eps), DType::F16, &widen(y));
            assert!(judged.promised && judged.is_kept(), "near element {place}: {judged:?}");
        }
    }
    // The one row more is nobody's.
    let last = &mut seen[..HEADS * HEAD];
    y.index(MOST * HEADS * HEAD..).copy_to(last)?;
    assert!(last.iter().all(|&bits| bits == POISON), "it wrote past its rows");
    Ok(())
}

fn bits(values: &[f16]) -> Vec<u16> {
    values.iter().map(|value| value.to_bits()).collect()
}
