//! The plan of QK norm and RoPE.

use norm_kernels::abi::{
    Divisor, HAS_WEIGHTS, IS_NORMED, LAYER_NORM, NormKind, Pairing, ROTATES, RopeArgs, RopeHeads, RopeKernel,
    WARP,
};

use super::{
    DeviceProfile, MAX_GRID,
    alignment::is_aligned,
    kernel_offset,
    ladders::{ROPE_GROUP, ROPE_HALF_TOKENS, ROPE_SHORT_GRIDS, ROPE_THREADS},
};
use crate::{
    DType,
    error::{Arg, Error, Result},
    problem::{HeadNorm, Heads, HeadsOperand, Param, QkRopeProblem, Rotation, Table},
};

/// Blocks of a short grid for each multiprocessor.
const SHORT_BLOCKS: u64 = 4;

/// A launch that norms and rotates heads.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QkRopePlan {
    /// The entry point.
    pub kernel: RopeKernel,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block: along a head, for each of its heads, 1.
    pub block: [u32; 3],
    /// Whether the kernel may start before its predecessor has finished (programmatic dependent launch), on devices
    /// that support it.
    pub overlap: bool,
    /// The kernel's parameter.
    pub args: RopeArgs,
}

/// How a head is dealt to lanes: see [`RopeArgs`]. It follows from the type, `head_dim`, the number of pairs and their order
/// alone, and decides the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deal {
    /// Elements in a vector.
    width: u32,
    rotating: u32,
    distance: u32,
    lanes: u32,
}

impl Deal {
    fn new(dtype: DType, dim: u32, half: u32, pairing: Pairing) -> Deal {
        let width = 16 / dtype.size() as u32;
        let (rotating, distance) = match pairing {
            Pairing::Halves => (half.div_ceil(width), (dim - 2 * half).div_ceil(width).div_ceil(2)),
            Pairing::Neighbours => (0, dim.div_ceil(width).div_ceil(2)),
        };
        // Lanes have one unit of 16-bit elements, two of f32.
        let units_a_lane = 8 / width;
        let lanes = (rotating + distance).div_ceil(units_a_lane).next_power_of_two().min(WARP);
        Deal { width, rotating, distance, lanes }
    }
}

