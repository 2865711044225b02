//! What a kernel's instructions share while they are decoded.

use std::collections::HashMap;

use crate::kernel::op::{InitialValue, Space, Special};
use crate::text::registers::{Class, Register, Registers};
use crate::text::variable::VariableSpace;

/// Names and registers of the kernel being decoded.
pub struct Context<'a> {
    /// The target that the text is for, `90` for `sm_90`, where it names one.
    pub target: Option<u32>,
    pub registers: Registers<'a>,
    pub labels: HashMap<&'a str, u32>,
    /// Where each variable lies.
    pub symbols: HashMap<String, Symbol>,
    /// Registers that are written before the first instruction, each with its value.
    pub initial_values: Vec<(Register, InitialValue)>,
    known: HashMap<(InitialValue, Class), Register>,
}

/// Where a variable lies: `at` is an offset in its space. For global and constant variables it is the variable's number
/// instead, because only a launch gives them addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub space: VariableSpace,
    pub at: u64,
}

impl<'a> Context<'a> {
    pub fn new(
        target: Option<u32>,
        registers: Registers<'a>,
        labels: HashMap<&'a str, u32>,
        symbols: HashMap<String, Symbol>,
    ) -> Self {
        Context { target, registers, labels, symbols, initial_values: Vec::new(), known: HashMap::new() }
    }

    /// The register that holds this value from the kernel's start on, one for each value and class.
    pub fn holding(&mut self, value: InitialValue, class: Class) -> Register {
        *self.known.entry((value, class)).or_insert_with(|| {
            let register = self.registers.fresh(class);
            self.initial_values.push((register, value));
            register
        })
    }

    /// What a name stands for as an operand: a special register's value, or a variable's address.
    pub fn named(&self, name: &str, offset: i64, class: Class) -> Option<InitialValue> {
        if let Some(special) = special(name) {
            return (class == Class::Word && offset == 0).then_some(InitialValue::Special(special));
        }
        let symbol = self.symbols.get(name)?;
        match symbol.space {
            VariableSpace::Global | VariableSpace::Constant if offset == 0 && class == Class::Wide => {
                Some(InitialValue::Variable(symbol.at as u32))
            }
            VariableSpace::Global | VariableSpace::Constant => None,
            _ if matches!(class, Class::Word | Class::Wide) => {
                Some(InitialValue::Constant(symbol.at.wrapping_add_signed(offset)))
            }
            _ => None,
        }
    }

    /// What a name stands for as an address in brackets; `None` if it lies in another space than the instruction names.
    pub fn placed(&self, name: &str, space: Space) -> Option<InitialValue> {
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
            VariableSpace::Global | VariableSpace::Constant => InitialValue::Variable(symbol.at as u32),
            _ => InitialValue::Constant(symbol.at),
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
