//! Launches.

use std::sync::Arc;

use super::grid::{Done, Grid, OfStream, note, place, run_clusters};
use super::inter_cluster_races;
use super::shape::{Shape, product};
use crate::check::in_flight::InFlight;
use crate::counts::Counts;
use crate::error::LaunchError;
use crate::kernel::Kernel;
use crate::memory::{Memory, unwritten};

/// The most shared memory of a block: that of compute capability 9.0 (CUDA C++ Programming
/// Guide, "Technical Specifications per Compute Capability").
const MOST_SHARED: u64 = 227 * 1024;

/// An argument: its bytes, and how its type is aligned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    bytes: Vec<u8>,
    align: u64,
}

impl Argument {
    /// A value of any type, by its bytes.
    pub fn bytes(bytes: &[u8], align: u64) -> Argument {
        Argument { bytes: bytes.to_vec(), align }
    }
}

macro_rules! arguments {
    ($($type:ty)*) => { $(
        impl From<$type> for Argument {
            fn from(value: $type) -> Argument {
                Argument { bytes: value.to_le_bytes().to_vec(), align: size_of::<$type>() as u64 }
            }
        }
    )* };
}

arguments!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

/// A launch of a kernel, built step by step.
#[derive(Clone, Debug)]
pub struct Launch {
    kernel: Arc<Kernel>,
    shape: Shape,
    dynamic_shared: u32,
    arguments: Vec<Argument>,
    limit: u64,
    programmatic: bool,
}

impl Launch {
    /// A launch of one block of one thread.
    pub fn new(kernel: &Arc<Kernel>) -> Launch {
        let shape = Shape { grid: [1; 3], block: [1; 3], cluster: kernel.limits.cluster.unwrap_or([1; 3]) };
        Launch {
            kernel: Arc::clone(kernel),
            shape,
            dynamic_shared: 0,
            arguments: Vec::new(),
            limit: 1 << 32,
            programmatic: false,
        }
    }

    /// Blocks along x, y and z.
    #[must_use]
    pub fn grid(mut self, grid: [u32; 3]) -> Launch {
        self.shape.grid = grid;
        self
    }

    /// Threads of a block along x, y and z.
    #[must_use]
    pub fn block(mut self, block: [u32; 3]) -> Launch {
        self.shape.block = block;
        self
    }

    /// Blocks of a cluster along x, y and z.
    #[must_use]
    pub fn cluster(mut self, cluster: [u32; 3]) -> Launch {
        self.shape.cluster = cluster;
        self
    }

    /// Bytes of dynamic shared memory.
    #[must_use]
    pub fn dynamic_shared(mut self, bytes: u32) -> Launch {
        self.dynamic_shared = bytes;
        self
    }