impl QkRopePlan {
    /// The launch for at least one head, on a device of that profile.
    ///
    /// # Errors
    ///
    /// [`GridTooLarge`](Error::GridTooLarge) if there are more heads than blocks in the largest grid.
    pub fn new(problem: &QkRopeProblem, profile: DeviceProfile) -> Result<QkRopePlan> {
        let QkRopeProblem { q, k, v, dtype, tokens, head_dim, rotation, overlap, .. } = *problem;
        let (half, pairing) = rotation.map_or((0, Pairing::Halves), |it| (it.half, it.pairing));
        let deal = Deal::new(dtype, head_dim, half, pairing);
        // A grid may have a block that is not full.
        let max = MAX_GRID - u64::from(RopeKernel::MAX_THREADS);
        let of_token = problem.heads();
        let all = of_token.checked_mul(tokens).filter(|&all| all <= max);
        if all.is_none() {
            return Err(Error::GridTooLarge { arg: Arg::Q, blocks: of_token.saturating_mul(tokens), max });
        }
        let vectors = takes_vectors(problem, deal);
        let heads_a_group = if vectors { heads_a_group(problem, deal.lanes, profile) } else { 1 };
        // Below the number of heads, which is in range.
        let groups =
            |part: Option<Heads>| part.map_or(0, |part| part.heads.div_ceil(u64::from(heads_a_group)) as u32);
        let groups_a_token = groups(Some(q)) + groups(k) + groups(v);
        let rows = groups_a_token * tokens as u32;
        let rms_only = vectors && is_rms_in_front(problem);
        let blocks = u64::from(rows.div_ceil(ROPE_THREADS / deal.lanes));
        let runs_at_once = blocks <= ROPE_SHORT_GRIDS * profile.short_grid;
        let rows_a_block = rows_a_block(groups_a_token, tokens, deal.lanes, profile);
        let kernel = RopeKernel {
            x: dtype,
            w: problem.weight_dtype().unwrap_or(dtype),
            table: rotation.map_or(dtype, |rotation| rotation.dtype),
            pairing,
            vectors,
            before_weight: problem.rounds_before_weight(),
            rounding: problem.roundings(),
            rms_only,
            short: rms_only && overlap && runs_at_once,
        };
        let k_from = groups(Some(q)) * heads_a_group;
        let v_from = k_from + groups(k) * heads_a_group;
        let rotates = rotation.is_some();
        let of = |part: Option<Heads>, from: u32, rotates: bool| {
            part.map_or(RopeHeads::NONE, |part| heads(&part, dtype, from, rotates))
        };
        let table = |table: fn(&Rotation) -> Table| {
            rotation.map_or((0, 0), |it| {
                let Table { address, stride } = table(&it);
                (address, stride * it.dtype.size() as u64)
            })
        };
        let ((cos, cos_stride), (sin, sin_stride)) = (table(|it| it.cos), table(|it| it.sin));
        let any = |is: fn(&HeadNorm) -> bool| u32::from(problem.norms().any(|norm| is(&norm)));
        Ok(QkRopePlan {
            kernel,
            grid: [rows.div_ceil(rows_a_block), 1, 1],
            block: [deal.lanes, rows_a_block, 1],
            overlap,
            args: RopeArgs {
                positions: rotation.map_or(0, |it| it.positions),
                cos,
                sin,
                cos_stride,
                sin_stride,
                position_bytes: rotation.map_or(0, |it| it.position_bytes),
                table_rows: rotation.map_or(0, |it| it.rows),
                rows,
                groups: Divisor::new(groups_a_token),
                heads_a_group,
                k_from,
                v_from,
                dim: head_dim,
                half,
                rotating: deal.rotating,
                distance: deal.distance,
                reciprocal: (1.0 / f64::from(head_dim)) as f32,
                norms: any(|_| true),
                centers: any(|norm| norm.kind == NormKind::Layer),
                norm_behind: problem.is_norm_behind().into(),
                q: of(Some(q), 0, rotates),
                k: of(k, k_from, rotates),
                v: of(v, v_from, false),
            },
        })
    }
}

/// Whether all heads are normed by RMSNorm, in front of the rotation.
fn is_rms_in_front(problem: &QkRopeProblem) -> bool {
    let is_rms = |(part, _): (Heads, bool)| part.norm.is_some_and(|norm| norm.kind == NormKind::Rms);
    !problem.is_norm_behind() && problem.parts().into_iter().flatten().all(is_rms)
}

/// Groups of heads of a block. Where each multiprocessor has a few tokens, a block has all groups of one, if these fill whole
/// warps: then one block alone reads its position and its rows of the tables.
fn rows_a_block(groups_a_token: u32, tokens: u64, lanes: u32, profile: DeviceProfile) -> u32 {
    let multiprocessors = profile.short_grid / SHORT_BLOCKS;
    let half_tokens = (2 * tokens).checked_div(multiprocessors).unwrap_or(u64::MAX);
    let has_few = ROPE_HALF_TOKENS.contains(&half_tokens);
    let threads = u64::from(groups_a_token) * u64::from(lanes);
    let fits = threads <= RopeKernel::MAX_THREADS.into() && threads.is_multiple_of(WARP.into());
    if has_few && fits && threads > ROPE_THREADS.into() { groups_a_token } else { ROPE_THREADS / lanes }
}

/// Heads that a thread has: two, which share what is made ready once, where one each would make a block or more for each
/// multiprocessor.
fn heads_a_group(problem: &QkRopeProblem, lanes: u32, profile: DeviceProfile) -> u32 {
    let have_own_weights = problem.norms().any(|norm| norm.w.is_some_and(|w| w.stride != 0));
    let threads = problem.heads() * problem.tokens * u64::from(lanes);
    let blocks = threads / u64::from(ROPE_THREADS);
    if !have_own_weights && blocks >= profile.short_grid / SHORT_BLOCKS { ROPE_GROUP } else { 1 }
}

