//! A kernel, decoded.

mod compile;
pub mod file;
mod initialized;
pub mod lanes;
pub mod op;
mod order;

pub use compile::compile;
use op::{InitialValue, Instruction};
pub use order::Order;

use crate::text::registers::{Names, Register};

/// A kernel ready to run: made by [`Module::kernel`](crate::Module::kernel).
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) code: Vec<Instruction>,
    /// The order in which the parts of a diverged warp run, and where they reconverge.
    pub(crate) order: Order,
    /// Registers of each file: predicates, words, wides.
    pub(crate) files: [u32; 3],
    pub(crate) names: Names,
    pub(crate) initial_values: Vec<(Register, InitialValue)>,
    pub(crate) variables: Vec<ModuleVariable>,
    /// Bytes of static shared memory, and where dynamic shared memory begins behind it.
    pub(crate) static_shared: u64,
    pub(crate) dynamic_start: u64,
    /// Bytes of local memory a thread.
    pub(crate) local: u64,
    pub(crate) limits: Limits,
}

/// A kernel's parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the PTX.
    pub name: String,
    /// Its offset in the parameter space, in bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes; a power of two.
    pub align: u64,
}

/// A global or constant variable of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleVariable {
    pub name: String,
    pub bytes: Vec<u8>,
    pub align: u64,
    pub constant: bool,
}

/// What a kernel's directives require of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `.maxntid`: the most threads along each axis.
    pub most_threads: Option<[u32; 3]>,
    /// `.reqntid`: the threads along each axis.
    pub threads: Option<[u32; 3]>,
    /// `.reqnctapercluster`: the blocks of a cluster along each axis.
    pub cluster: Option<[u32; 3]>,
    /// `.maxclusterrank`: the most blocks of a cluster.
    pub most_blocks: Option<u32>,
}

impl Kernel {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Its instructions, and the return behind the last of them.
    pub fn instructions(&self) -> usize {
        self.code.len()
    }

    /// Bytes of shared memory that it declares itself.
    pub fn static_shared(&self) -> u64 {
        self.static_shared
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("name", &self.name).field("instructions", &self.code.len()).finish()
    }
}
