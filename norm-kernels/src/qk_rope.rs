//! QK norm and RoPE: the heads of queries, keys and values are normed, and those of queries and keys rotated by their
//! positions, in one launch ([`RopeKernel`](crate::abi::RopeKernel)).
//!
//! ```text
//! n = norm(x) * (w + weight_offset)           of each head: RMSNorm, LayerNorm, or none
//! y[i] = n[i] * cos[p] - n[j] * sin[p]        for each pair p of rotated elements i and j of the head
//! y[j] = n[j] * cos[p] + n[i] * sin[p]
//! y[i] = n[i]                                 for the other elements
//! ```
//!
//! or, with the norm behind the rotation, `y = norm(rotated x) * (w + weight_offset)`.
//!
//! The lanes of a warp share a head, and a warp has several heads. Each lane has two vectors that hold whole pairs ([`Unit`]),
//! so that rotating takes no shuffles. Heads are loaded first; cosines and sines wait for the position. Weights are loaded when the
//! squares have been added up, in front of the shuffles: issued with the heads, they were waited for with them, and the kernel was
//! slower wherever many heads are. There is no branch on how many heads `q`, `k` and `v` have: each lane loads the
//! numbers of its head's tensor from where they stand in the kernel's parameter.
//!
//! Where there are enough heads, lanes have two of a token, with addresses, weights, cosines and sines that they make ready
//! once: these take more instructions than norming and rotating a head does. Both are on their way at once, and so are the
//! shuffles of their sums.
//!
//! Where nearly all blocks run at once, and so begin while the kernel in front still finishes, a kernel of its own fetches its heads
//! into the L2 before it waits for that one: a prefetch reads nothing, so that it does not matter who writes them. In long grids that
//! would be of no use, and even a branch around it leads ptxas to other schedules.

use core::mem::offset_of;

use crate::abi::{HAS_WEIGHTS, IS_NORMED, LAYER_NORM, ROTATES, RopeArgs, RopeHeads};
use crate::access::{MemoryAccess, Scalar, StreamedVector, pack, unpack};
use crate::each::{each, map_pairs};
use crate::element::{F32, Input, Words, XHalf};
use crate::gpu::{self, Reuse, asm, pseudo};
use crate::row::row_of_thread;
use crate::sum::Sum;

/// The two vectors of a lane that are rotated together: the index of the first element of each, and how many of its elements
/// are in the head. See [`RopeArgs`].
#[derive(Clone, Copy)]
struct Unit {
    a: u32,
    a_valid: u32,
    b: u32,
    b_valid: u32,
    /// How many elements of each are rotated.
    a_turned: u32,
    b_turned: u32,
}

impl Unit {
    const NONE: Unit = Unit { a: 0, a_valid: 0, b: 0, b_valid: 0, a_turned: 0, b_turned: 0 };

    /// Unit `u` of a head.
    #[inline(always)]
    fn of<A: MemoryAccess, const N: usize, const NEIGHBOURS: bool>(
        args: &RopeArgs,
        u: u32,
        rotates: bool,
    ) -> Unit {
        let (n, rotary) = (N as u32, 2 * args.half);
        let turned = |valid: u32, is_turned: bool| if rotates && is_turned { valid } else { 0 };
        if NEIGHBOURS {
            // Units behind the last have their first vector where another lane has its second.
            let a = if u < args.distance { u * n } else { args.dim };
            let b = a + args.distance * n;
            return Unit {
                a,
                a_valid: A::valid::<N>(a, args.dim),
                b,
                b_valid: A::valid::<N>(b, args.dim),
                a_turned: turned(A::valid::<N>(a, rotary), true),
                b_turned: turned(A::valid::<N>(b, rotary), true),
            };
        }
        let is_turned = u < args.rotating;
        let rest = u.wrapping_sub(args.rotating);
        let (a, a_end, distance, b_end) = if is_turned {
            (u * n, args.half, args.half, rotary)
        } else {
            let a = if rest < args.distance { rotary + rest * n } else { args.dim };
            (a, args.dim, args.distance * n, args.dim)
        };
        let b = a + distance;
        let (a_valid, b_valid) = (A::valid::<N>(a, a_end), A::valid::<N>(b, b_end));
        Unit {
            a,
            a_valid,
            b,
            b_valid,
            a_turned: turned(a_valid, is_turned),
            b_turned: turned(b_valid, is_turned),
        }
    }
}

