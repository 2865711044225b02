//! Launches on several devices that run beside each other and share memory.

use std::collections::HashMap;
use std::fmt;

use super::cluster::Cluster;
use super::grid::{Grid, note, place};
use super::launch::Launch;
use super::shape::Shape;
use crate::check::pages::Pages;
use crate::error::LaunchError;
use crate::memory::{Memory, unwritten};

/// The most warps of all launches that can run beside each other: what a record of an access has room for.
const MOST_WARPS: usize = 1 << 10;

/// The most instructions that a warp runs before the blocks of another launch may have a turn.
const MOST_A_TURN: u64 = 256;

/// Streams of several devices, whose launches run beside each other: the blocks of all launches that are at the front of
/// their streams take turns, in an order that a seed decides.
///
/// Each stream is a device of its own, and memory is that of all, which reach each other's. An access by one launch is a race with
/// one by another unless something orders the two:
///
/// - a launch is behind those in front of it in its stream;
/// - what follows a load by `.acquire.sys` is behind what came before the store by `.release.sys` whose value it loaded. Barriers
///   of a block pass both on, as they do any order;
/// - a launch begins and ends with a fence for the whole system: a store by `.relaxed.sys` is behind what came before its launch, and
///   what follows a launch is behind what came before the stores whose values its loads by `.relaxed.sys` have seen.
///
/// Strong accesses are no race with each other if each has a scope that the other's device is in: of two devices both are for
/// the whole system, `.volatile` or `.sys`. With weak ones they are. Of a vector that is stored for the whole system another launch
/// may see all elements but one before that one.
///
/// So a missing release or acquire is found whatever the order of turns, as are accesses that only lie apart in time. Clocks are
/// kept by warp: within a warp nothing has to be ordered. Launches in clusters cannot run beside others, and no launch begins
/// before the one in front has ended. `%globaltimer` counts the instructions of a warp.
///
/// ```
/// # use ptx_sim::{FaultKind, Launch, LaunchError, Memory, Module, Together};
/// // The first device stores a number and raises a flag, the second waits for the flag and loads the number.
/// let text = |release: &str| {
///     format!(
///         ".version 8.0 .target sm_80 .address_size 64
///         .visible .entry send(.param .u64 p) {{
///             .reg .b32 %r<2>; .reg .b64 %d<2>;
///             ld.param.u64 %d1, [p]; st.global.u32 [%d1], 7; st.{release}.sys.global.u32 [%d1+4], 1; ret;
///         }}
///         .visible .entry receive(.param .u64 p) {{
///             .reg .b32 %r<3>; .reg .b64 %d<2>; .reg .pred %p;
///             ld.param.u64 %d1, [p];
///             again: ld.acquire.sys.global.u32 %r1, [%d1+4]; setp.eq.u32 %p, %r1, 0; @%p bra again;
///             ld.global.u32 %r2, [%d1]; st.global.u32 [%d1+8], %r2; ret;
///         }}"
///     )
/// };
/// let run = |text: String| {
///     let module = Module::parse(text).unwrap();
///     let mut memory = Memory::new();
///     let data = memory.upload("data", &[0; 12]);
///     let launch = |name| Launch::new(&module.kernel(name).unwrap()).arg(data);
///     Together::new(1).run(&[vec![launch("send")], vec![launch("receive")]], &mut memory).map(|()| memory.read(data + 8, 4))
/// };
/// assert_eq!(run(text("release")).unwrap().unwrap(), [7, 0, 0, 0]);
/// let LaunchError::Fault(fault) = run(text("relaxed")).unwrap_err().error else { panic!() };
/// assert!(matches!(fault.kind, FaultKind::Race { .. }));
/// ```
#[derive(Clone, Debug)]
pub struct Together {
    random: u64,
}

/// Why launches beside each other did not finish.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct TogetherError {
    /// The stream, from 0.
    pub stream: usize,
    /// The launch, counted from 0 in its stream.
    pub launch: usize,
    /// What is wrong with it.
    #[source]
    pub error: LaunchError,
}

impl fmt::Display for TogetherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "launch {} of stream {}: {}", self.launch, self.stream, self.error)
    }
}

impl Together {
    /// Launches whose blocks take turns in the order that a seed decides.
    pub fn new(seed: u64) -> Together {
        Together { random: seed }
    }

