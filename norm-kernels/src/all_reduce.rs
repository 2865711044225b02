//! Rows added up over the devices of a group, and the norm of the sum: one launch a device.
//!
//! ```text
//! send:    packets of x[row] to every other rank             packets: for every row
//! stage:   own buffer[row] = x[row]                          else, for rows that other ranks reduce
//! meet                                                       unless packets
//! reduce:  own buffer[row] = T(Σ x[row] of ranks 0, 1, …)    two-shot: for this rank's share of the rows
//! meet                                                       two-shot
//! finish:  s = T(Σ x[row] of ranks 0, 1, …)                  one-shot, packets: for every row
//!          s = buffer[row] of the rank that reduced it       two-shot: for every row
//!          y = s, or y = norm(s), or r += s; y = norm(r)
//! ```
//!
//! Every rank adds in the same order, in f32, and rounds the sum to the type of x before anything else is done with it: so
//! all have the same bits, whichever way rows are exchanged, which are those of an all-reduce followed by the norm.

use crate::abi::{Args, Exchange, GroupArgs, GroupVariant};
use crate::access::{MemoryAccess, Scalar, StreamedVector, pack, unpack};
use crate::each::each;
use crate::element::{Addend, Element, F32, Param, WHalf, Words, XHalf, YHalf};
use crate::gpu::{self, Reuse};
use crate::norm::{Layer, Norm, Rms};
use crate::packets::{RowPackets, renew};
use crate::ranks::{Call, workspace};
use crate::reduce::{Block, Cluster};
use crate::row::{Row, prefetch_row};
use crate::storage::{Registers, Reload, add_residual};

/// Vectors that a thread of [`GroupVariant::Block`] holds.
const V: usize = GroupVariant::REGISTER_VECTORS as usize;

/// Where the parts of a row's sum are.
#[derive(Clone, Copy)]
struct Parts {
    /// The ranks whose parts are added up: from the first to in front of the second.
    ranks: [u32; 2],
    /// The address of this rank's part.
    own: u64,
    /// Bytes from the start of a workspace to the row in its buffer; the index of the row in the launch, where other ranks' parts
    /// are packets.
    staged: u64,
    /// Whether they are.
    packets: bool,
    call: Call,
}

impl Parts {
    /// The address of a rank's part.
    #[inline(always)]
    fn of(&self, group: &GroupArgs, rank: u32) -> u64 {
        if rank == group.rank { self.own } else { workspace(group, rank) + self.staged }
    }

    /// The sum, in f32, of each element of `V` vectors, of which those behind the row are -0. Two ranks' vectors are loaded
    /// before either is added.
    ///
    /// # Safety
    /// The parts are readable, for `Vectors` in whole and aligned vectors, at `place`: the index of a vector's first element, and
    /// how many of its elements are in the row, for each vector. A vector is `step` elements from the one in front of it.
    #[inline(always)]
    unsafe fn sum<A: MemoryAccess, X: Element, const N: usize, const V: usize>(
        &self,
        group: &GroupArgs,
        step: u32,
        place: impl Fn(usize) -> (u32, u32),
    ) -> [[f32; N]; V] {
        if self.packets {
            // SAFETY: as the caller guarantees.
            return unsafe { self.sum_of_packets::<A, X, N, V>(group, step, place) };
        }
        let fetch = |rank: u32, v: usize| {
            let (at, valid) = place(v);
            let valid = if rank < self.ranks[1] { valid } else { 0 };
            // SAFETY: the caller guarantees that these elements are readable.
            unsafe {
                A::fetch::<X, N>(
                    self.of(group, rank) + at as u64 * X::SIZE,
                    valid,
                    negative_zeros::<X>(),
                    Reuse::Once,
                )
            }
        };
        // Adding to -0 changes nothing, and neither does adding -0.
        let mut sums = [[-0.0; N]; V];
        let mut rank = self.ranks[0];
        while rank < self.ranks[1] {
            gpu::keep_rolled();
            rank = gpu::opaque(rank);
            let mut words: [[Words; V]; 2] = [[[0; 8]; V]; 2];
            each::<2>(|i| each::<V>(|v| words[i][v] = fetch(rank + i as u32, v)));
            each::<2>(|i| {
                each::<V>(|v| {
                    let part = unpack::<X, N>(words[i][v]);
                    each::<N>(|e| sums[v][e] += part[e]);
                });
            });
            rank += 2;
        }
        sums
    }

