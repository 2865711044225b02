//! Runs a reduction that has forgotten a barrier, sees the race found, puts the barrier in and
//! sees the kernel pass.

use ptx_sim::{Counts, Launch, LaunchError, Memory, Module};

/// Runs the kernel of this text on the numbers from 0 to 255: their sum, and what was counted.
fn sum(text: &str) -> Result<(f32, Counts), Box<dyn std::error::Error>> {
    let kernel = Module::parse(text)?.kernel("reduction")?;
    let mut memory = Memory::new();
    let values: Vec<u8> = (0..256).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let values = memory.upload("values", &values);
    let sum = memory.output("sum", 4);
    let counts = Launch::new(&kernel).block([256, 1, 1]).arg(values).arg(sum).run(&mut memory)?;
    let bytes = memory.read(sum, 4)?;
    Ok((f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), counts))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = include_str!("ptx/reduction.ptx");
    match sum(text) {
        Err(error) if matches!(error.downcast_ref(), Some(LaunchError::Fault(_))) => {
            println!("found: {error}")
        }
        other => return Err(format!("the race was not found: {other:?}").into()),
    }
    let (sum, counts) = sum(&text.replace("// Here: bar.sync 0;", "bar.sync 0;"))?;
    println!("mended: the sum is {sum}, after {} barriers", counts.barriers);
    Ok(())
}