/// The kernel's numbers of queries, keys or values, the first of which is head number `from`.
fn heads(Heads { heads: count, x, y, norm }: &Heads, dtype: DType, from: u32, rotates: bool) -> RopeHeads {
    let base = |address: u64, head: u64| address.wrapping_sub(head.wrapping_mul(from.into()));
    let operand = |HeadsOperand { address, token_stride, head_stride }: HeadsOperand| {
        let [token, head] = [token_stride, head_stride].map(|stride| stride * dtype.size() as u64);
        (base(address, head), token, head)
    };
    let ((x, x_token, x_head), (y, y_token, y_head)) = (operand(*x), operand(*y));
    let w = norm.and_then(|norm| norm.w);
    let w_head = w.map_or(0, |w| w.stride * w.dtype.size() as u64);
    let norm_flags = norm.map_or(0, |norm| match norm.kind {
        NormKind::Rms => IS_NORMED,
        NormKind::Layer => IS_NORMED | LAYER_NORM,
    });
    let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
    RopeHeads {
        x,
        y,
        w: w.map_or(0, |w| base(w.address, w_head)),
        x_token,
        x_head,
        y_token,
        y_head,
        w_head,
        eps: norm.map_or(0.0, |norm| norm.eps),
        weight_offset: kernel_offset(w, norm.map_or(0.0, |norm| norm.weight_offset)),
        flags: norm_flags | flag(w.is_some(), HAS_WEIGHTS) | flag(rotates, ROTATES),
        end: from + *count as u32,
    }
}

