//! Special registers, and the constants and addresses that instructions name: all are registers that are written before
//! the first instruction.

use super::shape::Shape;
use super::warp::Warp;
use crate::kernel::file::Row;
use crate::kernel::op::{InitialValue, Special};
use crate::text::registers::{Class, Register};

/// What a warp's special registers depend on, beside which warp it is.
pub struct Setting<'a> {
    pub shape: &'a Shape,
    pub cluster: u64,
    /// Addresses of the kernel's global and constant variables.
    pub variables: &'a [u64],
    pub dynamic_shared: u32,
    pub total_shared: u32,
}

/// Writes the initial values of a warp's registers.
pub fn write(initial_values: &[(Register, InitialValue)], setting: &Setting<'_>, warp: &mut Warp) {
    for &(register, initial) in initial_values {
        let row: Row<u64> = match initial {
            InitialValue::Constant(bits) => [bits; 32],
            InitialValue::Variable(number) => {
                [setting.variables.get(number as usize).copied().unwrap_or(0); 32]
            }
            InitialValue::Special(special) => {
                std::array::from_fn(|lane| u64::from(value(special, setting, warp, lane)))
            }
        };
        match register.class {
            Class::Predicate => warp.file.predicates[register.slot as usize] = row[0] as u32,
            Class::Half | Class::Word => {
                warp.file.words[register.slot as usize] = row.map(|bits| bits as u32)
            }
            Class::Wide => warp.file.wides[register.slot as usize] = row,
        }
    }
}

fn value(special: Special, setting: &Setting<'_>, warp: &Warp, lane: usize) -> u32 {
    let shape = setting.shape;
    let rank = warp.block as u32;
    let bit = 1u32 << lane;
    let axis = |extents: [u32; 3], axis: u8| extents[usize::from(axis) % 3];
    match special {
        Special::Thread(along) => axis(shape.thread_at((warp.in_block * 32 + lane) as u32), along),
        Special::Threads(along) => axis(shape.block, along),
        Special::Block(along) => axis(shape.block_at(setting.cluster, rank), along),
        Special::Blocks(along) => axis(shape.grid, along),
        Special::Cluster(along) => axis(shape.cluster_at(setting.cluster), along),
        Special::Clusters(along) => axis(shape.clusters(), along),
        Special::BlockInCluster(along) => axis(shape.rank_at(rank), along),
        Special::BlocksInCluster(along) => axis(shape.cluster, along),
        Special::BlockRank => rank,
        Special::BlockRanks => shape.ranks(),
        Special::Lane => lane as u32,
        Special::Warp => warp.in_block as u32,
        Special::Warps => shape.warps() as u32,
        Special::LanesEqual => bit,
        Special::LanesBelow => bit - 1,
        Special::LanesUpTo => bit | (bit - 1),
        Special::LanesAbove => !(bit | (bit - 1)),
        Special::LanesFrom => !(bit - 1),
        Special::DynamicShared => setting.dynamic_shared,
        Special::TotalShared => setting.total_shared,
    }
}
