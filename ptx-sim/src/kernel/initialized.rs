//! Which reads of registers need no check.
//!
//! A register that every way to an instruction writes first is read without a check. All other
//! reads are checked while the kernel runs; in compiled code those are very few.

use super::op::{InitialValue, Instruction};
use super::order::Order;
use crate::text::registers::Register;

/// A set of registers.
#[derive(Clone, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn insert(&mut self, register: Register) {
        let (word, bit) = place(register);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    fn contains(&self, register: Register) -> bool {
        let (word, bit) = place(register);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn intersect(&mut self, other: &Set) {
        self.0.truncate(other.0.len());
        for (bits, others) in self.0.iter_mut().zip(&other.0) {
            *bits &= others;
        }
    }
}

/// The bit of a register. The three register files are interleaved, so that one set holds all of them.
fn place(register: Register) -> (usize, u64) {
    let number = register.slot as usize * 3 + register.class.file();
    (number / 64, 1 << (number % 64))
}

/// Removes from each instruction's `reads` the registers that need no check, and from its `writes` those that no `reads`
/// lists any more.
pub fn mark(code: &mut [Instruction], initial_values: &[(Register, InitialValue)], order: &Order) {
    let mut start = Set(Vec::new());
    initial_values.iter().for_each(|(register, _)| start.insert(*register));
    let mut before: Vec<Option<Set>> = vec![None; order.starts.len()];
    before[0] = Some(start);
    let mut work = vec![0];
    while let Some(block) = work.pop() {
        let Some(mut set) = before[block].clone() else { continue };
        for instruction in range(order, block, code.len()).map(|at| &code[at]) {
            after(&mut set, instruction);
        }
        for &next in &order.next[block] {
            let known = &mut before[next as usize];
            let former = known.clone();
            match known {
                Some(known) => known.intersect(&set),
                None => *known = Some(set.clone()),
            }
            if *known != former {
                work.push(next as usize);
            }
        }
    }

    let mut checked = Set(Vec::new());
    for (block, set) in before.into_iter().enumerate() {
        // A block without predecessors is never run.
        let Some(mut set) = set else { continue };
        for at in range(order, block, code.len()) {
            let instruction = &mut code[at];
            instruction.reads =
                instruction.reads.iter().copied().filter(|read| !set.contains(*read)).collect();
            instruction.reads.iter().for_each(|read| checked.insert(*read));
            after(&mut set, instruction);
        }
    }
    for instruction in code {
        instruction.writes =
            instruction.writes.iter().copied().filter(|write| checked.contains(*write)).collect();
    }
}

fn range(order: &Order, block: usize, end: usize) -> std::ops::Range<usize> {
    order.starts[block] as usize..order.starts.get(block + 1).map_or(end, |&next| next as usize)
}

fn after(set: &mut Set, instruction: &Instruction) {
    if instruction.guard.is_none() {
        instruction.writes.iter().for_each(|write| set.insert(*write));
    }
}