    /// [`sum`](Parts::sum), where the parts of other ranks are packets. It waits for them.
    ///
    /// # Safety
    /// As [`sum`](Parts::sum).
    #[inline(always)]
    unsafe fn sum_of_packets<A: MemoryAccess, X: Element, const N: usize, const V: usize>(
        &self,
        group: &GroupArgs,
        step: u32,
        place: impl Fn(usize) -> (u32, u32),
    ) -> [[f32; N]; V] {
        const { assert!(N as u64 * X::SIZE == 16) };
        let mut sums = [[-0.0; N]; V];
        let mut rank = 0;
        // SAFETY: the caller guarantees the parts and workspaces.
        unsafe {
            // The first part is waited for while there is no sum, which leaves registers for all its loads at a time.
            let first = u32::from(group.rank == 0);
            if first < group.ranks {
                let words = self.receive::<X, N, V>(group, first, step, &place);
                if first == 1 {
                    add::<X, N, V>(&mut sums, self.own::<A, X, N, V>(&place));
                }
                add::<X, N, V>(&mut sums, words);
                rank = first + 1;
            }
            while rank < group.ranks {
                gpu::keep_rolled();
                rank = gpu::opaque(rank);
                let words = if rank == group.rank {
                    self.own::<A, X, N, V>(&place)
                } else {
                    self.receive::<X, N, V>(group, rank, step, &place)
                };
                add::<X, N, V>(&mut sums, words);
                rank += 1;
            }
        }
        sums
    }

    /// This rank's part.
    ///
    /// # Safety
    /// As [`sum`](Parts::sum).
    #[inline(always)]
    unsafe fn own<A: MemoryAccess, X: Element, const N: usize, const V: usize>(
        &self,
        place: &impl Fn(usize) -> (u32, u32),
    ) -> [Words; V] {
        let mut words: [Words; V] = [[0; 8]; V];
        each::<V>(|v| {
            let (at, valid) = place(v);
            let address = self.own + at as u64 * X::SIZE;
            // In the L1 cache, from where it was sent.
            // SAFETY: the caller guarantees that these elements are readable.
            words[v] = unsafe { A::fetch::<X, N>(address, valid, negative_zeros::<X>(), Reuse::Cached) };
        });
        words
    }

    /// Another rank's part, as soon as its packets are there.
    ///
    /// # Safety
    /// As [`sum`](Parts::sum).
    #[inline(always)]
    unsafe fn receive<X: Element, const N: usize, const V: usize>(
        &self,
        group: &GroupArgs,
        rank: u32,
        step: u32,
        place: &impl Fn(usize) -> (u32, u32),
    ) -> [Words; V] {
        let from = RowPackets::of(group, self.staged as u32);
        let bytes = [place(0).0, step].map(|elements| elements * X::SIZE as u32);
        let wanted = |v: usize| place(v).1 != 0;
        // SAFETY: the caller guarantees the workspaces, and that these bytes are in the row.
        unsafe { from.receive::<V>(self.call, group, rank, negative_zeros::<X>(), bytes, wanted) }
    }
}

/// Adds a part to sums.
#[inline(always)]
fn add<X: Element, const N: usize, const V: usize>(sums: &mut [[f32; N]; V], words: [Words; V]) {
    each::<V>(|v| {
        let part = unpack::<X, N>(words[v]);
        each::<N>(|e| sums[v][e] += part[e]);
    });
}

