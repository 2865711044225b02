//! What a kernel's instructions share while they are decoded.

use std::collections::HashMap;

use crate::kernel::op::{Preset, Space, Special};
use crate::text::registers::{Class, Register, Registers};
use crate::text::variable::VariableSpace;

/// Names and registers of the kernel being decoded.
pub struct Context<'a> {
    pub registers: Registers<'a>,
    pub labels: HashMap<&'a str, u32>,
    /// Where each variable lies.
    pub symbols: HashMap<String, Symbol>,
    /// Registers that hold something before the first instruction.
    pub presets: Vec<(Register, Preset)>,
    known: HashMap<(Preset, Class), Register>,
}

/// Where a variable lies: at an offset of its space, or, for global and constant ones, under a
/// number, because the launch places them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub space: VariableSpace,
    pub at: u64,
}

impl<'a> Context<'a> {
    pub fn new(
        registers: Registers<'a>,
        labels: HashMap<&'a str, u32>,
        symbols: HashMap<String, Symbol>,
    ) -> Self {
        Context { registers, labels, symbols, presets: Vec::new(), known: HashMap::new() }
    }

    /// The register that holds this from the start.
    pub fn preset(&mut self, preset: Preset, class: Class) -> Register {
        *self.known.entry((preset, class)).or_insert_with(|| {
            let register = self.registers.fresh(class);
            self.presets.push((register, preset));
            register
        })
    }

    /// What a name stands for as an operand: a special register's value, or a variable's address.
    pub fn named(&self, name: &str, offset: i64, class: Class) -> Option<Preset> {
        if let Some(special) = special(name) {
            return (class == Class::Word && offset == 0).then_some(Preset::Special(special));
        }
        let symbol = self.symbols.get(name)?;
        match symbol.space {
            VariableSpace::Global | VariableSpace::Constant if offset == 0 && class == Class::Wide => {
                Some(Preset::Variable(symbol.at as u32))
            }
            VariableSpace::Global | VariableSpace::Constant => None,
            _ if matches!(class, Class::Word | Class::Wide) => {
                Some(Preset::Constant(symbol.at.wrapping_add_signed(offset)))
            }
            _ => None,
        }
    }

    /// The same for an address in brackets, whose instruction names the space.
    pub fn placed(&self, name: &str, space: Space) -> Option<Preset> {
        let symbol = self.symbols.get(name)?;
        let fits = match symbol.space {
            VariableSpace::Global => matches!(space, Space::Global | Space::Generic),
            VariableSpace::Constant => space == Space::Constant,
            VariableSpace::Shared => matches!(space, Space::Shared | Space::Cluster),
            VariableSpace::Local => space == Space::Local,
            VariableSpace::Param => space == Space::Param,
        };
        if !fits {
            return None;
        }
        Some(match symbol.space {
            VariableSpace::Global | VariableSpace::Constant => Preset::Variable(symbol.at as u32),
            _ => Preset::Constant(symbol.at),
        })
    }
}

fn special(name: &str) -> Option<Special> {
    let along = |family: &str| {
        let axis = name.strip_prefix(family)?;
        [".x", ".y", ".z"].iter().position(|&known| known == axis).map(|axis| axis as u8)
    };
    Some(match name {
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%nwarpid" => Special::Warps,
        "%lanemask_eq" => Special::LanesEqual,
        "%lanemask_lt" => Special::LanesBelow,
        "%lanemask_le" => Special::LanesUpTo,
        "%lanemask_gt" => Special::LanesAbove,
        "%lanemask_ge" => Special::LanesFrom,
        "%cluster_ctarank" => Special::BlockRank,
        "%cluster_nctarank" => Special::BlockRanks,
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" => Special::TotalShared,
        _ => {
            return along("%tid")
                .map(Special::Thread)
                .or_else(|| along("%ntid").map(Special::Threads))
                .or_else(|| along("%ctaid").map(Special::Block))
                .or_else(|| along("%nctaid").map(Special::Blocks))
                .or_else(|| along("%clusterid").map(Special::Cluster))
                .or_else(|| along("%nclusterid").map(Special::Clusters))
                .or_else(|| along("%cluster_ctaid").map(Special::BlockInCluster))
                .or_else(|| along("%cluster_nctaid").map(Special::BlocksInCluster));
        }
    })
}