    /// The next argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<Argument>) -> Launch {
        self.arguments.push(argument.into());
        self
    }

    /// The most instructions that a warp may run; 2^32 without.
    #[must_use]
    pub fn limit(mut self, instructions: u64) -> Launch {
        self.limit = instructions;
        self
    }

    /// Whether it may begin before earlier launches of its [`Stream`](super::stream::Stream) have ended (programmatic
    /// dependent launch, `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`); false unless given.
    #[must_use]
    pub fn programmatic(mut self, programmatic: bool) -> Launch {
        self.programmatic = programmatic;
        self
    }

    pub(crate) fn is_programmatic(&self) -> bool {
        self.programmatic
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Runs the kernel to its end, blocks in parallel on rayon's thread pool. No earlier launch is still running.
    ///
    /// # Errors
    /// [`LaunchError`]: before anything runs, where the launch does not fit the kernel; the
    /// kernel's first fault; races between blocks and output bytes left unwritten, at the end.
    /// After an error, what the kernel had written is in memory.
    pub fn run(&self, memory: &mut Memory) -> Result<Counts, LaunchError> {
        self.run_behind(&[], false, memory).map(|(counts, _)| counts)
    }

    /// [`run`](Launch::run) while earlier launches may still be running. If `remembers`, it also gives what later launches of
    /// the stream are checked against.
    pub(crate) fn run_behind(
        &self,
        in_flight: &[InFlight],
        remembers: bool,
        memory: &mut Memory,
    ) -> Result<(Counts, OfStream), LaunchError> {
        let (arguments, shared_bytes) = self.prepare()?;
        let variables = place(&self.kernel.variables, memory);
        // Races within a cluster are found while it runs. To name the threads of a race between clusters, two of them are
        // run again, for which memory is kept as it is now.
        let before = (self.shape.cluster_count() > 1).then(|| memory.copy());
        let grid =
            Grid { in_flight, remembers, ..self.grid_of(memory, &arguments, &variables, shared_bytes) };
        let done = run_clusters(&grid).map(|done| {
            let counts = done.counts(&grid);
            // Run alone, a cluster that spins on another one's store would never end.
            let limit = counts.longest_warp + 1;
            let before = before.as_ref().map(|memory| Grid { memory, limit, ..grid });
            let raced = before.and_then(|before| inter_cluster_races::race(&before, &done.footprints));
            (counts, raced, done)
        });
        if let Ok((_, _, done)) = &done {
            note(memory, &done.footprints);
        }
        variables.iter().for_each(|&address| memory.remove(address));
        let (counts, raced, Done { mut of_stream, .. }) = done?;
        if let Some(fault) = raced {
            return Err(LaunchError::Fault(fault));
        }
        if let Some((buffer, address, offset, count)) = unwritten(memory) {
            let kernel = self.kernel.name.clone();
            return Err(LaunchError::Unwritten { kernel, buffer, address, offset, count });
        }
        // The next launch allocates the module's variables anew.
        for (variable, &address) in self.kernel.variables.iter().zip(&variables) {
            of_stream.accesses.forget(address, address + variable.bytes.len() as u64);
        }
        of_stream.accesses.sort();
        Ok((counts, of_stream))
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Checks the launch; its arguments as the kernel's parameter space holds them, and a block's bytes of shared memory.
    pub(crate) fn prepare(&self) -> Result<(Vec<u8>, u64), LaunchError> {
        self.check_shape()?;
        Ok((self.pack()?, self.check_shared()?))
    }

    /// What its clusters share, with nothing in front of it.
    pub(crate) fn grid_of<'a>(
        &'a self,
        memory: &'a Memory,
        arguments: &'a [u8],
        variables: &'a [u64],
        shared_bytes: u64,
    ) -> Grid<'a> {
        Grid {
            kernel: &self.kernel,
            memory,
            shape: self.shape,
            arguments,
            variables,
            dynamic_shared: self.dynamic_shared,
            shared_bytes,
            limit: self.limit,
            in_flight: &[],
            remembers: false,
        }
    }

    fn check_shape(&self) -> Result<(), LaunchError> {
        let Shape { grid, block, cluster } = self.shape;
        let limits = self.kernel.limits;
        let kernel = || self.kernel.name.clone();
        let refuse = |what, expected: &str, given| {
            Err(LaunchError::Shape { kernel: kernel(), what, expected: expected.to_owned(), given })
        };
        // CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
        let [x, y, z] = grid;
        if grid.contains(&0) || x > i32::MAX as u32 || y > 65535 || z > 65535 {
            return refuse("grid", "1 to 2^31-1, 65535 and 65535 blocks", grid);
        }
        if block.contains(&0) || product(block) > 1024 || block[2] > 64 {
            return refuse("block", "1 to 1024 threads, at most 64 along z", block);
        }
        if let Some(most) = limits.most_threads
            && product(block) > product(most)
        {
            return refuse("block", &format!("at most .maxntid {most:?}"), block);
        }
        if let Some(threads) = limits.threads
            && block != threads
        {
            return refuse("block", &format!(".reqntid {threads:?}"), block);
        }
        let fits = (0..3).all(|axis| cluster[axis] != 0 && grid[axis].is_multiple_of(cluster[axis]));
        if !fits || product(cluster) > 16 {
            return refuse("cluster", "1 to 16 blocks, extents that divide the grid's", cluster);
        }
        if let Some(wanted) = limits.cluster
            && cluster != wanted
        {
            return refuse("cluster", &format!(".reqnctapercluster {wanted:?}"), cluster);
        }
        if let Some(most) = limits.most_blocks
            && product(cluster) > u64::from(most)
        {
            return refuse("cluster", &format!("at most .maxclusterrank {most}"), cluster);
        }
        Ok(())
    }

    fn check_shared(&self) -> Result<u64, LaunchError> {
        let dynamic = u64::from(self.dynamic_shared);
        let given =
            if dynamic == 0 { self.kernel.static_shared } else { self.kernel.dynamic_start + dynamic };
        if given > MOST_SHARED {
            return Err(LaunchError::SharedMemory {
                kernel: self.kernel.name.clone(),
                max: MOST_SHARED,
                given,
            });
        }
        Ok(given)
    }

    /// The arguments as the kernel's parameter space holds them.
    fn pack(&self) -> Result<Vec<u8>, LaunchError> {
        let (parameters, kernel) = (&self.kernel.parameters, || self.kernel.name.clone());
        if parameters.len() != self.arguments.len() {
            let (expected, given) = (parameters.len(), self.arguments.len());
            return Err(LaunchError::ArgumentCount { kernel: kernel(), expected, given });
        }
        let mut packed = Vec::new();
        for (index, (parameter, argument)) in parameters.iter().zip(&self.arguments).enumerate() {
            let name = || parameter.name.clone();
            let given = argument.bytes.len() as u64;
            if given != parameter.size {
                let expected = parameter.size;
                return Err(LaunchError::ArgumentSize {
                    kernel: kernel(),
                    index,
                    parameter: name(),
                    expected,
                    given,
                });
            }
            if argument.align < parameter.align {
                let (expected, given) = (parameter.align, argument.align);
                return Err(LaunchError::ArgumentAlignment {
                    kernel: kernel(),
                    index,
                    parameter: name(),
                    expected,
                    given,
                });
            }
            packed.resize(parameter.offset as usize, 0);
            packed.extend_from_slice(&argument.bytes);
        }
        Ok(packed)
    }
}