/// A word of negative zeros.
#[inline(always)]
const fn negative_zeros<X: Element>() -> u32 {
    if X::SIZE == 2 { 0x8000_8000 } else { 0x8000_0000 }
}

/// The rows of a launch that this block has, one for each of its rows at a time.
struct Rows {
    index: u32,
    /// The rank that reduces them, if each reduces a share: one after the other.
    owner: u32,
}

impl Rows {
    /// In front of the first.
    #[inline(always)]
    fn new(group: &GroupArgs) -> Rows {
        Rows { index: group.rows[0] + gpu::grid_x() * gpu::block_y(), owner: 0 }
    }

    /// Goes to the next.
    #[inline(always)]
    fn step(&mut self, group: &GroupArgs) {
        self.index += group.blocks * gpu::block_y();
        self.owner += 1;
        self.owner = if self.owner == group.ranks { 0 } else { self.owner };
    }

    /// Whether there is one. The same in every thread of a block.
    #[inline(always)]
    fn any(&self, group: &GroupArgs) -> bool {
        self.index < group.rows[1]
    }

    /// The index of this thread's row; past the last row where it has none.
    #[inline(always)]
    fn of_thread(&self, args: &Args, group: &GroupArgs) -> u32 {
        let index = self.index + gpu::thread_y();
        if index < group.rows[1] { index } else { args.rows }
    }

    /// The index of this thread's row among those of the launch.
    #[inline(always)]
    fn in_launch(&self, group: &GroupArgs) -> u32 {
        self.index + gpu::thread_y() - group.rows[0]
    }

    /// Bytes from the start of a buffer to this thread's row.
    #[inline(always)]
    fn staged(&self, group: &GroupArgs) -> u64 {
        self.in_launch(group) as u64 * group.pitch as u64
    }
}

/// What is done with a row's sum.
trait Finish<const N: usize> {
    /// The elements' type.
    type X: Addend;

    /// The row `index`.
    fn row(args: &Args, index: u32) -> Row;

    /// Prefetches what the block's first row needs, while the previous kernel still runs.
    fn prefetch(args: &Args);

    /// Finishes the row. Every thread of the block calls, those without a row too.
    ///
    /// # Safety
    /// The parts of the sum are readable, and all that the row leads to is in memory.
    unsafe fn finish(row: Row, parts: Parts, args: &Args, group: &GroupArgs);
}

/// The kernel. Where each rank reduces a share of the rows, a thread adds up `FLIGHT` whole vectors at a time. Of rows that are
/// packets it sends `SENT` vectors at a time.
///
/// # Safety
/// `args` and `group` are as [`Args`] and [`GroupArgs`] document, for this launch's block and grid.
#[inline(always)]
unsafe fn all_reduce<
    A: MemoryAccess,
    F: Finish<N>,
    const N: usize,
    const FLIGHT: usize,
    const SENT: usize,
