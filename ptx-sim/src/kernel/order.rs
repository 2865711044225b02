//! The order in which the parts of a diverged warp run.
//!
//! Parts of a warp wait for each other where they reconverge. Here the part that is furthest behind always goes first, and
//! parts that reach the same instruction become one ("thread frontiers": Diamos et al. 2011, "SIMD re-convergence at thread
//! frontiers"). Behind and ahead are places in a weak topological order of the basic blocks (Bourdoncle 1993, "Efficient
//! chaotic iteration strategies with widenings"), which keeps every loop in one piece. A part that takes the back edge of a
//! loop waits at the loop's end for parts that are still in its body. Lanes reconverge at the immediate post-dominator at the
//! latest, and also where some threads return early, which post-dominators miss.

use super::op::{Instruction, Op};

/// The order of a kernel's instructions.
#[derive(Debug, Default)]
pub struct Order {
    /// Where each basic block begins, and whether each instruction begins one.
    pub starts: Vec<u32>,
    pub begins: Vec<bool>,
    /// The block of each instruction.
    pub block: Vec<u32>,
    /// Blocks that may follow each block.
    pub next: Vec<Vec<u32>>,
    /// Each block's place.
    place: Vec<u32>,
    /// For the head of a loop, the place behind the loop's last block.
    end: Vec<u32>,
}

impl Order {
    pub fn of(code: &[Instruction]) -> Order {
        let mut order = Order::default();
        order.find_blocks(code);
        let count = order.starts.len();
        order.place = vec![0; count];
        order.end = vec![0; count];
        let mut place = 0;
        order.arrange((0..count as u32).collect(), &mut place);
        order
    }

    /// The place of a part that jumps from one instruction to another: that of the target's block, or, for the back edge of
    /// a loop, the place behind the loop's last block.
    pub fn arrival(&self, from: u32, to: u32) -> u32 {
        let (from, to) = (self.block[from as usize] as usize, self.block[to as usize] as usize);
        if self.place[to] <= self.place[from] && self.end[to] != 0 { self.end[to] } else { self.place[to] }
    }

    fn find_blocks(&mut self, code: &[Instruction]) {
        self.begins = vec![false; code.len()];
        self.begins[0] = true;
        for (at, instruction) in code.iter().enumerate() {
            match instruction.op {
                Op::Branch { target } => {
                    self.begins[target as usize] = true;
                    self.begins[(at + 1).min(code.len() - 1)] = true;
                }
                Op::Exit | Op::Trap => self.begins[(at + 1).min(code.len() - 1)] = true,
                _ => {}
            }
        }
        self.starts = (0..code.len() as u32).filter(|&at| self.begins[at as usize]).collect();
        let mut block = 0;
        self.block = (0..code.len())
            .map(|at| {
                block += u32::from(self.begins[at] && at > 0);
                block
            })
            .collect();
        self.next = (0..self.starts.len())
            .map(|block| {
                let end = self.starts.get(block + 1).map_or(code.len(), |&next| next as usize);
                let last = &code[end - 1];
                let falls = (end < code.len()).then_some(block as u32 + 1);
                match last.op {
                    Op::Branch { target } if last.guard.is_some() => {
                        [Some(self.block[target as usize]), falls].into_iter().flatten().collect()
                    }
                    Op::Branch { target } => vec![self.block[target as usize]],
                    Op::Exit | Op::Trap if last.guard.is_none() => Vec::new(),
                    _ => falls.into_iter().collect(),
                }
            })
            .collect();
    }

    /// Gives the blocks of a part of the graph their places: its strongly connected components in topological order, and
    /// then the blocks within each component in the same way, without the back edges to its head.
    fn arrange(&mut self, blocks: Vec<u32>, place: &mut u32) {
        // A stack of work instead of recursion: nesting is as deep as the input says.
        enum Work {
            Arrange(Vec<u32>),
            End(u32),
        }
        let mut cut = vec![false; self.starts.len()];
        let mut stack = vec![Work::Arrange(blocks)];
        while let Some(work) = stack.pop() {
            let blocks = match work {
                Work::End(head) => {
                    // Blocks have even places, so this is one between two of them.
                    self.end[head as usize] = *place + 1;
                    continue;
                }
                Work::Arrange(blocks) => blocks,
            };
            if let [only] = blocks[..] {
                self.place[only as usize] = *place + 2;
                *place += 2;
                continue;
            }
            let components = components(&blocks, &self.next, &cut);
            // The stack gives back what was put there last.
            for component in components {
                let head = component.iter().copied().min().unwrap_or_default();
                let loops =
                    component.len() > 1 || self.next[head as usize].contains(&head) && !cut[head as usize];
                if loops {
                    cut[head as usize] = true;
                    stack.push(Work::End(head));
                }
                stack.push(Work::Arrange(component));
            }
        }
    }
}

/// The strongly connected components of the graph on `blocks`, without the edges to blocks that
/// are cut, in reverse topological order (Tarjan 1972). Blocks keep their order in the text
/// where the graph says nothing.
fn components(blocks: &[u32], next: &[Vec<u32>], cut: &[bool]) -> Vec<Vec<u32>> {
    const NEW: u32 = u32::MAX;
    let inside: std::collections::HashSet<u32> = blocks.iter().copied().collect();
    let mut index = std::collections::HashMap::new();
    let (mut low, mut open, mut found, mut path) =
        (std::collections::HashMap::new(), Vec::new(), Vec::new(), Vec::new());
    let mut closed = std::collections::HashSet::new();
    for &root in blocks {
        if index.contains_key(&root) {
            continue;
        }
        path.push((root, 0));
        while let Some((block, edge)) = path.pop() {
            if edge == 0 {
                let number = index.len() as u32;
                index.insert(block, number);
                low.insert(block, number);
                open.push(block);
            }
            let followers = &next[block as usize];
            // A block is looked at again when what hangs below its edge is done.
            if edge > 0 {
                let below = low.get(&followers[edge - 1]).copied().unwrap_or(NEW);
                let follower = followers[edge - 1];
                if inside.contains(&follower) && !cut[follower as usize] && !closed.contains(&follower) {
                    low.entry(block).and_modify(|low| *low = below.min(*low));
                }
            }
            if edge < followers.len() {
                path.push((block, edge + 1));
                let follower = followers[edge];
                if inside.contains(&follower) && !cut[follower as usize] && !index.contains_key(&follower) {
                    path.push((follower, 0));
                }
                continue;
            }
            if low.get(&block) == index.get(&block) {
                let mut component = Vec::new();
                while let Some(member) = open.pop() {
                    closed.insert(member);
                    component.push(member);
                    if member == block {
                        break;
                    }
                }
                component.reverse();
                found.push(component);
            }
        }
    }
    found
}
