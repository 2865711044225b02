//! Random programs give the same bits on the device and on the simulator.

use std::ffi::{CString, c_void};
use std::ptr::null_mut;
use std::slice;

use cuda_driver::Launch;
use cust::memory::{CopyDestination, DeviceBuffer};
use libtest_mimic::Failed;
use norm_host::Device;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use norm_testing::device::memory::settle;
use norm_testing::program::{INPUTS, OUTPUTS, each_instruction, inputs, module, programs, simulate};

/// Threads of a program.
const THREADS: u32 = 64;

/// Each instruction by itself. A failure names every instruction that differs.
pub fn each_agrees(device: Device) -> Result<(), Failed> {
    let mut runner = TestRunner::deterministic();
    let mut differing = Vec::new();
    for instruction in each_instruction() {
        let input = prop::collection::vec(inputs(), 4 * THREADS as usize).new_tree(&mut runner)?.current();
        let text = module(slice::from_ref(&instruction));
        if let Some(difference) = difference(&device, &text, &input)? {
            differing.push(format!("{instruction}    {difference}"));
        }
    }
    if differing.is_empty() { Ok(()) } else { Err(differing.join("\n").into()) }
}

/// Each of 300 random programs of integer, f16, bf16, f32 and f64 arithmetic in all rounding modes. A
/// failure prints the smallest program that differs.
///
/// The same 300 in each run, for what differs can be ptxas's doing; others by another seed, `NORM_SEED`.
pub fn agree(device: Device) -> Result<(), Failed> {
    let seed: u8 = std::env::var("NORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let input = prop::collection::vec(inputs(), THREADS as usize);
    let outcome = TestRunner::new_with_rng(config, random).run(&(programs(), input), |(program, input)| {
        let text = module(&program);
        let difference = difference(&device, &text, &input)
            .map_err(|failed| TestCaseError::fail(format!("{failed:?}\n{text}")))?;
        prop_assert!(difference.is_none(), "{}\n{text}", difference.unwrap_or_default());
        Ok(())
    });
    outcome.map_err(|error| error.to_string().into())
}

/// The first result that differs, if one does.
fn difference(device: &Device, text: &str, input: &[[u32; INPUTS]]) -> Result<Option<String>, Failed> {
    let simulated = simulate(text, input, THREADS);
    let given = on_device(device, text, input)?;
    let differs = simulated.iter().zip(&given).position(|(simulated, given)| simulated != given);
    Ok(differs.map(|at| {
        let (thread, place) = (at / OUTPUTS, at % OUTPUTS);
        format!(
            "result {place} of inputs {:#010x?}: {:#010x} simulated, {:#010x} on the device",
            input[thread], simulated[at], given[at]
        )
    }))
}

/// What the device makes of a program.
pub fn on_device(device: &Device, text: &str, input: &[[u32; INPUTS]]) -> Result<Vec<u32>, Failed> {
    let driver = cuda_driver::driver()?;
    let _current = device.enter()?;
    let source = DeviceBuffer::from_slice(&input.concat())?;
    let target = DeviceBuffer::from_slice(&vec![0u32; input.len() * OUTPUTS])?;
    settle()?;
    let text = CString::new(text)?;
    let module = driver.module_load(&text)?;
    let mut addresses = [source.as_device_ptr().as_raw(), target.as_device_ptr().as_raw()];
    let mut params = addresses.each_mut().map(|address| (address as *mut u64).cast::<c_void>());
    let launch = Launch {
        grid: (1, 1, 1),
        block: (input.len() as u32, 1, 1),
        shared_bytes: 0,
        // The default stream: the copies below wait for it.
        stream: null_mut(),
    };
    // SAFETY: the module has just been loaded, in the context that is current; the program has two
    // parameters and reads and writes the two buffers, which live until it has ended.
    unsafe {
        let function = driver.module_function(module, c"program")?;
        driver.launch_kernel(function, &launch, &mut params)?;
    }
    settle()?;
    let mut results = vec![0; input.len() * OUTPUTS];
    target.copy_to(&mut results)?;
    // SAFETY: the program has ended, and nothing of the module is kept.
    unsafe { driver.module_unload(module) }?;
    Ok(results)
}