>(
    args: &Args,
    group: &GroupArgs,
) {
    F::prefetch(args);
    let two_shot = group.exchange == Exchange::TwoShot as u32;
    let packets = group.exchange == Exchange::Packets as u32;
    let mut rows = Rows::new(group);
    let mut row = F::row(args, rows.of_thread(args, group));
    gpu::wait_for_previous_kernel();
    // What is sent first is on its way before the call's number is waited for.
    let mut words: [Words; SENT] = [[0; 8]; SENT];
    if packets {
        // SAFETY: the caller guarantees that the row is readable.
        words = unsafe { fetch::<A, F::X, N, SENT>(Places { row: &row, first: row.start }) };
    }
    // SAFETY: the caller guarantees the workspaces.
    let call = unsafe { Call::begin(group) };
    let has_rows = rows.any(group);
    if !has_rows {
        gpu::let_next_kernel_start();
        gpu::barrier();
        // SAFETY: the caller guarantees the workspaces; all threads of the block have read the count in front of the barrier.
        unsafe { end(call, group, has_rows) };
        return;
    }
    let own_buffer = call.buffer(group, group.rank);
    let in_workspace = own_buffer - workspace(group, group.rank);
    if packets {
        if group.early != 0 {
            gpu::let_next_kernel_start();
        }
        // SAFETY: the caller guarantees the workspaces.
        unsafe { call.announce(group, gpu::thread_y() * gpu::block_x() + gpu::thread_x()) };
        let mut first = row.start;
        loop {
            gpu::keep_rolled();
            let places = Places { row: &row, first };
            let bytes = [first, row.step].map(|elements| elements * F::X::SIZE as u32);
            let wanted = |v: usize| places.at::<A, N>(v).1 != 0;
            // SAFETY: the caller guarantees the workspaces; the packets of this thread's vectors are its own, and all ranks have
            // read those of an earlier call in their place.
            unsafe {
                let to = RowPackets::of(group, rows.in_launch(group));
                to.send::<SENT>(call, group, words, bytes, wanted);
            }
            first += SENT as u32 * row.step;
            if first >= row.end {
                rows.step(group);
                if !rows.any(group) {
                    break;
                }
                row = F::row(args, rows.of_thread(args, group));
                first = row.start;
            }
            // SAFETY: the caller guarantees that the row is readable.
            words = unsafe { fetch::<A, F::X, N, SENT>(Places { row: &row, first }) };
        }
    } else {
        while rows.any(group) {
            gpu::keep_rolled();
            if !two_shot || rows.owner != group.rank {
                let row = F::row(args, rows.of_thread(args, group));
                let to = own_buffer + rows.staged(group);
                // SAFETY: the caller guarantees that the row is readable; its place in this rank's buffer is this thread's, and
                // all ranks have read what an earlier call staged there.
                unsafe { stage::<A, F::X, N>(&row, to) };
            }
            rows.step(group);
        }
        // SAFETY: the caller guarantees the workspaces.
        if unsafe { !call.meet(group, 0) } {
            return;
        }
    }
    if two_shot {
        let mut rows = Rows::new(group);
        while rows.any(group) {
            gpu::keep_rolled();
            if rows.owner == group.rank {
                let row = F::row(args, rows.of_thread(args, group));
                let staged = rows.staged(group);
                let parts = Parts {
                    ranks: [0, group.ranks],
                    own: row.x,
                    staged: in_workspace + staged,
                    packets: false,
                    call,
                };
                // SAFETY: the other ranks have staged their parts of the row, as `meet` says; this rank has not staged its own,
                // so that its place in the buffer is free, and nobody reads it before the next step.
                unsafe { reduce::<A, F::X, N, FLIGHT>(&row, parts, group, own_buffer + staged) };
            }
            rows.step(group);
        }
        // SAFETY: the caller guarantees the workspaces.
        if unsafe { !call.meet(group, 1) } {
            return;
        }
    }
    // Not earlier: a kernel that waits for this one must not take the room of another rank's that this one waits for.
    if !packets {
        gpu::let_next_kernel_start();
    }
    let mut rows = Rows::new(group);
    while rows.any(group) {
        gpu::keep_rolled();
        let row = F::row(args, rows.of_thread(args, group));
        let parts = if packets {
            let staged = rows.in_launch(group) as u64;
            Parts { ranks: [0, group.ranks], own: row.x, staged, packets, call }
        } else {
            let staged = in_workspace + rows.staged(group);
            let (ranks, own) = if two_shot {
                ([rows.owner, rows.owner + 1], workspace(group, group.rank) + staged)
            } else {
                ([0, group.ranks], row.x)
            };
            Parts { ranks, own, staged, packets, call }
        };
        // SAFETY: every part has been staged, or reduced, as `meet` says; for packets `finish` waits.
        unsafe { F::finish(row, parts, args, group) };
        // The next row's reductions use the same scratch memory.
        gpu::barrier();
        rows.step(group);
    }
    // SAFETY: the caller guarantees the workspaces; all threads of the block have read the count in front of a barrier.
    unsafe { end(call, group, has_rows) };
}