/// A function that loads the numbers of the tensor which a head belongs to, queries, keys or values by the number given, from
/// the parameter of this name. Indexed in Rust, a kernel's parameter would be copied into local memory first; and three
/// loads with a selection behind them, for each of these numbers, take a third of a kernel's time.
macro_rules! heads_of {
    ($parameter:expr) => {
        |part: u32| {
            let (x, y, w, x_token, x_head, y_token, y_head, w_head, factors, flags): (
                u64, u64, u64, u64, u64, u64, u64, u64, u64, u64,
            );
            // SAFETY: loads from the kernel's parameter, of which there is one part for each of the three numbers.
            unsafe {
                asm!(
                    concat!("{{ .reg .b64 %part; mov.b64 %part, ", $parameter, "; add.s64 %part, %part, {part};"),
                    "ld.param.b64 {x}, [%part+{at_x}];",
                    "ld.param.b64 {y}, [%part+{at_y}];",
                    "ld.param.b64 {w}, [%part+{at_w}];",
                    "ld.param.b64 {x_token}, [%part+{at_x_token}];",
                    "ld.param.b64 {x_head}, [%part+{at_x_head}];",
                    "ld.param.b64 {y_token}, [%part+{at_y_token}];",
                    "ld.param.b64 {y_head}, [%part+{at_y_head}];",
                    "ld.param.b64 {w_head}, [%part+{at_w_head}];",
                    "ld.param.b64 {factors}, [%part+{at_factors}];",
                    "ld.param.b64 {flags}, [%part+{at_flags}]; }}",
                    part = in(reg64) u64::from(part) * size_of::<RopeHeads>() as u64,
                    at_x = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, x),
                    x = out(reg64) x,
                    at_y = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, y),
                    y = out(reg64) y,
                    at_w = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, w),
                    w = out(reg64) w,
                    at_x_token = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, x_token),
                    x_token = out(reg64) x_token,
                    at_x_head = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, x_head),
                    x_head = out(reg64) x_head,
                    at_y_token = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, y_token),
                    y_token = out(reg64) y_token,
                    at_y_head = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, y_head),
                    y_head = out(reg64) y_head,
                    at_w_head = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, w_head),
                    w_head = out(reg64) w_head,
                    at_factors = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, eps),
                    factors = out(reg64) factors,
                    at_flags = const offset_of!(RopeArgs, q) + offset_of!(RopeHeads, flags),
                    flags = out(reg64) flags,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            let [eps, weight_offset] = [factors as u32, (factors >> 32) as u32].map(f32::from_bits);
            let (flags, end) = (flags as u32, (flags >> 32) as u32);
            RopeHeads { x, y, w, x_token, x_head, y_token, y_head, w_head, eps, weight_offset, flags, end }
        }
    };
}

/// The weights of `valid` elements from `at` on; 1 for the others.
///
/// # Safety
/// These weights are in memory, and for `Vectors` whole and aligned.
#[inline(always)]
unsafe fn weights<A: MemoryAccess, const N: usize>(w: u64, at: u32, valid: u32) -> [f32; N] {
    let mut weights = [0.0; N];
    // SAFETY: the caller guarantees that these weights are in memory, and for `Vectors` aligned.
    unsafe {
        match (A::WHOLE, N) {
            (true, 8) => copy(&mut weights, 0, pseudo::ld_w_v8(w, at, valid != 0)),
            (true, _) => copy(&mut weights, 0, pseudo::ld_w_v4(w, at, valid != 0)),
            (false, _) => each::<N>(|i| [weights[i]] = pseudo::ld_w(w, at + i as u32, (i as u32) < valid)),
        }
    }
    weights
}

