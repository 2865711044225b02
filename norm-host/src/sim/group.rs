//! The kernels of groups: several ranks' launches beside each other on one simulator, and one rank's by itself.

use std::ops::Range;

use norm_kernels::abi::{
    Args, Exchange, Failure, GroupArgs, MAX_GROUP_BLOCKS, MAX_RANKS, WARP, workspace,
    workspace::packets_of_row,
};
use ptx_sim::{Argument, Launch, Memory, Module, Stream, Together};

use super::{IN_FRONT, Simulator, args, argument, limit, memory, none_is_stray};
use crate::{
    check::{self, Form, ResidualArgs},
    error::{Arg, Error, GroupFailure, Result},
    norm::Norm,
    plan::GroupPlan,
    problem::Problem,
    tensor::{Place, View, ViewMut},
    tp::{has_kernels, signature, told as told_as},
};

/// A group of simulated devices, which all have the simulator's profile. Their workspaces begin anew in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedGroup {
    /// The number of ranks, 1 to 8.
    pub ranks: usize,
    /// Blocks of every launch, 1 to 256. The blocks of one launch of each rank have 1024 warps together at most.
    pub blocks: u32,
    /// Bytes of each of a rank's two buffers, of which whole vectors of 16 are used. A call of more rows is as many launches as
    /// it needs.
    pub buffer_bytes: u64,
    /// How rows get to other ranks. There is room for all packets of a launch.
    pub exchange: Exchange,
    /// How many launches every rank has completed before; the number wraps.
    pub completed: u32,
    /// Decides in what order the blocks of all ranks take turns.
    pub seed: u64,
}

impl SimulatedGroup {
    /// With as many bytes of a buffer as are used.
    fn of_whole_vectors(self) -> SimulatedGroup {
        SimulatedGroup { buffer_bytes: self.buffer_bytes / 16 * 16, ..self }
    }
}

/// What the last rank of a group does wrong in its last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// It does not make it.
    Absent,
    /// It makes another one.
    OtherCall,
    /// It has made seven calls more than the others before it.
    OtherEpoch,
}

/// One call of every rank of a group: `y = Σ x`, `y = norm(Σ x)`, or `r += Σ x; y = norm(r)`.
///
/// Shapes and types are those of [`all_reduce`](crate::all_reduce) and
/// [`Norm::all_reduce_then_add`]; all memory is the host's.
#[derive(Debug)]
pub struct GroupCall<'a, 'v> {
    /// The norm, without weights and biases; `None` for the sum alone.
    pub norm: Option<Norm<'v>>,
    /// What is added up, of each rank: `(…, dim)`.
    pub x: &'a [View<'v>],
    /// The residuals, of the shape of `x`.
    pub r: Option<&'a mut [ViewMut<'v>]>,
    /// The weights: `(dim,)`.
    pub w: Option<&'a [View<'v>]>,
    /// The biases: `(dim,)`.
    pub b: Option<&'a [View<'v>]>,
    /// The outputs, of the shape of `x`. Each may be the `x` of its rank.
    pub y: &'a mut [ViewMut<'v>],
}

/// Nanoseconds that a block waits for another rank, of which a warp's instruction counts as one.
const PATIENCE: u64 = 1 << 19;

/// The same where one of the ranks strays.
const LITTLE_PATIENCE: u64 = 1 << 13;

/// The host, as far as it reads a word that devices write.
const HOST: &str = ".version 8.0 .target sm_80 .address_size 64
.visible .entry host(.param .u64 word) {
    .reg .b32 %r<2>; .reg .b64 %d<2>;
    ld.param.u64 %d1, [word]; ld.relaxed.sys.global.u32 %r1, [%d1]; ret;
}";

/// A later call, as far as it reads what other ranks have left in this one's workspace: words of 64 bits from an address on.
const LATER: &str = ".version 8.0 .target sm_80 .address_size 64
.visible .entry later_call(.param .u64 first, .param .u64 bytes) {
    .reg .b32 %r<2>; .reg .b64 %d<6>; .reg .pred %p;
    ld.param.u64 %d1, [first]; ld.param.u64 %d2, [bytes];
    mov.u32 %r1, %tid.x; mul.wide.u32 %d3, %r1, 8;
next:
    setp.ge.u64 %p, %d3, %d2; @%p bra done;
    add.s64 %d4, %d1, %d3; ld.relaxed.sys.global.u64 %d5, [%d4];
    add.s64 %d3, %d3, 256; bra next;
done:
    ret;
}";