/// Ends a call.
///
/// # Safety
/// As [`Call::begin`]; all threads of the block call, and have begun before a barrier.
#[inline(always)]
unsafe fn end(call: Call, group: &GroupArgs, has_rows: bool) {
    // SAFETY: the caller guarantees the workspaces, and that no thread reads the count any more.
    unsafe {
        renew(call, group, has_rows);
        if gpu::thread_x() + gpu::thread_y() == 0 {
            call.complete(group);
        }
    }
}

/// Vectors of a row that a thread copies or adds up at a time, where they are whole: one after the other they would each wait
/// for memory.
const IN_FLIGHT: usize = 4;

/// The places of up to `F` of this thread's vectors of a row.
#[derive(Clone, Copy)]
struct Places<'a> {
    row: &'a Row,
    first: u32,
}

impl Places<'_> {
    /// The index of vector `v`'s first element, and how many of its elements are in the row.
    #[inline(always)]
    fn at<A: MemoryAccess, const N: usize>(&self, v: usize) -> (u32, u32) {
        let at = self.first + v as u32 * self.row.step;
        (at, A::valid::<N>(at, self.row.end))
    }
}

/// Copies this thread's vectors of a row of `x` to an address.
///
/// # Safety
/// The row is readable, and as many bytes at `to` are writable and this thread's; both for `Vectors` in whole and aligned
/// vectors.
#[inline(always)]
unsafe fn stage<A: MemoryAccess, X: Addend, const N: usize>(row: &Row, to: u64) {
    // SAFETY: the caller guarantees both.
    unsafe {
        if A::WHOLE {
            stage_by::<A, X, N, IN_FLIGHT>(row, to);
        } else {
            stage_by::<A, X, N, 1>(row, to);
        }
    }
}

/// [`stage`], `F` vectors at a time.
///
/// # Safety
/// As [`stage`].
#[inline(always)]
unsafe fn stage_by<A: MemoryAccess, X: Addend, const N: usize, const F: usize>(row: &Row, to: u64) {
    let mut first = row.start;
    while first < row.end {
        let places = Places { row, first };
        // SAFETY: the caller guarantees that the row is readable.
        let words = unsafe { fetch::<A, X, N, F>(places) };
        each::<F>(|v| {
            let (at, valid) = places.at::<A, N>(v);
            // SAFETY: the caller guarantees that these bytes are writable.
            unsafe { A::store::<X, N>(to + at as u64 * X::SIZE, valid, unpack::<X, N>(words[v])) };
        });
        first += F as u32 * row.step;
    }
}

/// Loads the vectors of these places of a row of `x`, if there are some.
///
/// # Safety
/// The row is readable, for `Vectors` in whole and aligned vectors.
#[inline(always)]
unsafe fn fetch<A: MemoryAccess, X: Addend, const N: usize, const F: usize>(
    places: Places<'_>,
) -> [Words; F] {
    let mut words: [Words; F] = [[0; 8]; F];
    each::<F>(|v| {
        let (at, valid) = places.at::<A, N>(v);
        let address = places.row.x + at as u64 * X::SIZE;
        // SAFETY: the caller guarantees that these elements are readable.
        words[v] = unsafe { A::fetch::<X, N>(address, valid, 0, Reuse::Cached) };
    });
    words
}

/// Stores this thread's vectors of a row's sum at an address, up to `F` at a time where they are whole.
///
/// # Safety
/// As [`stage`], for the parts in place of the row of `x`.
#[inline(always)]
unsafe fn reduce<A: MemoryAccess, X: Addend, const N: usize, const F: usize>(
    row: &Row,
    parts: Parts,
    group: &GroupArgs,
    to: u64,
) {
    // SAFETY: the caller guarantees both.
    unsafe {
        if A::WHOLE {
            reduce_by::<A, X, N, F>(row, parts, group, to);
        } else {
            reduce_by::<A, X, N, 1>(row, parts, group, to);
        }
    }
}

