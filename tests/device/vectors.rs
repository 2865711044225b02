//! Vectors: recorded on a device, and compared with what was recorded.

use libtest_mimic::Failed;
use norm_host::{Device, plan::DeviceProfile};
use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::programs::on_device;
use norm_testing::{
    cases::{of_kernel, recorded},
    device::{
        on_device::{Shifts, normalize},
        shards,
    },
    program::{INPUTS, each_instruction, inputs, module, programs},
    recorded::{Outputs, Program, THREADS, Vectors},
};

/// Random programs that are recorded beside every instruction by itself.
const PROGRAMS: usize = 100;

/// A handle whose rows are cut as on any device of its capability.
fn as_its_capability(device: Device) -> Device {
    device.with_profile(DeviceProfile::of_capability(device.capability()))
}

/// Writes what this device gives to a file.
pub fn record(device: Device, file: &str) -> Result<(), Failed> {
    let device = as_its_capability(device);
    let mut runner = TestRunner::deterministic();
    let mut texts: Vec<Vec<String>> = each_instruction().map(|instruction| vec![instruction]).collect();
    for _ in 0..PROGRAMS {
        texts.push(programs().new_tree(&mut runner)?.current());
    }
    let mut recorded = Vec::new();
    for instructions in texts {
        let inputs = vec(inputs(), THREADS).new_tree(&mut runner)?.current();
        let outputs = on_device(&device, &module(&instructions), &inputs)?;
        recorded.push(Program { instructions, inputs: inputs.concat(), outputs });
    }
    let vectors = Vectors {
        device: device.name().to_owned(),
        capability: device.capability(),
        programs: recorded,
        kernels: kernels(device)?,
        shards: shards(device)?,
    };
    std::fs::write(file, serde_json::to_string(&vectors)?)?;
    Ok(())
}

/// Every kernel's sampled outputs, but of those of two norms, which are held to two operations.
fn kernels(device: Device) -> Result<Vec<Outputs>, Failed> {
    let mut outputs = Vec::new();
    for kernel in recorded() {
        for case in of_kernel(kernel, device.profile()) {
            outputs.extend(Outputs::of_kernel(kernel, case.dim, &normalize(device, &case, Shifts::NONE)?));
        }
    }
    Ok(outputs)
}

/// Those of the kernels of rows that are split.
fn shards(device: Device) -> Result<Vec<Outputs>, Failed> {
    Ok(shards::outputs(device)?.into_iter().map(|(_, outputs)| outputs).collect())
}

/// The same programs give the same bits here; so do the kernels, where rows are cut alike.
pub fn agree(device: Device, recorded: &Vectors) -> Result<(), Failed> {
    let device = as_its_capability(device);
    for Program { instructions, inputs, outputs } in &recorded.programs {
        let (inputs, _) = inputs.as_chunks::<INPUTS>();
        if on_device(&device, &module(instructions), inputs)? != *outputs {
            return Err(format!("other results than on {}: {instructions:?}", recorded.device).into());
        }
    }
    if device.profile() != DeviceProfile::of_capability(recorded.capability) {
        return Ok(());
    }
    let given = kernels(device)?.into_iter().chain(shards(device)?);
    let mut recorded_here = recorded.kernels.iter().chain(&recorded.shards);
    for given in given {
        if recorded_here.next() != Some(&given) {
            return Err(format!("{}: other bits than on {}", given.kernel, recorded.device).into());
        }
    }
    match recorded_here.next() {
        None => Ok(()),
        Some(other) => Err(format!("{}: there is no such case", other.kernel).into()),
    }
}
