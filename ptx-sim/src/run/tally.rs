//! What one worker counts.

use crate::counts::{Counts, InstructionKind, LineCounts, SharedTraffic, Traffic};
use crate::kernel::Kernel;
use crate::memory::region::Region;

/// Counts by instruction and allocation, in tables.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The counts of each instruction.
    instructions: Vec<LineCounts>,
    /// Traffic with each allocation.
    pub global: Vec<Traffic>,
    pub shared: SharedTraffic,
    pub barriers: u64,
    pub longest_warp: u64,
}

impl Tally {
    pub fn new(instructions: usize, regions: usize) -> Tally {
        Tally {
            instructions: vec![LineCounts::default(); instructions],
            global: vec![Traffic::default(); regions],
            ..Tally::default()
        }
    }

    pub fn count(&mut self, at: u32, active: u32) {
        let counts = &mut self.instructions[at as usize];
        counts.instructions += 1;
        counts.thread_instructions += u64::from(active.count_ones());
    }

    pub fn diverge(&mut self, at: u32) {
        self.instructions[at as usize].divergent_branches += 1;
    }

    /// Counts a prefetch that lies in no allocation.
    pub fn stray(&mut self, at: u32) {
        self.instructions[at as usize].stray_prefetches += 1;
    }

    /// The sums of both tallies.
    pub fn add(mut self, other: Tally) -> Tally {
        if self.instructions.is_empty() {
            return other;
        }
        for (sum, one) in self.instructions.iter_mut().zip(&other.instructions) {
            sum.add(one);
        }
        self.global.iter_mut().zip(&other.global).for_each(|(sum, one)| sum.add(one));
        self.shared.add(&other.shared);
        self.barriers += other.barriers;
        self.longest_warp = self.longest_warp.max(other.longest_warp);
        self
    }

    /// The counts by kinds of instructions, lines, and names of allocations.
    pub fn named(&self, kernel: &Kernel, regions: &[Region]) -> Counts {
        let mut counts = Counts {
            longest_warp: self.longest_warp,
            shared: self.shared,
            barriers: self.barriers,
            ..Counts::default()
        };
        for (instruction, run) in kernel.code.iter().zip(&self.instructions) {
            if run.instructions == 0 {
                continue;
            }
            *counts.instructions.entry(instruction.kind).or_default() += run.instructions;
            counts.thread_instructions += run.thread_instructions;
            counts.divergent_branches += run.divergent_branches;
            counts.stray_prefetches += run.stray_prefetches;
            counts.lines.entry(instruction.line).or_default().add(run);
            if instruction.kind == InstructionKind::DependentLaunch {
                counts.dependent_launch += run.instructions;
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