/// Bytes in front of a workspace's buffers.
const HEAD: u64 = workspace::BUFFERS;

/// A launch of one rank, but for its addresses of workspaces.
struct Part {
    plan: GroupPlan,
    rows: [u32; 2],
}

impl Simulator {
    /// Runs calls of a group, of which each rank makes one behind the other, beside those of the other ranks: what no flag
    /// orders is a race, whatever the order of turns.
    ///
    /// # Errors
    ///
    /// As for [`all_reduce`](crate::all_reduce), with [`Simulated`](Error::Simulated) as the simulator's other operations;
    /// [`Ranks`](Error::Ranks) for a number of ranks that no group has; [`GroupFailed`](Error::GroupFailed) if a kernel gave up, or
    /// has left numbers of calls in workspaces that later calls would stumble on.
    pub fn all_reduce(&self, group: &SimulatedGroup, calls: &[GroupCall<'_, '_>]) -> Result<()> {
        let told = self.run_ranks(group, calls, None)?.into_iter().flatten().find_map(Failure::of);
        told.map_or(Ok(()), |failure| Err(Error::GroupFailed { failure: told_as(failure) }))
    }

    /// Runs calls of a group whose last rank strays, writes nothing, and returns the failure of each rank; `None` where its
    /// workspace says nothing or, of a rank that makes the call, its host reads a failure of another kind.
    ///
    /// # Errors
    ///
    /// As for [`all_reduce`](Simulator::all_reduce), but for [`GroupFailed`](Error::GroupFailed).
    pub fn all_reduce_astray(
        &self,
        group: &SimulatedGroup,
        calls: &[GroupCall<'_, '_>],
        stray: Stray,
    ) -> Result<Vec<Option<GroupFailure>>> {
        let words = self.run_ranks(group, calls, Some(stray))?;
        let last = words.len().saturating_sub(1);
        let told = words.into_iter().enumerate().map(|(rank, [workspace, host])| {
            let is_absent = stray == Stray::Absent && rank == last;
            // Two ranks may each tell of the other.
            let is_same = host & 0xff == workspace & 0xff;
            Failure::of(workspace).filter(|_| is_absent || is_same).map(told_as)
        });
        Ok(told.collect())
    }