/// Cosines or sines of the pairs of a unit that are rotated: `N` of them. Where none are `wanted`, they are NaN.
///
/// # Safety
/// These are in memory, and for `Vectors` whole and aligned.
#[inline(always)]
unsafe fn of_table<A: MemoryAccess, const N: usize, const NEIGHBOURS: bool>(
    row: u64,
    unit: Unit,
    wanted: bool,
) -> [f32; N] {
    let mut values = [0.0; N];
    let turned = |turned: u32| if wanted { turned } else { 0 };
    let (a, b) = (turned(unit.a_turned), turned(unit.b_turned));
    // SAFETY: the caller guarantees that what is wanted is in memory, and for `Vectors` aligned.
    unsafe {
        match (A::WHOLE, NEIGHBOURS, N) {
            (true, false, 8) => copy(&mut values, 0, pseudo::ld_t_v8(row, unit.a, a != 0)),
            (true, false, _) => copy(&mut values, 0, pseudo::ld_t_v4(row, unit.a, a != 0)),
            (true, true, 8) => {
                copy(&mut values, 0, pseudo::ld_t_v4(row, unit.a / 2, a != 0));
                copy(&mut values, 4, pseudo::ld_t_v4(row, unit.b / 2, b != 0));
            }
            (true, true, _) => {
                copy(&mut values, 0, pseudo::ld_t_v2(row, unit.a / 2, a != 0));
                copy(&mut values, 2, pseudo::ld_t_v2(row, unit.b / 2, b != 0));
            }
            (false, false, _) => {
                each::<N>(|i| [values[i]] = pseudo::ld_t(row, unit.a + i as u32, (i as u32) < a));
            }
            (false, true, _) => each::<4>(|i| {
                if i < N / 2 {
                    let pair = i as u32;
                    [values[i]] = pseudo::ld_t(row, unit.a / 2 + pair, 2 * pair < a);
                    [values[N / 2 + i]] = pseudo::ld_t(row, unit.b / 2 + pair, 2 * pair < b);
                }
            }),
        }
    }
    values
}

/// Copies `from` to the elements of `to` from `at` on.
#[inline(always)]
fn copy<const N: usize, const M: usize>(to: &mut [f32; N], at: usize, from: [f32; M]) {
    each::<M>(|i| to[at + i] = from[i]);
}

/// A pair, rotated: `(a cos - b sin, b cos + a sin)`. With `EXACT` each product and sum is rounded for itself: what is normed
/// then has the bits that it has on every backend.
#[inline(always)]
fn turn<const EXACT: bool>([a, b]: [f32; 2], cos: f32, sin: f32) -> [f32; 2] {
    if !EXACT {
        return pseudo::turn_p([a, b], cos, sin);
    }
    let [minuend, subtrahend] = pseudo::round_p([a * cos, b * sin]);
    let [augend, addend] = pseudo::round_p([b * cos, a * sin]);
    [minuend - subtrahend, augend + addend]
}

/// A unit's elements, rotated.
#[inline(always)]
fn rotate<A: MemoryAccess, const N: usize, const NEIGHBOURS: bool, const EXACT: bool>(
    [mut a, mut b]: [[f32; N]; 2],
    unit: Unit,
    (cos, sin): ([f32; N], [f32; N]),
) -> [[f32; N]; 2] {
    if NEIGHBOURS {
        each::<4>(|pair| {
            let i = 2 * pair;
            if i < N {
                if (i as u32) < unit.a_turned {
                    [a[i], a[i + 1]] = turn::<EXACT>([a[i], a[i + 1]], cos[pair], sin[pair]);
                }
                if (i as u32) < unit.b_turned {
                    let at = N / 2 + pair;
                    [b[i], b[i + 1]] = turn::<EXACT>([b[i], b[i + 1]], cos[at], sin[at]);
                }
            }
        });
    } else if unit.a_turned != 0 {
        // What is behind the last element stays 0, and counts for nothing in a norm behind.
        each::<N>(|i| {
            if A::WHOLE || (i as u32) < unit.a_turned {
                [a[i], b[i]] = turn::<EXACT>([a[i], b[i]], cos[i], sin[i]);
            }
        });
    }
    [a, b]
}

/// Sums over the lanes that share a head, with the same bits in each, of as many heads. All lanes of a warp must call. Most
/// heads have eight lanes or fewer, for which three exchanges are enough: a launch says the same of all of them, so that none
/// parts here.
#[inline(always)]
fn sums_over_lanes<const H: usize>(mut sums: [f32; H]) -> [f32; H] {
    let lanes = gpu::block_x();
    macro_rules! step {
        ($($mask:literal)*) => { $(
            let others = sums.map(|sum| sum.shuffle_xor($mask));
            if $mask < lanes {
                each::<H>(|h| sums[h] = sums[h].plus(others[h]));
            }
        )* };
    }
    if lanes > 8 {
        step!(16 8);
    }
    step!(4 2 1);
    sums
}

/// Two vectors of values that go from norm to rotation, or back.
#[inline(always)]
fn between<const N: usize>(values: [[f32; N]; 2]) -> [[f32; N]; 2] {
    values.map(|values| map_pairs(|i| pseudo::round_m([values[i], values[i + 1]])))
}

