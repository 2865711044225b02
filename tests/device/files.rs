//! Files that the command line normalizes on a device, of more than a chunk.

use std::{env, fs, path::Path, process::Command};

use libtest_mimic::Failed;
use norm_host::Device;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

const ROWS: usize = 9000;
const DIM: usize = 1024;

/// Rows that are alike stay so in whatever chunk they are, and are what the CPU makes of them.
pub fn chunks(device: Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let bytes =
        |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let row = bytes(&mut (0..DIM).map(|i| (i as f32 * 0.37).sin()));
    let w = bytes(&mut (0..DIM).map(|i| 1.0 + i as f32 / 1024.0));
    // 35 MiB: two chunks, the last of them shorter.
    let x = row.repeat(ROWS);
    let views = [
        ("x", TensorView::new(Dtype::F32, vec![ROWS, DIM], &x)?),
        ("w", TensorView::new(Dtype::F32, vec![DIM], &w)?),
    ];
    fs::write(folder.path().join("m"), safetensors::serialize(views, None)?)?;

    let on_device = first_row(folder.path(), &format!("cuda:{}", device.ordinal()))?;
    let on_cpu = first_row(folder.path(), "cpu")?;
    for (column, (&given, &expected)) in on_device.iter().zip(&on_cpu).enumerate() {
        // Each is within 1e-6 of the exact result.
        if (given - expected).abs() > 2e-6 * expected.abs() {
            return Err(format!("column {column}: {given} on the device, {expected} on the CPU").into());
        }
    }
    Ok(())
}

/// The first row of the result, as which all others must be.
fn first_row(folder: &Path, device: &str) -> Result<Vec<f32>, Failed> {
    // As for `tests/torture.sh`: on a machine without cargo the program lies elsewhere than where it was built.
    let norm = env::var_os("NORM").unwrap_or_else(|| env!("CARGO_BIN_EXE_norm").into());
    let output = Command::new(norm)
        .args(["rms", "--device", device, "--input", "m:x", "--weight", "m:w", "--out", device])
        .current_dir(folder)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let file = fs::read(folder.join(device))?;
    let tensors = SafeTensors::deserialize(&file)?;
    let y = tensors.tensor("x")?.data();
    let (first, _) = y.split_at(DIM * 4);
    match y.chunks(DIM * 4).position(|row| row != first) {
        None if y.len() == ROWS * DIM * 4 => {
            Ok(first.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect())
        }
        None => Err(format!("{} bytes on {device}", y.len()).into()),
        Some(row) => Err(format!("row {row} has other bits than row 0 on {device}").into()),
    }
}