/// Whether heads, weights and tables are whole, aligned vectors.
fn takes_vectors(problem: &QkRopeProblem, deal: Deal) -> bool {
    let width = u64::from(deal.width);
    let is_whole = |elements: u32| elements.is_multiple_of(deal.width);
    let rotation = problem.rotation.as_ref();
    let whole = is_whole(problem.head_dim)
        && rotation.is_none_or(|it| match it.pairing {
            Pairing::Halves => is_whole(it.half),
            Pairing::Neighbours => is_whole(2 * it.half),
        });
    let of_heads = |part: &Heads| {
        let operand = |HeadsOperand { address, token_stride, head_stride }: HeadsOperand| {
            // The stride of an axis with one position is never used.
            let token = if problem.tokens > 1 { token_stride } else { 0 };
            let head = if part.heads > 1 { head_stride } else { 0 };
            is_aligned(width, problem.dtype, address, [token, head])
        };
        let w = part.norm.and_then(|norm| norm.w);
        operand(part.x)
            && operand(part.y)
            && w.is_none_or(|Param { address, dtype, stride }| is_aligned(width, dtype, address, [stride]))
    };
    // A unit of neighbours has two pieces of a table's row, each half as long.
    let of_tables = |it: &Rotation| {
        let piece = if it.pairing == Pairing::Halves { width } else { width / 2 };
        [it.cos, it.sin]
            .iter()
            .all(|&Table { address, stride }| is_aligned(piece, it.dtype, address, [stride]))
    };
    whole
        && problem.parts().iter().flatten().all(|(part, _)| part.heads == 0 || of_heads(part))
        && rotation.is_none_or(of_tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packed queries and keys of 16 bits, normed and rotated.
    fn problem(tokens: u64, [q, k]: [u64; 2], head_dim: u32) -> QkRopeProblem {
        let norm = HeadNorm { kind: NormKind::Rms, eps: 1e-6, w: None, weight_offset: 0.0 };
        let part = |heads: u64, from: u64| {
            let of = |address: u64| HeadsOperand {
                address: address + from * 2 * u64::from(head_dim),
                token_stride: (q + k) * u64::from(head_dim),
                head_stride: head_dim.into(),
            };
            Heads { heads, x: of(1 << 20), y: of(1 << 30), norm: Some(norm) }
        };
        let table = Table { address: 1 << 40, stride: u64::from(head_dim / 2) };
        QkRopeProblem {
            q: part(q, 0),
            k: Some(part(k, q)),
            v: None,
            dtype: DType::BF16,
            tokens,
            head_dim,
            rotation: Some(Rotation {
                cos: table,
                sin: table,
                dtype: DType::BF16,
                rows: 1,
                half: head_dim / 2,
                pairing: Pairing::Halves,
                positions: 1 << 41,
                position_bytes: 4,
            }),
            norm_behind: false,
            before_weight: false,
            rounding: norm_kernels::abi::RopeRounding::Single,
            overlap: true,
        }
    }

    #[test]
    fn a_block_has_a_token_where_each_multiprocessor_has_a_few() {
        let profile = DeviceProfile { short_grid: 528, ..DeviceProfile::of_capability((9, 0)) };
        let plan = |tokens, heads, dim| {
            let QkRopePlan { kernel, grid, block, .. } =
                QkRopePlan::new(&problem(tokens, heads, dim), profile).unwrap();
            (grid[0], block[..2].to_vec(), kernel.short)
        };
        assert_eq!(plan(1, [32, 8], 128), (5, vec![8, 8], true));
        assert_eq!(plan(64, [32, 8], 128), (160, vec![8, 8], true));
        assert_eq!(plan(256, [32, 8], 128), (256, vec![8, 20], true));
        assert_eq!(plan(528, [32, 8], 128), (528, vec![8, 20], true));
        assert_eq!(plan(594, [32, 8], 128), (1485, vec![8, 8], true));
        assert_eq!(plan(1024, [32, 8], 128), (2560, vec![8, 8], false));
        // Whole warps alone, and no more threads than a kernel is made for.
        assert_eq!(plan(256, [32, 4], 128), (576, vec![8, 8], true));
        assert_eq!(plan(256, [64, 16], 128), (1280, vec![8, 8], true));
        let late = QkRopeProblem { overlap: false, ..problem(1, [32, 8], 128) };
        assert!(!QkRopePlan::new(&late, profile).unwrap().kernel.short);
    }

    #[test]
    fn heads_are_dealt_to_whole_lanes() {
        let deal = |dtype, dim, half, pairing| {
            let Deal { width, rotating, distance, lanes } = Deal::new(dtype, dim, half, pairing);
            [width, rotating, distance, lanes]
        };
        use DType::{BF16, F16, F32};
        use Pairing::{Halves, Neighbours};
        assert_eq!(deal(F16, 128, 64, Halves), [8, 8, 0, 8]);
        assert_eq!(deal(BF16, 256, 32, Halves), [8, 4, 12, 16]);
        assert_eq!(deal(F16, 512, 256, Halves), [8, 32, 0, 32]);
        assert_eq!(deal(F16, 128, 64, Neighbours), [8, 0, 8, 8]);
        assert_eq!(deal(F32, 512, 256, Halves), [4, 64, 0, 32]);
        assert_eq!(deal(F32, 128, 0, Halves), [4, 0, 16, 8]);
        assert_eq!(deal(F16, 1, 0, Halves), [8, 0, 1, 1]);
    }

    /// However odd a head, its units fit the lanes: one more a lane than in whole vectors, where they are not whole.
    #[test]
    fn every_head_fits_the_units_of_its_lanes() {
        for dtype in DType::ALL {
            for (dim, pairing) in (1..=norm_kernels::abi::MAX_HEAD_DIM)
                .flat_map(|dim| Pairing::ALL.map(|pairing| (dim, pairing)))
            {
                for half in (0..=dim / 2).step_by(3).chain([dim / 2]) {
                    let Deal { width, rotating, distance, lanes } = Deal::new(dtype, dim, half, pairing);
                    let is_whole = dim.is_multiple_of(width) && half.is_multiple_of(width);
                    let units_a_lane = 8 / width + u32::from(!is_whole);
                    assert!(rotating + distance <= lanes * units_a_lane, "{dtype} {dim} {half} {pairing}");
                }
            }
        }
    }
}