    /// The words of failures that are in each rank's workspace and that its host reads. What all calls have written is the
    /// host's if there are none.
    fn run_ranks(
        &self,
        group: &SimulatedGroup,
        calls: &[GroupCall<'_, '_>],
        stray: Option<Stray>,
    ) -> Result<Vec<[u32; 2]>> {
        let group = &group.of_whole_vectors();
        let (problems, mut streams) = self.parts(group, calls)?;
        if streams.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut spans = memory::group_spans(problems.iter());
        if stray.is_some() {
            spans = spans.into_iter().map(memory::Span::partly_written).collect();
        }
        let mut simulated = Memory::new();
        // SAFETY: the spans are those of the views, which may be read as long as they are borrowed, and are not written
        // meanwhile by anything else.
        unsafe { memory::upload(&spans, &mut simulated) }?;
        let mut workspaces = [0; MAX_RANKS];
        for (rank, address) in workspaces.iter_mut().enumerate().take(group.ranks) {
            let ahead = if stray == Some(Stray::OtherEpoch) && rank + 1 == group.ranks { 7 } else { 0 };
            let of_rank = SimulatedGroup { completed: group.completed.wrapping_add(ahead), ..*group };
            let packets = packets(&of_rank, &streams, long_ago(of_rank.completed));
            *address = workspace_of(group, rank, &head(&of_rank), None, &packets, &mut simulated)?;
        }
        let hosts: Vec<u64> = (0..group.ranks).map(|_| simulated.upload("host", &[0; 4])).collect();
        let room = room(&streams);
        if let (Some(Stray::Absent), Some(last)) = (stray, streams.last_mut()) {
            last.pop();
        }
        let patience = if stray.is_some() { LITTLE_PATIENCE } else { PATIENCE };
        let mut launches = Vec::new();
        for (rank, parts) in streams.iter().enumerate() {
            let of_rank = |(number, part): (usize, &Part)| {
                let is_last = rank + 1 == group.ranks && number + 1 == parts.len();
                let exchange = match group.exchange {
                    Exchange::OneShot if is_last && stray == Some(Stray::OtherCall) => Exchange::TwoShot,
                    Exchange::TwoShot | Exchange::Packets if is_last && stray == Some(Stray::OtherCall) => {
                        Exchange::OneShot
                    }
                    exchange => exchange,
                };
                let of_launch = SimulatedGroup { exchange, ..*group };
                self.launch_rank(&of_launch, part, rank, (workspaces, room), (hosts[rank], patience))
            };
            launches.push(parts.iter().enumerate().map(of_rank).collect::<Result<Vec<Launch>>>()?);
        }
        if stray.is_some() {
            // The host reads at any time.
            let host = Module::parse(HOST)?.kernel("host")?;
            let reads = hosts.iter().map(|&word| Launch::new(&host).block([1, 1, 1]).arg(word));
            launches.push(reads.collect());
        } else {
            let later = Module::parse(LATER)?.kernel("later_call")?;
            for (launches, address) in launches.iter_mut().zip(workspaces) {
                let packets = 2 * group.ranks as u64 * u64::from(room);
                let behind = address + HEAD + 2 * group.buffer_bytes;
                let left = [(address + workspace::FLAGS, 2 * workspace::STEP_FLAGS), (behind, packets)];
                launches.extend(
                    left.map(|(first, bytes)| Launch::new(&later).block([WARP, 1, 1]).arg(first).arg(bytes)),
                );
            }
        }
        Together::new(group.seed).run(&launches, &mut simulated)?;
        let word = |address: u64| -> Result<u32> {
            Ok(simulated.read(address, 4)?.try_into().map_or(0, u32::from_le_bytes))
        };
        let ranks = workspaces.iter().zip(&hosts);
        let words = ranks.map(|(own, host)| Ok([word(own + workspace::FAILURE)?, word(*host)?]));
        let mut words = words.collect::<Result<Vec<_>>>()?;
        if stray.is_none() && words.iter().flatten().all(|&word| word == 0) {
            let left = Left { group, launches: streams.first().map_or(0, Vec::len) as u32, room };
            for (at, &address) in workspaces.iter().enumerate().take(group.ranks) {
                let head = simulated.read(address, HEAD)?;
                let behind = address + HEAD + 2 * group.buffer_bytes;
                let packets = simulated.read(behind, 2 * group.ranks as u64 * u64::from(room))?;
                if let Some(of) = left.wrong_number(at, &head, &packets) {
                    words[at][0] = Failure::word(Failure::OTHER_EPOCH, of as u32);
                }
            }
        }
        if stray.is_none() && words.iter().flatten().all(|&word| word == 0) {
            // SAFETY: the spans that are written are those of mutable views, which nothing else uses meanwhile.
            unsafe { memory::download(&spans, &simulated) }?;
        }
        Ok(words)
    }

    /// Runs the first rank's launch for the first rows of a call by itself, as if all other ranks had come already, with rows of
    /// zeros, and writes nothing. [`counts`](Simulator::counts) has what it does: its workspace is called `flags`, `staged` and
    /// `packets`, those of the others `peer_flags`, `peers` and `peer_packets`. In front of it in the stream is a launch that may still use all memory of
    /// this rank, as for operations of one device.
    ///
    /// # Errors
    ///
    /// As for [`all_reduce`](Simulator::all_reduce).
    pub fn all_reduce_rank(&self, group: &SimulatedGroup, call: &GroupCall<'_, '_>) -> Result<()> {
        let group = &group.of_whole_vectors();
        let (problems, streams) = self.parts(group, std::slice::from_ref(call))?;
        let (Some(part), Some(own)) = (streams.first().and_then(|parts| parts.first()), problems.first())
        else {
            return Ok(());
        };
        let mut spans = memory::group_spans(std::iter::once(own));
        if part.rows != [0, part.plan.rows] {
            spans = spans.into_iter().map(memory::Span::partly_written).collect();
        }
        let mut simulated = Memory::new();
        // SAFETY: as for `all_reduce`.
        unsafe { memory::upload(&spans, &mut simulated) }?;
        let mut workspaces = [0; MAX_RANKS];
        let mut flags = head(group);
        let flag = u64::from(group.completed.wrapping_add(1)) << 32 | u64::from(agreed(group, part));
        raise(&mut flags, group, [flag; 2]);
        let come = packets(group, &streams, group.completed.wrapping_add(1));
        let mut zeros = Vec::new();
        for (rank, address) in workspaces.iter_mut().enumerate().take(group.ranks) {
            *address = match rank {
                0 => workspace_of(group, rank, &flags, None, &come, &mut simulated)?,
                _ => {
                    // There was room for this rank's.
                    zeros.resize(2 * group.buffer_bytes as usize, 0);
                    workspace_of(group, rank, &head(group), Some(&zeros), &come, &mut simulated)?
                }
            };
        }
        let launch = self.launch_rank(group, part, 0, (workspaces, room(&streams)), (0, PATIENCE))?;
        let [own, ..] = workspaces;
        let calls = own + workspace::CALLS..own + workspace::CALLS + 4 * u64::from(group.blocks);
        let buffers = own + HEAD..own + HEAD + 2 * group.buffer_bytes + come.len() as u64;
        let ranges: Vec<Range<u64>> = spans.iter().map(memory::Span::range).chain([calls, buffers]).collect();
        let counts = Stream::behind(IN_FRONT, &ranges).run_last(&launch, &mut simulated)?;
        none_is_stray(launch.kernel(), &counts)?;
        self.keep(counts);
        Ok(())
    }