/// [`reduce`], `F` vectors at a time.
///
/// # Safety
/// As [`reduce`].
#[inline(always)]
unsafe fn reduce_by<A: MemoryAccess, X: Addend, const N: usize, const F: usize>(
    row: &Row,
    parts: Parts,
    group: &GroupArgs,
    to: u64,
) {
    let mut first = row.start;
    while first < row.end {
        first = gpu::opaque(first);
        let places = Places { row, first };
        // SAFETY: the caller guarantees that the parts are readable.
        let sums = unsafe { parts.sum::<A, X, N, F>(group, row.step, |v| places.at::<A, N>(v)) };
        each::<F>(|v| {
            let (at, valid) = places.at::<A, N>(v);
            // SAFETY: the caller guarantees that these bytes are writable.
            unsafe { A::store::<X, N>(to + at as u64 * X::SIZE, valid, sums[v]) };
        });
        first += F as u32 * row.step;
    }
}

/// `y = Σ x`.
struct Sum<A, X>(core::marker::PhantomData<(A, X)>);

impl<A: MemoryAccess, X: Addend, const N: usize> Finish<N> for Sum<A, X> {
    type X = X;

    #[inline(always)]
    fn row(args: &Args, index: u32) -> Row {
        Row::whole::<X, X, F32, X, N>(args, index)
    }

    #[inline(always)]
    fn prefetch(args: &Args) {
        prefetch_row::<X, X, F32, X, false, false>(args);
    }

    #[inline(always)]
    unsafe fn finish(row: Row, parts: Parts, _: &Args, group: &GroupArgs) {
        // SAFETY: the caller guarantees the parts; `y` is this thread's.
        unsafe { reduce::<A, X, N, IN_FLIGHT>(&row, parts, group, row.y) };
    }
}

/// The norm of a row that is held in registers, [`V`] vectors a thread.
struct InRegisters<K, W, const PRELOAD: bool>(core::marker::PhantomData<(K, W)>);

impl<K: Norm, W: Param, const N: usize, const PRELOAD: bool> Finish<N> for InRegisters<K, W, PRELOAD> {
    type X = XHalf;

    #[inline(always)]
    fn row(args: &Args, index: u32) -> Row {
        Row::whole::<XHalf, XHalf, W, YHalf, N>(args, index)
    }

    #[inline(always)]
    fn prefetch(args: &Args) {
        prefetch_row::<XHalf, XHalf, W, YHalf, true, true>(args);
    }

    #[inline(always)]
    unsafe fn finish(row: Row, parts: Parts, args: &Args, group: &GroupArgs) {
        type Part<W, const N: usize, const PRELOAD: bool> = Registers<XHalf, W, YHalf, N, V, PRELOAD>;
        // SAFETY: the caller guarantees the parts, and that the row's residual, weights and biases are in memory. Its
        // elements of the sum and of `y` are this thread's.
        unsafe {
            // All that the row needs is on its way before the sum is waited for. A residual stands in front of the norm.
            let mut r: [Words; V] = [[0; 8]; V];
            if args.r != 0 {
                r = Part::<W, N, PRELOAD>::vectors::<XHalf>(&row, row.r);
            }
            let params = if K::BIASES {
                Part::<W, N, PRELOAD>::preload::<true>(&row)
            } else {
                Part::<W, N, PRELOAD>::preload::<false>(&row)
            };
            let sums = parts
                .sum::<StreamedVector, XHalf, N, V>(group, row.step, |v| Part::<W, N, PRELOAD>::at(&row, v));
            // Vectors behind the row hold -0, which no sum of squares shows.
            let mut words: [Words; V] = [[0; 8]; V];
            each::<V>(|v| words[v] = pack::<XHalf, N>(sums[v]));
            if args.r != 0 {
                each::<V>(|v| {
                    let at = Part::<W, N, PRELOAD>::at(&row, v);
                    words[v] = add_residual::<StreamedVector, XHalf, XHalf, N>(&row, at, words[v], r[v]);
                });
            }
            K::run::<Block, N>(Part::<W, N, PRELOAD>::of(row, words, params), args);
        }
    }
}

