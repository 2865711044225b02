//! Rows added up over the devices of a group, and the norm of the sum: one launch a device.
//!
//! ```text
//! stage:   own buffer[row] = x[row]                          for rows that other ranks reduce
//! meet
//! reduce:  own buffer[row] = T(Σ x[row] of ranks 0, 1, …)    two-shot: for this rank's share of the rows
//! meet                                                       two-shot
//! finish:  s = T(Σ x[row] of ranks 0, 1, …)                  one-shot: for every row
//!          s = buffer[row] of the rank that reduced it       two-shot: for every row
//!          y = s, or y = norm(s), or r += s; y = norm(r)
//! ```
//!
//! Every rank adds in the same order, in f32, and rounds the sum to the type of x before anything else is done with it: so
//! all have the same bits, one-shot or two-shot, which are those of an all-reduce followed by the norm.

use crate::abi::{Args, GroupArgs, GroupVariant};
use crate::access::{MemoryAccess, Scalar, StreamedVector, pack, unpack};
use crate::each::each;
use crate::element::{Addend, Element, F32, Param, WHalf, Words, XHalf, YHalf};
use crate::gpu::{self, Reuse};
use crate::norm::{Layer, Norm, Rms};
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
    /// Bytes from the start of a workspace to the row in its buffer.
    staged: u64,
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
    /// The parts are readable, for `Vectors` in whole and aligned vectors, at `place`: the index of the first vector's first
    /// element, and how many of a vector's elements are in the row, for each vector.
    #[inline(always)]
    unsafe fn sum<A: MemoryAccess, X: Element, const N: usize, const V: usize>(
        &self,
        group: &GroupArgs,
        place: impl Fn(usize) -> (u32, u32),
    ) -> [[f32; N]; V] {
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

    /// Bytes from the start of a buffer to this thread's row.
    #[inline(always)]
    fn staged(&self, group: &GroupArgs) -> u64 {
        (self.index + gpu::thread_y() - group.rows[0]) as u64 * group.pitch as u64
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

/// The kernel. Where each rank reduces a share of the rows, a thread adds up `FLIGHT` whole vectors at a time.
///
/// # Safety
/// `args` and `group` are as [`Args`] and [`GroupArgs`] document, for this launch's block and grid.
#[inline(always)]
unsafe fn all_reduce<A: MemoryAccess, F: Finish<N>, const N: usize, const FLIGHT: usize>(
    args: &Args,
    group: &GroupArgs,
) {
    F::prefetch(args);
    gpu::wait_for_previous_kernel();
    // SAFETY: the caller guarantees the workspaces.
    let call = unsafe { Call::begin(group) };
    let first = gpu::thread_y() + gpu::thread_x() == 0;
    if !Rows::new(group).any(group) {
        gpu::let_next_kernel_start();
        gpu::barrier();
        if first {
            // SAFETY: all threads of the block have read the count in front of the barrier.
            unsafe { call.complete(group) };
        }
        return;
    }
    let two_shot = group.two_shot != 0;
    let own_buffer = call.buffer(group, group.rank);
    let in_workspace = own_buffer - workspace(group, group.rank);

    let mut rows = Rows::new(group);
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
    if two_shot {
        let mut rows = Rows::new(group);
        while rows.any(group) {
            gpu::keep_rolled();
            if rows.owner == group.rank {
                let row = F::row(args, rows.of_thread(args, group));
                let staged = rows.staged(group);
                let parts = Parts { ranks: [0, group.ranks], own: row.x, staged: in_workspace + staged };
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
    gpu::let_next_kernel_start();
    let mut rows = Rows::new(group);
    while rows.any(group) {
        gpu::keep_rolled();
        let row = F::row(args, rows.of_thread(args, group));
        let staged = in_workspace + rows.staged(group);
        let owner = rows.owner;
        let parts = if two_shot {
            Parts { ranks: [owner, owner + 1], own: workspace(group, group.rank) + staged, staged }
        } else {
            Parts { ranks: [0, group.ranks], own: row.x, staged }
        };
        // SAFETY: every part has been staged, or reduced, as `meet` says.
        unsafe { F::finish(row, parts, args, group) };
        // The next row's reductions use the same scratch memory.
        gpu::barrier();
        rows.step(group);
    }
    if first {
        // SAFETY: all threads of the block have read the count in front of a barrier.
        unsafe { call.complete(group) };
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

    /// Calls `f` for all of this thread's vectors of a row, `F` at a time.
    #[inline(always)]
    fn each<const F: usize>(row: &Row, mut f: impl FnMut(Places<'_>)) {
        let mut first = row.start;
        while first < row.end {
            f(Places { row, first });
            first += F as u32 * row.step;
        }
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
    Places::each::<F>(row, |places| {
        let mut words: [Words; F] = [[0; 8]; F];
        each::<F>(|v| {
            let (at, valid) = places.at::<A, N>(v);
            // SAFETY: the caller guarantees that these elements are readable.
            words[v] = unsafe { A::fetch::<X, N>(row.x + at as u64 * X::SIZE, valid, 0, Reuse::Cached) };
        });
        each::<F>(|v| {
            let (at, valid) = places.at::<A, N>(v);
            // SAFETY: the caller guarantees that these bytes are writable.
            unsafe { A::store::<X, N>(to + at as u64 * X::SIZE, valid, unpack::<X, N>(words[v])) };
        });
    });
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
    Places::each::<F>(row, |places| {
        // SAFETY: the caller guarantees that the parts are readable.
        let sums = unsafe { parts.sum::<A, X, N, F>(group, |v| places.at::<A, N>(v)) };
        each::<F>(|v| {
            let (at, valid) = places.at::<A, N>(v);
            // SAFETY: the caller guarantees that these bytes are writable.
            unsafe { A::store::<X, N>(to + at as u64 * X::SIZE, valid, sums[v]) };
        });
    });
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
            // All that the row needs is on its way before the sum is waited for.
            let mut r: [Words; V] = [[0; 8]; V];
            if row.adds() {
                r = Part::<W, N, PRELOAD>::vectors::<XHalf>(&row, row.r);
            }
            let params = if K::BIASES {
                Part::<W, N, PRELOAD>::preload::<true>(&row)
            } else {
                Part::<W, N, PRELOAD>::preload::<false>(&row)
            };
            let sums =
                parts.sum::<StreamedVector, XHalf, N, V>(group, |v| Part::<W, N, PRELOAD>::at(&row, v));
            // Vectors behind the row hold -0, which no sum of squares shows.
            let mut words: [Words; V] = [[0; 8]; V];
            each::<V>(|v| words[v] = pack::<XHalf, N>(sums[v]));
            if row.adds() {
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
    ($name:expr, $access:ident, $finish:ty, $n:literal, $flight:expr) => {
        gpu::kernel!(
            $name,
            fn kernel(args: Args, group: GroupArgs) {
                // SAFETY: whoever launches an entry point guarantees what `all_reduce` requires; `norm-host` checks it before a
                // launch.
                unsafe { all_reduce::<$access, $finish, $n, { $flight }>(&args, &group) }
            }
        );
    };
}

entry!("all_reduce_b16_stream", StreamedVector, Sum<StreamedVector, XHalf>, 8, IN_FLIGHT);
entry!("all_reduce_b16_scalar", Scalar, Sum<Scalar, XHalf>, 8, IN_FLIGHT);
entry!("all_reduce_b32_stream", StreamedVector, Sum<StreamedVector, F32>, 4, IN_FLIGHT);
entry!("all_reduce_b32_scalar", Scalar, Sum<Scalar, F32>, 4, IN_FLIGHT);

/// The entry points of a norm with weights of one size.
macro_rules! norms {
    ($($norm:ident $norm_name:literal $w:ident $w_name:literal $preload:literal)*) => { $(
        entry!(
            concat!("all_reduce_", $norm_name, "_b16_", $w_name, "_block"),
            StreamedVector, InRegisters<$norm, $w, $preload>, 8, IN_FLIGHT
        );
        entry!(
            concat!("all_reduce_", $norm_name, "_b16_", $w_name, "_stream"),
            StreamedVector, Reloading<StreamedVector, $norm, $w>, 8, 1
        );
        entry!(
            concat!("all_reduce_", $norm_name, "_b16_", $w_name, "_scalar"),
            Scalar, Reloading<Scalar, $norm, $w>, 8, 1
        );
    )* };
}

norms! {
    Rms "rms" WHalf "b16" true
    Rms "rms" F32 "b32" false
    Layer "layer" WHalf "b16" false
    Layer "layer" F32 "b32" false
}