    /// The problems of all calls and ranks, and the launches of each rank.
    fn parts(
        &self,
        group: &SimulatedGroup,
        calls: &[GroupCall<'_, '_>],
    ) -> Result<(Vec<Problem>, Vec<Vec<Part>>)> {
        let SimulatedGroup { ranks, .. } = *group;
        if !(1..=MAX_RANKS).contains(&ranks) {
            return Err(Error::Ranks { first: ranks, first_rank: 0, max: MAX_RANKS, given: ranks });
        }
        let (mut problems, mut streams) = (Vec::new(), Vec::new());
        streams.resize_with(ranks, Vec::new);
        for call in calls {
            call.lengths(ranks)?;
            for (rank, parts) in streams.iter_mut().enumerate() {
                let problem = call.problem(rank)?;
                if problem.rows == 0 {
                    continue;
                }
                let kind = call.norm.map(|norm| norm.kind);
                let plan = GroupPlan::new(&problem, kind, self.profile)?;
                let (buffer, given) = (group.buffer_bytes, u64::from(plan.pitch));
                let a_launch = match u32::try_from(buffer / given) {
                    Ok(0) => return Err(Error::GroupBuffer { buffer, given }),
                    Ok(rows) => rows,
                    Err(_) => u32::MAX,
                };
                let starts = (0..plan.rows).step_by(a_launch as usize);
                parts.extend(starts.map(|from| {
                    let to = plan.rows.min(from.saturating_add(a_launch));
                    Part { plan, rows: [from, to] }
                }));
                problems.push(problem);
            }
        }
        Ok((problems, streams))
    }

    /// The launch of a rank, whose host reads a failure at that address, or nowhere.
    fn launch_rank(
        &self,
        group: &SimulatedGroup,
        part: &Part,
        rank: usize,
        (workspaces, packets): ([u64; MAX_RANKS], u32),
        (failure, patience): (u64, u64),
    ) -> Result<Launch> {
        let Part { plan, rows } = *part;
        let blocks = group.blocks.clamp(1, MAX_GROUP_BLOCKS);
        let of_group = GroupArgs {
            workspaces,
            failure,
            patience,
            buffer: group.buffer_bytes,
            pitch: plan.pitch,
            blocks,
            ranks: group.ranks as u32,
            rank: rank as u32,
            rows,
            signature: agreed(group, part),
            exchange: group.exchange as u32,
            packets,
            early: 1,
        };
        let second = Argument::bytes(&args::group_bytes(&of_group), align_of::<GroupArgs>() as u64);
        let first: &Args = &plan.args;
        let kernel = self.kernel(plan.kernel)?;
        let a_block = (rows[1] - rows[0]).div_ceil(blocks * plan.block[1]);
        let launch = Launch::new(&kernel)
            .arg(argument(first))
            .arg(second)
            .grid([blocks, 1, 1])
            .block(plan.block)
            .programmatic(plan.overlap && self.profile.dependent_launch);
        Ok(launch.limit(limit::for_group(first, plan.block, a_block, patience)))
    }
}