/// The norm of any row, whose sum is stored in `y` first, where each pass loads it again. Blocks have up to 1024 threads, which
/// leaves a thread registers for one vector at a time.
struct Reloading<A, K, W>(core::marker::PhantomData<(A, K, W)>);

impl<A: MemoryAccess, K: Norm, W: Param, const N: usize> Finish<N> for Reloading<A, K, W> {
    type X = XHalf;

    #[inline(always)]
    fn row(args: &Args, index: u32) -> Row {
        Row::whole::<XHalf, XHalf, W, YHalf, N>(args, index)
    }

    #[inline(always)]
    fn prefetch(args: &Args) {
        prefetch_row::<XHalf, XHalf, W, YHalf, true, true>(args);
    }

    #[inline(always)]
    unsafe fn finish(row: Row, parts: Parts, args: &Args, group: &GroupArgs) {
        // SAFETY: the caller guarantees the parts, and all that the row leads to. Each thread loads of `y` what it stores.
        unsafe {
            reduce::<A, XHalf, N, 1>(&row, parts, group, row.y);
            let sum = Row { x: row.y, ..row };
            K::run::<Cluster, N>(Reload::<A, XHalf, W, YHalf, N>::with_residual::<XHalf>(sum), args);
        }
    }
}

/// One entry point.
macro_rules! entry {
    ($name:expr, $access:ident, $finish:ty, $n:literal, $flight:expr, $sent:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args, group: GroupArgs) {
                // SAFETY: whoever launches an entry point guarantees what `all_reduce` requires; `norm-host` checks it before a
                // launch.
                unsafe { all_reduce::<$access, $finish, $n, { $flight }, { $sent }>(&args, &group) }
            }
        );
    };
}

entry!("all_reduce_b16_stream", StreamedVector, Sum<StreamedVector, XHalf>, 8, IN_FLIGHT, IN_FLIGHT);
entry!("all_reduce_b16_scalar", Scalar, Sum<Scalar, XHalf>, 8, IN_FLIGHT, 1);
entry!("all_reduce_b32_stream", StreamedVector, Sum<StreamedVector, F32>, 4, IN_FLIGHT, IN_FLIGHT);
entry!("all_reduce_b32_scalar", Scalar, Sum<Scalar, F32>, 4, IN_FLIGHT, 1);

/// The entry points of a norm with weights of one size.
macro_rules! norms {
    ($($norm:ident $norm_name:literal $w:ident $w_name:literal $preload:expr;)*) => { $(
        entry!(
            concat!("all_reduce_", $norm_name, "_b16_", $w_name, "_block"),
            StreamedVector, InRegisters<$norm, $w, { $preload }>, 8, IN_FLIGHT, IN_FLIGHT
        );
        entry!(
            concat!("all_reduce_", $norm_name, "_b16_", $w_name, "_stream"),
            StreamedVector, Reloading<StreamedVector, $norm, $w>, 8, 1, 2
        );
        entry!(
            concat!("all_reduce_", $norm_name, "_b16_", $w_name, "_scalar"),
            Scalar, Reloading<Scalar, $norm, $w>, 8, 1, 1
        );
    )* };
}

norms! {
    // Weights of 16 bits are loaded with the row, as elsewhere; for sm_80 that would spill four words.
    Rms "rms" WHalf "b16" cfg!(sm_90);
    Rms "rms" F32 "b32" false;
    Layer "layer" WHalf "b16" false;
    Layer "layer" F32 "b32" false;
}