    /// Runs all launches of all streams to their ends.
    ///
    /// # Errors
    /// Those of [`Launch::run`]; [`LaunchError::Shape`] for launches in clusters, or where the longest launches of the streams
    /// have more than 1024 warps together. After an error, what the kernels had written is in memory.
    pub fn run(mut self, streams: &[Vec<Launch>], memory: &mut Memory) -> Result<(), TogetherError> {
        let launches = || {
            let all = streams.iter().enumerate();
            all.flat_map(|(stream, launches)| {
                launches.iter().enumerate().map(move |(launch, of)| ((stream, launch), of))
            })
        };
        let at = |(stream, launch)| move |error| TogetherError { stream, launch, error };
        let mut bases = Vec::with_capacity(streams.len());
        let mut total = 0;
        for launches in streams {
            bases.push(total);
            total += launches.iter().map(|launch| warps(launch.shape())).max().unwrap_or(0);
        }
        let mut prepared = Vec::new();
        for (place, launch) in launches() {
            prepared.push(prepare(launch, total).map_err(at(place))?);
        }
        let variables: Vec<Vec<u64>> =
            launches().map(|(_, launch)| place(&launch.kernel().variables, memory)).collect();
        let shared: &Memory = memory;
        let grids: Vec<Grid<'_>> = launches()
            .zip(&prepared)
            .zip(&variables)
            .map(|(((_, launch), (arguments, shared_bytes)), variables)| {
                launch.grid_of(shared, arguments, variables, *shared_bytes)
            })
            .collect();
        let mut of_stream = grids.iter();
        let mut running: Vec<Running<'_>> = streams
            .iter()
            .zip(&bases)
            .map(|(launches, &base)| {
                let queue: Vec<&Grid<'_>> = of_stream.by_ref().take(launches.len()).collect();
                Running { queue, next: 0, base, known: vec![0; total], clusters: Vec::new() }
            })
            .collect();

        let mut pages = Pages::default();
        pages.releases = Some(HashMap::new());
        pages.start();
        let result = self.take_turns(&mut running, &mut pages);
        drop(running);
        let footprint = pages.footprint();
        drop(grids);
        note(memory, &[(0, footprint)]);
        variables.iter().flatten().for_each(|&address| memory.remove(address));
        result?;
        match (unwritten(memory), launches().last()) {
            (Some((buffer, address, offset, count)), Some((place, launch))) => {
                let kernel = launch.kernel().name().to_owned();
                Err(at(place)(LaunchError::Unwritten { kernel, buffer, address, offset, count }))
            }
            _ => Ok(()),
        }
    }

    fn take_turns(&mut self, running: &mut [Running<'_>], pages: &mut Pages) -> Result<(), TogetherError> {
        loop {
            let ready: Vec<usize> = (0..running.len()).filter(|&stream| running[stream].begin()).collect();
            if ready.is_empty() {
                return Ok(());
            }
            let stream = ready[self.below(ready.len())];
            let turns = 1 + self.below(4);
            for _ in 0..turns {
                let instructions = 1 + self.below(MOST_A_TURN as usize) as u64;
                let block = self.below(running[stream].clusters.len());
                running[stream].turn(block, pages, instructions).map_err(|fault| TogetherError {
                    stream,
                    launch: running[stream].next - 1,
                    error: LaunchError::Fault(fault),
                })?;
                if running[stream].clusters.is_empty() {
                    break;
                }
            }
        }
    }

    /// A number below `end`: SplitMix64 (Steele, Lea and Flood, 2014).
    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % end.max(1) as u64) as usize
    }
}

/// A stream, with the launch at its front.
struct Running<'a> {
    queue: Vec<&'a Grid<'a>>,
    /// Behind the launch at the front.
    next: usize,
    /// The place of its first warp among those of all streams.
    base: usize,
    /// The clock of all that launches in front have done.
    known: Vec<u32>,
    /// The blocks that have not ended.
    clusters: Vec<Cluster<'a>>,
}

impl<'a> Running<'a> {
    /// Begins the next launch if none is running. False if there is none.
    fn begin(&mut self) -> bool {
        if !self.clusters.is_empty() {
            return true;
        }
        let Some(&grid) = self.queue.get(self.next) else { return false };
        self.next += 1;
        let warps = grid.shape.warps();
        for number in 0..grid.shape.cluster_count() {
            let mut cluster = Cluster::new(grid);
            cluster.start(number, self.base + number as usize * warps, &self.known);
            self.clusters.push(cluster);
        }
        true
    }

    fn turn(
        &mut self,
        block: usize,
        pages: &mut Pages,
        instructions: u64,
    ) -> Result<(), Box<crate::fault::Fault>> {
        if self.clusters[block].turn(pages, instructions)? {
            let ended = self.clusters.swap_remove(block);
            super::barrier::join(&mut self.known, &ended.clock());
        }
        Ok(())
    }
}

fn warps(shape: Shape) -> usize {
    usize::try_from(shape.cluster_count()).unwrap_or(usize::MAX).saturating_mul(shape.warps())
}

/// Checks a launch; its arguments as the kernel has them, and its bytes of shared memory.
fn prepare(launch: &Launch, total: usize) -> Result<(Vec<u8>, u64), LaunchError> {
    let Shape { grid, cluster, .. } = launch.shape();
    let refuse = |what, expected: &str, given| {
        let kernel = launch.kernel().name().to_owned();
        Err(LaunchError::Shape { kernel, what, expected: expected.to_owned(), given })
    };
    if cluster != [1; 3] {
        return refuse("cluster", "no clusters beside other launches", cluster);
    }
    if total > MOST_WARPS {
        return refuse("grid", "at most 1024 warps of all launches beside each other", grid);
    }
    launch.prepare()
}