impl GroupCall<'_, '_> {
    fn lengths(&self, expected: usize) -> Result<()> {
        let lists = [
            (Arg::X, Some(self.x.len())),
            (Arg::R, self.r.as_ref().map(|r| r.len())),
            (Arg::W, self.w.map(<[_]>::len)),
            (Arg::B, self.b.map(<[_]>::len)),
            (Arg::Y, Some(self.y.len())),
        ];
        for (arg, given) in lists {
            if let Some(given) = given.filter(|&given| given != expected) {
                return Err(Error::ListLength { arg, expected, given });
            }
        }
        Ok(())
    }

    /// The checked problem of a rank.
    fn problem(&self, rank: usize) -> Result<Problem> {
        let norm = self.norm.unwrap_or_else(|| Norm::rms(0.0));
        let norm = norm.weight(self.w.map(|w| w[rank])).bias(self.b.map(|b| b[rank]));
        let residual = self
            .r
            .as_ref()
            .map_or(ResidualArgs::None, |r| ResidualArgs::InFront { r: &r[rank].raw, sum: None });
        let (x, y) = (&self.x[rank].raw, &self.y[rank].raw);
        let problem = check::apart(&norm, Form::Rows, x, y, residual, Place::Host)?;
        let (first, given) = (&self.x[0].raw, problem.normalized_dtype());
        if first.layout.shape != x.layout.shape {
            let (expected, given) = (first.layout.shape, x.layout.shape);
            return Err(Error::Shape { arg: Arg::X, expected, given });
        }
        for (arg, expected, given) in
            [(Arg::X, first.dtype, x.dtype), (Arg::Y, x.dtype, y.dtype), (Arg::R, x.dtype, given)]
        {
            if given != expected {
                return Err(Error::DType { arg, expected, given });
            }
        }
        if self.norm.is_some() {
            has_kernels(&problem)?;
        }
        Ok(problem)
    }
}

/// What the calls of all ranks have in common.
fn agreed(group: &SimulatedGroup, part: &Part) -> u32 {
    signature(&part.plan, part.rows[0]) ^ group.exchange as u32
}

/// What is in front of a workspace's buffers: the launches that its blocks have completed, and flags of the last of them.
fn head(group: &SimulatedGroup) -> Vec<u8> {
    let mut bytes = vec![0; HEAD as usize];
    for block in 0..group.blocks.clamp(1, MAX_GROUP_BLOCKS) as usize {
        bytes[workspace::CALLS as usize + 4 * block..][..4].copy_from_slice(&group.completed.to_le_bytes());
    }
    raise(
        &mut bytes,
        group,
        [group.completed, long_ago(group.completed)].map(|number| u64::from(number) << 32),
    );
    bytes
}

/// The number of a call that was made so long ago that what has it must have been renewed since.
fn long_ago(number: u32) -> u32 {
    number.wrapping_sub(workspace::RENEWAL)
}

/// Sets every rank's flag of each step.
fn raise(head: &mut [u8], group: &SimulatedGroup, flags: [u64; 2]) {
    for (step, block, rank) in every_flag(group) {
        head[flag_at(step, block, rank)..][..8].copy_from_slice(&flags[step].to_le_bytes());
    }
}

/// The step, the block and the rank of each flag of a workspace.
fn every_flag(group: &SimulatedGroup) -> impl Iterator<Item = (usize, usize, usize)> {
    let (ranks, blocks) = (group.ranks, group.blocks.clamp(1, MAX_GROUP_BLOCKS));
    let places = (0..2).flat_map(move |step| (0..blocks).map(move |block| (step, block as usize)));
    places.flat_map(move |(step, block)| (0..ranks).map(move |rank| (step, block, rank)))
}

/// Where a flag is in a workspace.
fn flag_at(step: usize, block: usize, rank: usize) -> usize {
    let [step, block, rank] = [step, block, rank].map(|number| number as u64);
    (workspace::FLAGS + step * workspace::STEP_FLAGS + block * workspace::BLOCK_FLAGS + 8 * rank) as usize
}

/// What calls have left in a workspace for later ones.
struct Left<'a> {
    group: &'a SimulatedGroup,
    /// Launches of each rank.
    launches: u32,
    /// Bytes of the packets of one rank for another in a call.
    room: u32,
}

