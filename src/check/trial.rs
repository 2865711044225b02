//! All that checks have for one entry point, for the project's mutation run: the cases of `norm check --every-kernel`, the
//! same in place, as `tests/kernels.rs` runs them, and random cases that select it.

use std::collections::HashMap;

use norm_host::Simulator;
use norm_host::ptx::Ptx;
use norm_kernels::abi::EntryPoint;

use super::any::AnyCase;
use super::call::OnSimulator;
use super::every::{Tried, attempt, in_place};
use super::examine::ImageBuffers;

/// The random cases of `norm check`, by index, that run each entry point.
#[derive(Debug)]
pub struct RandomCases {
    seed: u64,
    of_entry: HashMap<EntryPoint, Vec<u64>>,
}

impl RandomCases {
    /// The first `count` cases of a seed, each run once to see which kernels planning selects for it.
    ///
    /// # Errors
    /// The case that the shipped kernels fail.
    pub fn new(seed: u64, count: u64) -> Result<RandomCases, String> {
        let shipped = Simulator::new();
        let entries: Vec<EntryPoint> = EntryPoint::all().collect();
        let (mut memory, mut of_entry) = (ImageBuffers::default(), HashMap::<_, Vec<u64>>::new());
        for index in 0..count {
            let case = AnyCase::random(seed, index);
            let simulator = shipped.on(shipped.profile());
            case.examine(&mut OnSimulator { simulator: &simulator }, &mut memory)
                .map_err(|fault| format!("{case}: {fault}"))?;
            for &entry in entries.iter().filter(|&&entry| simulator.has_run(entry)) {
                of_entry.entry(entry).or_default().push(index);
            }
        }
        Ok(RandomCases { seed, of_entry })
    }

    /// Runs a kernel, whose text stands alone in `ptx`, until the first fault; or all of its cases, and tells their outputs
    /// from others.
    ///
    /// # Errors
    /// The first fault.
    pub fn run(&self, entry: EntryPoint, ptx: Ptx) -> Result<u64, String> {
        let simulator = Simulator::with_ptx(ptx);
        let mut memory = ImageBuffers::default();
        match attempt(&simulator, entry, &mut memory) {
            Tried::Failed { fault, .. } => return Err(fault),
            Tried::NotReached => return Err("no case selects it".to_owned()),
            Tried::Passed { .. } => {}
        }
        if let Tried::Failed { fault, .. } = in_place(&simulator, entry, &mut memory) {
            return Err(fault);
        }
        for &index in self.of_entry.get(&entry).into_iter().flatten() {
            let case = AnyCase::random(self.seed, index);
            match case.examine(&mut OnSimulator { simulator: &simulator }, &mut memory) {
                // A case may need a second kernel, which the text does not hold.
                Err(fault) if fault.of_kernels().is_none() => return Err(fault.to_string()),
                _ => {}
            }
        }
        Ok(memory.digest())
    }
}
