//! What one worker counts.

use crate::counts::{Counts, InstructionKind, SharedTraffic, Traffic};
use crate::kernel::Kernel;
use crate::memory::region::Region;

/// Counts by instruction and allocation, in tables.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How often each instruction ran, and in how many threads.
    instructions: Vec<(u64, u64)>,
    /// Traffic with each allocation.
    pub global: Vec<Traffic>,
    pub shared: SharedTraffic,
    pub barriers: u64,
    pub divergent_branches: u64,
    pub longest_warp: u64,
}

impl Tally {
    pub fn new(instructions: usize, regions: usize) -> Tally {
        Tally {
            instructions: vec![(0, 0); instructions],
            global: vec![Traffic::default(); regions],
            ..Tally::default()
        }
    }

    pub fn count(&mut self, at: u32, active: u32) {
        let (warps, threads) = &mut self.instructions[at as usize];
        *warps += 1;
        *threads += u64::from(active.count_ones());
    }

    /// Both together.
    pub fn add(mut self, other: Tally) -> Tally {
        if self.instructions.is_empty() {
            return other;
        }
        for (sum, one) in self.instructions.iter_mut().zip(&other.instructions) {
            *sum = (sum.0 + one.0, sum.1 + one.1);
        }
        self.global.iter_mut().zip(&other.global).for_each(|(sum, one)| sum.add(one));
        self.shared.add(&other.shared);
        self.barriers += other.barriers;
        self.divergent_branches += other.divergent_branches;
        self.longest_warp = self.longest_warp.max(other.longest_warp);
        self
    }

    /// The same by kinds and names.
    pub fn named(&self, kernel: &Kernel, regions: &[Region]) -> Counts {
        let mut counts = Counts {
            longest_warp: self.longest_warp,
            shared: self.shared,
            barriers: self.barriers,
            divergent_branches: self.divergent_branches,
            ..Counts::default()
        };
        for (instruction, &(warps, threads)) in kernel.code.iter().zip(&self.instructions) {
            if warps == 0 {
                continue;
            }
            *counts.instructions.entry(instruction.kind).or_default() += warps;
            counts.thread_instructions += threads;
            let line = counts.lines.entry(instruction.line).or_default();
            *line = (line.0 + warps, line.1 + threads);
            if instruction.kind == InstructionKind::DependentLaunch {
                counts.dependent_launch += warps;
            }
        }
        for (region, traffic) in regions.iter().zip(&self.global) {
            if *traffic != Traffic::default() {
                counts.global.entry(region.name.clone()).or_default().add(traffic);
            }
        }
        counts
    }
}