impl Left<'_> {
    /// The rank that has left a flag or a packet in the workspace of rank `at` that a later call, of whatever exchange, would stumble
    /// on: with the number of a call that is yet to come, or one that was to be renewed.
    fn wrong_number(&self, at: usize, head: &[u8], packets: &[u8]) -> Option<usize> {
        let SimulatedGroup { ranks, completed, .. } = *self.group;
        let now = completed.wrapping_add(self.launches);
        // The first call of so many renews flags and the packets of one half, and the next one those of the other half.
        let is_renewed = (1..self.launches).contains(&(now % workspace::RENEWAL));
        let most = if is_renewed { workspace::RENEWAL / 2 } else { i32::MAX as u32 };
        let is_wrong = |number: &[u8]| {
            let number = number.try_into().map_or(0, u32::from_le_bytes);
            now.wrapping_sub(number) > most
        };
        let flags = every_flag(self.group).map(|(step, block, rank)| {
            let place = flag_at(step, block, rank);
            (rank, &head[place + 4..place + 8])
        });
        let of_rank = packets.chunks_exact((self.room as usize).max(8)).enumerate();
        let packets = of_rank.flat_map(|(part, of_rank)| {
            of_rank.chunks_exact(8).map(move |packet| (part % ranks, &packet[4..]))
        });
        // No rank has any for itself.
        let mut of_others = flags.chain(packets).filter(|&(rank, _)| rank != at);
        of_others.find(|&(_, number)| is_wrong(number)).map(|(rank, _)| rank)
    }
}

/// Bytes of the packets of one rank for another: those of the longest launch.
fn room(streams: &[Vec<Part>]) -> u32 {
    let parts = streams.iter().flatten();
    let bytes =
        parts.map(|Part { plan, rows: [from, to] }| u64::from(to - from) * packets_of_row(plan.pitch));
    bytes.max().and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(0)
}

/// The packets of a workspace, all of one call, with zeros for rows.
fn packets(group: &SimulatedGroup, streams: &[Vec<Part>], number: u32) -> Vec<u8> {
    let packet = u64::from(number) << 32;
    packet.to_le_bytes().repeat(2 * group.ranks * room(streams) as usize / 8)
}

/// A rank's workspace, whose buffers nothing has written unless they are given, behind all other memory.
fn workspace_of(
    group: &SimulatedGroup,
    rank: usize,
    head: &[u8],
    buffers: Option<&[u8]>,
    packets: &[u8],
    memory: &mut Memory,
) -> Result<u64> {
    let [flags, staged, packets_name] = match rank {
        0 => ["flags", "staged", "packets"],
        _ => ["peer_flags", "peers", "peer_packets"],
    };
    let address = memory.upload(flags, head);
    let bytes = group.buffer_bytes.saturating_mul(2);
    memory.place(address + HEAD, staged, bytes, buffers, false)?;
    // Memory has refused what has no end.
    let behind = address + HEAD + bytes;
    memory.place(behind, packets_name, packets.len() as u64, Some(packets), false)?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(buffer_bytes: u64) -> Result<[[f32; 8]; 2]> {
        let (x, mut y) = ([[1.0_f32; 8], [2.0; 8]], [[0.0_f32; 8]; 2]);
        let group = SimulatedGroup {
            ranks: 2,
            blocks: 1,
            buffer_bytes,
            exchange: Exchange::OneShot,
            completed: 0,
            seed: 1,
        };
        {
            let x = x.each_ref().map(|x| View::from_slice(x, &[2, 4]).expect("eight elements"));
            let mut y = y.each_mut().map(|y| ViewMut::from_slice(y, &[2, 4]).expect("eight elements"));
            let call = GroupCall { norm: None, x: &x, r: None, w: None, b: None, y: &mut y };
            Simulator::new().all_reduce(&group, &[call])?;
        }
        Ok(y)
    }

    #[test]
    fn buffers_of_any_size_are_taken_or_refused() {
        // A row, part of a second one, and both.
        for bytes in [16, 31, 32, 4099] {
            assert_eq!(sum(bytes), Ok([[3.0; 8]; 2]), "{bytes}");
        }
        assert_eq!(sum(15), Err(Error::GroupBuffer { buffer: 0, given: 16 }));
        for bytes in [1 << 63, u64::MAX] {
            assert!(matches!(sum(bytes), Err(Error::Simulated(_))), "{bytes}");
        }
    }
}