/// Bytes that memory moves at least, as many as two vectors have.
const SECTOR: u64 = 32;

/// The body of a kernel for elements of type `X`, in vectors of `N`, `U` units a lane, of up to `H` heads, 1 or 2.
///
/// # Safety
/// `args` is as [`RopeArgs`] documents, for this launch's block and grid, and `heads_of` gives its parts. For `Vectors` access
/// the vectors of heads and weights, and of tables those of a unit's cosines, are whole and aligned.
#[inline(always)]
unsafe fn qk_rope<
    A: MemoryAccess,
    X: Input,
    const N: usize,
    const U: usize,
    const H: usize,
    const NEIGHBOURS: bool,
>(
    args: &RopeArgs,
    heads_of: impl Fn(u32) -> RopeHeads,
) {
    gpu::let_next_kernel_start();
    let row = row_of_thread();
    let (token, group) = args.groups.divide(row);
    let head = group * args.heads_a_group;
    let heads = heads_of(u32::from(head >= args.k_from) + u32::from(head >= args.v_from));
    let exists = row < args.rows;
    let has_second = H > 1 && args.heads_a_group > 1 && head + 1 < heads.end;
    let rotates = exists && heads.flags & ROTATES != 0;
    let offset = |base: u64, token_stride: u64, head_stride: u64| {
        base.wrapping_add(u64::from(token) * token_stride)
            .wrapping_add(u64::from(head).wrapping_mul(head_stride))
    };
    let x_row = offset(heads.x, heads.x_token, heads.x_head);
    let y_row = offset(heads.y, heads.y_token, heads.y_head);
    let w_row = offset(heads.w, 0, heads.w_head);
    let position_at = args.positions + u64::from(token) * u64::from(args.position_bytes);

    let mut units = [Unit::NONE; U];
    each::<U>(|j| {
        let u = gpu::thread_x() + j as u32 * gpu::block_x();
        let unit = Unit::of::<A, N, NEIGHBOURS>(args, u, rotates);
        units[j] = if exists { unit } else { Unit::NONE };
    });

    // By what the lanes of a head have together, as one lane's own vectors would keep more registers in use.
    if A::WHOLE && pseudo::short_p() != 0 {
        each::<H>(|h| {
            let row = if h == 0 { x_row } else { x_row.wrapping_add(heads.x_head) };
            each::<U>(|j| {
                let at = u64::from(gpu::thread_x() + j as u32 * gpu::block_x()) * SECTOR;
                if exists && (h == 0 || has_second) && at < u64::from(args.dim) * X::SIZE {
                    // SAFETY: the address is that of an element of the head.
                    unsafe { gpu::prefetch_line(row + at) };
                }
            });
        });
    }
    gpu::wait_for_previous_kernel();
    let mut position = 0;
    if rotates {
        // SAFETY: the caller guarantees a position for each token; its lower 4 bytes come first.
        position = unsafe { gpu::ld_global_b32(position_at) };
    }
    let mut x = [[[[0; 8]; 2]; U]; H];
    each::<H>(|h| {
        let row = if h == 0 { x_row } else { x_row.wrapping_add(heads.x_head) };
        // SAFETY: the caller guarantees that the head's elements are in memory, for `Vectors` in whole and aligned vectors, if
        // there is such a head.
        x[h] = unsafe { load::<A, X, N, U>(row, &units, h == 0 || has_second) };
    });
    // A position past the tables' end reads nothing, and makes what it would rotate NaN.
    let is_in_table = position < args.table_rows;
    let row_of = |table: u64, stride: u64| table.wrapping_add(u64::from(position).wrapping_mul(stride));
    let (cos_row, sin_row) = (row_of(args.cos, args.cos_stride), row_of(args.sin, args.sin_stride));
    let mut tables = [([0.0; N], [0.0; N]); U];
    each::<U>(|j| {
        // SAFETY: the caller guarantees that both tables have a row for each position below `table_rows`, for `Vectors`
        // aligned; other positions read none.
        tables[j] = unsafe {
            (
                of_table::<A, N, NEIGHBOURS>(cos_row, units[j], is_in_table),
                of_table::<A, N, NEIGHBOURS>(sin_row, units[j], is_in_table),
            )
        };
    });

    let load_weights = || {
        let mut w = [[[1.0; N]; 2]; U];
        each::<U>(|j| {
            let Unit { a, a_valid, b, b_valid, .. } = units[j];
            let there = |valid: u32| if heads.flags & HAS_WEIGHTS != 0 { valid } else { 0 };
            // SAFETY: the caller guarantees that the head's weights are in memory, for `Vectors` in whole and aligned vectors.
            w[j] = unsafe {
                [weights::<A, N>(w_row, a, there(a_valid)), weights::<A, N>(w_row, b, there(b_valid))]
            };
            w[j] = w[j].map(|w| map_pairs(|i| [w[i] + heads.weight_offset, w[i + 1] + heads.weight_offset]));
        });
        w
    };
    let y = norm_and_rotate::<A, X, N, U, H, NEIGHBOURS>(args, &heads, &units, x, load_weights, &tables);
    each::<H>(|h| {
        let (row, wanted) =
            if h == 0 { (y_row, true) } else { (y_row.wrapping_add(heads.y_head), has_second) };
        each::<U>(|j| {
            let Unit { a, a_valid, b, b_valid, .. } = units[j];
            let valid = |valid: u32| if wanted { valid } else { 0 };
            // SAFETY: the caller guarantees that these elements of `y` are in memory, for `Vectors` in whole and aligned
            // vectors, and that nothing else touches them; those of `x` that may lie there have been read by this thread.
            unsafe {
                store::<A, X, N>(row + u64::from(a) * X::SIZE, valid(a_valid), y[h][j][0]);
                store::<A, X, N>(row + u64::from(b) * X::SIZE, valid(b_valid), y[h][j][1]);
            }
        });
    });
}

