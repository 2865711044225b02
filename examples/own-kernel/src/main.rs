//! Runs the kernel on the simulator, and on a GPU where there is one, and holds both to the f64 reference.

use std::error::Error;
use std::process::ExitCode;

use norm_host::Device;
use own_kernel::{gpu, reference, simulator};

const ROWS: usize = 16;
const DIM: usize = 4096;
const EPS: f32 = 1e-12;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let x: Vec<f32> = (0..ROWS * DIM).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
    let kernel = simulator::kernel_for(DIM as u32);

    let (y, counts) = simulator::l2_normalize(kernel, &x, DIM as u32, EPS)?;
    reference::check(&x, &y, DIM, EPS)?;
    let times_read = counts.global["x"].loads.factor(size_of_val(x.as_slice()) as u64);
    println!("simulator: {kernel} is right for {ROWS} rows of {DIM}");
    println!("           it reads x {times_read} times, with {} bank conflicts", counts.shared.conflicts);

    match Device::new(0) {
        Ok(device) => {
            let y = gpu::l2_normalize(kernel, &x, DIM as u32, EPS)?;
            reference::check(&x, &y, DIM, EPS).map_err(|wrong| format!("{}: {wrong}", device.name()))?;
            println!("{}: {kernel} is right for {ROWS} rows of {DIM}", device.name());
        }
        Err(error) => println!("GPU:       not run, {error}"),
    }
    Ok(())
}