/// The vectors of a thread's units, if they are `wanted`.
///
/// # Safety
/// What is wanted is in memory, for `Vectors` in whole and aligned vectors.
#[inline(always)]
unsafe fn load<A: MemoryAccess, X: Input, const N: usize, const U: usize>(
    row: u64,
    units: &[Unit; U],
    wanted: bool,
) -> [[Words; 2]; U] {
    let mut x = [[[0; 8]; 2]; U];
    each::<U>(|j| {
        let Unit { a, a_valid, b, b_valid, .. } = units[j];
        let valid = |valid: u32| if wanted { valid } else { 0 };
        // SAFETY: the caller guarantees that the head's elements are in memory, for `Vectors` aligned.
        x[j] = unsafe {
            [(a, valid(a_valid)), (b, valid(b_valid))]
                .map(|(at, valid)| A::fetch::<X, N>(row + u64::from(at) * X::SIZE, valid, 0, Reuse::Once))
        };
    });
    x
}

/// Stores the first `valid` of `values`, rounded to nearest even: a vector under a predicate, because branches around them, one
/// behind the other, keep more registers in use.
///
/// # Safety
/// As for [`MemoryAccess::store`].
#[inline(always)]
unsafe fn store<A: MemoryAccess, X: Input, const N: usize>(address: u64, valid: u32, values: [f32; N]) {
    const { assert!(N as u64 * X::SIZE == 16) };
    // SAFETY: the caller guarantees writable memory that belongs to this thread, and for `Vectors` 16 aligned bytes of it.
    unsafe {
        if A::WHOLE {
            let [a, b, c, d, ..] = pack::<X, N>(values);
            gpu::st_global_v4_if(address, valid != 0, [a, b, c, d]);
        } else {
            A::store::<X, N>(address, valid, values);
        }
    }
}

/// The elements of heads, normed and rotated. Every lane of a warp must call.
#[inline(always)]
fn norm_and_rotate<
    A: MemoryAccess,
    X: Input,
    const N: usize,
    const U: usize,
    const H: usize,
    const NEIGHBOURS: bool,
>(
    args: &RopeArgs,
    heads: &RopeHeads,
    units: &[Unit; U],
    x: [[[Words; 2]; U]; H],
    load_weights: impl FnOnce() -> [[[f32; N]; 2]; U],
    tables: &[([f32; N], [f32; N]); U],
) -> [[[[f32; N]; 2]; U]; H] {
    // What a kernel for RMSNorm alone does not serve is 0, as the host writes it in, and ptxas removes it.
    let general = pseudo::general_p();
    let norm_behind = args.norm_behind & general;
    let mut values = [[[[0.0; N]; 2]; U]; H];
    each::<H>(|h| {
        each::<U>(|j| {
            let unpacked = x[h][j].map(|words| unpack::<X, N>(X::clamp(words)));
            values[h][j] = match norm_behind {
                0 => unpacked,
                _ => between(rotate::<A, N, NEIGHBOURS, true>(unpacked, units[j], tables[j])),
            };
        });
    });
    if args.centers & general != 0 {
        // The mean in two parts: the second is what rounding took from the first.
        let is_centered = heads.flags & LAYER_NORM != 0;
        let mut subtract_means = || {
            let totals = values.each_ref().map(|values| {
                let mut total = 0.0;
                each::<U>(|j| each::<N>(|i| total += values[j][0][i] + values[j][1][i]));
                total
            });
            let totals = sums_over_lanes(totals);
            each::<H>(|h| {
                let mean = if is_centered { totals[h] * args.reciprocal } else { 0.0 };
                each::<U>(|j| {
                    let centered = |values: [f32; N], valid: u32| {
                        let mut centered = [0.0; N];
                        each::<N>(|i| centered[i] = if (i as u32) < valid { values[i] - mean } else { 0.0 });
                        centered
                    };
                    let [a, b] = values[h][j];
                    values[h][j] = [centered(a, units[j].a_valid), centered(b, units[j].b_valid)];
                });
            });
        };
        subtract_means();
        subtract_means();
    }
    let (mut rstds, mut w) = ([1.0; H], [[[1.0; N]; 2]; U]);
    if args.norms | !general != 0 {
        let sums = values.each_ref().map(|values| {
            let mut sum_sq = 0.0;
            each::<U>(|j| {
                let [mut a, mut b] = [0.0; 2];
                each::<N>(|i| a = gpu::fma(values[j][0][i], values[j][0][i], a));
                each::<N>(|i| b = gpu::fma(values[j][1][i], values[j][1][i], b));
                sum_sq += a + b;
            });
            sum_sq
        });
        w = load_weights();
        let sums = sums_over_lanes(sums);
        if (heads.flags | !general) & IS_NORMED != 0 {
            rstds = sums.map(|sum_sq| gpu::rsqrt(sum_sq * args.reciprocal + heads.eps));
        }
    }
    each::<H>(|h| {
        let rstd = rstds[h];
        each::<U>(|j| {
            let normed = |values: [f32; N], w: [f32; N]| {
                map_pairs(|i| {
                    let n = pseudo::round_n([values[i] * rstd, values[i + 1] * rstd]);
                    [n[0] * w[i], n[1] * w[i + 1]]
                })
            };
            let [a, b] = values[h][j];
            let done = [normed(a, w[j][0]), normed(b, w[j][1])];
            values[h][j] = match norm_behind {
                0 => rotate::<A, N, NEIGHBOURS, false>(between(done), units[j], tables[j]),
                _ => done,
            };
        });
    });
    values
}

/// The entry points for a size of elements: vectors of `$n`, `$u` units a lane. An element-by-element kernel has one unit more:
/// where vectors are not whole, a head of the largest size may have one more than its lanes; and one head.
macro_rules! entries {
    ($x:ident $x_name:literal, $n:literal, $u:literal, $scalar_u:literal) => {
        entries!(@ concat!("rope_", $x_name, "_halves_vector"), StreamedVector, $x, $n, $u, 2, false);
        entries!(@ concat!("rope_", $x_name, "_halves_scalar"), Scalar, $x, $n, $scalar_u, 1, false);
        entries!(@ concat!("rope_", $x_name, "_neighbours_vector"), StreamedVector, $x, $n, $u, 2, true);
        entries!(@ concat!("rope_", $x_name, "_neighbours_scalar"), Scalar, $x, $n, $scalar_u, 1, true);
    };
    (@ $name:expr, $access:ident, $x:ident, $n:literal, $u:literal, $h:literal, $neighbours:literal) => {
        gpu::kernel!(
            $name,
            fn kernel(args: RopeArgs) {
                // SAFETY: whoever launches an entry point guarantees what `qk_rope` requires; `norm-host` checks it before a
                // launch.
                unsafe {
                    qk_rope::<$access, $x, $n, $u, $h, $neighbours>(
                        &args,
                        heads_of!(concat!($name, "_param_0")),
                    )
                }
            }
        );
    };
}

entries!(XHalf "b16", 8, 1, 2);
entries!(F32 "b32", 4, 2, 3);
